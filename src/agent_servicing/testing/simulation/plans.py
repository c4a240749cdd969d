"""Laws about when deployments begin: the line, freezes and windows, locks, free places, scheduled starts."""

from typing import TYPE_CHECKING

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.schedule import gate
from agent_servicing.core.status import PLACED, WAITING, DeploymentStatus
from agent_servicing.testing.simulation.moments import Committed
from agent_servicing.testing.simulation.site import Site

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import World

TURN_SECONDS = 0.5
"""A turn that took longer may have looked at another moment's plans than the one in which it is judged."""

BEGINS_SECONDS = 120.0
"""Calm seconds in which the next in the queue begins once nothing holds it: room is made for it, others that came first begin before."""


def nothing_begins_while_its_gate_is_closed(world: "World", site: Site, moment: Committed) -> str | None:
    """Upgrades and restarts wait for the line, freezes, windows and locks; rollbacks and first installations never do."""
    begun = _begun(moment)
    if not begun or _unsure(world, moment):
        return None
    for deployment in begun:
        why = _closed(world, site, deployment)
        if why:
            return f"{deployment.deployment} begins although {why}"
    return None


def the_limit_is_kept(world: "World", _site: Site, moment: Committed) -> str | None:
    """Whoever begins finds a free place; a limit that is lowered interrupts nobody."""
    limit = world.store.limit
    if limit <= 0:
        return None
    begun = _begun(moment)
    if not begun:
        return None
    under_way = _under_way(world)
    return f"{begun[0].deployment} begins, and {under_way} are under way where {limit} may be" if under_way > limit else None


def a_missed_start_ends_as_missed(world: "World", _site: Site, moment: Committed) -> str | None:
    """Not before its time, and not later than its grace unless it was only waiting for others."""
    changed = moment.changed() if any(d.scheduled_at is not None for d in moment.state.deployments) else []
    if not changed or _unsure(world, moment):
        return None
    for before, after in changed:
        if before is None or before.status is not DeploymentStatus.SCHEDULED or after.scheduled_at is None:
            continue
        late = (world.clock.now() - after.scheduled_at).total_seconds()
        if after.status is DeploymentStatus.SCHEDULED and late > after.start_grace_seconds + TURN_SECONDS:
            return f"{after.deployment} is {late:.0f} s late and still waits"
        missed = after.status is DeploymentStatus.CANCELLED and after.message.startswith("missed")
        if missed and late <= after.start_grace_seconds - TURN_SECONDS:
            return f"{after.deployment} was given up as missed {late:.0f} s after its time; its grace is {after.start_grace_seconds:g} s"
        taken = after.status is DeploymentStatus.QUEUED or after.active
        if taken and not -TURN_SECONDS <= late <= after.start_grace_seconds + TURN_SECONDS:
            return f"{after.deployment} joined the queue {late:.0f} s after its time; its grace is {after.start_grace_seconds:g} s"
    return None


def what_waits_begins_once_it_may(world: "World", site: Site, _state: AgentState) -> str | None:
    """Nothing in the queue is forgotten: while somebody could begin, somebody does."""
    there = world.store.deployments(site.agent)
    queue = [d for d in there if d.status is DeploymentStatus.QUEUED]
    if not queue or site.hurt or site.removing or any(d.active for d in there):
        site.free_since = None
        return None
    waiting = [d for d in queue if not _closed(world, site, d)]
    placed = all(d.kind in PLACED for d in waiting)
    if not waiting or (placed and 0 < world.store.limit <= _under_way(world)):
        site.free_since = None
        return None
    site.free_since = world.calm_seconds if site.free_since is None else site.free_since
    waited = world.calm_seconds - site.free_since
    return f"{waiting[0].deployment} could begin since {waited:.0f} calm seconds" if waited > BEGINS_SECONDS else None


def _unsure(world: "World", moment: Committed) -> bool:
    slow = world.seconds - moment.began_at > TURN_SECONDS
    return slow or world.jumped_since(moment.began_at) or world.plans_changed_at >= moment.began_at


def _begun(moment: Committed) -> list[Deployment]:
    before = moment.before.deployments
    active = (d for d in moment.state.deployments if d.active and d.kind in PLACED)
    return [d for d in active if (was := before.get(d.deployment)) is not None and was.status in WAITING]


def _closed(world: "World", site: Site, deployment: Deployment) -> str:
    """Why it may not begin now, "" when it may."""
    now, lock = world.clock.now(), world.store.locks.get(site.agent)
    if deployment.kind not in PLACED:
        return ""
    if lock is not None and lock.held(now) and lock.holder != deployment.actor:
        return f"{lock.holder} has locked the agent"
    return "" if deployment.override_freeze else gate(world.store.line, site.agent, now, CALENDAR).reason


def _under_way(world: "World") -> int:
    return sum(d.active and d.kind in PLACED for row in world.store.rows.values() for d in row.state.deployments)


ON_COMMIT = (nothing_begins_while_its_gate_is_closed, the_limit_is_kept, a_missed_start_ends_as_missed)
ON_STEP = (what_waits_begins_once_it_may,)
