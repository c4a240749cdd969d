"""Whatever arrives at the WebSocket of the real server: it answers with an error or closes with a stated code, and nobody else notices."""

import json
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from agent_servicing.web import live
from agent_servicing.web.server import MESSAGE_BYTES_MAX, uvicorn_config
from tests.integration.access_world import PASSWORD, a_browser, a_user
from tests.integration.api_world import AGENT, ApiWorld, open_world

PATIENCE_SECONDS: Final = 60
STATED: Final = frozenset({1000, 1002, 1007, 1009})
"""What a connection may be closed with for what its client sent, as docs/guides/api.md says."""

CUT_OFF: Final = 1006

FUZZ: Final = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@dataclass(kw_only=True)
class Site:
    """A real server on a port of its own, and somebody who is connected all the time."""

    address: str
    token: str
    session: str
    world: ApiWorld
    neighbour: ClientConnection
    failures: list[logging.LogRecord]

    def enter(self, **more: Any) -> ClientConnection:
        given = {"additional_headers": {"Authorization": f"Bearer {self.token}"}, "proxy": None, "open_timeout": PATIENCE_SECONDS, **more}
        return connect(self.address, max_size=None, **given)

    def is_well(self) -> None:
        """The neighbour is served as before, whoever wants to come in comes in, and nothing blew up behind it."""
        assert ping(self.neighbour)
        assert [record.getMessage() for record in self.failures] == []
        assert self.world.app.state.live.open >= 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        start_blocking_portal() as loop,
        loop.wrap_async_context_manager(open_world(tmp_path_factory.mktemp("ws"))) as world,
        socket.create_server(("127.0.0.1", 0)) as listener,
        heard_failures() as failures,
    ):
        server = uvicorn.Server(uvicorn_config(world.app, host="127.0.0.1", port=0))
        serving = loop.start_task_soon(server._serve, [listener])  # `serve` would take the test's signals
        loop.call(started, server)
        address = f"ws://127.0.0.1:{listener.getsockname()[1]}{live.PATH}"
        session = loop.call(signed_in, world)
        with connect(address, additional_headers={"Authorization": f"Bearer {world.admin_token}"}, proxy=None) as neighbour:
            yield Site(address=address, token=world.admin_token, session=session, world=world, neighbour=neighbour, failures=failures)
        server.should_exit = True
        serving.result(PATIENCE_SECONDS)


async def started(server: uvicorn.Server) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while not server.started:
            await anyio.lowlevel.checkpoint()


async def signed_in(world: ApiWorld) -> str:
    await a_user(world, "ada", "viewer")
    async with a_browser(world) as browser:
        assert (await browser.sign_in("ada", PASSWORD)).is_success
        return str(browser.cookie)


@contextmanager
def heard_failures() -> Iterator[list[logging.LogRecord]]:
    """What the server says of applications that failed; a connection whose task blew up is told there and nowhere else."""
    told: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    # uvicorn also complains of every handshake that is refused with an answer; that one has no error to show.
    handler.addFilter(lambda record: record.exc_info is not None)
    handler.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)


def ping(connection: ClientConnection) -> bool:
    """Whether it still answers; what it said before is passed over."""
    connection.send('{"action": "ping"}')
    while json.loads(connection.recv(timeout=PATIENCE_SECONDS))["event"] != "pong":
        pass
    return True


def ended_with(connection: ClientConnection) -> int | None:
    """The code it was closed with; None while it goes on."""
    try:
        ping(connection)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else CUT_OFF
    return None


WORDS: Final = st.sampled_from(["subscribe", "unsubscribe", "ping", "", "__class__", AGENT, "upg-nobody", "\ud800", "\x00", "🜁" * 50])
LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=20)
VALUES: Final = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS.filter(str), inner, max_size=4), max_leaves=12
)
FIELDS: Final = st.fixed_dictionaries(
    {}, optional={"action": WORDS | VALUES, "upgrade_id": VALUES, "agent_id": VALUES, "since": VALUES, "more": VALUES}
)


@dataclass(frozen=True)
class Repeated:
    """A message too long to be shown."""

    unit: str | bytes
    times: int

    @property
    def content(self) -> str | bytes:
        return self.unit * self.times


REPEATED: Final = st.builds(
    Repeated,
    st.sampled_from(["[", '{"a":', '{"action":"subscribe","agent_id":[', " ", "\U0001f701", b"\x00", b"\xff"]),
    st.integers(1, MESSAGE_BYTES_MAX // 4) | st.integers(MESSAGE_BYTES_MAX - 2, MESSAGE_BYTES_MAX + 2) | st.just(2 * MESSAGE_BYTES_MAX),
)
TEXTS: Final = st.one_of(FIELDS.map(json.dumps), VALUES.map(json.dumps), st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
MESSAGES: Final = TEXTS | st.binary(max_size=300) | REPEATED


@FUZZ
@given(messages=st.lists(MESSAGES, min_size=1, max_size=6))
def test_any_messages_get_an_answer_or_a_stated_code_and_nobody_else_notices(site: Site, messages: list[str | bytes | Repeated]) -> None:
    contents = [message.content if isinstance(message, Repeated) else message for message in messages]
    sizes = [len(content.encode() if isinstance(content, str) else content) for content in contents]
    # Who goes on sending to a connection that was ended for a message without end may find it reset before it reads why.
    allowed = {None, *STATED} | ({CUT_OFF} if max(sizes) > MESSAGE_BYTES_MAX else set())
    with site.enter() as connection:
        with suppress(ConnectionClosed):  # by one of the earlier ones
            for content in contents:
                connection.send(content)
        assert ended_with(connection) in allowed
    site.is_well()


@FUZZ
@given(values=st.lists(VALUES, min_size=1, max_size=5), action=st.sampled_from(["subscribe", "unsubscribe"]))
def test_a_field_of_any_type_is_refused_by_name_and_the_connection_stays(site: Site, values: list[Any], action: str) -> None:
    with site.enter() as connection:
        for value in values:
            connection.send(json.dumps({"action": action, "agent_id": value, "since": value}))
            answer = json.loads(connection.recv(timeout=PATIENCE_SECONDS))
            assert answer["event"] in {"error", "snapshot", "unsubscribed"}
            assert answer["event"] != "error" or (answer["code"] and answer["detail"])
        assert ping(connection)
    site.is_well()


def a_frame(opcode: int, payload: bytes, *, first: int, masked: bool, claimed: int | None) -> bytes:
    """One frame as it stands on the wire; `first` holds the bits beside the opcode, `claimed` is a length other than the true one."""
    size = len(payload) if claimed is None else claimed
    mask = 0x80 if masked else 0
    head = bytes([first & 0xF0 | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", size)
    key = b"\x01\x02\x03\x04"
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload)) if masked else payload
    return head + (key if masked else b"") + body


FRAMES: Final = st.builds(
    a_frame,
    st.integers(0, 15),
    st.binary(max_size=200) | st.sampled_from([b"\xff\xfe", b"\xed\xa0\x80", b"\x03\xe8", b"\x00\x00", b'{"action": "ping"}']),
    first=st.sampled_from([0x80, 0x00, 0xF0, 0xC0]),
    masked=st.sampled_from([True, True, True, False]),
    claimed=st.none() | st.none() | st.sampled_from([0, 125, 126, 65535, 65536, 2**31, 2**63, 2**64 - 1]),
)


@FUZZ
@given(frames=st.lists(FRAMES | st.binary(min_size=1, max_size=64), min_size=1, max_size=5))
def test_any_bytes_on_the_wire_end_at_most_their_own_connection(site: Site, frames: list[bytes]) -> None:
    parts = urlsplit(site.address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_SECONDS) as wire:
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        wire.sendall(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {site.token}\r\n\r\n".encode())
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += wire.recv(4096)
        assert heard.startswith(b"HTTP/1.1 101")
        try:
            for frame in frames:
                wire.sendall(frame)
            wire.shutdown(socket.SHUT_WR)
            while piece := wire.recv(65536):
                heard += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # it was cut off for what it sent before
    assert b"Traceback" not in heard
    site.is_well()


ORIGINS: Final = st.sampled_from(
    ["null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1.evil.example", "file://", "http://", "\xff", "http://[::1"]
)


@FUZZ
@given(origin=ORIGINS | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60))
def test_a_session_is_no_use_from_any_other_origin(site: Site, origin: str) -> None:
    parts = urlsplit(site.address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE_SECONDS) as wire:
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        head += f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: servicing_session={site.session}\r\nOrigin: {origin}\r\n\r\n"
        wire.sendall(head.encode("latin-1"))
        assert wire.recv(4096).split(b"\r\n")[0].split()[1] in {b"403", b"400"}
    site.is_well()


def test_the_same_session_gets_in_from_the_page_itself_and_not_without_an_origin(site: Site) -> None:
    host = urlsplit(site.address).netloc
    cookie = {"Cookie": f"servicing_session={site.session}"}
    with site.enter(additional_headers=cookie, origin=f"http://{host}") as connection:
        assert ping(connection)
    with pytest.raises(InvalidStatus), site.enter(additional_headers=cookie):
        pass
    site.is_well()
