"""Readings in words for the judge's tests: so many requests a second, so many of them bad, evenly spread and without dice."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from agent_servicing.core import latency
from agent_servicing.core.analysis import Arm, Block, Evidence, Judgement, Policy, Reading, Tally, begin, observe, verdict
from agent_servicing.core.metrics import Counts
from agent_servicing.core.status import Verdict

BOTH = Policy(error_rate_threshold=5.0, latency_threshold_ms=300.0)
ERRORS_ONLY = Policy(error_rate_threshold=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`rate` requests a second; shares from 0 to 1: of errors, of slow ones that take `slow_ms`, and of those that are answered at all."""

    rate: float = 10.0
    errors: float = 0.0
    slow: float = 0.0
    slow_ms: float = 1000.0
    ms: float = 50.0
    answered: float = 1.0
    pinned: float = 0.0
    bad_quality: float | None = None


def bucket(ms: float) -> int:
    return next(i for i, edge in enumerate(latency.EDGES_MS) if ms <= edge)


def counts(n: int, errors: int = 0, *, ms: float = 50.0, slow: int = 0, slow_ms: float = 1000.0, routed: int | None = None) -> Counts:
    histogram = [0] * latency.BUCKETS
    histogram[bucket(ms)] += n - errors - slow
    histogram[bucket(slow_ms)] += slow
    return Counts(routed=n if routed is None else routed, answered=n, errors=errors, histogram=tuple(histogram))


def a_reading(candidate: Counts, stable: Counts, *, share: float = 25.0, seconds: float = 1.0) -> Reading:
    return Reading(seconds=seconds, share=share, candidate=Arm(new=candidate), stable=Arm(new=stable))


def traffic(candidate: Version, stable: Version, *, seconds: int, share: float = 25.0, begin_at: int = 0) -> Iterator[Reading]:
    for second in range(begin_at, begin_at + seconds):
        yield Reading(seconds=1.0, share=share, candidate=_arm(candidate, second), stable=_arm(stable, second))


def watched(
    readings: Iterable[Reading], policy: Policy = BOTH, *, warmup_seconds: float = 0.0, evidence: Evidence | None = None
) -> tuple[Evidence, Judgement, list[Block]]:
    """Until the first failing verdict, or to the end."""
    evidence, blocks = evidence or begin(policy, warmup_seconds), []
    judgement = verdict(evidence, policy)
    for reading in readings:
        evidence, block = observe(evidence, reading, policy)
        judgement = verdict(evidence, policy)
        if block is not None:
            blocks.append(block)
        if judgement.verdict is Verdict.FAILING:
            break
    return evidence, judgement, blocks


def _arm(version: Version, second: int) -> Arm:
    pinned = version.rate * version.pinned
    custom: Mapping[str, Tally] = {}
    if version.bad_quality is not None:
        total = _now(version.rate, second)
        custom = {"quality": Tally(total=total, bad=_part(version.rate, version.bad_quality, second, total))}
    return Arm(new=_kind(version, version.rate - pinned, second), pinned=_kind(version, pinned, second), custom=custom)


def _kind(version: Version, rate: float, second: int) -> Counts:
    routed = _now(rate, second)
    if not routed:
        return Counts()
    n = _part(rate, version.answered, second, routed)
    errors = _part(rate, version.errors * version.answered, second, n)
    slow = _part(rate, version.slow, second, n - errors)
    return counts(n, errors, ms=version.ms, slow=slow, slow_ms=version.slow_ms, routed=routed)


def _now(rate: float, second: int) -> int:
    return int(rate * (second + 1) + 1e-9) - int(rate * second + 1e-9)


def _part(rate: float, share: float, second: int, most: int) -> int:
    return min(most, _now(rate * share, second))
