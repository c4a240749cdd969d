"""Called by the demo, the end-to-end tests and the benchmarks: puts steady, bounded load on agents behind the data plane and counts its fate.

Requests are due at even distances; a fixed number of connections sends them. When all are busy for longer than a second the requests due
meanwhile are skipped and counted, so that a slow agent is not met with a flood afterwards.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio

from agent_servicing.core.manifest import TestRequest
from agent_servicing.ports import Clock, Ids
from agent_servicing.testing.ledger import AGENT, Failure, Flip, Ledger, Snapshot
from agent_servicing.testing.loads import Load
from agent_servicing.testing.wire import Answer, Lost, Request, Wire

MOST_CONNECTIONS = 256
MOST_BEHIND_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 0.25
"""How long a worker waits at most before it looks whether it should stop."""

NUMBERS = 97
"""`{n}` in a path becomes the request's number modulo this: enough different keys, and each comes again."""

STREAM_TIMEOUT_SECONDS = 900.0
STREAM_END = b"event: end"


@dataclass(slots=True)
class _Conversation:
    key: str
    requests: int = 0
    version: str | None = None


@dataclass(slots=True)
class _Lane:
    """A load and its open conversations; one that is in use is not among them, so its requests never overtake one another."""

    load: Load
    free: deque[_Conversation] = field(default_factory=deque)


class Traffic:
    """`run` sends until `stop` or until `limit` requests were sent; `snapshot` may be read at any time.

    `base_url` is the data plane's address; the agent's id is put in front of every path. `requests_per_second` is for all loads together.
    """

    def __init__(
        self,
        base_url: str,
        loads: Sequence[Load],
        *,
        requests_per_second: float,
        clock: Clock,
        ids: Ids,
        connections: int = 16,
        timeout_seconds: float = 30.0,
        limit: int | None = None,
    ) -> None:
        if not 1 <= connections <= MOST_CONNECTIONS or requests_per_second <= 0 or not loads:
            raise ValueError(f"needs a load, a rate above 0 and 1 to {MOST_CONNECTIONS} connections")
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._rate, self._connections, self._timeout_seconds, self._limit = requests_per_second, connections, timeout_seconds, limit
        self._clock, self._ids = clock, ids
        self._ledger = Ledger()
        self._cycle = _interleaved([_Lane(load) for load in loads])
        self._taken = 0
        self._numbered = 0
        self._origin = 0.0
        self._stopped = False
        self._streams = anyio.CancelScope()

    def snapshot(self) -> Snapshot:
        """The counts up to now."""
        return self._ledger.snapshot()

    def stop(self) -> None:
        """Send nothing more. `run` returns once what is under way is answered; open streams are closed and not counted as cut."""
        self._stopped = True
        self._streams.cancel()

    async def run(self) -> None:
        """Send until told to stop. Call once."""
        self._origin = self._clock.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_streams)
            async with anyio.create_task_group() as senders:
                for _ in range(self._connections):
                    senders.start_soon(self._sender)
            self.stop()

    async def _sender(self) -> None:
        async with Wire(self._host, self._port) as wire:
            while (slot := await self._next_slot()) is not None:
                lane, request = self._cycle[slot % len(self._cycle)]
                await self._converse(wire, lane, request)

    async def _next_slot(self) -> int | None:
        """Take the next request that is due and wait for its time; None when there is nothing more to send."""
        if self._limit is not None and self._taken >= self._limit:
            return None
        slot = self._taken
        self._taken += 1
        due = self._origin + slot / self._rate
        behind = self._clock.monotonic() - due
        if behind > MOST_BEHIND_SECONDS:
            self._ledger.skipped += int(behind * self._rate)
            self._origin += behind
        while not self._stopped and (wait := due - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(wait, LONGEST_WAIT_SECONDS))
        return None if self._stopped else slot

    async def _converse(self, wire: Wire, lane: _Lane, planned: TestRequest) -> None:
        conversation = self._open(lane)
        answer = await self._send(wire, lane.load, planned, conversation)
        if conversation is None:
            return
        conversation.requests += 1
        if answer is not None:
            self._follow(lane.load.agent, conversation, _version(answer.headers))
        if conversation.requests < lane.load.conversation_length:
            lane.free.append(conversation)

    async def _send(self, wire: Wire, load: Load, planned: TestRequest, conversation: _Conversation | None) -> Answer | None:
        number, request = self._numbered_request(load, planned, conversation)
        began = self._clock.monotonic()
        try:
            answer = await wire.ask(request, timeout_seconds=self._timeout_seconds)
        except Lost as lost:
            self._fail(number, load.agent, lost.kind, lost.headers, conversation, str(lost))
            return None
        except anyio.get_cancelled_exc_class():
            self._ledger.given_up(load.agent)
            raise
        self._ledger.answered(load.agent, _version(answer.headers), (self._clock.monotonic() - began) * 1000)
        self._judge(number, load.agent, answer, conversation)
        return answer

    def _judge(self, number: int, agent: str, answer: Answer, conversation: _Conversation | None) -> bool:
        """Whatever the data plane says by itself is a failure; of what the agent says, only 5xx is."""
        by_router = _version(answer.headers) is None
        if by_router or answer.status >= 500:
            kind = f"router {answer.status}" if by_router else f"{AGENT}{answer.status}"
            self._fail(number, agent, kind, answer.headers, conversation, answer.body[:200].decode(errors="replace"))
            return False
        self._ledger.ok(agent)
        return True

    async def _keep_streams(self) -> None:
        with self._streams:
            async with anyio.create_task_group() as group:
                for lane in {id(lane): lane for lane, _ in self._cycle}.values():
                    for _ in range(lane.load.streams):
                        group.start_soon(self._stream_after_stream, lane.load)

    async def _stream_after_stream(self, load: Load) -> None:
        async with Wire(self._host, self._port) as wire:
            while not self._stopped:
                if not await self._stream(wire, load):
                    await self._clock.sleep(MOST_BEHIND_SECONDS)  # do not hammer an agent that cannot stream

    async def _stream(self, wire: Wire, load: Load) -> bool:
        """Open one stream and listen to its end; whether it came."""
        conversation = _Conversation(self._ids.new("cnv")) if load.conversation_header else None
        number, request = self._numbered_request(load, TestRequest(path=load.stream_path), conversation)
        heard = bytearray()
        try:
            answer = await wire.ask(request, timeout_seconds=STREAM_TIMEOUT_SECONDS, heard=heard.extend)
        except Lost as lost:
            self._ledger.streams_opened += bool(heard)
            self._ledger.streams_cut += bool(heard)
            self._fail(number, load.agent, "stream cut" if heard else lost.kind, lost.headers, conversation, str(lost))
            return False
        except anyio.get_cancelled_exc_class():
            self._ledger.given_up(load.agent)
            raise
        self._ledger.answered(load.agent, _version(answer.headers), None)
        if answer.status >= 400 or _version(answer.headers) is None:
            return self._judge(number, load.agent, answer, conversation)
        self._ledger.streams_opened += 1
        if STREAM_END not in heard:
            self._ledger.streams_cut += 1
            self._fail(number, load.agent, "stream cut", answer.headers, conversation, "it closed without its end event")
            return False
        self._ledger.streams_ended += 1
        self._ledger.ok(load.agent)
        return True

    def _open(self, lane: _Lane) -> _Conversation | None:
        """A conversation to go on with, or a new one; None when the agent has none."""
        if lane.load.conversation_header is None:
            return None
        if lane.free:
            return lane.free.popleft()
        self._ledger.conversations += 1
        return _Conversation(self._ids.new("cnv"))

    def _follow(self, agent: str, conversation: _Conversation, version: str | None) -> None:
        before = conversation.version
        if version is None:
            return
        if before is not None and before != version:
            self._ledger.flipped(
                Flip(number=self._numbered, agent=agent, conversation=conversation.key, before=before, after=version, at=self._clock.now())
            )
        conversation.version = version

    def _numbered_request(self, load: Load, planned: TestRequest, conversation: _Conversation | None) -> tuple[int, Request]:
        self._numbered += 1
        self._ledger.sent(load.agent)
        headers = {**planned.headers, "X-Request-Number": str(self._numbered)}
        if conversation is not None and load.conversation_header:
            headers[load.conversation_header] = conversation.key
        body = b""
        if planned.json is not None:
            body = json.dumps(planned.json).encode()
            headers["Content-Type"] = "application/json"
        target = f"/{load.agent}{planned.path.replace('{n}', str(self._numbered % NUMBERS))}"
        return self._numbered, Request(method=planned.method, target=target, headers=headers, body=body)

    def _fail(
        self, number: int, agent: str, kind: str, headers: Mapping[str, str], conversation: _Conversation | None, detail: str
    ) -> None:
        self._ledger.failed(
            Failure(
                number=number,
                agent=agent,
                kind=kind,
                at=self._clock.now(),
                served_by=headers.get("x-served-by", ""),
                conversation=conversation.key if conversation else None,
                detail=detail,
            )
        )


def _interleaved(lanes: Sequence[_Lane]) -> list[tuple[_Lane, TestRequest]]:
    """One turn of the schedule: every lane as often as its weight times the number of its requests allows, spread out evenly."""
    length = max(len(lane.load.requests) for lane in lanes)
    places = [
        ((place + 0.5) / (lane.load.weight * length), order, lane, lane.load.requests[place % len(lane.load.requests)])
        for order, lane in enumerate(lanes)
        for place in range(lane.load.weight * length)
    ]
    return [(lane, request) for _, _, lane, request in sorted(places, key=lambda item: item[:2])]


def _version(headers: Mapping[str, str]) -> str | None:
    """The version that answered, from `X-Served-By: agent@version/instance`; None when the data plane itself did."""
    served_by = headers.get("x-served-by", "")
    agent_and_version, _, instance = served_by.rpartition("/")
    if not agent_and_version or instance == "router":
        return None
    return agent_and_version.partition("@")[2] or None
