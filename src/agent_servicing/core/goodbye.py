"""Tells instances that are on their way out by when their streams have to end, so that these say goodbye instead of being cut, and those that are
to serve again that they need not. A step of `decide`.

The data plane drains them in any case; an agent that takes no such word just goes on until its budget is spent.
"""

from collections.abc import Mapping
from typing import Final

from agent_servicing.core.actions import AnnounceDrain, Goodbye
from agent_servicing.core.draft import Draft
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.status import GenerationStatus, InstanceStatus

PART: Final = 0.8
"""Of the budget for streams, after which they say goodbye: the rest is for what their clients were just being sent."""

AGAIN_SECONDS: Final = 2.0
"""One that has had so long to hear of it, and says that it serves as ever, is told once more."""

_ENDING: Final = ("draining", "drained")

LEAVING: Final = frozenset({GenerationStatus.DRAINING, GenerationStatus.WARM})
"""Generations whose instances run on, but whose streams are to move: nobody new is sent there."""


def announce(draft: Draft) -> None:
    goodbyes: dict[str, Goodbye | None] = {}
    was_told = _told_before(draft)
    for instance in draft.instances.values():
        if leaves(instance, draft.generations):
            left = _seconds_left(draft, instance)
            if instance.instance not in was_told or _has_not_heard(draft, instance, left):
                ends = instance.status is InstanceStatus.DRAINING
                goodbyes[instance.instance] = Goodbye(seconds=round(left, 3), reason="ending" if ends else "replaced")
        elif _serves(draft, instance) and (instance.instance in was_told or _says(draft, instance) in _ENDING):
            goodbyes[instance.instance] = None
    there = {name: process for name, process in (draft.world.processes or {}).items() if name in goodbyes and process.alive}
    if there:
        heard = {name: goodbyes[name] for name in there}
        draft.do(AnnounceDrain(agent=draft.agent.agent, goodbyes=heard, processes=there))


def conversation_budget_seconds(manifest: Manifest) -> float:
    """Seconds from the beginning of a generation's drain within which its conversations may come back to it, and open new streams there."""
    return manifest.drain.conversation_timeout_seconds if manifest.conversation_key else 0.0


def leaves(instance: Instance, generations: Mapping[int, Generation]) -> bool:
    """Whether its streams have to end some time: it drains itself, or its generation does. One that is the last to answer does not."""
    if instance.status is InstanceStatus.DRAINING:
        return instance.draining_at is not None and instance.stopping_since is None
    generation = generations.get(instance.generation)
    kept = generation is not None and generation.status in LEAVING and generation.draining_since is not None
    return kept and instance.status is InstanceStatus.READY


def _told_before(draft: Draft) -> set[str]:
    """Whoever left already when this decision began. Who drains by itself now is told anew: its time is another one."""
    before = {g.number: g for g in draft.before.generations}
    told = set()
    for was in draft.before.instances:
        now = draft.instances.get(was.instance)
        if leaves(was, before) and now is not None and (now.draining_at is None) == (was.draining_at is None):
            told.add(was.instance)
    return told


def _seconds_left(draft: Draft, instance: Instance) -> float:
    manifest = draft.manifest(instance.version)
    budget, begun = PART * manifest.drain.stream_budget_seconds, instance.draining_at
    if instance.status is not InstanceStatus.DRAINING:
        budget += conversation_budget_seconds(manifest)
        begun = draft.generations[instance.generation].draining_since
    return max(0.0, budget - draft.since(begun))


def _has_not_heard(draft: Draft, instance: Instance, left: float) -> bool:
    """A warm one whose time is over has no stream that could end, so it is left alone."""
    own = instance.status is InstanceStatus.DRAINING
    begun = instance.draining_at if own else draft.generations[instance.generation].draining_since
    serves = _says(draft, instance) not in ("", *_ENDING)
    return serves and draft.since(begun) >= AGAIN_SECONDS and (own or left > 0)


def _serves(draft: Draft, instance: Instance) -> bool:
    generation = draft.generations.get(instance.generation)
    return instance.status is InstanceStatus.READY and generation is not None and generation.status is GenerationStatus.LIVE


def _says(draft: Draft, instance: Instance) -> str:
    report = (draft.world.configs or {}).get(instance.instance)
    return report.state if report is not None else ""
