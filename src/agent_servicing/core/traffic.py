"""Last step of a decision: the routing that follows from the state, and the action that makes the data plane equal to it."""

from agent_servicing.core.actions import ApplyRouting
from agent_servicing.core.config.enforced import NOTHING
from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.routing import Backend, GenerationRoute, Routing, effective_share
from agent_servicing.core.status import InstanceStatus
from agent_servicing.core.watch import unhealthy

APPLY_AGAIN_SECONDS = 0.02
"""When to read back what was set. Not at once, so that a data plane that ignores us costs little."""


def route(draft: Draft) -> None:
    if draft.world.routing is None or draft.world.processes is None or (draft.removing and not draft.generations):
        return
    wanted = desired_routing(draft)
    if draft.world.routing.routing != wanted:
        draft.do(ApplyRouting(routing=wanted))
        draft.wake_in(APPLY_AGAIN_SECONDS)


def in_force(draft: Draft) -> bool:
    """Whether the data plane already does exactly what the state asks, share included."""
    view = draft.world.routing
    return view is not None and view.routing == desired_routing(draft)


def desired_routing(draft: Draft) -> Routing:
    """Asked several times in one decision; worked out again only when something it follows from was changed meanwhile."""
    rests_on = (draft.agent, *draft.generations.values(), *draft.instances.values())
    if draft.routed is None or draft.routed[0] != rests_on:
        draft.routed = (rests_on, _desired_routing(draft))
    return draft.routed[1]


def _desired_routing(draft: Draft) -> Routing:
    generations = tuple(_route_of(draft, number) for number in sorted(draft.generations))
    numbers = {g.generation for g in generations}
    agent = draft.agent
    stable = agent.stable if agent.stable in numbers else None
    candidate = agent.candidate if agent.candidate in numbers else None
    share = _share(draft, candidate, stable)
    # Open conversations come back together with the share: not before the instances that are to answer them.
    kept = {candidate} if share > agent.share else set()
    limits = draft.enforced(ruling) if (ruling := ruling_generation(draft)) is not None else NOTHING
    return Routing(
        agent=agent.agent,
        conversation_key=agent.manifest.conversation_key,
        generations=generations,
        stable=stable,
        candidate=candidate,
        share=share,
        redirects={old: new for old, new in sorted(agent.redirects.items()) if old in numbers and new in numbers and old not in kept},
        rate_limit=limits.rate_limit,
        request_timeout_seconds=limits.request_timeout_seconds,
    )


def ruling_generation(draft: Draft) -> Generation | None:
    """Whose configuration says what the router enforces for the whole agent: the one that serves, and before there is one, the first."""
    agent = draft.agent
    return draft.generations.get(agent.stable or 0) or draft.generations.get(agent.candidate or 0)


def limits_in_force(draft: Draft) -> bool:
    """Whether the data plane enforces the limits that the state asks for, whatever else it does."""
    view, wanted = draft.world.routing, desired_routing(draft)
    return (
        view is not None
        and view.routing is not None
        and (view.routing.rate_limit, view.routing.request_timeout_seconds) == (wanted.rate_limit, wanted.request_timeout_seconds)
    )


def _share(draft: Draft, candidate: int | None, stable: int | None) -> float:
    if candidate is None:
        return 0.0
    share = effective_share(
        wanted=draft.agent.share,
        candidate_ready=able(draft, candidate),
        stable_ready=able(draft, stable),
        needed=draft.agent.instances,
        shrunk=_shrunk(draft, stable),
    )
    return round(share, 2)


def _shrunk(draft: Draft, stable: int | None) -> bool:
    """Was made smaller on purpose, and may still become whole: its time for that is not over, or an instance is just starting."""
    generation = draft.generations.get(stable or 0)
    if generation is None or generation.shrunk_until is None:
        return False
    return draft.now < generation.shrunk_until or (not generation.crash_looping and bool(draft.of(stable, InstanceStatus.STARTING)))


def able(draft: Draft, generation: int | None) -> int:
    """How many of its instances can really answer."""
    return sum(not unhealthy(draft, i) for i in draft.ready(generation))


def _route_of(draft: Draft, number: int) -> GenerationRoute:
    generation = draft.generations[number]
    backends = tuple(b for i in draft.of(number) if (b := _backend(i)) is not None)
    return GenerationRoute(generation=number, version=generation.version, backends=backends)


def _backend(instance: Instance) -> Backend | None:
    """An instance is in the data plane from ready until it is idle; a failed or stopping one is not."""
    if instance.host is None or instance.port is None or instance.stopping_since is not None:
        return None
    match instance.status:
        case InstanceStatus.READY:
            return Backend(instance=instance.instance, host=instance.host, port=instance.port)
        case InstanceStatus.DRAINING:
            return Backend(instance=instance.instance, host=instance.host, port=instance.port, state="drain")
        case _:
            return None
