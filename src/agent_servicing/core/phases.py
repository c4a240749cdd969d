"""Tells when a generation begins to drain, is kept warm, ends or serves again, with what is still open there. A step of `decide`."""

from collections.abc import Mapping
from typing import Final

from agent_servicing.core import events
from agent_servicing.core.draft import Draft
from agent_servicing.core.drains import World, generation_work, instance_work
from agent_servicing.core.model import Generation
from agent_servicing.core.status import GenerationStatus

TOLD: Final[Mapping[GenerationStatus, str]] = {
    GenerationStatus.DRAINING: events.GENERATION_DRAINING,
    GenerationStatus.WARM: events.GENERATION_WARM,
    GenerationStatus.STOPPING: events.GENERATION_STOPPING,
    GenerationStatus.LIVE: events.GENERATION_RESUMED,
}


def tell_phases(draft: Draft) -> None:
    before = {g.number: g.status for g in draft.before.generations}
    for generation in draft.generations.values():
        was = before.get(generation.number)
        if was is not None and was is not generation.status:
            _tell(draft, generation)


def _tell(draft: Draft, generation: Generation) -> None:
    """The decision does not count conversations, which would be a long answer of the data plane in every turn."""
    view, manifest = draft.world.routing, draft.manifest(generation.version)
    world = World(at=draft.now, in_flight=view.in_flight if view is not None else None, reports=draft.world.configs)
    work = [instance_work(instance, manifest, world) for instance in draft.of(generation.number)]
    found = generation_work(
        generation, stable=draft.agent.stable, candidate=draft.agent.candidate, manifest=manifest, work=work, world=world
    )
    draft.tell(
        TOLD[generation.status],
        generation=generation.number,
        version=generation.version,
        in_flight=found.in_flight,
        active_streams=found.active_streams,
        conversation_seconds_left=found.conversation_seconds_left,
        stream_seconds_left=found.stream_seconds_left,
    )
