"""How often one token or session may ask: a bucket each, so that a script that has run away slows itself and nobody else.

`create_app` puts the middleware inside authentication. What instances report on their link is left out: it is regular, and a thousand ask at once.
"""

from collections import OrderedDict
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_servicing.core.errors import TooMany
from agent_servicing.ports import Clock
from agent_servicing.web.auth import LINK_PATHS, caller_of
from agent_servicing.web.context import WebContext
from agent_servicing.web.problems import error_response

BURST_SECONDS: Final = 10.0
"""So much of the allowance may be used at once, as a page does that opens."""

CALLERS_MAX: Final = 10_000
"""Buckets remembered; whoever asked longest ago is forgotten first, and their bucket is full by then."""


class Buckets:
    """`per_second` requests each on average, ten seconds' worth at once."""

    def __init__(self, *, clock: Clock, per_second: float) -> None:
        self._clock, self._per_second = clock, per_second
        self._size = max(1.0, per_second * BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """0 when the request may pass, else the seconds until one may."""
        now = self._clock.monotonic()
        left, at = self._buckets.get(key, (self._size, now))
        left = min(self._size, left + (now - at) * self._per_second)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


class RateMiddleware:
    """Answers 429 with `Retry-After` to who asks too often."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._buckets = Buckets(clock=context.clock, per_second=context.settings.requests_per_minute / 60)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or LINK_PATHS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if not hasattr(request.state, "caller"):
            await self._app(scope, receive, send)
            return
        wait = self._buckets.take(caller_of(request).token_id)
        if wait > 0:
            error = TooMany(
                "You ask too often.", hint="Retry-After says when to go on; requests_per_minute is the limit.", retry_after_seconds=wait
            )
            await error_response(request, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)
