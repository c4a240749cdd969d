"""Called by the world whenever something happened: keeps the books the invariants need, then asks each of them. The first breach ends a story."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.routing import Routing
from agent_servicing.core.status import DeploymentStatus, StageStatus, Verb
from agent_servicing.ports import Commit, Lease
from agent_servicing.testing.simulation import configs, duties, folders, invariants, plans
from agent_servicing.testing.simulation.faults import READINGS, STORE
from agent_servicing.testing.simulation.moments import Before, Breach, Committed, Order, Stop
from agent_servicing.testing.simulation.parts import Body
from agent_servicing.testing.simulation.plane import Served
from agent_servicing.testing.simulation.site import NEVER, Ask, Site

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import Pilot, World

__all__ = ["Breach", "before_commit", "called", "committed", "fallen", "served", "settled", "step"]

RECENT_SECONDS = 30.0
"""What fell so long ago explains that instances are missing: they are noticed, taken out, and started again with growing pauses."""


DUTIES = (*duties.ON_STEP, *plans.ON_STEP)
"""Each is about a deployment that has not ended."""

ON_COMMIT = (*invariants.ON_COMMIT, *duties.ON_COMMIT, *plans.ON_COMMIT, *folders.ON_COMMIT, *configs.ON_COMMIT)

ON_SETTLED = (*duties.ON_SETTLED, *configs.ON_SETTLED)

ON_IDLE_COMMIT = (
    invariants.one_deployment_and_three_generations,
    invariants.the_last_healthy_is_never_let_go,
    *folders.ON_COMMIT,
    *configs.ON_COMMIT,
)
"""What is left to ask when a commit holds no deployment; every other law is about one."""


def check(world: "World", site: Site, laws: Iterable[Callable[..., str | None]], *moment: object) -> None:
    for law in laws:
        sentence = law(world, site, *moment)
        if sentence is not None and world.breach is None:
            world.breach = Breach(law=law.__name__, sentence=sentence, agent=site.agent, seconds=world.seconds)
            world.tell(f"BREACH of {law.__name__}: {sentence}")


def called(world: "World", pilot: "Pilot", name: str, arguments: tuple[Any, ...]) -> None:
    """An engine begins a call, before anything comes of it."""
    lease = pilot.lease
    if lease is None or name in READINGS:
        return
    site = world.sites[lease.agent]
    if name == "release":
        check(world, site, (no_turn_fails_by_our_own_fault,), sys.exc_info()[1])
    if name in STORE:
        return
    check(world, site, invariants.ON_ACTION, lease, pilot.lease_until, name)
    row = world.store.rows.get(lease.agent)
    if row is None:
        return
    if name == "apply":
        check(world, site, invariants.ON_ORDER, _order(world, row.state, arguments[0]))
        site.dirty = True
    elif name == "config_commit":
        check(world, site, configs.ON_GIVEN, arguments[0])
    elif name == "stop":
        check(world, site, invariants.ON_STOP, _stop(world, row.state, arguments[1]))


def no_turn_fails_by_our_own_fault(world: "World", site: Site, error: BaseException | None) -> str | None:
    """Assertions are for our own bugs: a turn that trips one is parked, and here that ends the story."""
    if error is None or isinstance(error, TemporaryError) or (isinstance(error, PermanentError) and site.agent not in world.store.rows):
        return None
    return f"{type(error).__name__}: {error}"


def before_commit(world: "World", lease: Lease) -> Before | None:
    row = world.store.rows.get(lease.agent)
    if row is None:
        return None
    deployments = {d.deployment: d for d in (*row.state.deployments, *row.waiting)}
    return Before(
        state=row.state,
        deployments=deployments,
        intents=tuple(row.intents),
        events=len(world.store.events),
        current=row.lease == lease,
    )


def committed(world: "World", lease: Lease, commit: Commit, before: Before | None, *, written: bool, began_at: float) -> None:
    if before is None:
        return
    site = world.sites[lease.agent]
    moment = Committed(lease=lease, before=before, commit=commit, written=written, began_at=began_at)
    check(world, site, invariants.ON_ANY_COMMIT, moment)
    if not written:
        return
    site.dirty = False
    _remember(world, site, moment)
    check(world, site, ON_COMMIT if commit.state.deployments else ON_IDLE_COMMIT, moment)


def fallen(world: "World", site: Site, body: Body) -> None:
    """A fault took an instance, or its health. Only when too few others are well is the agent hurt."""
    world.tell(f"{site.agent}: {body.instance} of {body.version} {'hangs' if body.hung else 'turns sick' if body.sick else 'dies'}")
    site.fallen_at[body.generation] = world.seconds
    site.unnoticed.setdefault(body.instance, world.calm_seconds)
    row = world.store.rows.get(site.agent)
    if row is not None and able(world, site) < row.state.agent.instances:
        site.hurt = True


def served(world: "World", site: Site, request: Served) -> None:
    check(world, site, invariants.ON_SERVED, request)


def step(world: "World") -> None:
    for site in world.sites.values():
        row = world.store.rows.get(site.agent)
        if row is None:
            site.unserved = site.users.unserved
            continue
        ready, needed = able(world, site), _needed(world, row.state)
        site.floor = min(site.floor, needed)
        # Faults took them when those that are missing are there and do not answer; nobody can act upon that before he sees it.
        site.hurt = site.hurt or (ready < needed and _broken(world, site))
        check(world, site, invariants.ON_STEP, row.state, ready)
        if site.unnoticed:
            check(world, site, (duties.what_falls_is_noticed_soon,), row.state)
        if row.state.deployments or row.waiting:
            check(world, site, DUTIES, row.state)
        else:
            site.free_since = None
        site.unserved = site.users.unserved
        if ready >= needed:
            site.floor = needed
            site.hurt = site.hurt and not _stable_is_whole(world, site, row.state)


def settled(world: "World") -> None:
    """After the story's peace: nothing may be left over."""
    for site in world.sites.values():
        check(world, site, ON_SETTLED, world.store.rows.get(site.agent))


def able(world: "World", site: Site) -> int:
    """How many instances that really answer the data plane has in service for requests outside conversations."""
    return sum(world.runtime.able(site.agent, name) for name in _in_service(world, site))


def _in_service(world: "World", site: Site) -> list[str]:
    routing = world.router.routings.get(site.agent)
    if routing is None:
        return []
    # A candidate without a share carries nothing, whoever of it is still there.
    carrying = (routing.stable, routing.candidate if routing.share > 0 else None)
    routes = [routing.generation(n) for n in dict.fromkeys(carrying)]
    return [b.instance for r in routes if r for b in r.backends if b.state == "ready"]


def _stable_is_whole(world: "World", site: Site, state: AgentState) -> bool:
    """Whether the side that serves has got back what it lost; a newcomer's instances do not heal it, they may be taken back."""
    stable = next((g for g in state.generations if g.number == state.agent.stable), None)
    if stable is None:
        return False
    return sum(i.generation == stable.number and world.runtime.able(site.agent, i.instance) for i in state.instances) >= stable.desired


def _broken(world: "World", site: Site) -> bool:
    bodies = [world.runtime.body(site.agent, name) for name in _in_service(world, site)]
    routing = world.router.routings.get(site.agent)
    numbers = (routing.stable, routing.candidate) if routing else ()
    if any(world.seconds - site.fallen_at.get(n or 0, NEVER) < RECENT_SECONDS for n in numbers):
        return True
    return any(body is not None and (body.felled or body.sick or body.hung) for body in bodies)


def _order(world: "World", state: AgentState, routing: Routing) -> Order:
    failed = {i.instance for i in state.instances if i.unhealthy_in_a_row}
    names = {b.instance for g in routing.generations for b in g.backends} - failed
    well = frozenset(name for name in names if world.runtime.able(state.agent.agent, name))
    return Order(routing=routing, needed=_needed(world, state), well=well)


def _needed(world: "World", state: AgentState) -> int:
    """How many instances carry everything: the smallest number that is committed or being asked for."""
    row = world.store.rows[state.agent.agent]
    scales = [i.value for i in row.intents if i.verb is Verb.SCALE and i.value > 0]
    return min([state.agent.instances, *scales])


def _stop(world: "World", state: AgentState, name: str) -> Stop:
    routing = world.router.routings.get(state.agent.agent)
    serving = routing is not None and any(b.instance == name and b.state == "ready" for g in routing.generations for b in g.backends)
    instance = next((i for i in state.instances if i.instance == name), None)
    return Stop(state=state, name=name, instance=instance, in_service=serving)


def _remember(world: "World", site: Site, moment: Committed) -> None:
    agent = moment.state.agent
    if agent.instances != moment.before.state.agent.instances:
        site.scaled_at = world.seconds
    for event in moment.commit.events:
        ask = site.asked.get(event.deployment or "")
        if ask is not None and event.audit and event.type == ask.kind.value:
            ask.closings += 1
    for intent in moment.taken:
        ask = site.asked.get(intent.deployment or "")
        if ask is not None and intent.verb is Verb.PROMOTE:
            ask.promoted = True
    for before, after in moment.changed():
        _remember_deployment(world, site, before, after)
        back = after.terminal and after.status is not DeploymentStatus.COMPLETED
        if back and after.candidate is not None and after.candidate != agent.stable:
            site.banished.add(after.candidate)


def _remember_deployment(world: "World", site: Site, before: Deployment | None, after: Deployment) -> None:
    ask = site.asked.setdefault(after.deployment, Ask(deployment=after.deployment, kind=after.kind, calm_at=world.calm_seconds))
    ask.begun = ask.begun or after.active or after.terminal
    if after.status is DeploymentStatus.ROLLING_BACK and ask.calm_at_retreat is None:
        ask.calm_at_retreat = world.calm_seconds
    if after.candidate is None:
        return
    if after.active and (before is None or not before.active):
        site.banished.discard(after.candidate)
    for index, record in enumerate(after.stages):
        if record.status is StageStatus.IN_PROGRESS:
            site.marks.setdefault((after.deployment, index), site.truth(after.candidate))
            site.begun_at.setdefault((after.deployment, index), world.seconds)
