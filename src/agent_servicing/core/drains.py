"""How far generations and instances are on their way out, in counts. Asked by the API's services and by the decision, for its events. Pure.

What is not known is None and never a zero: nobody counts the streams of an agent that does not say how many it has, unless the data plane shows
that nothing is open there at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.goodbye import conversation_budget_seconds, leaves, stream_budget_seconds
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.status import GenerationStatus, InstanceStatus

FRESH_SECONDS: Final = 45.0
"""An instance says what it is busy with every ten seconds; who has said nothing for so long may be busy with anything."""

Phase = Literal["ramping", "active", "draining", "drained", "warm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What can be seen from outside: requests in flight by instance, streams included; what instances say; conversations by generation."""

    at: datetime
    in_flight: Mapping[str, int] | None = None
    reports: Mapping[str, ConfigReport] | None = None
    conversations: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWork:
    """`says` is the instance's own word, empty when it gives none. `seconds_left`: until what is still open is cut, None while it stays."""

    instance: Instance
    in_flight: int | None
    streams: int | None
    says: str
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationWork:
    """`conversations` may come back for `conversation_seconds_left`, streams may go on for `stream_seconds_left`; None while nothing ends."""

    generation: Generation
    phase: Phase
    conversations: int | None
    in_flight: int | None
    streams: int | None
    conversation_seconds_left: float | None
    stream_seconds_left: float | None


def instance_work(instance: Instance, generations: Mapping[int, Generation], manifest: Manifest, world: World) -> InstanceWork:
    in_flight = None if world.in_flight is None else world.in_flight.get(instance.instance, 0)
    report = (world.reports or {}).get(instance.instance)
    fresh = report is not None and (world.at - report.at).total_seconds() <= FRESH_SECONDS
    said = report.load.active_streams if report is not None and report.load is not None and fresh else None
    return InstanceWork(
        instance=instance,
        in_flight=in_flight,
        streams=0 if in_flight == 0 else said,
        says=report.state if report is not None and fresh else "",
        seconds_left=_instance_seconds_left(instance, generations, manifest, world.at),
    )


def generation_work(
    generation: Generation, *, stable: int | None, manifest: Manifest, work: Iterable[InstanceWork], world: World
) -> GenerationWork:
    """`work` is that of its instances."""
    work = list(work)
    in_flight, streams = _sum(each.in_flight for each in work), _sum(each.streams for each in work)
    conversations = None
    if world.conversations is not None and manifest.conversation_key is not None:
        conversations = world.conversations.get(generation.number, 0)
    left = _left(generation, work, manifest, world.at)
    idle = in_flight == 0 and (conversations == 0 or not left[0])
    return GenerationWork(
        generation=generation,
        phase=_phase(generation, stable, idle=idle),
        conversations=conversations,
        in_flight=in_flight,
        streams=streams,
        conversation_seconds_left=left[0],
        stream_seconds_left=left[1],
    )


def _phase(generation: Generation, stable: int | None, *, idle: bool) -> Phase:
    """What is idle by all that is known has drained; one that is kept for a rollback is warm only then."""
    if generation.status is GenerationStatus.LIVE:
        return "active" if generation.number == stable else "ramping"
    if not idle:
        return "draining"
    return "warm" if generation.status is GenerationStatus.WARM else "drained"


def _left(generation: Generation, work: list[InstanceWork], manifest: Manifest, now: datetime) -> tuple[float | None, float | None]:
    """For conversations, for streams."""
    begun = generation.draining_since
    match generation.status:
        case GenerationStatus.DRAINING | GenerationStatus.WARM if begun is not None:
            conversations = conversation_budget_seconds(manifest)
            since = _since(begun, now)
            mine = max(0.0, conversations - since) if generation.status is GenerationStatus.DRAINING else 0.0
            return mine, max(0.0, conversations + stream_budget_seconds(manifest.drain) - since)
        case GenerationStatus.STOPPING:
            return 0.0, max((each.seconds_left for each in work if each.seconds_left is not None), default=0.0)
        case _:
            return None, None


def _instance_seconds_left(instance: Instance, generations: Mapping[int, Generation], manifest: Manifest, now: datetime) -> float | None:
    if not leaves(instance, generations):
        return None
    if instance.status is InstanceStatus.DRAINING and instance.draining_at is not None:
        return max(0.0, stream_budget_seconds(manifest.drain) - _since(instance.draining_at, now))
    return _left(generations[instance.generation], [], manifest, now)[1]


def _since(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds())


def _sum(counts: Iterable[int | None]) -> int | None:
    """None when one of them is: a part is not the whole."""
    whole = 0
    for count in counts:
        if count is None:
            return None
        whole += count
    return whole
