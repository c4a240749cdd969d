"""Between the network and the application: which `Host` is ours, and connections that never finish saying what they want.

`server` puts it around the application. A page of somebody else whose name was made to point here (DNS rebinding) sends that name as `Host`.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent_servicing.web.middleware import secure
from agent_servicing.web.problems import problem_response

HEAD_SECONDS: Final = 20.0
"""From the first byte of a request, or from the connection when none comes, until its headers are complete."""

LOCAL_NAMES: Final = frozenset({"localhost"})

log = structlog.get_logger(__name__)


class HostCheck:
    """Answers 421 to a `Host` that is neither an address, nor this machine's own name for itself, nor one that the settings name."""

    def __init__(self, app: ASGIApp, *, allowed: Iterable[str]) -> None:
        self._app = app
        names = {name.lower() for name in allowed}
        self._suffixes = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        self._names = LOCAL_NAMES | {name for name in names if not name.startswith("*.")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._ours(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)

    def _ours(self, host: str) -> bool:
        name = _without_port(host).lower().rstrip(".")
        return name in self._names or name.endswith(self._suffixes) or _is_address(name)

    def _refusal(self, scope: Scope) -> Response:
        detail = "This server is not known under the Host of the request."
        hint = "Use its address, or name it in the setting allowed_hosts."
        answer = problem_response(HTTPConnection(scope), 421, "host_not_allowed", detail, hint=hint)
        secure(answer.headers, scheme=scope["scheme"])
        return answer


def bounded(head_seconds: float) -> type["BoundedProtocol"]:
    """The protocol with this limit; uvicorn makes one object of the class for each connection, and passes no options of ours."""
    return type("BoundedProtocol", (BoundedProtocol,), {"head_seconds": head_seconds})


def _without_port(host: str) -> str:
    if host.startswith("["):
        inner, closed, _ = host[1:].partition("]")
        return inner if closed else ""
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    """An address cannot be made to point elsewhere, so no foreign page has it as its name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class BoundedProtocol(H11Protocol):
    """uvicorn's, which waits for ever for the rest of a request's headers. What comes after them is bounded by the middlewares."""

    head_seconds = HEAD_SECONDS
    _head: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._awaits_head():
            self._disarm()
        elif self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _awaits_head(self) -> bool:
        upgraded = self.transport.get_protocol() is not self  # a WebSocket has limits of its own
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return not upgraded and (cycle is None or cycle.response_complete)

    def _disarm(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        # One that is kept alive and silent has the shorter limit of uvicorn's own.
        if self._awaits_head() and not self.transport.is_closing():
            log.debug("request_never_began", seconds=self.head_seconds)
            self.transport.close()
