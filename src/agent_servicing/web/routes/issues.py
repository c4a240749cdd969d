"""Routes of reports and of where they are opened as issues. Parse, ask the service, show."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from agent_servicing.core.outward import TrackerSettings
from agent_servicing.services.access import Role
from agent_servicing.services.issues import IssueRequest
from agent_servicing.store.issues import Issue
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.issues import IssueList, IssueView, ReportBody, TrackerBody, TrackerTestView, TrackerView
from agent_servicing.web.schemas.outward import SecretReferenceView
from agent_servicing.web.schemas.queries import PageQuery

router = APIRouter(tags=["Reports of problems"])

_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"description": "The zip", "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}}}
}


@router.post("/agents/{agent_id}/issues", summary="Report an issue", status_code=201, **needs(Role.OPERATOR))
async def report_issue(context: Context, caller: Caller, agent_id: str, body: ReportBody) -> IssueView:
    """A bundle of the deployment, its verdict, both versions' figures, configurations, events and last log lines, secrets masked: kept, and
    opened as an issue where a tracker is set up. That happens afterwards; `status` says how far it is.
    """
    request = IssueRequest(deployment=body.upgrade_id, title=body.title, note=body.note, window_seconds=body.window_seconds)
    return _view(await context.services.telling.issues.report(agent_id, request, actor=caller.name))


@router.get("/agents/{agent_id}/issues", summary="List reports of an agent", **needs(Role.VIEWER))
async def list_issues(context: Context, agent_id: str, query: Annotated[PageQuery, Query()]) -> IssueList:
    """Newest first. They stay when the agent is removed."""
    found, cursor = await context.services.telling.issues.list(agent_id, limit=query.limit, cursor=query.cursor)
    return IssueList(issues=[_view(issue) for issue in found], next_cursor=cursor)


@router.get("/agents/{agent_id}/issues/{issue_id}", summary="Show a report", **needs(Role.VIEWER))
async def show_issue(context: Context, agent_id: str, issue_id: str) -> IssueView:
    """How far it is on its way to the tracker, and where its bundle is."""
    return _view(await context.services.telling.issues.get(agent_id, issue_id))


@router.get(
    "/agents/{agent_id}/issues/{issue_id}/bundle",
    summary="Download a report",
    responses=_ZIP,
    response_class=Response,
    **needs(Role.VIEWER),
)
async def download_issue(context: Context, agent_id: str, issue_id: str) -> Response:
    """A zip of JSON files, a summary in Markdown and the logs, at most 1 MiB."""
    content = await context.services.telling.issues.bundle(agent_id, issue_id)
    disposition = f'attachment; filename="{issue_id}.zip"'
    return Response(content, media_type="application/zip", headers={"Content-Disposition": disposition, "Cache-Control": "no-store"})


@router.post("/agents/{agent_id}/issues/{issue_id}/send", summary="Send a report again", status_code=202, **needs(Role.OPERATOR))
async def send_issue(context: Context, caller: Caller, agent_id: str, issue_id: str) -> IssueView:
    """To the tracker that is set up now: a report that was only kept, or that could not be opened."""
    return _view(await context.services.telling.issues.send(agent_id, issue_id, actor=caller.name))


@router.get("/settings/issues", summary="Show where reports are opened", **needs(Role.ADMIN))
async def issue_settings(context: Context, caller: Caller) -> TrackerView:
    """The tracker; of its token the secret's name."""
    require_agent(caller, None)
    return _tracker(await context.services.telling.tracker.get())


@router.put("/settings/issues", summary="Set where reports are opened", **needs(Role.ADMIN))
async def put_issue_settings(context: Context, caller: Caller, body: TrackerBody) -> TrackerView:
    """GitHub, GitLab or a webhook, for all agents; the token is a secret by name. Nobody is contacted."""
    require_agent(caller, None)
    new = TrackerSettings(
        kind=body.kind,
        base_url=body.base_url,
        project=body.project,
        projects=body.projects,
        labels=tuple(body.labels),
        secret=body.token.secret if body.token is not None else None,
    )
    return _tracker(await context.services.telling.tracker.put(new, if_revision=body.if_revision, actor=caller.name))


@router.post("/settings/issues/test", summary="Test where reports are opened", **needs(Role.ADMIN))
async def test_issue_settings(context: Context, caller: Caller) -> TrackerTestView:
    """Asks the tracker that is set up for its projects, with the token; nothing is opened there. A webhook gets `{"event": "test"}`, signed."""
    require_agent(caller, None)
    return TrackerTestView.model_validate(await context.services.telling.issues.test(actor=caller.name))


def _view(issue: Issue) -> IssueView:
    return IssueView(
        issue_id=issue.issue,
        agent_id=issue.agent,
        upgrade_id=issue.deployment,
        title=issue.title,
        note=issue.note,
        reported_by=issue.actor,
        at=issue.at,
        status=issue.status,
        url=issue.url,
        problem=issue.problem,
        attempts=issue.attempts,
        next_at=issue.next_at,
        bundle_bytes=issue.bundle_bytes,
        bundle=f"/api/platform/agents/{issue.agent}/issues/{issue.issue}/bundle",
    )


def _tracker(settings: TrackerSettings) -> TrackerView:
    token = SecretReferenceView.model_validate({"$secret": settings.secret}) if settings.secret is not None else None
    return TrackerView(
        revision=settings.revision,
        kind=settings.kind,
        base_url=settings.base_url,
        project=settings.project,
        projects=dict(settings.projects),
        labels=list(settings.labels),
        token=token,
    )
