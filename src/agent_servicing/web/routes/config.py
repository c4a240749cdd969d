"""Routes of configurations: show, patch, check, history, roll back. Parse, ask the service, show."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from agent_servicing.services.access import Role
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.config_hotpatch import Outcome
from agent_servicing.services.config_planning import Change
from agent_servicing.web.auth import Caller, needs
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.schemas.config import (
    ConfigModel,
    ConfigPatchBody,
    ConfigPatchView,
    ConfigRollbackBody,
    ConfigValidateBody,
    RevisionList,
)
from agent_servicing.web.schemas.queries import PageQuery
from agent_servicing.web.views.config import config_model, patch_view, revision_model

router = APIRouter(tags=["Configuration"])

_LATER: dict[int | str, dict[str, Any]] = {
    202: {"model": ConfigPatchView, "description": "It goes on: a safe profile, a rolling restart, or slow instances"}
}


@router.get("/agents/{agent_id}/config", summary="Show the configuration", **needs(Role.VIEWER))
async def show_config(context: Context, agent_id: str) -> ConfigModel:
    """Every value in force, which layer set it and when a change of it takes effect; and how each instance stands. Secrets are masked."""
    return config_model(await context.services.config.show(agent_id))


@router.patch("/agents/{agent_id}/config", summary="Patch the configuration", responses=_LATER, **needs(Role.OPERATOR))
async def patch_config(context: Context, caller: Caller, agent_id: str, body: ConfigPatchBody, response: Response) -> ConfigPatchView:
    """Change values of the running agent, without a restart where the agent can do that.

    The whole configuration is checked by the schema of every version that answers requests, then by every instance's own code, before any
    instance uses it: one refusal and nothing is applied (409 with each reason). Then one instance gets it, is looked at, and the others
    follow; whoever does not confirm it, or fails, makes all of them go back. Keys and agents that read their configuration at the start
    only get a rolling restart, and the dry run says so beforehand.
    """
    change = Change(
        updates=body.config_updates,
        reason=body.reason,
        profile=body.profile,
        places=tuple(body.places),
        expires_seconds=body.expires_seconds,
        parent=body.if_version,
        look_seconds=body.monitor_seconds,
        share_percent=body.percent,
        restart=body.restart,
    )
    hotpatch = context.services.hotpatch
    outcome = await (hotpatch.plan(agent_id, change) if body.dry_run else hotpatch.patch(agent_id, change, actor=caller.name))
    return await _answer(context, outcome, response)


@router.post("/agents/{agent_id}/config/validate", summary="Check a change", **needs(Role.VIEWER))
async def validate_config(context: Context, agent_id: str, body: ConfigValidateBody) -> ConfigPatchView:
    """What the change would do, and whether the schemas allow it; 422 names every problem. The instances are not asked."""
    outcome = await context.services.hotpatch.plan(agent_id, Change(updates=body.config_updates, reason=""))
    return patch_view(outcome, await context.services.config.show(agent_id))


@router.get("/agents/{agent_id}/config/revisions", summary="List configuration revisions", **needs(Role.VIEWER))
async def list_revisions(context: Context, agent_id: str, query: Annotated[PageQuery, Query()]) -> RevisionList:
    """Every change ever asked for with its difference, newest first, refused ones included."""
    before = number_of(query.cursor) if query.cursor is not None else None
    found = await context.services.hotpatch.revisions(agent_id, limit=query.limit + 1, before=before)
    page = found[: query.limit]
    cursor = str(page[-1].number) if len(found) > query.limit else None
    return RevisionList(revisions=[revision_model(each) for each in page], next_cursor=cursor)


@router.post("/agents/{agent_id}/config/rollback", summary="Roll the configuration back", responses=_LATER, **needs(Role.OPERATOR))
async def roll_back_config(
    context: Context, caller: Caller, agent_id: str, body: ConfigRollbackBody, response: Response
) -> ConfigPatchView:
    """Bring back the content of the revision before, or of the one that is named, as a new revision; a change under way is taken back."""
    outcome = await context.services.hotpatch.roll_back(agent_id, target=body.config_version, reason=body.reason, actor=caller.name)
    return await _answer(context, outcome, response)


async def _answer(context: WebContext, outcome: Outcome, response: Response) -> ConfigPatchView:
    """200 for what is settled, 202 for what goes on."""
    if outcome.status not in ("applied", "unchanged", "planned"):
        response.status_code = 202
    return patch_view(outcome, await context.services.config.show(outcome.agent))
