"""Agents as the dashboard sees them: states in, `AgentView`s and totals out. Used by `Fleet`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.standing import Standing, Urgency
from agent_servicing.core.status import WAITING, AgentStatus, DeploymentStatus, InstanceStatus
from agent_servicing.core.versions import available_updates
from agent_servicing.services.views import AgentView, AttentionWord, AvailableVersion, FleetTotals, HealthSummary, HealthWord
from agent_servicing.store import queries
from agent_servicing.store.queries import VersionFlags

WENT_WRONG_FOR: Final = timedelta(days=1)
"""How long a deployment that ended badly needs attention; the page's `went-wrong.ts` says the same."""

AgentOrder = Literal["agent_id", "health", "update", "deployed"]


async def agent_views(connection: AsyncConnection, states: Sequence[AgentState]) -> list[AgentView]:
    """The states with what is newer and what was done last; three queries for any number of agents."""
    names = [state.agent.agent for state in states]
    versions = await queries.usable_versions(connection, names)
    last = await queries.last_deployments(connection, names)
    return [agent_view(state, versions.get(state.agent.agent, ()), last) for state in states]


def agent_view(state: AgentState, versions: Iterable[VersionFlags], last: Mapping[str, Deployment]) -> AgentView:
    flags = {version.version: version for version in versions}
    offered = [name for name, each in flags.items() if each.standing is not Standing.WITHDRAWN]
    current = flags.get(state.agent.version or "")
    standing = current.standing if current is not None else Standing.AVAILABLE
    available = _available(state.agent.version, offered, flags)
    deployment = last.get(state.agent.agent)
    return AgentView(
        state=state,
        available=available,
        standing=standing,
        urgency=_urgency(available, standing),
        last_deployment=deployment,
        health=health_of(state, deployment),
    )


def _available(current: str | None, offered: Sequence[str], flags: Mapping[str, VersionFlags]) -> tuple[AvailableVersion, ...]:
    updates = available_updates(current, offered) if current else ()
    return tuple(
        AvailableVersion(
            version=u.version,
            type=u.type,
            security=flags[u.version].security,
            critical=flags[u.version].critical,
            deprecated=flags[u.version].standing is Standing.DEPRECATED,
        )
        for u in updates
    )


def _urgency(available: Sequence[AvailableVersion], standing: Standing) -> Urgency | None:
    """The badge on the dashboard. A withdrawn version that has no successor has a badge all the same."""
    if any(version.critical for version in available):
        return "critical"
    if any(version.security for version in available):
        return "security"
    if standing is Standing.WITHDRAWN:
        return "withdrawn"
    return "normal" if available else None


def health_of(state: AgentState, last: Deployment | None) -> HealthSummary:
    """Counts over the generation that serves; before there is one, over all."""
    stable = state.agent.stable
    counted = [i.status for i in state.instances if stable is None or i.generation == stable]
    desired = state.agent.instances
    ready = counted.count(InstanceStatus.READY)
    return HealthSummary(
        status=_status(state, last, ready=ready, desired=desired),
        desired=desired,
        ready=ready,
        starting=counted.count(InstanceStatus.STARTING),
        draining=counted.count(InstanceStatus.DRAINING),
        failed=counted.count(InstanceStatus.FAILED),
        stopped=counted.count(InstanceStatus.STOPPED),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSearch:
    """What a list is narrowed and ordered by. `words` must all stand in id, description or owner, in any case; `attention`: only those that
    need somebody. `sort`: by id, worst health, most urgent update or newest deployment first; equal ones by id."""

    words: str = ""
    health: HealthWord | None = None
    attention: bool = False
    sort: AgentOrder = "agent_id"
    descending: bool = False


def found(views: Iterable[AgentView], search: AgentSearch, now: datetime) -> list[AgentView]:
    """Those that the search lets through, in its order."""
    words = search.words.lower().split()
    chosen = [view for view in views if _lets_through(view, search, words, now)]
    return sorted(sorted(chosen, key=_name), key=_ORDERS[search.sort], reverse=search.descending)


def attention(view: AgentView, now: datetime) -> list[AttentionWord]:
    """Why somebody should look at the agent, most urgent first; empty when nobody needs to."""
    last = view.last_deployment
    reasons: dict[AttentionWord, bool] = {
        "health": view.health.status in ("down", "degraded"),
        "went_wrong": last is not None and _went_wrong(last, now),
        "security_update": view.urgency in ("critical", "security"),
        "withdrawn": view.standing is Standing.WITHDRAWN,
        "paused": last is not None and last.status is DeploymentStatus.PAUSED,
    }
    return [word for word, holds in reasons.items() if holds]


def _went_wrong(deployment: Deployment, now: datetime) -> bool:
    """Within the last day; what a person decided needs no attention any more."""
    by_itself = deployment.trigger is not None and deployment.trigger.auto
    wrong = deployment.status is DeploymentStatus.FAILED or (deployment.status is DeploymentStatus.ROLLED_BACK and by_itself)
    return wrong and deployment.finished_at is not None and now - deployment.finished_at < WENT_WRONG_FOR


def _lets_through(view: AgentView, search: AgentSearch, words: Sequence[str], now: datetime) -> bool:
    if search.health not in (None, view.health.status) or (search.attention and not attention(view, now)):
        return False
    if not words:
        return True
    agent = view.state.agent
    text = f"{agent.agent} {agent.manifest.description} {agent.manifest.owner}".lower()
    return all(word in text for word in words)


def _name(view: AgentView) -> str:
    return view.state.agent.agent


def _deployed(view: AgentView) -> float:
    at = view.state.agent.version_deployed_at
    return -at.timestamp() if at is not None else math.inf


_HEALTHS: Final = ("down", "degraded", "starting", "removing", "healthy")
_URGENCIES: Final = ("critical", "security", "withdrawn", "normal", None)
_ORDERS: Final[Mapping[AgentOrder, Callable[[AgentView], Any]]] = {
    "agent_id": _name,
    "health": lambda view: _HEALTHS.index(view.health.status),
    "update": lambda view: _URGENCIES.index(view.urgency),
    "deployed": _deployed,
}


def totals_of(views: Sequence[AgentView]) -> FleetTotals:
    healths = [view.health.status for view in views]
    deployments = [deployment for view in views for deployment in view.state.deployments]
    return FleetTotals(
        agents=len(views),
        healthy=healths.count("healthy"),
        degraded=healths.count("degraded"),
        down=healths.count("down"),
        instances_ready=sum(view.health.ready for view in views),
        instances_desired=sum(view.health.desired for view in views),
        deployments_active=sum(deployment.active for deployment in deployments),
        deployments_waiting=sum(deployment.status in WAITING for deployment in deployments),
        updates_available=sum(bool(view.available) for view in views),
        security_updates=sum(any(version.security for version in view.available) for view in views),
        critical_updates=sum(any(version.critical for version in view.available) for view in views),
        withdrawn_running=sum(view.standing is Standing.WITHDRAWN for view in views),
    )


def _status(state: AgentState, last: Deployment | None, *, ready: int, desired: int) -> HealthWord:
    if state.agent.status is not AgentStatus.ACTIVE:
        return "removing"
    if state.agent.stable is None:
        return "down" if last is not None and last.status is DeploymentStatus.FAILED else "starting"
    if ready >= desired:
        return "healthy"
    return "degraded" if ready else "down"
