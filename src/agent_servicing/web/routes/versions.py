"""Routes of version management. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.core.standing import Standing
from agent_servicing.services.access import Principal, Role
from agent_servicing.web.auth import Caller, needs
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.schemas.queries import ChangesQuery
from agent_servicing.web.schemas.versions import Changes, Refreshed, StandingBody, StandingView, VersionList
from agent_servicing.web.views.versions import changes_view, refreshed, standing_view, version_list

router = APIRouter(tags=["Versions"])


@router.get("/agents/{agent_id}/versions", summary="List versions", **needs(Role.VIEWER))
async def list_versions(context: Context, agent_id: str) -> VersionList:
    """The running version, newer ones with their changelogs, the rollback points, and everything known."""
    return version_list(await context.services.versions.list(agent_id))


@router.post("/agents/{agent_id}/versions/refresh", summary="Look for new versions", **needs(Role.OPERATOR))
async def refresh_versions(context: Context, agent_id: str) -> Refreshed:
    """Ask the agent's source now instead of waiting for the timer."""
    versions = context.services.versions
    new = await versions.refresh(agent_id)
    return refreshed(await versions.list(agent_id), new)


@router.post("/agents/{agent_id}/versions/{version}/deprecate", summary="Deprecate a version", **needs(Role.OPERATOR))
async def deprecate_version(context: Context, caller: Caller, agent_id: str, version: str, body: StandingBody) -> StandingView:
    """Advise against it: it can still be deployed, with a warning, and is recommended no more."""
    return await _marked(context, caller, agent_id, version, Standing.DEPRECATED, body)


@router.post("/agents/{agent_id}/versions/{version}/withdraw", summary="Withdraw a version", **needs(Role.OPERATOR))
async def withdraw_version(context: Context, caller: Caller, agent_id: str, version: str, body: StandingBody) -> StandingView:
    """It cannot be deployed any more, and upgrades to it that wait are cancelled. Where it runs it goes on, with a warning."""
    return await _marked(context, caller, agent_id, version, Standing.WITHDRAWN, body)


@router.post("/agents/{agent_id}/versions/{version}/restore", summary="Restore a version", **needs(Role.OPERATOR))
async def restore_version(context: Context, caller: Caller, agent_id: str, version: str, body: StandingBody) -> StandingView:
    """Neither deprecated nor withdrawn any more, even if its source says so."""
    return await _marked(context, caller, agent_id, version, Standing.AVAILABLE, body)


async def _marked(context: WebContext, caller: Principal, agent: str, version: str, standing: Standing, body: StandingBody) -> StandingView:
    return standing_view(await context.services.standing.mark(agent, version, standing, reason=body.reason, actor=caller.name))


@router.get("/agents/{agent_id}/changes", summary="Compare two versions", **needs(Role.VIEWER))
async def show_changes(context: Context, agent_id: str, query: Annotated[ChangesQuery, Query()]) -> Changes:
    """Changelog by kind, breaking changes, migration notes, configuration schema and manifest differences, and whether there is a way back."""
    return changes_view(await context.services.versions.changes(agent_id, query.from_, query.to))
