"""The first answer to a subscription: how things stand, and the place in the event log from which the stream goes on."""

from collections.abc import Sequence
from typing import Any

from agent_servicing.core.errors import Conflict, NotFound
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.services.access import Principal
from agent_servicing.web.auth import require_agent, sees
from agent_servicing.web.context import WebContext
from agent_servicing.web.limits import LIVE_SNAPSHOT_ATTEMPTS
from agent_servicing.web.live_messages import Target
from agent_servicing.web.views.agents import agent_detail, agent_summary
from agent_servicing.web.views.deployments import deployment_view


async def snapshot(context: WebContext, caller: Principal, target: Target, since: int | None, *, brief: bool = False) -> dict[str, Any]:
    """The `snapshot` event. Its `seq` is where the stream goes on: `since` when resuming, else the newest event it contains. `brief`: of a
    subscription to everything no more than that.

    Raises NotFound, Denied, or Conflict `since_ahead` for a number this log has not reached.
    """
    log = context.services.events
    seq = await log.last_seq()
    if since is not None and since > seq:
        raise Conflict(f"The log ends at {seq}, before {since}.", code="since_ahead", hint="Subscribe without since.")
    for _ in range(LIVE_SNAPSHOT_ATTEMPTS):
        view = await _view(context, caller, target, brief)
        newest = await log.last_seq()
        if newest == seq or since is not None:
            break
        seq = newest  # something happened meanwhile: only a view between two equal numbers holds exactly the events up to them
    else:
        view = await _view(context, caller, target, brief)
    return {"event": "snapshot", "seq": seq if since is None else since, "at": _text(context), **view}


async def _view(context: WebContext, caller: Principal, target: Target, brief: bool) -> dict[str, Any]:
    if target.upgrade_id is not None:
        return await _of_upgrade(context, caller, target.upgrade_id, target.agent_id)
    if target.agent_id is not None:
        return await _of_agent(context, caller, target.agent_id)
    nothing: dict[str, Any] = {"upgrade_id": None, "agent_id": None, "upgrade": None}
    return nothing if brief else {**nothing, **await _of_all(context, caller)}


async def _of_upgrade(context: WebContext, caller: Principal, upgrade: str, agent: str | None) -> dict[str, Any]:
    deployment = await context.services.upgrades.find(upgrade)
    require_agent(caller, deployment.agent)
    if agent is not None and agent != deployment.agent:
        raise NotFound(f"{upgrade} belongs to {deployment.agent}, not to {agent}.", code="unknown_deployment")
    try:
        state: AgentState | None = (await context.services.fleet.get(deployment.agent)).state
    except NotFound:
        state = None  # the agent is gone, its deployments stay readable
    return {"upgrade_id": upgrade, "agent_id": deployment.agent, "upgrade": _shown(context, deployment, state)}


async def _of_agent(context: WebContext, caller: Principal, agent: str) -> dict[str, Any]:
    require_agent(caller, agent)
    view = await context.services.fleet.get(agent)
    running = next((d for d in view.state.deployments if d.active), view.last_deployment)
    return {
        "upgrade_id": running.deployment if running else None,
        "agent_id": agent,
        "upgrade": _shown(context, running, view.state) if running else None,
        "upgrades": _open(context, [view.state]),
        "agent": agent_detail(view, now=context.clock.now()).model_dump(mode="json"),
    }


async def _of_all(context: WebContext, caller: Principal) -> dict[str, Any]:
    views = [view for name, view in (await context.services.fleet.views()).items() if sees(caller, name)]
    now = context.clock.now()
    return {
        "upgrades": _open(context, [view.state for view in views]),
        "agents": [agent_summary(view, now=now).model_dump(mode="json") for view in views],
    }


def _open(context: WebContext, states: Sequence[AgentState]) -> list[dict[str, Any]]:
    """Everything under way or waiting."""
    return [_shown(context, deployment, state) for state in states for deployment in state.deployments if not deployment.terminal]


def _shown(context: WebContext, deployment: Deployment, state: AgentState | None) -> dict[str, Any]:
    return deployment_view(deployment, now=context.clock.now(), state=state).model_dump(mode="json")


def _text(context: WebContext) -> str:
    return context.clock.now().isoformat().replace("+00:00", "Z")
