"""What wraps every answer: request id, security headers, a limit on bodies, and a 500 without internals. Plain ASGI, so that streams stay streams."""

import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_servicing.web.context import WebContext
from agent_servicing.web.limits import MAX_BODY_BYTES
from agent_servicing.web.problems import error_response, problem_response

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
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise  # too late for another answer: the server cuts the connection, which is what a broken answer needs
            await error_response(request, error)(scope, receive, send_with_headers)


class BodyLimitMiddleware:
    """Answers 413 for a body over `max_bytes`: at once when its length is announced, else as soon as that much has arrived."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"The body is larger than {self._max_bytes} bytes."
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            await problem_response(Request(scope), 413, "body_too_large", detail)(scope, receive, send)
            return
        seen = 0

        async def receive_limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, receive_limited, send)
