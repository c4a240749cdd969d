"""Routes of the fleet: agents and their instances, logs and metrics. Parse, ask the service, show."""

from pathlib import Path, PurePath
from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.core.manifest import Manifest
from agent_servicing.manifest import MANIFEST_NAME, load_manifest, resolve_source
from agent_servicing.services.access import Role
from agent_servicing.services.agent_lock import Seen
from agent_servicing.services.fleet_views import AgentSearch, found
from agent_servicing.web.auth import Caller, needs, require_agent, sees
from agent_servicing.web.context import Context
from agent_servicing.web.limits import NAMES_MAX
from agent_servicing.web.paging import page_after
from agent_servicing.web.schemas.agents import (
    AddAgentBody,
    AgentAccepted,
    AgentAdded,
    AgentDetail,
    AgentList,
    AgentMetrics,
    AgentNames,
    FleetView,
    InstanceList,
    LogLineView,
    LogView,
    RestartBody,
    ScaleBody,
)
from agent_servicing.web.schemas.deployments import DeploymentView
from agent_servicing.web.schemas.generations import GenerationList
from agent_servicing.web.schemas.queries import AgentsQuery, LogsQuery, MetricsQuery, RemoveQuery
from agent_servicing.web.views.agents import agent_added, agent_detail, agent_summary, generation_list, instance_list, metrics_view
from agent_servicing.web.views.deployments import deployment_view

router = APIRouter(tags=["Agents"])


@router.get("/agents", summary="List agents", **needs(Role.VIEWER))
async def list_agents(context: Context, caller: Caller, query: Annotated[AgentsQuery, Query()]) -> AgentList:
    """The agents this token reaches, with version, health, available updates and newest deployment; narrowed and ordered as asked for.

    `total` is how many there are on all pages. An agent whose place in the order changes between two pages may be missed or come twice.
    """
    search = AgentSearch(words=query.q, health=query.health, attention=query.attention, sort=query.sort, descending=query.descending)
    reached = [view for name, view in (await context.services.fleet.views()).items() if sees(caller, name)]
    now = context.clock.now()
    views = found(reached, search, now)
    page, cursor = page_after(views, lambda view: view.state.agent.agent, query)
    return AgentList(agents=[agent_summary(view, now=now) for view in page], next_cursor=cursor, total=len(views))


@router.post("/agents", summary="Add an agent", status_code=201, **needs(Role.OPERATOR))
async def add_agent(context: Context, caller: Caller, body: AddAgentBody, response: Response) -> AgentAdded:
    """Take on an agent from its manifest and install its first version.

    The installation is a deployment like any other: follow `upgrade_id`. A relative source is resolved against the folder of
    `manifest_path` on the server's machine.
    """
    manifest = _manifest(body)
    require_agent(caller, manifest.agent)
    fleet = context.services.fleet
    agent, deployment = await fleet.add(manifest, version=body.version, actor=caller.name, reason=body.reason)
    response.headers["Location"] = f"/api/platform/agents/{agent.agent}"
    return agent_added(await fleet.get(agent.agent), deployment.deployment, now=context.clock.now())


@router.get("/agents/{agent_id}", summary="Show an agent", **needs(Role.VIEWER))
async def show_agent(context: Context, agent_id: str) -> AgentDetail:
    """One agent whole: versions running, traffic, health, what is under way or waiting, rollback points, manifest."""
    return agent_detail(await context.services.fleet.get(agent_id), now=context.clock.now())


@router.delete("/agents/{agent_id}", summary="Remove an agent", status_code=202, **needs(Role.ADMIN))
async def remove_agent(context: Context, caller: Caller, agent_id: str, query: Annotated[RemoveQuery, Query()]) -> AgentAccepted:
    """Drain and end all of its instances, then forget the agent. Its history stays in the audit trail."""
    view = await context.services.fleet.get(agent_id)
    seen = Seen(if_state=query.if_state, if_version=query.if_version)
    await context.services.fleet.remove(agent_id, actor=caller.name, reason=query.reason, seen=seen)
    return AgentAccepted(agent_id=agent_id, status="removing", instances=view.state.agent.instances)


@router.post("/agents/{agent_id}/scale", summary="Change the number of instances", status_code=202, **needs(Role.OPERATOR))
async def scale_agent(context: Context, caller: Caller, agent_id: str, body: ScaleBody) -> AgentAccepted:
    """Ask for so many instances. New ones get traffic once healthy, leaving ones finish their requests first."""
    seen = Seen(if_state=body.if_state, if_version=body.if_version)
    await context.services.fleet.scale(agent_id, body.instances, actor=caller.name, reason=body.reason, seen=seen)
    view = await context.services.fleet.get(agent_id)
    return AgentAccepted(agent_id=agent_id, status=view.state.agent.status, instances=body.instances)


@router.post("/agents/{agent_id}/restart", summary="Restart without downtime", status_code=202, **needs(Role.OPERATOR))
async def restart_agent(context: Context, caller: Caller, agent_id: str, body: RestartBody) -> DeploymentView:
    """Replace every instance by a new one of the same version. A deployment like any other, with its own id."""
    seen = Seen(if_state=body.if_state, if_version=body.if_version)
    deployment = await context.services.fleet.restart(
        agent_id,
        actor=caller.name,
        reason=body.reason,
        seen=seen,
        override_freeze=body.override_freeze,
        admin=caller.may(Role.ADMIN, agent_id),
    )
    return deployment_view(deployment, now=context.clock.now())


@router.get("/agents/{agent_id}/instances", summary="List instances", **needs(Role.VIEWER))
async def list_instances(context: Context, agent_id: str) -> InstanceList:
    """Every instance, newest generation first, with what it is busy with. `status`: starting, ready, draining, stopped or failed."""
    return instance_list(await context.services.generations.work(agent_id), now=context.clock.now())


@router.get("/agents/{agent_id}/generations", summary="List generations", **needs(Role.VIEWER))
async def list_generations(context: Context, agent_id: str) -> GenerationList:
    """Every generation, newest first: what it is busy with and, of one that leaves, how far it is. A count that is not known is null."""
    return generation_list(await context.services.generations.work(agent_id))


@router.get("/agents/{agent_id}/logs", summary="Read logs", **needs(Role.VIEWER))
async def read_logs(context: Context, agent_id: str, query: Annotated[LogsQuery, Query()]) -> LogView:
    """The last lines that one instance, or all of them, wrote; oldest first."""
    lines = await context.services.fleet.logs(agent_id, query.instance, lines=query.lines)
    return LogView(agent_id=agent_id, lines=[LogLineView.model_validate(line) for line in lines])


@router.get("/agents/{agent_id}/metrics", summary="Read metrics", **needs(Role.VIEWER))
async def read_metrics(context: Context, agent_id: str, query: Annotated[MetricsQuery, Query()]) -> AgentMetrics:
    """What the data plane counted in about the last `window` seconds, per generation, and per instance since its counters began."""
    return metrics_view(await context.services.fleet.metrics(agent_id, query.window))


@router.get("/fleet", summary="Totals", **needs(Role.VIEWER))
async def show_fleet(context: Context, caller: Caller) -> FleetView:
    """Totals for the dashboard, over all agents."""
    require_agent(caller, None)
    return FleetView.model_validate(await context.services.fleet.totals())


@router.get("/fleet/names", summary="Names of all agents", **needs(Role.VIEWER))
async def list_names(context: Context, caller: Caller) -> AgentNames:
    """The ids of all agents this token reaches, for what offers one of them to choose. Beyond 10 000 `complete` is false."""
    names = [name for name in await context.services.fleet.views() if sees(caller, name)]
    return AgentNames(agents=names[:NAMES_MAX], complete=len(names) <= NAMES_MAX)


def _manifest(body: AddAgentBody) -> Manifest:
    """The manifest with a source that means the same from everywhere."""
    path = body.manifest_path
    if path is not None and not PurePath(path).is_absolute():
        raise _refuse("manifest_path", "must be an absolute path on the server's machine")
    manifest = load_manifest(body.manifest, origin=path or MANIFEST_NAME)
    resolved = resolve_source(manifest, Path(path).parent if path else Path("/"))
    if path is None and resolved.source.location != manifest.source.location:
        raise _refuse(f"manifest.source.{manifest.source.kind}", "is relative: make it absolute, or say with manifest_path to what")
    return resolved


def _refuse(path: str, message: str) -> Invalid:
    return Invalid(f"{path} {message}", code="bad_manifest_path", errors=[FieldError(path=path, message=message)])
