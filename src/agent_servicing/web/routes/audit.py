"""Routes of the audit trail: lists, verification, export. Parse, ask the service, show."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from agent_servicing.services.access import Role
from agent_servicing.services.audit_logger import AuditFilters, AuditPage, render
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.export import csv_export, json_export
from agent_servicing.web.limits import PAGE_MAX
from agent_servicing.web.schemas.audit import AuditEvent, AuditList, VerificationView
from agent_servicing.web.schemas.queries import AgentAuditQuery, AuditQuery, ExportQuery

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
    filters = AuditFilters(**query.model_dump(exclude={"format"}), limit=PAGE_MAX)
    chunks, media_type = (csv_export, "text/csv") if query.format == "csv" else (json_export, "application/json")
    name = f'attachment; filename="audit.{query.format}"'
    # The first page is read here, so that a failure is still an error answer and not a broken file.
    first = await context.services.audit.list(filters)
    return StreamingResponse(chunks(context.services.audit, filters, first), media_type=media_type, headers={"Content-Disposition": name})


@router.get("/audit/verify", summary="Verify the audit trail", **needs(Role.VIEWER))
async def verify_audit(context: Context, caller: Caller) -> VerificationView:
    """Recompute the hash chain over all entries: was anything changed, removed or put in between?"""
    require_agent(caller, None)
    return VerificationView.model_validate(await context.services.audit.verify())


def _shown(page: AuditPage) -> AuditList:
    return AuditList(events=[AuditEvent.model_validate(render(event)) for event in page.events], next_cursor=page.next_cursor)
