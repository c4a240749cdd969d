"""Secrets are found in texts whatever way they are written, also where a text was cut, and other agents' secrets are not looked for."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_servicing import log
from agent_servicing.services.redaction import Redactor

VALUE = 'p"ss/w+rd\\ü&7 x'
MASK = "[secret db]"


def redactor(value: str = VALUE, *, name: str = "db", agent: str | None = "A") -> Redactor:
    made = Redactor()
    made.learn(f"{name}@1", name=name, agent=agent, value=value)
    return made


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(VALUE)[1:-1])[1:-1],
        repr(VALUE)[1:-1],
        quote(VALUE),
        quote(VALUE, safe=""),
        urlencode({"k": VALUE})[2:],
    ],
)
def test_a_value_is_found_as_it_is_and_as_json_python_and_urls_write_it(written: str) -> None:
    assert redactor().mask("A", f"before {written} after") == f"before {MASK} after"


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user1:"])
@pytest.mark.parametrize("after", ["", ":x", ":xy"])
def test_a_value_is_found_in_base64_wherever_it_stands_in_it(before: str, after: str) -> None:
    value = "correct horse battery"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redactor(value).mask("A", encode((before + value + after).encode()).decode())
        assert "[secret db]" in shown
        assert len(shown) - len(MASK) <= 2 + len(base64.b64encode((before + after).encode()))


def test_the_longer_of_two_values_is_replaced_whole_and_masks_are_not_masked() -> None:
    both = redactor("hunter2")
    both.learn("long@1", name="long", agent=None, value="hunter2-and-more")
    both.learn("word@1", name="word", agent=None, value="secret")
    assert both.mask("A", "hunter2-and-more hunter2 secret") == "[secret long] [secret db] [secret word]"


def test_values_too_short_to_mean_anything_are_left_alone() -> None:
    assert redactor("abc").mask("A", "abcabc") == "abcabc"


def test_each_line_of_a_key_is_found_by_itself() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
    assert redactor(pem).mask("A", f"loaded\n{pem}") == f"loaded\n{MASK}\n{MASK}\n{MASK}\n{MASK}\n"


@given(value=st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=8, max_size=60), cut=st.integers(4, 59))
def test_what_is_left_of_a_value_at_the_edge_of_a_cut_text_is_masked_too(value: str, cut: int) -> None:
    assume(cut < len(value))
    mask = redactor(value).mask
    assert mask("A", f"{value[-cut:]} and so on").startswith(MASK)
    assert mask("A", f"it said {value[:cut]}").endswith(MASK)
    assert mask("A", f"line one\n{'x ' * 200}{value[:cut]}\nline three").split("\n")[1].endswith(MASK)


def test_an_agent_is_not_searched_for_what_belongs_to_another_so_that_it_cannot_try_guesses() -> None:
    mine = redactor("hunter2", agent="A")
    assert mine.mask("B", "hunter2") == "hunter2"
    assert mine.mask_all("hunter2") == MASK
    mine.learn("shared@1", name="shared", agent=None, value="everybody's")
    assert mine.mask("B", "everybody's") == "[secret shared]"


def test_a_removed_secret_is_not_looked_for_any_more() -> None:
    gone = redactor("hunter2")
    assert gone.mask("A", "hunter2") == MASK
    gone.forget("db@1")
    assert gone.mask("A", "hunter2") == "hunter2"


def test_nothing_is_changed_in_a_text_without_secrets() -> None:
    text = "nothing here\n\ue000\n"
    assert redactor().mask("A", text) is text
    assert Redactor().mask("A", text) is text


@pytest.fixture
def _log_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, level=level, force=True)


@pytest.mark.usefixtures("_log_as_before")
@pytest.mark.parametrize("form", ["text", "json"])
def test_our_own_log_never_shows_a_secret_not_in_values_exceptions_or_what_libraries_log(form: str) -> None:
    stream, secret = io.StringIO(), "S3ntinel/Value"
    log.configure(form="json" if form == "json" else "text", level_name="info", stream=stream, mask=redactor(secret).mask_all)
    logger = structlog.get_logger("test")
    logger.info("something", url=f"http://x/?k={quote(secret, safe='')}", nested={"deep": [secret]}, what=Exception(secret))
    try:
        int(f"cannot log in with {secret}")
    except ValueError:
        logger.exception("failed")
        logging.getLogger("library").exception("it failed with %s", secret)
    shown = stream.getvalue()
    assert secret not in shown
    assert "S3ntinel" not in shown
    assert shown.count(MASK) >= 5
    if form == "json":
        assert json.loads(shown.splitlines()[0])["nested"] == {"deep": [MASK]}
