"""Routes of the analysis of one deployment: look at it, replay it, try other limits on it. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.services.access import Role
from agent_servicing.web.auth import needs
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.analysis import AnalysisQuery, AnalysisView, CourseView, TrialBody, TrialView
from agent_servicing.web.views.analysis import analysis_view, course_view, trial_view

router = APIRouter(tags=["Upgrades and rollbacks"])


@router.get("/agents/{agent_id}/upgrades/{upgrade_id}/analysis", summary="Show the analysis", **needs(Role.VIEWER))
async def show_analysis(context: Context, agent_id: str, upgrade_id: str, query: Annotated[AnalysisQuery, Query()]) -> AnalysisView:
    """The verdict with its evidence, the same again replayed from the stored blocks, and the blocks themselves, oldest first."""
    return analysis_view(await context.services.analysis.report(agent_id, upgrade_id, limit=query.limit, cursor=query.cursor))


@router.get("/agents/{agent_id}/upgrades/{upgrade_id}/figures", summary="Show its figures over time", **needs(Role.VIEWER))
async def show_figures(context: Context, agent_id: str, upgrade_id: str) -> CourseView:
    """Both versions from the beginning of the deployment to its end, as points to draw, kept for good. Empty where nothing was compared."""
    return course_view(agent_id, upgrade_id, await context.services.analysis.course(agent_id, upgrade_id))


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/analysis", summary="Try other limits", **needs(Role.VIEWER))
async def try_limits(context: Context, agent_id: str, upgrade_id: str, body: TrialBody) -> TrialView:
    """What other limits would have said of the same traffic, and when. Changes nothing, whatever state the deployment is in."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    return trial_view(upgrade_id, await context.services.analysis.trial(agent_id, upgrade_id, changes))
