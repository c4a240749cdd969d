"""Routes of the link, over which running instances are given configurations and say what they have. Only instances may use them.

Most of what they ask is answered by `link_shortcut` before it gets here; this is the whole of it, with every mistake that can be made.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from agent_servicing.core.errors import Unavailable
from agent_servicing.ports import InstanceLink, LinkEvent
from agent_servicing.services.access import Access
from agent_servicing.web.auth import Caller, bearer_token, needs_instance
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.limits import LINK_SEND_TIMEOUT_SECONDS
from agent_servicing.web.schemas.link import LinkConfigQuery, LinkReportBody, LinkWanted

router = APIRouter(tags=["Instances"])

EVENT_STREAM: Final = "text/event-stream"
REVISION: Final = "X-Servicing-Revision"

_EVENTS: Final = (
    'event: config\ndata: {"phase": "commit", "revision": "cfg-1.2.5-p1", "hash": "9b74…", "document": "{\\n  \\"timeout_seconds\\": 60\\n}\\n", '
    '"apply": {"model": "restart"}, "runtime": {}, "deadline_seconds": 3.0}\n\n: beat\n\n'
)
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events until one side ends it", "content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": _EVENTS}}}
}
_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The text of the configuration file; `ETag` is its hash, `X-Servicing-Revision` the revision that brought it",
        "content": {"application/json": {"schema": {"type": "object"}, "example": {"timeout_seconds": 60}}},
    },
    304: {"description": "Nothing else within `wait` seconds"},
}


@router.get(
    "/agents/{agent_id}/link", summary="Subscribe to the configuration", responses=_STREAM, response_class=Response, **needs_instance()
)
async def subscribe(context: Context, caller: Caller, agent_id: str, request: Request) -> Response:
    """Server-sent events with what the calling instance is to have: at once, and whenever it changes. A comment every ten seconds is a sign
    of life. Every message holds the whole of it, so none must be kept and none is repeated. Of two subscriptions the older one ends.
    """
    instance = caller.instance or ""
    events = _link(context).subscribe(agent_id, instance)
    return EventStream(events, access=context.services.access, token=bearer_token(request) or "")


@router.get(
    "/agents/{agent_id}/link/config", summary="Poll the configuration", responses=_DOCUMENT, response_class=Response, **needs_instance()
)
async def document(
    context: Context, caller: Caller, agent_id: str, request: Request, query: Annotated[LinkConfigQuery, Query()]
) -> Response:
    """The text of the configuration file, for scripts. With `If-None-Match` it is answered as soon as the text is another one; for an
    instance that does nothing else that header is also the acknowledgement of what it has.
    """
    has = _hash(request.headers.get("if-none-match"))
    found = await _link(context).document(agent_id, caller.instance or "", has=has, wait_seconds=query.wait)
    if found is not None:
        headers = {"ETag": f'"{found.held.hash}"', REVISION: found.held.revision}
        return Response(found.text, media_type="application/json", headers=headers)
    if has is not None:
        return Response(status_code=304, headers={"ETag": f'"{has}"'})
    raise Unavailable("What this instance is to have is not known yet.", hint="The server has just started.", code="config_not_known_yet")


@router.post("/agents/{agent_id}/link", summary="Report what the instance has", **needs_instance())
async def report(context: Context, caller: Caller, agent_id: str, body: LinkReportBody) -> LinkWanted:
    """What the calling instance has and what it tried last, after every change and every ten seconds. The answer says what it is to have."""
    held = await _link(context).report(agent_id, caller.instance or "", body.said())
    return LinkWanted(revision=held.revision if held else None, hash=held.hash if held else None)


class EventStream(Response):
    """Enters the subscription when the answer begins, so that it is left however the answer ends."""

    def __init__(self, events: AbstractAsyncContextManager[AsyncIterator[LinkEvent | None]], *, access: Access, token: str) -> None:
        super().__init__(media_type=EVENT_STREAM)
        self._events, self._access, self._token = events, access, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(LINK_SEND_TIMEOUT_SECONDS):
                await send(message)

        async with self._events as events:
            headers = {"X-Accel-Buffering": "no"}
            stream = StreamingResponse(self._texts(events), media_type=EVENT_STREAM, headers=headers)
            await stream(scope, receive, send_in_time)

    async def _texts(self, events: AsyncIterator[LinkEvent | None]) -> AsyncIterator[str]:
        yield ": connected\n\n"
        async for event in events:
            if event is not None:
                yield f"event: {event.event}\ndata: {event.data}\n\n"
            elif await self._access.authenticate_instance(self._token) is None:
                return  # the instance has ended, and somebody else holds its connection
            else:
                yield ": beat\n\n"


def _link(context: WebContext) -> InstanceLink:
    if context.link is None:
        raise Unavailable("Instances cannot connect to this server.", code="link_unavailable")
    return context.link


def _hash(etag: str | None) -> str | None:
    return etag.strip().removeprefix("W/").strip('"') if etag else None
