"""The WebSocket `/ws/agent-upgrades`: a snapshot, then every event in order, resumable. Reads the event log; holds no events of its own.

A subscription is a position in the log. Hints from the bus, or a poll each second, make the connection read on from there, so a slow
client slows only itself, and nothing is lost or repeated between snapshot, stream and resumption.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import anyio
import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from agent_servicing.core.errors import Denied, ServicingError, TemporaryError
from agent_servicing.services.access import Principal
from agent_servicing.services.views import StoredEvent
from agent_servicing.web.auth import Credential, credential_of, principal_of, sees, unauthenticated
from agent_servicing.web.context import WebContext, context_of
from agent_servicing.web.cookies import check_origin
from agent_servicing.web.limits import (
    LIVE_BATCH,
    LIVE_CONNECTIONS_MAX,
    LIVE_HEARTBEAT_SECONDS,
    LIVE_POLL_SECONDS,
    LIVE_SEND_TIMEOUT_SECONDS,
    LIVE_SUBSCRIPTIONS_MAX,
)
from agent_servicing.web.live_messages import BadMessage, Message, Ping, Subscribe, Target, Unsubscribe, parse
from agent_servicing.web.live_snapshot import snapshot
from agent_servicing.web.problems import problem_response

PATH: Final = "/ws/agent-upgrades"
PROTOCOL: Final = "servicing.v1"
TOKEN_PROTOCOL: Final = "servicing.token."  # noqa: S105  (a prefix)
"""A browser cannot set headers on a WebSocket, and a token in the address ends up in logs; an offered sub-protocol does neither."""

TOPICS: Final = ("events", "agent")
"""What the engine and the services publish after a commit."""

POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013

router = APIRouter()
log = structlog.get_logger(__name__)


class LiveCount:
    """How many connections are open; one per application."""

    def __init__(self) -> None:
        self.open = 0


@router.websocket(PATH)
async def agent_upgrades(socket: WebSocket) -> None:
    """Authenticate during the handshake (401 before anything is accepted), then serve until the client goes."""
    context, count = context_of(socket), socket.app.state.live
    offered = _offered_token(socket)
    credential = Credential(secret=offered) if offered else credential_of(socket, context)
    try:
        if credential is not None and credential.session:
            # A browser sends the cookie whichever page opens the socket, and no other rule of browsers stands in between.
            check_origin(socket, context.settings, needed=True)
        caller = await principal_of(context, credential) if credential else None
    except ServicingError as error:
        status = 403 if isinstance(error, Denied) else 503
        headers = {} if status == 403 else {"Retry-After": "5"}
        await socket.send_denial_response(problem_response(socket, status, error.code, error.message, headers=headers, hint=error.hint))
        return
    if credential is None or caller is None:
        await socket.send_denial_response(unauthenticated(socket, given=credential))
        return
    if count.open >= LIVE_CONNECTIONS_MAX:
        detail = f"{LIVE_CONNECTIONS_MAX} live connections are open."
        await socket.send_denial_response(problem_response(socket, 503, "too_many_connections", detail, headers={"Retry-After": "5"}))
        return
    count.open += 1
    try:
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
        await Connection(context, socket, caller, credential).run()
    finally:
        count.open -= 1


class Connection:
    """One client from accept to close."""

    def __init__(self, context: WebContext, socket: WebSocket, caller: Principal, credential: Credential) -> None:
        self._context, self._socket, self._caller, self._credential = context, socket, caller, credential
        self._positions: dict[Target, int] = {}
        self._turn = anyio.Lock()
        self._wake = anyio.Event()
        self._scope = anyio.CancelScope()
        self._spoke_at = self._checked_at = context.clock.monotonic()

    async def run(self) -> None:
        """Ends when the client leaves, does not read, or loses its token."""
        with self._scope:
            async with anyio.create_task_group() as tasks:
                for topic in TOPICS:
                    tasks.start_soon(self._listen, topic)
                tasks.start_soon(self._stream)
                await self._read()
                self._scope.cancel()

    async def _read(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            try:
                await self._answer(parse(received))
            except BadMessage as error:
                await self._error("bad_message", str(error))
            except ServicingError as error:
                await self._error(error.code, error.message)

    async def _answer(self, message: Message) -> None:
        match message:
            case Subscribe():
                await self._subscribe(message)
            case Unsubscribe():
                known = self._positions.pop(message.target, None) is not None
                fields = {"upgrade_id": message.upgrade_id, "agent_id": message.agent_id, "was_subscribed": known}
                await self._send({"event": "unsubscribed", **fields})
            case Ping():
                await self._send({"event": "pong", "at": _text(self._context.clock.now())})

    async def _subscribe(self, message: Subscribe) -> None:
        target = message.target
        if target not in self._positions and len(self._positions) >= LIVE_SUBSCRIPTIONS_MAX:
            await self._error("too_many_subscriptions", f"A connection holds at most {LIVE_SUBSCRIPTIONS_MAX} subscriptions.")
            return
        # Nothing is streamed between the snapshot and the new position: the lock is the stream's too.
        async with self._turn:
            first = await snapshot(self._context, self._caller, target, message.since, brief=message.brief)
            await self._send(first)
            self._positions[target] = first["seq"]
        self._wake.set()

    async def _listen(self, topic: str) -> None:
        async for _ in self._context.bus.subscribe(topic):
            self._wake.set()

    async def _stream(self) -> None:
        while True:
            with anyio.move_on_after(LIVE_POLL_SECONDS):
                await self._wake.wait()
            self._wake = anyio.Event()
            try:
                await self._deliver()
                await self._check()
            except (ServicingError, TemporaryError) as error:
                log.warning("live_postponed", problem=str(error))  # the log is read again at the next poll; nothing is lost

    async def _deliver(self) -> None:
        """Everything after the positions, oldest first. An event that several subscriptions want is sent once."""
        while self._positions:
            async with self._turn:
                newest = await self._context.services.events.last_seq()
                batch = await self._next_batch()
                for stored in batch:
                    if self._wanted(stored):
                        await self._send(live_event(stored))
                    for target, position in self._positions.items():
                        self._positions[target] = max(position, stored.seq)
                if len(batch) < LIVE_BATCH:
                    # Everything up to here was looked at, also what nobody here wanted: it need not be read again.
                    self._positions = {target: max(position, newest) for target, position in self._positions.items()}
                    return

    async def _next_batch(self) -> Sequence[StoredEvent]:
        if not self._positions:
            return []
        # One subscription is the usual case, and then the database can leave out everything else.
        only = next(iter(self._positions)) if len(self._positions) == 1 else Target()
        lowest = min(self._positions.values())
        return await self._context.services.events.since(lowest, agent=only.agent_id, deployment=only.upgrade_id, limit=LIVE_BATCH)

    def _wanted(self, stored: StoredEvent) -> bool:
        reached = sees(self._caller, stored.event.agent)
        return reached and any(position < stored.seq and target.matches(stored.event) for target, position in self._positions.items())

    async def _check(self) -> None:
        """Whether the token still opens this, and a sign of life on a silent connection."""
        now = self._context.clock.monotonic()
        if now - self._checked_at >= LIVE_HEARTBEAT_SECONDS:
            self._checked_at = now
            caller = await principal_of(self._context, self._credential)
            if caller is None:
                what = "session" if self._credential.session else "token"
                await self._error("unauthenticated", f"This {what} is no longer valid.")
                await self._end(POLICY_VIOLATION, f"{what} no longer valid")
                return
            self._caller = caller
        if now - self._spoke_at >= LIVE_HEARTBEAT_SECONDS:
            await self._send({"event": "heartbeat", "at": _text(self._context.clock.now())})

    async def _error(self, code: str, detail: str) -> None:
        await self._send({"event": "error", "code": code, "detail": detail})

    async def _send(self, document: dict[str, Any]) -> None:
        if self._socket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            with anyio.fail_after(LIVE_SEND_TIMEOUT_SECONDS):
                await self._socket.send_text(json.dumps(document, ensure_ascii=False))
        except WebSocketDisconnect:
            self._scope.cancel()
        except TimeoutError:
            log.info("live_client_too_slow", caller=self._caller.name)
            await self._end(TRY_AGAIN_LATER, "does not read; resume with since")
        self._spoke_at = self._context.clock.monotonic()

    async def _end(self, code: int, reason: str) -> None:
        self._scope.cancel()
        with anyio.move_on_after(1, shield=True):
            await self._socket.close(code, reason)


def live_event(stored: StoredEvent) -> dict[str, Any]:
    """An event as clients get it: its own fields, then those every event has."""
    event = stored.event
    return {
        "reason": event.reason,
        "operator": event.actor,
        **event.data,
        "event": event.type,
        "seq": stored.seq,
        "upgrade_id": event.deployment,
        "agent_id": event.agent,
        "at": _text(event.at),
    }


def _offered_token(socket: WebSocket) -> str | None:
    offers: list[str] = socket.scope.get("subprotocols", [])
    return next((offer.removeprefix(TOKEN_PROTOCOL) or None for offer in offers if offer.startswith(TOKEN_PROTOCOL)), None)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
