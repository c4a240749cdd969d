"""Routes of the default thresholds. Parse, ask the service, show."""

from fastapi import APIRouter

from agent_servicing.core.thresholds import BUILT_IN, Defaults, in_force
from agent_servicing.services.access import Role
from agent_servicing.services.thresholds import AllThresholds
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.thresholds import AgentThresholdsView, ThresholdsBody, ThresholdsView, said
from agent_servicing.web.views.deployments import thresholds_view

router = APIRouter(tags=["Upgrades and rollbacks"])


@router.get("/settings/thresholds", summary="Show the default thresholds", **needs(Role.VIEWER))
async def show_thresholds(context: Context, caller: Caller) -> ThresholdsView:
    """The limits that upgrades take whose request names none: for all agents, and for those that differ."""
    return _all(await context.services.thresholds.show(caller.reach))


@router.put("/settings/thresholds", summary="Set the default thresholds", **needs(Role.ADMIN))
async def set_thresholds(context: Context, caller: Caller, body: ThresholdsBody) -> ThresholdsView:
    """For all agents, and for upgrades that are asked for from now on. Refused where they contradict one another or what an agent has."""
    require_agent(caller, None)
    return _all(await context.services.thresholds.set_for_all(said(body.thresholds), actor=caller.name, reason=body.reason))


@router.get("/agents/{agent_id}/thresholds", summary="Show an agent's thresholds", **needs(Role.VIEWER))
async def show_agent_thresholds(context: Context, agent_id: str) -> AgentThresholdsView:
    """What an upgrade takes whose request names no limit, and where each comes from."""
    return _of(agent_id, await context.services.thresholds.of(agent_id))


@router.put("/agents/{agent_id}/thresholds", summary="Set an agent's own thresholds", **needs(Role.ADMIN))
async def set_agent_thresholds(context: Context, caller: Caller, agent_id: str, body: ThresholdsBody) -> AgentThresholdsView:
    """They count more than those for all; what is left out is left to those. Nothing in it: the agent has none of its own."""
    after = await context.services.thresholds.set_for_agent(agent_id, said(body.thresholds), actor=caller.name, reason=body.reason)
    return _of(agent_id, after)


def _all(found: AllThresholds) -> ThresholdsView:
    return ThresholdsView(built_in=dict(BUILT_IN), all=dict(found.all), agents={name: dict(own) for name, own in found.agents.items()})


def _of(agent: str, defaults: Defaults) -> AgentThresholdsView:
    return AgentThresholdsView(agent_id=agent, own=dict(defaults.agent), in_force=thresholds_view(in_force(defaults)))
