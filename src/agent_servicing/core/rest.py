"""Asked by the engine after each decision: whether only a change in the world could make the next one do anything, and what to watch then. Pure.

Says no in every case of doubt: an agent that does not rest gets its full turns. Whatever comes to `AgentState` that time alone moves on
must be named here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from agent_servicing.core.draft import Decision
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import AgentState, Deployment, Generation, Instance, Probe, Process, Snapshot
from agent_servicing.core.routing import Routing
from agent_servicing.core.status import AgentStatus, DeploymentStatus, GenerationStatus, InstanceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What must go on being true while nobody looks closely. `until`: when time alone makes something due, None when it never does.

    `instances` are all there are, with the manifest that says how to probe each; every one of them is ready and healthy. `probes` are the
    health checks that this was seen by. `changed`: whether the turn has anything to write besides when it looked.
    """

    agent: str
    instances: Mapping[str, tuple[Manifest, Process]]
    routing: Routing
    probes: Mapping[str, Probe]
    probed_at: datetime | None
    until: datetime | None
    changed: bool


def at_rest(snapshot: Snapshot, decision: Decision, limits: Limits) -> Rest | None:
    """None while there is anything to do, to wait for, or that could not be read."""
    before, state, world = snapshot.state, decision.state, snapshot.world
    if decision.actions or decision.events or decision.intents_done or decision.next_in_seconds < limits.idle_interval_seconds:
        return None
    if world.processes is None or world.routing is None or world.routing.routing is None:
        return None
    if state.agent.status is not AgentStatus.ACTIVE or state.agent.candidate is not None:
        return None
    if state.patch is not None and state.patch.live:
        return None
    if (state.agent, state.generations) != (before.agent, before.generations) or not _quiet(state, world.processes):
        return None
    warm = (g.warm_until for g in state.generations if g.status is GenerationStatus.WARM)
    expiring = (o.expires_at for layers in state.layers.values() for o in layers.overrides)
    times = [at for at in (*(d.scheduled_at for d in state.deployments), *warm, *expiring) if at is not None]
    if any(at <= world.at for at in times):
        return None
    probed = [i.probed_at for i in state.instances]
    return Rest(
        agent=state.agent.agent,
        instances={i.instance: (_manifest(state, i), world.processes[i.instance]) for i in state.instances},
        routing=world.routing.routing,
        probes=world.probes,
        probed_at=min((at for at in probed if at is not None), default=None),
        until=min(times, default=None),
        changed=_without_times(before) != _without_times(state),
    )


def _without_times(state: AgentState) -> AgentState:
    """As if nobody had looked: a time that is observed anew at every look is not worth a write."""
    return replace(state, instances=tuple(replace(instance, probed_at=None) for instance in state.instances))


def _quiet(state: AgentState, processes: Mapping[str, Process]) -> bool:
    return (
        all(_only_waits(d) for d in state.deployments)
        and all(_settled(state, g) for g in state.generations)
        and processes.keys() == {i.instance for i in state.instances}
        and all(processes[i.instance].alive and _well(state, i) for i in state.instances)
    )


def _only_waits(deployment: Deployment) -> bool:
    return deployment.status is DeploymentStatus.SCHEDULED and deployment.scheduled_at is not None


def _settled(state: AgentState, generation: Generation) -> bool:
    """It serves, or is kept warm until a known time, and has all of its instances."""
    complete = sum(i.generation == generation.number for i in state.instances) == generation.desired
    serves = generation.status is GenerationStatus.LIVE and generation.number == state.agent.stable
    warm = generation.status is GenerationStatus.WARM and generation.warm_until is not None
    return complete and (serves or warm)


def _well(state: AgentState, instance: Instance) -> bool:
    """One more good answer would change nothing."""
    enough = _manifest(state, instance).health.healthy_after
    return instance.status is InstanceStatus.READY and not instance.unhealthy_in_a_row and instance.healthy_in_a_row >= enough


def _manifest(state: AgentState, instance: Instance) -> Manifest:
    release = state.releases.get(instance.version)
    return release.manifest if release else state.agent.manifest
