"""Routes of the audit trail: lists, verification, export. Parse, ask the service, show."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from agent_servicing.core.audit import Anchor
from agent_servicing.core.audit_text import shown
from agent_servicing.services.access import Role
from agent_servicing.services.audit_logger import AuditFilters, AuditPage
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.export import csv_export, json_export
from agent_servicing.web.schemas.audit import AnchorView, AuditEvent, AuditList, SinkList, SinkView, VerificationView
from agent_servicing.web.schemas.queries import AgentAuditQuery, AuditQuery, ExportQuery, VerifyQuery

router = APIRouter(tags=["Audit"])

_EXPORT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, streamed",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "event_id,timestamp,type,agent_id\r\nevt-01…,2026-01-02T02:15:00Z,upgrade,A\r\n",
            },
            "application/json": {"example": {"events": [{"event_id": "evt-01…", "type": "upgrade"}]}},
        },
    }
}


@router.get("/agents/{agent_id}/audit", summary="Audit trail of an agent", **needs(Role.VIEWER))
async def agent_audit(context: Context, agent_id: str, query: Annotated[AgentAuditQuery, Query()]) -> AuditList:
    """What was done to this agent, by whom, why and with what outcome; newest first. Stays when the agent is removed."""
    return _shown(await context.services.audit.list(AuditFilters(agent=agent_id, **query.model_dump())))


@router.get("/audit", summary="Audit trail", **needs(Role.VIEWER))
async def audit(context: Context, caller: Caller, query: Annotated[AuditQuery, Query()]) -> AuditList:
    """The same over all agents, and what concerns none of them."""
    require_agent(caller, query.agent)
    return _shown(await context.services.audit.list(AuditFilters(**query.model_dump())))


@router.get("/audit/export", summary="Export the audit trail", responses=_EXPORT_RESPONSES, **needs(Role.VIEWER))
async def export_audit(context: Context, caller: Caller, query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """Everything that meets the filters as one file, newest first.

    CSV cells that a spreadsheet would take for a formula begin with an apostrophe.
    """
    require_agent(caller, query.agent)
    filters = AuditFilters(**query.model_dump(exclude={"format"}))
    export, media_type = (csv_export, "text/csv") if query.format == "csv" else (json_export, "application/json")
    name = f'attachment; filename="audit.{query.format}"'
    await context.services.audit_exports.begin(filters, form=query.format, actor=caller.name)
    chunks = export(context.services.audit, filters)
    # The first chunk is read here, so that a failure is still an error answer and not a broken file.
    first = await anext(chunks)
    return StreamingResponse(_joined(first, chunks), media_type=media_type, headers={"Content-Disposition": name})


@router.get("/audit/verify", summary="Verify the audit trail", **needs(Role.VIEWER))
async def verify_audit(context: Context, caller: Caller, query: Annotated[VerifyQuery, Query()]) -> VerificationView:
    """Recompute the hash chain over all entries: was anything changed, removed, moved or put in? With `entries` and `head` of an anchor that was
    kept elsewhere, also whether the history was cut or written anew since."""
    require_agent(caller, None)
    anchor = Anchor(entries=query.entries, head=query.head) if query.entries is not None and query.head is not None else None
    return VerificationView.model_validate(await context.services.audit.verify(anchor))


@router.get("/audit/anchor", summary="Where the audit trail ends now", **needs(Role.VIEWER))
async def audit_anchor(context: Context, caller: Caller) -> AnchorView:
    """Two values to keep where whoever runs this server cannot change them. `GET /audit/verify` later takes them."""
    require_agent(caller, None)
    head = await context.services.audit.head()
    return AnchorView(entries=head.written.entries, head=head.written.head, at=context.clock.now())


@router.get("/settings/audit-sinks", summary="Where audit entries are sent", **needs(Role.VIEWER))
async def audit_sinks(context: Context, caller: Caller) -> SinkList:
    """Each sink of the setting `audit_sinks`: how far it has come, how many entries it is behind, and what went wrong last."""
    require_agent(caller, None)
    return SinkList(sinks=[SinkView.model_validate(each) for each in await context.services.audit_sinks.statuses()])


async def _joined(first: str, more: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for chunk in more:
        yield chunk


def _shown(page: AuditPage) -> AuditList:
    return AuditList(events=[AuditEvent.model_validate(shown(event)) for event in page.events], next_cursor=page.next_cursor)
