"""Sending through Apprise to local servers: what arrives, and what is said when nothing does, never with any part of an address."""

import threading
from collections.abc import Iterator
from email import message_from_bytes, policy

import anyio
import pytest

from agent_servicing.adapters.apprise_sender import AppriseSender
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.notices import Severity
from agent_servicing.ports.outward import Letter
from tests.integration.receivers import Receiver, Reply, dripping, free_port, http_receiver, mail_receiver, monotonic

pytestmark = pytest.mark.anyio

LETTER = Letter(key="ntf-1", title="WowCache rolled back", text="Error rate 8.2% > 5%\nntf-1", severity=Severity.ERROR)
SECRET = "s3cr3t-path-token"


@pytest.fixture
def sender() -> AppriseSender:
    return AppriseSender(clock=SystemClock())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as server:
        yield server


async def test_a_webhook_gets_title_text_and_kind(sender: AppriseSender, receiver: Receiver) -> None:
    await sender.send("hook", f"{receiver.address}/{SECRET}", LETTER)
    (request,) = receiver.taken
    assert (request.method, request.path) == ("POST", f"/{SECRET}")
    assert request.json["title"] == LETTER.title
    assert request.json["message"] == LETTER.text
    assert request.json["type"] == "failure"
    await sender.send("hook", receiver.address, Letter(key="k", title="t", text="t", severity=Severity.INFO, good=True))
    assert receiver.bodies()[-1]["type"] == "success"


async def test_a_chat_webhook_of_the_shape_that_slack_made_usual(sender: AppriseSender, receiver: Receiver) -> None:
    """Slack's own host is fixed in Apprise; Mattermost takes the same webhooks at any host."""
    receiver.reply = lambda _: Reply(body=b"ok")
    await sender.send("chat", f"mmost://127.0.0.1:{receiver.port}/yobjmukpaw3r3urc5h6i369yima", LETTER)
    (request,) = receiver.taken
    assert request.path == "/hooks/yobjmukpaw3r3urc5h6i369yima"
    assert "WowCache rolled back" in request.json["text"]


async def test_a_mail_arrives(sender: AppriseSender) -> None:
    with mail_receiver() as box:
        await sender.send("mail", f"mailto://127.0.0.1:{box.port}/ops@example.org?from=servicing@example.org&mode=insecure", LETTER)
        (envelope,) = box.mails
    assert envelope.rcpt_tos == ["ops@example.org"]
    mail = message_from_bytes(bytes(envelope.content or b""), policy=policy.default)
    assert mail["Subject"] == LETTER.title
    body = mail.get_body()
    assert body is not None
    assert "Error rate 8.2% > 5%" in body.get_content()


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_refusal_is_a_failure_that_names_the_status(sender: AppriseSender, receiver: Receiver, status: int) -> None:
    receiver.reply = lambda _: Reply(status=status)
    with pytest.raises(TemporaryError, match=str(status)) as caught:
        await sender.send("hook", f"json://ada:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}/x?+X-Key={SECRET}", LETTER)
    assert SECRET not in str(caught.value)


async def test_a_redirect_is_not_followed(sender: AppriseSender, receiver: Receiver) -> None:
    with http_receiver() as elsewhere:
        for status in (301, 302, 307, 308):
            receiver.reply = lambda _, status=status: Reply(status=status, headers={"Location": f"{elsewhere.url}/taken"})  # type: ignore[misc]
            with pytest.raises(TemporaryError):
                await sender.send("hook", receiver.address, LETTER)
        assert elsewhere.taken == []
    assert len(receiver.taken) == 4


@pytest.mark.parametrize("address", [f"json://127.0.0.1:{{port}}/{SECRET}", f"json://no-such-host.invalid/{SECRET}"])
async def test_nobody_there_is_a_failure_without_the_address(sender: AppriseSender, address: str) -> None:
    with pytest.raises(TemporaryError) as caught:
        await sender.send("hook", address.format(port=free_port()), LETTER)
    assert str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_server_that_never_ends_its_answer_is_left_after_the_limit_and_not_asked_beside_that(anyio_backend: str) -> None:
    sender = AppriseSender(clock=SystemClock(), send_seconds=0.5)
    port, end = dripping()
    try:
        began = monotonic()
        with pytest.raises(TemporaryError, match=r"within 0\.5 s"):
            await sender.send("drip", f"json://127.0.0.1:{port}/", LETTER)
        assert monotonic() - began < 5
        with pytest.raises(TemporaryError, match="busy with the message before"):
            await sender.send("drip", f"json://127.0.0.1:{port}/", LETTER)
    finally:
        end()


async def test_one_slow_target_does_not_hold_up_another(sender: AppriseSender, receiver: Receiver) -> None:
    held = threading.Event()
    receiver.reply = lambda request: Reply(hold=held if request.path == "/slow" else None)
    done: list[str] = []

    async def send(name: str) -> None:
        await sender.send(name, f"{receiver.address}/{name}", LETTER)
        done.append(name)
        held.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, "slow")
        tasks.start_soon(send, "quick")
    assert done == ["quick", "slow"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"json://ada:{SECRET}@127.0.0.1:8000/{SECRET}?+X-Key={SECRET}", "json://127.0.0.1:8000/****"),
        (f"slack://T1JJ3T3L2/A1BRTD4JD/{'TIiajkdnlazkcOXrIdevi7dQ'}/#ops", "slack://****"),
        (f"mailtos://ada:{SECRET}@example.org", "mailtos://example.org/****"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", "tgram://****"),
    ],
)
async def test_an_address_is_shown_without_anything_secret(sender: AppriseSender, address: str, shown: str) -> None:
    assert (await sender.describe(address)).shown == shown


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "json://",
        "nosuch://host",
        f"nosuch-{SECRET}://host",
        "syslog://",
        "dbus://",
        "json://127.0.0.1:99999/",
        "json://a\nb",
        "json://" + "a" * 5000,
    ],
)
async def test_an_address_that_cannot_be_one_is_refused_without_repeating_it(sender: AppriseSender, address: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await sender.describe(address)
    assert SECRET not in str(caught.value)
