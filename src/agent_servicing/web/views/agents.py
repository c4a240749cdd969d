"""Agents, instances and metrics as the API shows them; pure."""

from datetime import datetime
from typing import Any

from agent_servicing.core.drains import conversation_seconds_left, planned_phase
from agent_servicing.core.limits import CRASH_WINDOW_SECONDS
from agent_servicing.core.model import AgentState, Generation
from agent_servicing.core.queue import queued
from agent_servicing.core.status import InstanceStatus
from agent_servicing.services.fleet_views import attention
from agent_servicing.services.generations import WorkView
from agent_servicing.services.views import AgentView, MetricsView
from agent_servicing.web.schemas.agents import (
    AgentAdded,
    AgentDetail,
    AgentMetrics,
    AgentSummary,
    AvailableView,
    GenerationView,
    HealthView,
    InstanceList,
    InstanceView,
)
from agent_servicing.web.schemas.generations import GenerationList
from agent_servicing.web.views.deployments import deployment_view


def agent_summary(view: AgentView, *, now: datetime) -> AgentSummary:
    return AgentSummary.model_validate(_summary(view, now))


def agent_detail(view: AgentView, *, now: datetime) -> AgentDetail:
    return AgentDetail.model_validate(_detail(view, now))


def agent_added(view: AgentView, upgrade_id: str, *, now: datetime) -> AgentAdded:
    return AgentAdded.model_validate({**_detail(view, now), "upgrade_id": upgrade_id})


def instance_list(view: WorkView, *, now: datetime) -> InstanceList:
    """All instances the store knows, newest generation first."""
    counts = ("in_flight", "active_streams", "open_conversations", "drain_seconds_left", "says")
    fields = set(InstanceView.model_fields) - {"role", "crashes", *counts}
    crashes = {g.number: sum((now - at).total_seconds() < CRASH_WINDOW_SECONDS for at in g.crashes) for g in view.state.generations}
    views = [
        {
            **{name: getattr(work.instance, name) for name in fields},
            **{name: getattr(work, name) for name in counts},
            "role": role_of(view.state, work.instance.generation),
            "crashes": crashes.get(work.instance.generation, 0),
        }
        for work in view.instances
    ]
    return InstanceList.model_validate({"instances": views})


def generation_list(view: WorkView) -> GenerationList:
    counts = ("phase", "conversations", "in_flight", "active_streams", "conversation_seconds_left", "stream_seconds_left")
    views = [
        {
            "generation": work.generation.number,
            "version": work.generation.version,
            "role": role_of(view.state, work.generation.number),
            "instances": sum(i.generation == work.generation.number for i in view.state.instances),
            "warm_until": work.generation.warm_until,
            **{name: getattr(work, name) for name in counts},
        }
        for work in view.generations
    ]
    return GenerationList.model_validate({"generations": views})


def metrics_view(view: MetricsView) -> AgentMetrics:
    same = ("at", "window_seconds", "unserved", "limited")
    return AgentMetrics.model_validate(
        {
            "agent_id": view.agent,
            "generations": list(view.generations),
            "instances": list(view.instances),
            **{name: getattr(view, name) for name in same},
        }
    )


def role_of(state: AgentState, generation: int) -> str:
    """Whether a generation serves (stable), is being introduced (candidate), or is neither."""
    if generation == state.agent.stable:
        return "stable"
    return "candidate" if generation == state.agent.candidate else "other"


def _summary(view: AgentView, now: datetime) -> dict[str, Any]:
    agent = view.state.agent
    last = view.last_deployment
    return {
        "agent_id": agent.agent,
        "description": agent.manifest.description,
        "owner": agent.manifest.owner,
        "status": agent.status,
        "current_version": agent.version,
        "current_deployed_at": agent.version_deployed_at,
        "instances": agent.instances,
        "health": HealthView.model_validate(view.health),
        "update_available": bool(view.available),
        "update_urgency": view.urgency,
        "current_standing": view.standing,
        "attention": attention(view, now),
        "available_versions": [AvailableView.model_validate(version) for version in view.available],
        "deployment": deployment_view(last, now=now, state=view.state) if last else None,
    }


def _detail(view: AgentView, now: datetime) -> dict[str, Any]:
    state, agent = view.state, view.state.agent
    manifest = agent.manifest
    return {
        **_summary(view, now),
        "created_at": agent.created_at,
        "runtime": manifest.run.runtime,
        "source": {"kind": manifest.source.kind, "location": manifest.source.location},
        "conversation_key": str(manifest.conversation_key) if manifest.conversation_key else None,
        "traffic": _traffic(state),
        "generations": [_generation(state, generation, now) for generation in state.generations],
        "rollback_points": list(state.rollback_points),
        "queue": _queue(state),
        "manifest": manifest.text,
    }


def _queue(state: AgentState) -> list[str]:
    """What is under way, then what waits its turn in order, then what is scheduled."""
    turn = [d for d in state.deployments if d.active] + queued(state.deployments)
    return [d.deployment for d in (*turn, *(d for d in state.deployments if d not in turn))]


def _traffic(state: AgentState) -> dict[str, float]:
    versions = {generation.number: generation.version for generation in state.generations}
    shares: dict[str, float] = {}
    agent = state.agent
    for number, share in ((agent.stable, 100.0 - agent.share), (agent.candidate, agent.share)):
        if number in versions:
            shares[versions[number]] = shares.get(versions[number], 0.0) + share
    return shares


def _generation(state: AgentState, generation: Generation, now: datetime) -> GenerationView:
    ready = sum(i.generation == generation.number and i.status is InstanceStatus.READY for i in state.instances)
    release = state.releases.get(generation.version)
    return GenerationView(
        generation=generation.number,
        version=generation.version,
        status=generation.status,
        role=role_of(state, generation.number),
        phase=planned_phase(generation, stable=state.agent.stable, candidate=state.agent.candidate),
        conversation_seconds_left=conversation_seconds_left(generation, release.manifest if release else state.agent.manifest, now),
        desired=generation.desired,
        ready=ready,
        crash_looping=generation.crash_looping,
        created_at=generation.created_at,
        warm_until=generation.warm_until,
    )
