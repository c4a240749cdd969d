"""From one block to what a criterion counts: how many requests, how many of them bad. Used by `update`."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from agent_servicing.core.analysis.blocks import Block, Sparse, Tally
from agent_servicing.core.analysis.policy import CUSTOM, ERRORS, LATENCY, Limits
from agent_servicing.core.analysis.wealth import Stratum
from agent_servicing.core.latency import EDGES_MS

TOLERATED_SLOWER = 1.09
"""How much slower the candidate's responses may be before they count as slower than stable's: the next edge of the histogram, about 12 %."""

_TOLERATED = (*(bisect_left(EDGES_MS, edge * TOLERATED_SLOWER) for edge in EDGES_MS), len(EDGES_MS))
"""For each bucket of a stable quantile the last bucket in which the candidate is not yet slower."""


@dataclass(slots=True)
class Events:
    """What one criterion counts in one block; made for it and dropped. `perhaps_over_promote`: `over_promote`, in doubt against the candidate."""

    total: int
    over_rollback: int
    over_promote: int
    perhaps_over_promote: int
    stable_total: int
    stable_over_rollback: int
    stable_over_promote: int
    comparisons: tuple[list[Stratum], ...]


def events_of(limits: Limits, block: Block, reference: tuple[int, ...]) -> Events:
    """`reference`: the buckets of stable's quantiles in earlier blocks."""
    if limits.name == ERRORS:
        return _errors(block)
    if limits.name == LATENCY:
        return _latency(block, reference, limits)
    return _custom(block, limits.name.removeprefix(CUSTOM))


def _errors(block: Block) -> Events:
    new, pinned, old_new, old_pinned = block.candidate_new, block.candidate_pinned, block.stable_new, block.stable_pinned
    first = [(new.errors, old_new.errors, new.answered, old_new.answered)]
    strata = first
    if pinned.answered or old_pinned.answered:
        strata = [*first, (pinned.errors, old_pinned.errors, pinned.answered, old_pinned.answered)]
    # New conversations also on their own: healthy running ones must not outvote a candidate that fails at the beginning.
    return _same(new.answered + pinned.answered, new.errors + pinned.errors, strata, (strata, first))


def _custom(block: Block, name: str) -> Events:
    count = next((c for c in block.custom if c.name == name), None)
    candidate, stable = (count.candidate, count.stable) if count else (Tally(), Tally())
    strata = [(candidate.bad, stable.bad, candidate.total, stable.total)]
    return _same(candidate.total, candidate.bad, strata, (strata,))


def _same(total: int, bad: int, strata: list[Stratum], comparisons: tuple[list[Stratum], ...]) -> Events:
    """One kind of event for every limit."""
    stable_bad = stable_total = 0
    for stratum in strata:
        stable_bad += stratum[1]
        stable_total += stratum[3]
    return Events(total, bad, bad, bad, stable_total, stable_bad, stable_bad, comparisons)


def _latency(block: Block, reference: tuple[int, ...], limits: Limits) -> Events:
    """Successful requests only: an error that comes fast must not make a version look fast."""
    new, old_new = _tail(block.candidate_new.histogram), _tail(block.stable_new.histogram)
    pinned, old_pinned = _tail(block.candidate_pinned.histogram), _tail(block.stable_pinned.histogram)
    rollback, promote = limits.rollback_bucket, limits.promote_bucket
    sides = [(a, b) for a, b in ((new, old_new), (pinned, old_pinned)) if a is not _EMPTY_TAIL and b is not _EMPTY_TAIL]
    return Events(
        new[1][-1] + pinned[1][-1],
        _above(new, rollback) + _above(pinned, rollback),
        _above(new, promote) + _above(pinned, promote),
        _above(new, limits.faster_bucket) + _above(pinned, limits.faster_bucket),
        old_new[1][-1] + old_pinned[1][-1],
        _above(old_new, rollback) + _above(old_pinned, rollback),
        _above(old_new, promote) + _above(old_pinned, promote),
        tuple([[_stratum(a, b, bucket) for a, b in sides] for bucket in reference]),
    )


_Tail = tuple[tuple[int, ...], list[int]]
"""Buckets with something in them, and the running sum of their counts beginning with 0."""

_EMPTY_TAIL: _Tail = ((), [0])


def _tail(histogram: Sparse) -> _Tail:
    if not histogram:
        return _EMPTY_TAIL
    buckets, counts = zip(*histogram, strict=True)
    return buckets, list(accumulate(counts, initial=0))


def _stratum(candidate: _Tail, stable: _Tail, bucket: int) -> Stratum:
    """Slower than `bucket`, the candidate's by more than is tolerated."""
    return _above(candidate, _TOLERATED[bucket]), _above(stable, bucket), candidate[1][-1], stable[1][-1]


def _above(tail: _Tail, bucket: int) -> int:
    """Responses in later buckets than this one."""
    if tail is _EMPTY_TAIL:
        return 0
    buckets, sums = tail
    return sums[-1] - sums[bisect_right(buckets, bucket)]
