"""Hypothesis at the edges: any text, any JSON, any nearly right value gets the one error that its reader promises, never another."""

import json
import tomllib
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.core.errors import Invalid
from agent_servicing.core.manifest import Manifest
from agent_servicing.manifest import load_manifest
from agent_servicing.web.live_messages import BadMessage, Ping, Subscribe, Unsubscribe, parse

GOOD = """
[agent]
id = "WowMemory"
[source]
path = "/srv/wow-memory"
[run]
command = ["serve", "--port", "{port}"]
instances = 2
env = { LOG_LEVEL = "INFO" }
[health]
path = "/healthz"
[routing]
conversation_key = "header:X-Conversation-Id"
[config]
schema = "config.schema.json"
file = "config.json"
[state]
directory = "state"
writes = 3
reads = [2, 3]
[[tests.requests]]
path = "/remember"
"""

PIECES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["..", "../../etc", "/etc/passwd", "a/../b", "{port}", "{nobody}", "a\x00b", "\ud800", "header:", "x" * 5_000, "-1", "$(id)"]),
)  # fmt: skip
ANYTHING = st.recursive(
    PIECES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3), max_leaves=8
)
BOUNDED = settings(max_examples=150, derandomize=True, deadline=None)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested values, the containers included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


PLACES = places(tomllib.loads(GOOD))[1:]


@BOUNDED
@given(st.sampled_from(PLACES), ANYTHING)
def test_a_manifest_with_anything_anywhere_is_read_or_refused_with_every_place_named(place: tuple[Any, ...], value: Any) -> None:
    manifest: Any = tomllib.loads(GOOD)
    inner = manifest
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    found = read(manifest)
    if isinstance(found, Invalid):
        assert found.errors
        assert all(each.message for each in found.errors)
    else:
        stays_inside(found)


def read(given: Any) -> Manifest | Invalid:
    try:
        return load_manifest(given, origin="agent.toml")
    except Invalid as error:
        return error


def stays_inside(manifest: Manifest) -> None:
    """Whatever was accepted names no file outside the folders it is for."""
    for named in (manifest.state.directory, manifest.config.file, manifest.config.schema):
        assert named is None or (not named.startswith("/") and ".." not in named.split("/") and "\x00" not in named)


@BOUNDED
@given(
    st.one_of(
        st.text(), st.binary().map(lambda raw: raw.decode("latin-1")), st.text().map(lambda text: GOOD + text), ANYTHING.map(json.dumps)
    )
)
def test_any_text_is_a_manifest_or_one_clear_error(text: str) -> None:
    found = read(text)
    assert isinstance(found, Manifest) or "agent.toml" in found.message


MESSAGES = st.one_of(
    st.text(),
    ANYTHING.map(json.dumps),
    st.dictionaries(
        st.sampled_from(["action", "upgrade_id", "agent_id", "since", "more"]), st.sampled_from(["subscribe", "ping"]) | ANYTHING
    ).map(json.dumps),
    st.text(max_size=2_000).map(lambda text: "[" * len(text)),
)


@BOUNDED
@given(st.fixed_dictionaries({"text": MESSAGES}) | st.fixed_dictionaries({"bytes": st.binary()}) | st.just({}))
def test_any_websocket_message_is_understood_or_a_bad_message(received: dict[str, Any]) -> None:
    with suppress(BadMessage):
        assert isinstance(parse(received), Subscribe | Unsubscribe | Ping)
