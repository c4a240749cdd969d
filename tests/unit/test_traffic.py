"""The traffic generator against a data plane of our own making: whatever is lost must be seen, and nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
import h11
import pytest
from anyio.abc import SocketAttribute, SocketStream

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.manifest import TestRequest
from agent_servicing.testing.ledger import Snapshot
from agent_servicing.testing.loads import SAMPLE_LOADS, Load
from agent_servicing.testing.traffic import Traffic
from agent_servicing.testing.wire import Request, Wire

pytestmark = pytest.mark.anyio

FAST = 100_000.0
PLAIN = Load(agent="A", requests=(TestRequest(path="/thing/{n}"),))
TALKATIVE = Load(agent="A", requests=(TestRequest(path="/thing"),), conversation_header="X-Conversation-Id", conversation_length=5)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the stand-in answers; `cut` closes the connection before the end, `silent` before the start, `closes` afterwards."""

    status: int = 200
    served_by: str | None = "A@1.0.0/g1-1-1"
    pieces: tuple[bytes, ...] = (b"fine",)
    cut: bool = False
    silent: bool = False
    closes: bool = False


@dataclass(slots=True)
class Plane:
    """A stand-in for the data plane: answers each request, numbered from 0, as `decide` says."""

    decide: Callable[[int, h11.Request], Reply]
    asked: list[h11.Request] = field(default_factory=list)
    connections: int = 0
    closed: anyio.Event = field(default_factory=anyio.Event)

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        with suppress(anyio.BrokenResourceError):  # the client may go at any time
            async with stream:
                await self._answer(stream)
        self.closed.set()

    async def _answer(self, stream: SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        while (request := await self._request(http, stream)) is not None:
            reply = self.decide(len(self.asked), request)
            self.asked.append(request)
            await stream.send(self._head(http, reply))
            for piece in () if reply.silent else reply.pieces:
                await stream.send(http.send(h11.Data(data=piece)) or b"")
            if reply.silent or reply.cut:
                return
            await stream.send(http.send(h11.EndOfMessage()) or b"")
            if reply.closes:
                return
            http.start_next_cycle()

    async def _request(self, http: h11.Connection, stream: SocketStream) -> h11.Request | None:
        found = None
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                try:
                    http.receive_data(await stream.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return None
            elif isinstance(event, h11.Request):
                found = event
            elif isinstance(event, h11.EndOfMessage):
                return found

    def _head(self, http: h11.Connection, reply: Reply) -> bytes:
        if reply.silent:
            return b""
        headers = [("Transfer-Encoding", "chunked")]
        if reply.served_by:
            headers.append(("X-Served-By", reply.served_by))
        return http.send(h11.Response(status_code=reply.status, headers=headers)) or b""


@asynccontextmanager
async def listening(plane: Plane) -> AsyncIterator[str]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, plane.serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


async def sent(decide: Callable[[int, h11.Request], Reply], *, load: Load = PLAIN, limit: int = 40, connections: int = 4) -> Snapshot:
    """Send that many requests; what the ledger says afterwards."""
    async with listening(Plane(decide)) as url:
        traffic = Traffic(url, [load], requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), connections=connections, limit=limit)
        await traffic.run()
        return traffic.snapshot()


async def test_what_is_answered_is_counted_by_version_and_nothing_is_lost() -> None:
    counts = await sent(lambda number, _: Reply(served_by="A@1.0.0/one" if number < 30 else "A@2.0.0/two"))
    assert (counts.sent, counts.ok, counts.lost, counts.in_flight) == (40, 40, 0, 0)
    assert counts.agents["A"].versions == {"1.0.0": 30, "2.0.0": 10}
    assert sum(counts.agents["A"].histogram) == 40


async def test_an_agents_own_error_is_a_failure_but_not_a_lost_request() -> None:
    counts = await sent(lambda number, _: Reply(status=500 if number % 4 == 0 else 200))
    assert counts.failed == {"agent 500": 10}
    assert counts.lost == 0


@pytest.mark.parametrize("served_by", ["A/router", None])
@pytest.mark.parametrize("status", [404, 502, 503])
async def test_whatever_the_router_answers_by_itself_is_a_lost_request(served_by: str | None, status: int) -> None:
    counts = await sent(lambda number, _: Reply(status=status, served_by=served_by) if number == 7 else Reply())
    assert counts.failed == {f"router {status}": 1}
    assert counts.lost == 1
    assert counts.failures[0].kind == f"router {status}"


@pytest.mark.parametrize("reply", [Reply(silent=True), Reply(cut=True)])
async def test_a_connection_that_ends_before_its_response_is_a_lost_request_and_the_next_one_goes_on(reply: Reply) -> None:
    counts = await sent(lambda number, _: reply if number == 7 else Reply())
    assert counts.failed == {"dropped": 1}
    assert counts.ok == 39


async def test_nobody_listening_is_counted_for_every_request() -> None:
    async with listening(Plane(lambda *_: Reply())) as url:
        pass
    traffic = Traffic(url, [PLAIN], requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), limit=5)
    await traffic.run()
    assert traffic.snapshot().failed == {"connect": 5}


async def test_an_answer_that_never_comes_is_a_timeout() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as deaf:
        url = f"http://127.0.0.1:{deaf.extra(SocketAttribute.local_port)}"
        traffic = Traffic(url, [PLAIN], requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), timeout_seconds=0.05, limit=2)
        await traffic.run()
    assert traffic.snapshot().failed == {"timeout": 2}


async def test_a_connection_that_was_closed_between_requests_is_no_loss() -> None:
    plane = Plane(lambda *_: Reply(closes=True))
    async with listening(plane) as url, Wire("127.0.0.1", int(url.rpartition(":")[2])) as wire:
        await wire.ask(Request(method="GET", target="/"), timeout_seconds=10)
        await plane.closed.wait()
        assert (await wire.ask(Request(method="GET", target="/"), timeout_seconds=10)).status == 200
    assert plane.connections == 2


async def test_connections_are_kept_open() -> None:
    plane = Plane(lambda *_: Reply())
    async with listening(plane) as url:
        await Traffic(url, [PLAIN], requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), connections=3, limit=60).run()
    assert plane.connections <= 3


async def test_every_request_has_a_number_of_its_own_and_paths_vary() -> None:
    plane = Plane(lambda *_: Reply())
    async with listening(plane) as url:
        await Traffic(url, [PLAIN], requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), limit=50).run()
    assert {dict(request.headers)[b"x-request-number"] for request in plane.asked} == {str(number).encode() for number in range(1, 51)}
    assert len({request.target for request in plane.asked}) == 50


async def test_conversations_have_their_length_and_a_change_of_version_within_one_is_a_flip() -> None:
    turned: set[bytes] = set()

    def one_conversation_moves(number: int, request: h11.Request) -> Reply:
        key = dict(request.headers)[b"x-conversation-id"]
        moved = bool(turned) and key in turned
        if number == 2:
            turned.add(key)
        return Reply(served_by="A@2.0.0/two" if moved else "A@1.0.0/one")

    counts = await sent(one_conversation_moves, load=TALKATIVE, limit=40, connections=1)
    assert counts.conversations == 8
    assert counts.version_flips == 1
    assert (counts.flips[0].before, counts.flips[0].after) == ("1.0.0", "2.0.0")


STREAMING = Load(agent="A", requests=(TestRequest(path="/thing"),), streams=1, stream_path="/stream")


async def streamed(decide: Callable[[int, h11.Request], Reply], enough: Callable[[Snapshot], bool]) -> Snapshot:
    """Let streams come and go until the counts are as wanted."""
    async with listening(Plane(decide)) as url, anyio.create_task_group() as group:
        clock = SystemClock()
        traffic = Traffic(url, [STREAMING], requests_per_second=50, clock=clock, ids=RandomIds(), connections=1)
        group.start_soon(traffic.run)
        with anyio.fail_after(30):
            while not enough(traffic.snapshot()):
                await clock.sleep(0.01)
        traffic.stop()
    return traffic.snapshot()


def stream(*pieces: bytes, cut: bool = False) -> Callable[[int, h11.Request], Reply]:
    return lambda _, request: Reply(pieces=pieces, cut=cut) if request.target.endswith(b"/stream") else Reply()


async def test_a_stream_that_reaches_its_end_event_is_fine() -> None:
    counts = await streamed(stream(b"event: tick\n\n", b"event: end\n\n"), lambda counts: counts.streams_ended >= 3)
    assert counts.streams_cut == 0
    assert counts.failed == {}


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_stops_without_its_end_event_was_cut(cut: bool) -> None:
    counts = await streamed(stream(b"event: tick\n\n", cut=cut), lambda counts: counts.streams_cut >= 1)
    assert counts.failed == {"stream cut": counts.streams_cut}
    assert counts.lost == counts.streams_cut


async def test_stopping_closes_an_open_stream_without_calling_it_cut() -> None:
    opened = anyio.Event()

    async def endless(connection: SocketStream) -> None:
        async with connection:
            await connection.receive()
            await connection.send(b"HTTP/1.1 200 OK\r\nX-Served-By: A@1/i\r\nContent-Length: 100\r\n\r\nevent: tick")
            opened.set()
            with pytest.raises(anyio.EndOfStream):
                await connection.receive()

    quiet = Load(agent="A", requests=(TestRequest(),), streams=1)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, endless)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        traffic = Traffic(url, [quiet], requests_per_second=0.001, clock=SystemClock(), ids=RandomIds(), connections=1, timeout_seconds=1)
        async with anyio.create_task_group() as running:
            running.start_soon(traffic.run)
            with anyio.fail_after(30):
                await opened.wait()
            traffic.stop()
        group.cancel_scope.cancel()
    counts = traffic.snapshot()
    assert (counts.streams_cut, counts.streams_ended) == (0, 0)


async def test_the_sample_load_asks_every_agent_by_its_weight() -> None:
    loads = [Load(agent=load.agent, requests=load.requests, weight=load.weight) for load in SAMPLE_LOADS]
    plane = Plane(lambda *_: Reply())
    async with listening(plane) as url:
        await Traffic(url, loads, requests_per_second=FAST, clock=SystemClock(), ids=RandomIds(), limit=100).run()
    shares = {load.agent: sum(request.target.startswith(b"/" + load.agent.encode()) for request in plane.asked) for load in loads}
    assert shares == {"WowMemory": 30, "WowOrchestrator": 10, "WowCache": 40, "WowDomain": 20}


async def test_a_load_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        Traffic("http://127.0.0.1:1", [PLAIN], requests_per_second=0, clock=SystemClock(), ids=RandomIds())
