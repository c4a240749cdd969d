"""Keeps what should run running and lets go of what should not: restarts, scaling, draining, warm generations, orphans.

Knows nothing of stages. A deployment only says how many instances of which generation it wants and which generation leaves; everything
that starts or ends a process is decided here.
"""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.actions import (
    CollectReleases,
    ForgetInstance,
    LimitInstance,
    PrepareRelease,
    RemoveRouting,
    StartInstance,
    StopInstance,
)
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import LONGEST_RESTART_DELAY_SECONDS
from agent_servicing.core.model import Generation, Instance, Process
from agent_servicing.core.routing import redirected
from agent_servicing.core.status import AgentStatus, GenerationStatus, InstanceStatus, PreparationStatus
from agent_servicing.core.watch import unhealthy

LIMIT_AGAIN_SECONDS = 0.05
"""When to read back limits that were set."""

_LIVING = (InstanceStatus.STARTING, InstanceStatus.READY)


def keep(draft: Draft) -> None:
    if draft.world.processes is None:
        return
    for number in sorted(draft.generations):
        generation = draft.generations[number]
        if draft.removing:
            generation = _stopping(draft, generation)
        match generation.status:
            case GenerationStatus.LIVE:
                _fill(draft, generation)
                _trim(draft, generation)
            case GenerationStatus.DRAINING:
                _fill(draft, generation)
                _drained(draft, generation)
            case GenerationStatus.WARM:
                _warm(draft, generation)
            case GenerationStatus.STOPPING:
                _empty(draft, generation)
    _begin(draft)
    for instance in list(draft.instances.values()):
        _leave(draft, instance)
    _reap_orphans(draft)
    _removed(draft)


def stop_generation(draft: Draft, number: int) -> None:
    """The generation takes no new conversation and its open ones move; its instances leave as they become idle."""
    generation = draft.generations.get(number)
    if generation is not None:
        _stopping(draft, generation)


def restart_delay_seconds(crashes: int) -> float:
    """None after the first crash, then 1, 2, 4 … seconds: a lucky restart costs nothing, a broken program costs little."""
    return 0.0 if crashes <= 1 else min(LONGEST_RESTART_DELAY_SECONDS, 2.0 ** (crashes - 2))


def _stopping(draft: Draft, generation: Generation) -> Generation:
    stopping = replace(generation, status=GenerationStatus.STOPPING, desired=0, conversations_moved=True)
    draft.put(stopping)
    _move_conversations(draft, generation.number)
    return stopping


def _move_conversations(draft: Draft, number: int) -> None:
    stable = draft.agent.stable
    if stable is not None and stable != number:
        draft.put(replace(draft.agent, redirects=redirected(draft.agent.redirects, number, stable)))


def _fill(draft: Draft, generation: Generation) -> None:
    """One living, healthy instance for each place; a place whose instance crashed waits its turn."""
    places = range(1, generation.desired + 1)
    # A starting one fails its probes by nature and has a deadline of its own, a warm one serves nobody; only one that serves and turned
    # bad gets company.
    warm = generation.status is GenerationStatus.WARM
    living = draft.of(generation.number, *_LIVING)
    taken = {i.place for i in living if warm or i.status is InstanceStatus.STARTING or not unhealthy(draft, i)}
    empty = [place for place in places if place not in taken]
    if not empty or not _startable(draft, generation):
        return
    wait = restart_delay_seconds(len(generation.crashes)) - draft.since(generation.crashes[-1]) if generation.crashes else 0.0
    if wait > 0:
        draft.wake_in(wait)
        return
    for place in empty:
        generation = draft.generations[generation.number]
        attempt = generation.attempts + 1
        name = f"g{generation.number}-{place}-{attempt}"
        draft.put(replace(generation, attempts=attempt))
        draft.put(Instance(instance=name, generation=generation.number, version=generation.version, place=place, created_at=draft.now))
        draft.wake_in(0)


def _begin(draft: Draft) -> None:
    """Ask for every instance that is wanted and not seen yet; asking twice is harmless, and after a crash of ours necessary."""
    known = draft.world.processes or {}
    for instance in draft.instances.values():
        if instance.status is InstanceStatus.STARTING and instance.instance not in known:
            draft.wake_in(0.25)
            draft.do(
                StartInstance(
                    agent=draft.agent.agent,
                    instance=instance.instance,
                    generation=instance.generation,
                    version=instance.version,
                    config=draft.document(instance),
                    epoch=_epoch(draft, instance),
                )
            )


def limit(draft: Draft) -> None:
    """Everybody who runs may use what its configuration says; a runtime that sets no limits is not asked to. The last step of a decision:
    a limit that cannot be set must not hold up anything else.
    """
    for instance in draft.instances.values():
        process = (draft.world.processes or {}).get(instance.instance)
        if process is None or not process.alive or process.resources is None:
            continue
        wanted = draft.may_use(instance)
        if wanted != process.resources:
            draft.do(LimitInstance(agent=draft.agent.agent, instance=instance.instance, resources=wanted))
            draft.wake_in(LIMIT_AGAIN_SECONDS)


def _epoch(draft: Draft, instance: Instance) -> int:
    generation = draft.generations.get(instance.generation)
    return generation.epoch if generation is not None else draft.agent.epoch


def _startable(draft: Draft, generation: Generation) -> bool:
    preparation = draft.world.preparations.get(generation.version)
    if preparation is not None and preparation.status is PreparationStatus.READY:
        return True
    if preparation is not None and preparation.status is PreparationStatus.ABSENT:
        draft.do(PrepareRelease(agent=draft.agent.agent, version=generation.version))
    return False


def _trim(draft: Draft, generation: Generation) -> None:
    """Fewer places than instances: the surplus drains once everybody who is to stay is ready, never before.

    Surplus is also who kept a place company that turned out well after all.
    """
    kept: dict[int, Instance] = {}
    for instance in draft.ready(generation.number):
        if instance.place <= generation.desired and not unhealthy(draft, instance):
            kept.setdefault(instance.place, instance)
    for instance in draft.of(generation.number, *_LIVING):
        surplus = instance.place > generation.desired or kept.get(instance.place, instance) is not instance
        if surplus and (len(kept) >= max(1, generation.desired) or instance.status is not InstanceStatus.READY):
            draft.put(replace(instance, status=InstanceStatus.DRAINING))


def _drained(draft: Draft, generation: Generation) -> None:
    """Open conversations end where they began until their budget is spent, then they move at their next request."""
    manifest = draft.manifest(generation.version)
    budget = manifest.drain.conversation_timeout_seconds if manifest.conversation_key else 0.0
    if draft.since(generation.draining_since) < budget:
        return
    _move_conversations(draft, generation.number)
    draft.put(replace(draft.generations[generation.number], status=GenerationStatus.WARM, conversations_moved=True))
    draft.wake_in(0)


def _warm(draft: Draft, generation: Generation) -> None:
    """Kept until its budget is spent. What dies is started again; only one that keeps dying is of no use to a rollback and let go."""
    over = generation.warm_until is None or draft.now >= generation.warm_until
    if (over or generation.crash_looping) and _may_leave(draft, generation):
        _empty(draft, _stopping(draft, generation))
    else:
        _fill(draft, generation)


def _may_leave(draft: Draft, generation: Generation) -> bool:
    """Never the last healthy ones: an old generation stays while the stable one has nobody ready."""
    return draft.removing or not draft.ready(generation.number) or bool(draft.ready(draft.agent.stable))


def _empty(draft: Draft, generation: Generation) -> None:
    if not _may_leave(draft, generation):
        return
    for instance in draft.of(generation.number, *_LIVING):
        draft.put(replace(instance, status=InstanceStatus.DRAINING))
    if draft.of(generation.number):
        draft.wake_in(0.25)
        return
    del draft.generations[generation.number]
    redirects = {old: new for old, new in draft.agent.redirects.items() if generation.number not in (old, new)}
    draft.put(replace(draft.agent, redirects=redirects))
    draft.wake_in(0)


def _leave(draft: Draft, instance: Instance) -> None:
    """The way out of one instance: out of new requests, idle, out of the data plane, signalled, killed if it will not go."""
    if instance.status is InstanceStatus.DRAINING and instance.stopping_since is None:
        instance = _idle(draft, instance)
    elif instance.status not in (InstanceStatus.DRAINING, InstanceStatus.FAILED):
        return
    if instance.stopping_since is None or _routed(draft, instance):
        draft.wake_in(0.25)
        return
    process = (draft.world.processes or {}).get(instance.instance)
    if process is None or not process.alive:
        return
    draft.wake_in(0.25)
    stop = StopInstance(agent=draft.agent.agent, instance=instance.instance)
    if instance.signalled_at is None:
        draft.put(replace(instance, signalled_at=draft.now))
        draft.do(stop)
    elif draft.since(instance.signalled_at) > draft.limits.stop_grace_seconds:
        draft.do(replace(stop, kill=True))


def _idle(draft: Draft, instance: Instance) -> Instance:
    """`stopping_since` is set once nothing is in flight any more, or the budget for streams is spent."""
    view = draft.world.routing
    if view is None or (instance.ready_at is not None and not _others_serve(draft)):
        return instance
    in_flight = view.in_flight.get(instance.instance, 0)
    listed = _routed(draft, instance)
    drains = _draining_in_data_plane(draft, instance)
    budget = _budget_seconds(draft, instance)
    begun = instance.draining_at or draft.now
    changed = replace(instance, draining_at=begun)
    if not listed or (drains and in_flight == 0) or draft.since(begun) > budget:
        changed = replace(changed, stopping_since=draft.now)
        draft.wake_in(0)
    draft.put(changed)
    return changed


def _budget_seconds(draft: Draft, instance: Instance) -> float:
    """Streams have a longer one. The data plane does not tell them from requests; an instance that says since then that it has none does."""
    drain = draft.manifest(instance.version).drain
    report = (draft.world.configs or {}).get(instance.instance)
    since = instance.draining_at
    load = report.load if report is not None and since is not None and report.at >= since else None
    if load is not None and load.active_streams == 0:
        return drain.timeout_seconds
    return drain.stream_budget_seconds


def _others_serve(draft: Draft) -> bool:
    """Whoever drains stays, and answers where nobody else can, until somebody is ready again."""
    return draft.removing or any(draft.ready(number) for number in (draft.agent.stable, draft.agent.candidate))


def _routed(draft: Draft, instance: Instance) -> bool:
    """Whether the data plane still knows it; unknown counts as yes, so that nothing is signalled on a guess."""
    view = draft.world.routing
    if view is None:
        return True
    route = view.routing.generation(instance.generation) if view.routing else None
    return route is not None and any(b.instance == instance.instance for b in route.backends)


def _draining_in_data_plane(draft: Draft, instance: Instance) -> bool:
    view = draft.world.routing
    route = view.routing.generation(instance.generation) if view and view.routing else None
    return route is not None and any(b.instance == instance.instance and b.state == "drain" for b in route.backends)


def _reap_orphans(draft: Draft) -> None:
    """Processes nobody wants: left by a start whose decision was never committed and is not taken again."""
    for name, process in (draft.world.processes or {}).items():
        if name in draft.instances:
            continue
        if process.alive:
            draft.do(StopInstance(agent=draft.agent.agent, instance=name, kill=_will_not_go(draft, process)))
        elif not any(isinstance(a, ForgetInstance) and a.instance == name for a in draft.actions):
            draft.do(ForgetInstance(agent=draft.agent.agent, instance=name))


def _will_not_go(draft: Draft, process: Process) -> bool:
    """Nobody remembers when an orphan was first asked to end: one that serves nobody and is older than the grace is not asked again."""
    view = draft.world.routing
    if view is None or view.in_flight.get(process.instance, 0) or draft.since(process.started_at) <= draft.limits.stop_grace_seconds:
        return False
    routes = view.routing.generations if view.routing is not None else ()
    return not any(backend.instance == process.instance for route in routes for backend in route.backends)


def _removed(draft: Draft) -> None:
    """The last thing to go is the routing; nobody comes back for it once the agent is forgotten, so it is seen to be gone first."""
    if draft.agent.status is not AgentStatus.REMOVING or draft.generations or draft.instances:
        return
    view = draft.world.routing
    if view is None or view.routing is not None:
        draft.do(RemoveRouting(agent=draft.agent.agent))
        draft.wake_in(0.1)
        return
    draft.put(replace(draft.agent, status=AgentStatus.REMOVED))
    draft.do(CollectReleases(agent=draft.agent.agent, keep=frozenset()))
    draft.tell(events.AGENT_REMOVED, audit=True, status="success")
