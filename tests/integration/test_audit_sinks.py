"""Sinks for audit entries: files, syslog and webhooks that really listen; each in order, at least once, whatever fails on the way."""

import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import h11
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener

from agent_servicing.adapters.audit.opening import open_sinks
from agent_servicing.adapters.system import RandomIds
from agent_servicing.cli.audit_file import check_file
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.ports.audit import AuditSink
from agent_servicing.services.audit_sinks import BATCH, PAUSE_SECONDS_MAX, AuditSinks
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.testing.clock import START, VirtualClock
from tests.certificates import a_certificate
from tests.store_builders import an_event, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(tmp_path) as (database, _):
        yield database


async def write(database: Database, count: int, **changes: object) -> None:
    events = [
        an_event("upgrade", audit=True, at=START + timedelta(seconds=n), data={"n": n, "text": "ä\u2028"}, **changes) for n in range(count)
    ]
    async with database.write() as connection:
        await append(connection, RandomIds(), [each for event in events for each in (event, an_event("metrics_update"))], keep=100_000)


def one(url: str) -> AuditSink:
    (sink,) = open_sinks([url], VirtualClock())
    return sink


async def drain(database: Database, *sinks: AuditSink) -> AuditSinks:
    """Deliver until nothing is left, as the loops do."""
    delivering = AuditSinks(database=database, clock=VirtualClock(), sinks=sinks)
    for sink in sinks:
        while await delivering.deliver(sink):
            pass
    return delivering


@dataclass
class Flaky:
    """A sink that is down when it is told to be, and keeps what it was given."""

    name: str = "flaky"
    target: str = "memory:"
    form: str = "servicing"
    down: bool = False
    error: Exception = field(default_factory=lambda: TemporaryError("it is down"))
    got: list[int] = field(default_factory=list)

    async def deliver(self, entries: Sequence[StoredEvent]) -> None:
        if self.down:
            raise self.error
        self.got += [entry.link.entry for entry in entries if entry.link]


# --- delivery ---


async def test_every_entry_is_delivered_once_in_order_and_after_a_restart_only_what_is_new(database: Database) -> None:
    sink = Flaky()
    await write(database, BATCH * 2 + 3)
    await drain(database, sink)
    await write(database, 2)
    delivering = await drain(database, sink)
    assert sink.got == list(range(1, BATCH * 2 + 6))
    (status,) = await delivering.statuses()
    assert (status.position, status.behind, status.failures, status.problem) == (BATCH * 2 + 5, 0, 0, "")


async def test_one_that_is_down_says_so_waits_longer_each_time_and_catches_up(database: Database) -> None:
    sink, clock = Flaky(down=True), VirtualClock()
    delivering = AuditSinks(database=database, clock=clock, sinks=[sink])
    await write(database, 3)
    waits = []
    for _ in range(12):
        await delivering.deliver(sink)
        (status,) = await delivering.statuses()
        assert status.retry_at is not None
        waits.append((status.retry_at - clock.now()).total_seconds())
    assert (waits[:4], waits[-1]) == ([1, 2, 4, 8], PAUSE_SECONDS_MAX)
    assert (status.behind, status.failures, status.problem) == (3, 12, "it is down")
    sink.down = False
    await delivering.deliver(sink)
    (status,) = await delivering.statuses()
    assert (sink.got, status.behind, status.failures, status.problem, status.retry_at) == ([1, 2, 3], 0, 0, "", None)


@pytest.mark.parametrize("error", [TemporaryError("it is down"), UnicodeError("label too long")])
async def test_one_that_fails_holds_up_neither_the_others_nor_the_loop(database: Database, error: Exception) -> None:
    good, bad = Flaky(name="good"), Flaky(name="bad", down=True, error=error)
    await write(database, BATCH + 1)
    delivering = AuditSinks(database=database, clock=VirtualClock(), sinks=[bad, good])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(delivering.run)
        with anyio.fail_after(30):
            while len(good.got) < BATCH + 1:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert good.got == list(range(1, BATCH + 2))


# --- files ---


async def test_a_file_holds_one_entry_a_line_for_its_owner_only_and_can_be_verified(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "out" / "audit.jsonl"
    await write(database, 5, reason="line\nbreak")
    await drain(database, one(f"file://{path}"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4]
    assert check_file(path, None).valid


async def test_half_a_line_that_a_crash_left_is_taken_away_before_the_next_is_written(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"whole": 1}\n{"half": ')
    await write(database, 1)
    await drain(database, one(f"file://{path}"))
    assert [json.loads(line).get("whole") for line in path.read_text().splitlines()] == [1, None]


def numbers(path: Path) -> list[int]:
    """Of the entries in a file and those it became, oldest first."""
    files = sorted(path.parent.glob(f"{path.name}*"), reverse=True)
    files = [*(each for each in files if each != path), path]
    return [json.loads(line)["chain"]["entry"] for each in files for line in each.read_text().splitlines()]


async def test_a_full_file_is_turned_over_and_the_oldest_goes(database: Database, tmp_path: Path) -> None:
    path, sink = tmp_path / "audit.jsonl", one(f"file://{tmp_path}/audit.jsonl#max_mb=1&files=2")
    for _ in range(5):
        await write(database, 4, reason="x" * 300_000)
        await drain(database, sink)
    assert numbers(path) == list(range(9, 21))


async def test_a_place_that_cannot_be_written_is_tried_again(database: Database, tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("a file")
    await write(database, 1)
    (status,) = await (await drain(database, one(f"file://{tmp_path}/no-folder/audit.jsonl"))).statuses()
    assert (status.behind, status.failures) == (1, 1)
    assert "cannot be written" in status.problem


# --- syslog ---


@asynccontextmanager
async def a_tcp_listener(*, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    got: list[bytes] = []

    async def take(stream: ByteStream) -> None:
        async with stream:
            whole = b""
            async for piece in stream:
                whole += piece
            got.append(whole)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    over = TLSListener(listener, tls, standard_compatible=False) if tls else listener
    async with over, anyio.create_task_group() as tasks:
        tasks.start_soon(over.serve, take)
        yield listener.extra(SocketAttribute.local_port), got
        tasks.cancel_scope.cancel()


async def until(count: int, got: list[bytes]) -> list[int]:
    """Wait for so many connections; the numbers of the entries that came over them."""
    with anyio.fail_after(20):
        while len(got) < count:
            await anyio.lowlevel.checkpoint()
    return [json.loads(each.split(b" ", 7)[7])["chain"]["entry"] for whole in got for each in unframed(whole)]


def unframed(whole: bytes) -> list[bytes]:
    """Octet counting: a length, a space, so many bytes."""
    found = []
    while whole:
        length, _, rest = whole.partition(b" ")
        found.append(rest[: int(length)])
        whole = rest[int(length) :]
    return found


async def test_syslog_over_tcp_is_counted_and_headed_as_the_standard_says(database: Database) -> None:
    await write(database, 3)
    async with a_tcp_listener() as (port, got):
        await drain(database, one(f"syslog+tcp://127.0.0.1:{port}#name=siem"))
        with anyio.fail_after(20):
            while not got:
                await anyio.lowlevel.checkpoint()
    messages = unframed(got[0])
    assert len(messages) == 3
    head, at, host, app, pid, kind, structured, text = messages[0].split(b" ", 7)
    assert (head, at, app, kind, structured) == (b"<109>1", b"2026-01-01T00:00:00.000000Z", b"agent-servicing", b"upgrade", b"-")
    assert host
    assert pid.isdigit()
    assert json.loads(text)["n"] == 0


async def test_syslog_over_udp_is_one_message_a_packet(database: Database) -> None:
    await write(database, 2)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        await drain(database, one(f"syslog+udp://127.0.0.1:{listener.getsockname()[1]}#format=ocsf"))
        first, second = (listener.recv(65_536) for _ in range(2))
    records = [json.loads(each.split(b" ", 7)[7]) for each in (first, second)]
    assert [(r["class_uid"], r["type_uid"], r["metadata"]["sequence"]) for r in records] == [(6003, 600303, 1), (6003, 600303, 2)]


async def test_syslog_that_is_down_is_tried_again(database: Database) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        await write(database, 1)
        (status,) = await (await drain(database, one(f"syslog+tcp://127.0.0.1:{taken.getsockname()[1]}"))).statuses()
    assert (status.behind, "cannot be reached" in status.problem) == (1, True)


async def test_syslog_that_went_away_gets_what_it_missed_when_it_is_back_and_nothing_twice(database: Database) -> None:
    await write(database, 2)
    async with a_tcp_listener() as (port, got):
        sink = one(f"syslog+tcp://127.0.0.1:{port}")
        await drain(database, sink)
        before = await until(1, got)
    await write(database, BATCH + 3)
    (status,) = await (await drain(database, sink)).statuses()
    assert (status.behind, status.failures) == (BATCH + 3, 1)
    async with a_tcp_listener(port=port) as (_, again):
        await drain(database, sink)
        after = await until(2, again)
    assert before + after == list(range(1, BATCH + 6))


async def test_syslog_over_tls_is_believed_by_the_certificates_it_was_given_only(database: Database, tmp_path: Path) -> None:
    cert, key = a_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    await write(database, 3)
    async with a_tcp_listener(tls=context) as (port, got):
        trusting = one(f"syslog+tls://localhost:{port}#ca_file={cert}")
        await drain(database, trusting)
        assert await until(1, got) == [1, 2, 3]
    async with a_tcp_listener(tls=context) as (port, got):
        doubting = one(f"syslog+tls://localhost:{port}")
        await _refused(AuditSinks(database=database, clock=VirtualClock(), sinks=[doubting]), doubting)
        assert got == []


async def _refused(delivering: AuditSinks, sink: AuditSink) -> None:
    await delivering.deliver(sink)
    (status,) = await delivering.statuses()
    assert (status.position, status.failures) == (0, 1)
    assert "certificate" in status.problem.lower()


# --- webhooks ---


@dataclass
class Hook:
    """An HTTP server that keeps requests and gives the answers it was told, the last one again and again."""

    answers: list[int]
    port: int = 0
    requests: list[tuple[dict[bytes, bytes], bytes]] = field(default_factory=list)

    async def serve(self, stream: SocketStream) -> None:
        connection, body, headers = h11.Connection(h11.SERVER), b"", {}
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive())
                elif isinstance(event, h11.Request):
                    headers = dict(event.headers)
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    break
            self.requests.append((headers, body))
            status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            more = [("Location", "http://127.0.0.1:9/")] if status == 307 else []
            answer = h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close"), *more])
            await stream.send((connection.send(answer) or b"") + (connection.send(h11.EndOfMessage()) or b""))


@asynccontextmanager
async def a_hook(*answers: int) -> AsyncIterator[Hook]:
    hook = Hook(list(answers))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        hook.port = listener.extra(SocketAttribute.local_port)
        tasks.start_soon(listener.serve, hook.serve)
        yield hook
        tasks.cancel_scope.cancel()


async def test_a_webhook_gets_batches_with_a_signature_over_time_and_body(database: Database, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    await write(database, BATCH + 1)
    async with a_hook(200) as hook:
        await drain(database, one(f"http://127.0.0.1:{hook.port}/in?tenant=7#secret_file={tmp_path}/secret"))
    assert [len(json.loads(body)["entries"]) for _, body in hook.requests] == [BATCH, 1]
    headers, body = hook.requests[0]
    at = headers[b"x-servicing-timestamp"]
    expected = hmac.new(b"s3cret", at + b"." + body, hashlib.sha256).hexdigest().encode()
    assert headers[b"x-servicing-signature"] == b"sha256=" + expected
    assert int(at) == int(START.timestamp())


@pytest.mark.parametrize("refusal", [500, 404, 307])
async def test_what_a_webhook_did_not_take_is_sent_again(database: Database, refusal: int) -> None:
    await write(database, 2)
    async with a_hook(refusal, 204) as hook:
        sink = one(f"http://127.0.0.1:{hook.port}/")
        (status,) = await (await drain(database, sink)).statuses()
        assert (status.behind, str(refusal) in status.problem) == (2, True)
        (status,) = await (await drain(database, sink)).statuses()
        assert (status.behind, status.problem) == (0, "")
    assert hook.requests[0][1] == hook.requests[1][1]


# --- the setting ---


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (["ftp://x/y"], "no kind of sink"),
        (["file://relative/path"], "whole path"),
        (["syslog+quic://host"], "udp, tcp, tls"),
        (["https:///path"], "no host"),
        (["https://user:hunter2@x/#format=xml"], "format is"),
        (["https://x/#colour=red"], "colour is no option"),
        (["https://x/#secret_file=/nowhere/at/all"], "cannot be read"),
        (["syslog+tls://x/#ca_file=/nowhere/at/all"], "no certificates"),
        (["syslog+tcp://x/#ca_file=/a"], "ca_file is for TLS"),
        (["file:///a#max_mb=0"], "max_mb is a number"),
        (["file:///a#name=../x"], "a name has"),
        (["https://x:99999/"], "no URL"),
        (["file:///a#name=x", "file:///b#name=x"], "two are called x"),
        ([f"file:///{n}" for n in range(11)], "at most 10"),
    ],
)
async def test_a_sink_that_cannot_be_meant_is_said_at_the_start_and_no_password_with_it(urls: list[str], said: str) -> None:
    with pytest.raises(PermanentError, match=said) as caught:
        open_sinks(urls, VirtualClock())
    assert "hunter2" not in str(caught.value)


async def test_a_password_in_a_url_is_not_shown() -> None:
    sink = one("https://user:hunter2@siem.example/in?key=hunter2#format=ocsf")
    assert (sink.target, sink.form) == ("https://siem.example/in", "ocsf")
