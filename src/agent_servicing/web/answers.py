"""Answers that are given again for a moment: what several pages and scripts ask for over and over is put together once a second at most.

`create_app` puts the middleware inside authentication and before routing. An answer is given again to the same caller only, for the same address,
while nothing was written that anybody is shown; and no longer than `KEPT_SECONDS`, because clocks and processes go on without a write. Where other
processes may write too (PostgreSQL), nothing is kept.
"""

import re
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_servicing.web.auth import caller_of
from agent_servicing.web.context import WebContext

KEPT_SECONDS: Final = 1.0
"""As old as a page's own picture may be that asks every second."""

BYTES_MAX: Final = 16 * 1024 * 1024
"""All kept answers together."""

ANSWER_BYTES_MAX: Final = 512 * 1024
"""A longer one is given once: it is rare, and streams are never kept."""

PATHS: Final = re.compile(
    r"/api/platform/(fleet(/names)?|agents(/[^/]+(/(instances|versions|upgrades|config))?)?|deployments|schedule(/upcoming)?|audit|notifications)"
)
"""What is asked for most and comes from the database."""


@dataclass(frozen=True, slots=True)
class _Answer:
    until: float
    start: Message
    body: bytes


class AnswersMiddleware:
    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app, self._clock, self._mark_now = app, context.clock, context.services.mark
        self._kept: dict[tuple[str, str, bytes], _Answer] = {}
        self._bytes, self._mark = 0, self._mark_now()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not PATHS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        mark = self._mark_now()
        if mark != self._mark:
            self._forget(mark)
        key = (caller_of(Request(scope)).token_id, scope["path"], scope["query_string"])
        answer = self._kept.get(key)
        if answer is not None and answer.until > self._clock.monotonic():
            await send({**answer.start, "headers": list(answer.start["headers"])})
            await send({"type": "http.response.body", "body": answer.body})
        elif mark is None:
            await self._app(scope, receive, send)
        else:
            await self._ask(key, mark, scope, receive, send)

    async def _ask(self, key: tuple[str, str, bytes], mark: int, scope: Scope, receive: Receive, send: Send) -> None:
        until = self._clock.monotonic() + KEPT_SECONDS
        start: Message = {}

        async def keep(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = {**message, "headers": list(message["headers"])}  # those outside add their own to the message
            elif start.get("status") == 200 and not message.get("more_body") and mark == self._mark_now():
                self._keep(key, _Answer(until, start, message["body"]))
            else:
                start = {}  # one of several parts, or not to be kept
            await send(message)

        await self._app(scope, receive, keep)

    def _keep(self, key: tuple[str, str, bytes], answer: _Answer) -> None:
        size = len(answer.body)
        if size > ANSWER_BYTES_MAX:
            return
        if self._bytes + size > BYTES_MAX:
            self._forget(self._mark)
        before = self._kept.get(key)
        self._bytes += size - (len(before.body) if before else 0)
        self._kept[key] = answer

    def _forget(self, mark: int | None) -> None:
        self._kept, self._bytes, self._mark = {}, 0, mark
