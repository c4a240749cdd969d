"""The short way for what a thousand instances ask at the same moment: to subscribe, and to say what they have. `create_app` puts it inside
authentication, before everything that would only look for the route.

It takes what is plainly right and leaves the rest, body included, to `routes.link`, which answers the same and has a sentence for every mistake.
"""

import json
import re
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_servicing.core.config.said import Said
from agent_servicing.web.auth import bearer_token, caller_of, sees
from agent_servicing.web.context import WebContext
from agent_servicing.web.routes.link import EventStream
from agent_servicing.web.schemas.link import LinkReportBody, LinkWanted

_PATH: Final = re.compile(r"/api/platform/agents/([^/]+)/link")
_METHODS: Final = frozenset({"GET", "POST"})
_JSON: Final = "application/json"


class LinkShortcut:
    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app, self._link, self._access = app, context.link, context.services.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] in _METHODS else None
        if place is None or self._link is None:
            await self._app(scope, receive, send)
            return
        request, agent = Request(scope, receive), place[1]
        caller = caller_of(request)
        if caller.instance is None or not sees(caller, agent):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET":
            events = self._link.subscribe(agent, caller.instance)
            await EventStream(events, access=self._access, token=bearer_token(request) or "")(scope, receive, send)
        else:
            body = await request.body()
            said = _said(body) if request.headers.get("content-type") == _JSON else None
            if said is None:
                await self._app(scope, _Again(body, receive).receive, send)
                return
            held = await self._link.report(agent, caller.instance, said)
            wanted = LinkWanted(revision=held.revision if held else None, hash=held.hash if held else None)
            await Response(wanted.model_dump_json(), media_type=_JSON)(scope, receive, send)


class _Again:
    """A body that was read once already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def receive(self) -> Message:
        message, self._message = self._message, None
        return message or await self._receive()


def _said(body: bytes) -> Said | None:
    """None for everything that has a mistake in it."""
    try:
        return LinkReportBody.model_validate(json.loads(body)).said()
    except (ValidationError, ValueError, RecursionError):
        return None
