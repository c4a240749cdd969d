"""From one block to what a criterion counts: how many requests, how many of them bad. Used by `update`."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from agent_servicing.core.analysis.blocks import Block, Sparse, Tally
from agent_servicing.core.analysis.policy import CUSTOM, ERRORS, Limits, Policy
from agent_servicing.core.analysis.wealth import Stratum
from agent_servicing.core.latency import EDGES_MS

TOLERATED_SLOWER = 1.09
"""How much slower the candidate's responses may be before they count as slower than stable's: the next edge of the histogram, about 12 %."""

_TOLERATED = (*(bisect_left(EDGES_MS, edge * TOLERATED_SLOWER) for edge in EDGES_MS), len(EDGES_MS))
"""For each bucket of a stable quantile the last bucket in which the candidate is not yet slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """What one criterion counts in one block. `perhaps_over_promote`: as `over_promote`, but in doubt against the candidate."""

    total: int
    over_rollback: int
    over_promote: int
    perhaps_over_promote: int
    stable_total: int
    stable_over_rollback: int
    stable_over_promote: int
    comparisons: tuple[list[Stratum], ...]


def events_of(limits: Limits, block: Block, reference: tuple[int, ...], policy: Policy) -> Events:
    """`reference`: the buckets of stable's quantiles in earlier blocks."""
    if limits.name == ERRORS:
        return _errors(block)
    if limits.name.startswith(CUSTOM):
        return _custom(block, limits.name.removeprefix(CUSTOM))
    return _latency(block, reference, policy)


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
    stable_bad = sum([s[1] for s in strata])
    return Events(
        total=total,
        over_rollback=bad,
        over_promote=bad,
        perhaps_over_promote=bad,
        stable_total=sum([s[3] for s in strata]),
        stable_over_rollback=stable_bad,
        stable_over_promote=stable_bad,
        comparisons=comparisons,
    )


def _latency(block: Block, reference: tuple[int, ...], policy: Policy) -> Events:
    """Successful requests only: an error that comes fast must not make a version look fast."""
    cells = (block.candidate_new, block.candidate_pinned, block.stable_new, block.stable_pinned)
    new, pinned, old_new, old_pinned = (_tail(cell.histogram) for cell in cells)
    rollback_ms, promote_ms = policy.latency_threshold_ms or 0.0, policy.latency_promote_limit_ms or 0.0
    # A bucket that a limit falls into counts for neither side: not certainly slower, and not certainly faster.
    rollback, promote = bisect_left(EDGES_MS, rollback_ms), bisect_left(EDGES_MS, promote_ms)
    surely_faster = bisect_right(EDGES_MS, promote_ms) - 1
    sides = [(a, b) for a, b in ((new, old_new), (pinned, old_pinned)) if a is not _EMPTY_TAIL and b is not _EMPTY_TAIL]
    comparisons = tuple([[_stratum(a, b, bucket) for a, b in sides] for bucket in reference])
    return Events(
        total=new[1][-1] + pinned[1][-1],
        over_rollback=_above(new, rollback) + _above(pinned, rollback),
        over_promote=_above(new, promote) + _above(pinned, promote),
        perhaps_over_promote=_above(new, surely_faster) + _above(pinned, surely_faster),
        stable_total=old_new[1][-1] + old_pinned[1][-1],
        stable_over_rollback=_above(old_new, rollback) + _above(old_pinned, rollback),
        stable_over_promote=_above(old_new, promote) + _above(old_pinned, promote),
        comparisons=comparisons,
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
    buckets, sums = tail
    return sums[-1] - sums[bisect_right(buckets, bucket)]
