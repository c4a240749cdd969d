"""How far generations and instances are on their way out, in counts. Asked by the API's services and by the decision, for its events. Pure.

What is not known is None and never a zero: nobody counts the streams of an agent that does not say how many it has, unless the data plane shows
that nothing is open there at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.goodbye import conversation_budget_seconds
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.status import GenerationStatus, InstanceStatus

FRESH_SECONDS: Final = 45.0
"""An instance says what it is busy with every ten seconds; who has said nothing for so long may be busy with anything."""

Phase = Literal["starting", "ramping", "active", "draining", "drained", "warm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What can be seen from outside: requests in flight by instance, streams included; what instances say; conversations by generation."""

    at: datetime
    in_flight: Mapping[str, int] | None = None
    reports: Mapping[str, ConfigReport] | None = None
    conversations: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWork:
    """`says` is the instance's own word, empty when it gives none. `drain_seconds_left`: until what is still open is cut, None while it stays."""

    instance: Instance
    in_flight: int | None
    active_streams: int | None
    open_conversations: int | None
    drain_seconds_left: float | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationWork:
    """`conversations` may come back for `conversation_seconds_left`, streams may go on for `stream_seconds_left`; None while nothing ends."""

    generation: Generation
    phase: Phase
    conversations: int | None
    in_flight: int | None
    active_streams: int | None
    conversation_seconds_left: float | None
    stream_seconds_left: float | None


def instance_work(instance: Instance, manifest: Manifest, world: World) -> InstanceWork:
    in_flight = None if world.in_flight is None else world.in_flight.get(instance.instance, 0)
    report = (world.reports or {}).get(instance.instance)
    fresh = report is not None and (world.at - report.at).total_seconds() <= FRESH_SECONDS
    load = report.load if report is not None and fresh else None
    streams = 0 if in_flight == 0 else load.active_streams if load is not None else None
    return InstanceWork(
        instance=instance,
        in_flight=in_flight,
        active_streams=streams,
        open_conversations=load.open_conversations if load is not None else None,
        drain_seconds_left=_drain_left(instance, manifest, world.at, streams),
        says=report.state if report is not None and fresh else "",
    )


def generation_work(
    generation: Generation, *, stable: int | None, candidate: int | None, manifest: Manifest, work: Iterable[InstanceWork], world: World
) -> GenerationWork:
    """`work` is that of its instances."""
    work = list(work)
    conversations = None
    if world.conversations is not None and manifest.conversation_key is not None:
        conversations = world.conversations.get(generation.number, 0)
    in_flight, left = _sum(each.in_flight for each in work), conversation_seconds_left(generation, manifest, world.at)
    phase = planned_phase(generation, stable=stable, candidate=candidate)
    if phase in ("draining", "warm"):
        idle = in_flight == 0 and (conversations == 0 or not left)
        phase = "draining" if not idle else "warm" if phase == "warm" else "drained"
    return GenerationWork(
        generation=generation,
        phase=phase,
        conversations=conversations,
        in_flight=in_flight,
        active_streams=_sum(each.active_streams for each in work),
        conversation_seconds_left=left,
        stream_seconds_left=_stream_left(generation, manifest, world.at, work),
    )


def planned_phase(generation: Generation, *, stable: int | None, candidate: int | None) -> Phase:
    """As far as the engine has it, without a look at what is still open: whoever leaves drains."""
    if generation.number == stable:
        return "active"
    if generation.number == candidate:
        return "ramping"
    match generation.status:
        case GenerationStatus.LIVE:
            return "starting"
        case GenerationStatus.WARM:
            return "warm"
        case _:
            return "draining"


def conversation_seconds_left(generation: Generation, manifest: Manifest, now: datetime) -> float | None:
    """For how long conversations of a generation that drains may still come back to it; None when it does not, or has none."""
    if generation.status is not GenerationStatus.DRAINING or generation.draining_since is None or manifest.conversation_key is None:
        return None
    return _left(conversation_budget_seconds(manifest), generation.draining_since, now)


def _stream_left(generation: Generation, manifest: Manifest, now: datetime, work: Iterable[InstanceWork]) -> float | None:
    match generation.status:
        case GenerationStatus.DRAINING | GenerationStatus.WARM if generation.draining_since is not None:
            budget = conversation_budget_seconds(manifest) + manifest.drain.stream_budget_seconds
            return _left(budget, generation.draining_since, now)
        case GenerationStatus.STOPPING:
            return max((each.drain_seconds_left for each in work if each.drain_seconds_left is not None), default=None)
        case _:
            return None


def _drain_left(instance: Instance, manifest: Manifest, now: datetime, streams: int | None) -> float | None:
    if instance.status is not InstanceStatus.DRAINING or instance.draining_at is None:
        return None
    drain = manifest.drain
    return _left(drain.timeout_seconds if streams == 0 else drain.stream_budget_seconds, instance.draining_at, now)


def _left(budget_seconds: float, since: datetime, now: datetime) -> float:
    return round(max(0.0, budget_seconds - max(0.0, (now - since).total_seconds())), 1)


def _sum(counts: Iterable[int | None]) -> int | None:
    """None when one of them is: a part is not the whole."""
    whole = 0
    for count in counts:
        if count is None:
            return None
        whole += count
    return whole
