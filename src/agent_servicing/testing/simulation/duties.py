"""Laws about time: what must come within so many calm seconds, and what must be true once nothing happens any more."""

from typing import TYPE_CHECKING

from agent_servicing.core.model import AgentState
from agent_servicing.core.routing import Routing
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus, InstanceStatus
from agent_servicing.testing.simulation.moments import Committed
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.store import Row

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import World

ROLLBACK_BEGINS_SECONDS = 180.0
"""Calm seconds until a rollback is taken up: what stands before it must drain, give up measuring, and make room."""

NOTICE_SLACK_SECONDS = 12.0
"""Beyond the intervals: a turn that met a fault just before comes back after five seconds, and may meet another."""

RETREAT_SECONDS = 120.0
"""Calm seconds until a deployment that is taken back has no traffic: at most its stable side grows back first."""


def a_rollback_begins_soon(world: "World", site: Site, state: AgentState) -> str | None:
    """A rollback waits for nobody: not for analysis, pause, counters, or the queue."""
    if site.hurt or not (state.deployments or world.store.deployments(site.agent)):
        return None
    for deployment in world.store.deployments(site.agent):
        ask = site.asked.get(deployment.deployment)
        if deployment.kind is not DeploymentKind.ROLLBACK or ask is None or deployment.active or deployment.terminal:
            continue
        waited = world.calm_seconds - ask.calm_at
        if waited > ROLLBACK_BEGINS_SECONDS:
            under_way = ", ".join(f"{d.deployment} {d.status}" for d in state.deployments if d.active) or "nothing"
            return f"{deployment.deployment} was asked for {waited:.0f} calm seconds ago; under way is {under_way}"
    return None


def what_falls_is_noticed_soon(world: "World", site: Site, state: AgentState) -> str | None:
    """At rest as with full turns: within the reconcile interval and that of the health checks."""
    allowed = world.limits.idle_interval_seconds + site.manifest.health.interval_seconds + NOTICE_SLACK_SECONDS
    instances = {i.instance: i for i in state.instances}
    for name, since in list(site.unnoticed.items()):
        instance, body = instances.get(name), world.runtime.body(site.agent, name)
        well = body is None or not (body.felled or body.sick or body.hung)
        if instance is None or well or instance.status is not InstanceStatus.READY or instance.unhealthy_in_a_row:
            del site.unnoticed[name]
        elif world.calm_seconds - since > allowed:
            return f"{name} fell {world.calm_seconds - since:.1f} calm seconds ago and counts as well"
    return None


def a_retreat_takes_the_traffic_away(world: "World", site: Site, state: AgentState) -> str | None:
    """A deployment that is taken back loses its traffic soon."""
    routing = world.router.routings.get(site.agent)
    if site.hurt or routing is None or not routing.share:
        return None
    for deployment in state.deployments:
        ask = site.asked.get(deployment.deployment)
        if deployment.status is not DeploymentStatus.ROLLING_BACK or ask is None or ask.calm_at_retreat is None:
            continue
        waited = world.calm_seconds - ask.calm_at_retreat
        if routing.candidate == deployment.candidate and waited > RETREAT_SECONDS:
            return f"{deployment.deployment} is taken back since {waited:.0f} calm seconds and still gets {routing.share:g} %"
    return None


def who_was_touched_was_answered(_world: "World", site: Site, moment: Committed) -> str | None:
    """A conversation touches a version with a request; where there are no conversations, none is counted, not even zero."""
    for deployment in moment.state.deployments:
        touched = deployment.impact.conversations_touched
        if touched is None:
            continue
        if site.manifest.conversation_key is None:
            return f"{deployment.deployment} touched {touched} conversations of an agent that has none"
        if touched > deployment.impact.candidate_requests:
            return f"{deployment.deployment} touched {touched} conversations with {deployment.impact.candidate_requests} requests"
    return None


def everything_ends(world: "World", site: Site, row: Row | None) -> str | None:
    """In peace every deployment comes to its end, with one closing entry."""
    if row is not None and (left := world.store.deployments(site.agent)):
        return f"not ended: {', '.join(f'{d.deployment} {d.status}: {d.message}' for d in left)}"
    unknown = [name for name in site.asked if name not in world.store.history and row is not None]
    if unknown:
        return f"{unknown[0]} was asked for and is nowhere"
    for ask in site.asked.values():
        if row is not None and ask.closings != 1:
            return f"{ask.deployment} ended with {ask.closings} closing entries"
    return None


def one_generation_is_left(world: "World", site: Site, row: Row | None) -> str | None:
    """In peace one generation is left: complete, with all traffic, and nothing besides."""
    processes = world.runtime.processes.get(site.agent, {})
    routing = world.router.routings.get(site.agent)
    if row is None:
        return "processes or routing of a removed agent are left" if processes or routing is not None else None
    state = row.state
    if [g.number for g in state.generations] != [state.agent.stable]:
        return f"generations {[(g.number, g.status.value) for g in state.generations]}, stable is {state.agent.stable}"
    names = sorted(i.instance for i in state.instances)
    if len(names) != state.agent.instances or sorted(processes) != names:
        return f"{len(names)} instances and {len(processes)} processes where {state.agent.instances} are wanted"
    return _traffic(world, site, routing, state)


def _traffic(world: "World", site: Site, routing: Routing | None, state: AgentState) -> str | None:
    if routing is None or (routing.stable, routing.candidate, dict(routing.redirects)) != (state.agent.stable, None, {}):
        return f"the data plane does {routing}"
    if len(routing.generations) != 1 or len(routing.generations[0].backends) != state.agent.instances:
        return "the data plane does not have every instance in service"
    if not all(world.runtime.able(site.agent, b.instance) and b.state == "ready" for b in routing.generations[0].backends):
        return "an instance in service does not answer"
    return None


def who_serves_does_not_think_that_it_leaves(world: "World", site: Site, row: Row | None) -> str | None:
    """In peace whoever was told to come to an end, and serves all the same, was told so: a rollback may have brought it back."""
    if row is None:
        return None
    live = {g.number for g in row.state.generations if g.status is GenerationStatus.LIVE}
    serving = [i.instance for i in row.state.instances if i.generation in live and i.status is InstanceStatus.READY]
    wrong = [name for name in serving if (site.agent, name) in world.listeners.leaving]
    return f"{', '.join(wrong)} serve and were told to end their streams" if wrong else None


ON_STEP = (a_rollback_begins_soon, a_retreat_takes_the_traffic_away)
ON_COMMIT = (who_was_touched_was_answered,)
ON_SETTLED = (everything_ends, one_generation_is_left, who_serves_does_not_think_that_it_leaves)
