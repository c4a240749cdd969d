"""From readings of counters to blocks, the units in which evidence is weighed. Used by `observe` and stored with the deployment.

A block is closed by counts and time only, never by outcomes, so that no reading of the clock can favour one of the versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress

from agent_servicing.core.latency import BUCKETS, EMPTY
from agent_servicing.core.metrics import Counts

SAMPLES_KEPT = 60
"""Readings kept with a deployment, one a second while traffic is split: enough for the figures on the screen. Every turn carries them."""

BLOCK_REQUESTS = 5
"""Answers of each version that make a block: small enough to lose no time at low traffic, large enough to compare within."""

BLOCK_SECONDS_MAX = 10.0
"""A block is closed after this long whatever it holds, so that drift in common stays within it."""

_BUCKETS = range(BUCKETS)

_NO_COUNTS = Counts()

Sparse = tuple[tuple[int, int], ...]
"""A histogram as (bucket, count), rising, zeros left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one generation answered between two readings; for display."""

    at: datetime
    seconds: float
    candidate: Counts
    stable: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Observations of a custom metric, and how many of them were bad."""

    total: int = 0
    bad: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(total=self.total + other.total, bad=self.bad + other.bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one version did since the last reading; `new` and `pinned` conversations apart, as `GenerationCounters` has them."""

    new: Counts = _NO_COUNTS
    pinned: Counts = _NO_COUNTS
    custom: Mapping[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Both versions over the same `seconds`, while `share` percent of new conversations went to the candidate."""

    seconds: float
    share: float
    candidate: Arm
    stable: Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One version's requests of one kind (new or pinned) within a block."""

    routed: int = 0
    answered: int = 0
    errors: int = 0
    histogram: Sparse = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomCount:
    name: str
    candidate: Tally
    stable: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What both versions did at the same time, at one share. The blocks and the policy are all that a verdict depends on."""

    number: int
    seconds: float
    share: float
    warm_up: bool
    candidate_new: Cell
    candidate_pinned: Cell
    stable_new: Cell
    stable_pinned: Cell
    custom: tuple[CustomCount, ...] = ()

    @property
    def candidate_answered(self) -> int:
        return self.candidate_new.answered + self.candidate_pinned.answered

    @property
    def stable_answered(self) -> int:
        return self.stable_new.answered + self.stable_pinned.answered

    @property
    def candidate_routed(self) -> int:
        return self.candidate_new.routed + self.candidate_pinned.routed

    @property
    def stable_routed(self) -> int:
        return self.stable_new.routed + self.stable_pinned.routed

    @property
    def full(self) -> bool:
        enough = self.candidate_answered >= BLOCK_REQUESTS and self.stable_answered >= BLOCK_REQUESTS
        return enough or self.seconds >= BLOCK_SECONDS_MAX


def block_of(reading: Reading, *, number: int, warm_up: bool) -> Block:
    """One reading as a block of its own."""
    candidate, stable = reading.candidate, reading.stable
    names = sorted({*candidate.custom, *stable.custom}) if candidate.custom or stable.custom else ()
    return Block(
        number=number,
        seconds=reading.seconds,
        share=reading.share,
        warm_up=warm_up,
        candidate_new=_cell(candidate.new),
        candidate_pinned=_cell(candidate.pinned),
        stable_new=_cell(stable.new),
        stable_pinned=_cell(stable.pinned),
        custom=tuple(CustomCount(name=n, candidate=candidate.custom.get(n, Tally()), stable=stable.custom.get(n, Tally())) for n in names),
    )


def merged(block: Block, later: Block) -> Block:
    """Written out: at low traffic it happens every second, and `replace` takes four times as long."""
    return Block(
        number=block.number,
        seconds=block.seconds + later.seconds,
        share=block.share,
        warm_up=block.warm_up,
        candidate_new=_sum(block.candidate_new, later.candidate_new),
        candidate_pinned=_sum(block.candidate_pinned, later.candidate_pinned),
        stable_new=_sum(block.stable_new, later.stable_new),
        stable_pinned=_sum(block.stable_pinned, later.stable_pinned),
        custom=_sum_custom(block.custom, later.custom) if later.custom else block.custom,
    )


_NOTHING = Cell()


def _cell(counts: Counts) -> Cell:
    histogram = counts.histogram
    if not counts.routed and not counts.answered:
        return _NOTHING
    sparse = () if histogram is EMPTY else tuple([(bucket, histogram[bucket]) for bucket in compress(_BUCKETS, histogram)])
    return Cell(routed=counts.routed, answered=counts.answered, errors=counts.errors, histogram=sparse)


def _sum(a: Cell, b: Cell) -> Cell:
    if b is _NOTHING:
        return a
    if a is _NOTHING:
        return b
    counts = dict(a.histogram)
    for bucket, count in b.histogram:
        counts[bucket] = counts.get(bucket, 0) + count
    return Cell(
        routed=a.routed + b.routed, answered=a.answered + b.answered, errors=a.errors + b.errors, histogram=tuple(sorted(counts.items()))
    )


def _sum_custom(a: tuple[CustomCount, ...], b: tuple[CustomCount, ...]) -> tuple[CustomCount, ...]:
    known = {count.name: count for count in a}
    for count in b:
        before = known.get(count.name)
        known[count.name] = count if before is None else _added(before, count)
    return tuple(known[name] for name in sorted(known))


def _added(a: CustomCount, b: CustomCount) -> CustomCount:
    return CustomCount(name=a.name, candidate=a.candidate + b.candidate, stable=a.stable + b.stable)
