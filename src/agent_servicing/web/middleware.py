"""What wraps every answer: request id, security headers, a limit on bodies, and a 500 without internals. Plain ASGI, so that streams stay streams."""

import re
from typing import Final

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_servicing.services.origin import Kind, Origin, acting_for
from agent_servicing.web.context import WebContext
from agent_servicing.web.limits import BODY_SILENCE_SECONDS, MAX_BODY_BYTES
from agent_servicing.web.problems import error_response, problem_response

log = structlog.get_logger(__name__)

UPLOAD_PATHS: Final = re.compile(r"/api/platform/agents/[^/]+/versions")
"""Where files are taken in, which are larger than what else is said."""

REQUEST_ID: Final = "X-Request-Id"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""For every answer that does not name its own: nothing may be framed, guessed, loaded by others or kept."""

HSTS: Final = "max-age=31536000"
"""Whoever came over TLS once does not come without it for a year. Names below are not ours to decide about."""


def secure(headers: MutableHeaders, *, scheme: str) -> None:
    """Add what every answer says, unless it says it itself."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if scheme == "https":
        headers.setdefault("Strict-Transport-Security", HSTS)


class ObserveMiddleware:
    """Outermost: names the request, adds the headers, and turns an unexpected error into a plain 500 (logged, nothing leaks)."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._ids = context.ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else self._ids.new("req")
        request.state.request_id = request_id
        started, head = False, scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}  # what can be read can be asked for without its body

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                secure(headers, scheme=scope["scheme"])
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            with acting_for(_origin(request, request_id)):
                await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.debug("client_went_away", path=scope["path"])  # nobody is left to answer
        except Exception as error:
            if started:
                raise  # too late for another answer: the server cuts the connection, which is what a broken answer needs
            await error_response(request, error)(scope, receive, send_with_headers)


def _origin(request: Request, request_id: str) -> Origin:
    """Browsers say of every request how it came about; our command line gives its name. Both can be imitated: who asks is told by the token."""
    kind: Kind = "page" if "sec-fetch-site" in request.headers else "api"
    if request.headers.get("user-agent", "").startswith("servicing-cli"):
        kind = "cli"
    return Origin(kind=kind, address=request.client.host if request.client else None, request_id=request_id)


class BodyLimitMiddleware:
    """Answers 413 for a body over `max_bytes`, at once when its length is announced, and 408 for one that stops arriving.

    `upload_bytes` is the limit where files are taken in.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        upload_bytes: int = MAX_BODY_BYTES,
        silence_seconds: float = BODY_SILENCE_SECONDS,
    ) -> None:
        self._app = app
        self._max_bytes, self._upload_bytes, self._silence_seconds = max_bytes, upload_bytes, silence_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        uploads = scope["method"] == "POST" and UPLOAD_PATHS.fullmatch(scope["path"])
        most = max(self._upload_bytes, self._max_bytes) if uploads else self._max_bytes
        detail = f"The body is larger than {most} bytes."
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            await problem_response(Request(scope), 413, "body_too_large", detail)(scope, receive, send)
            return
        seen, complete = 0, False

        async def receive_limited() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                with anyio.fail_after(self._silence_seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"Nothing of the body arrived for {self._silence_seconds:g} s.") from None
            complete = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > most:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, receive_limited, send)
