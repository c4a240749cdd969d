"""Routes of version management. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.services.access import Role
from agent_servicing.web.auth import needs
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.queries import ChangesQuery
from agent_servicing.web.schemas.versions import Changes, Refreshed, VersionList
from agent_servicing.web.views.versions import changes_view, refreshed, version_list

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


@router.get("/agents/{agent_id}/changes", summary="Compare two versions", **needs(Role.VIEWER))
async def show_changes(context: Context, agent_id: str, query: Annotated[ChangesQuery, Query()]) -> Changes:
    """Changelog by kind, breaking changes, migration notes, configuration schema and manifest differences, and whether there is a way back."""
    return changes_view(await context.services.versions.changes(agent_id, query.from_, query.to))
