"""What both versions of a deployment did from its beginning to its end, as lines that can be drawn: stored blocks in, a few hundred points out.

Called by `Analysis`; pure. Points merge blocks of the same time, so that a day of watching is as small an answer as a minute.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent_servicing.core.analysis import Block, Cell
from agent_servicing.core.latency import BUCKETS
from agent_servicing.core.metrics import Counts
from agent_servicing.store.blocks import StoredBlock

POINTS_MAX: Final = 300
"""Of one deployment: about as many as a chart has room for."""

POINT_SECONDS_MIN: Final = 1.0
"""Blocks at high traffic are half a second long; of a single one the 95th percentile says little."""

DECIDED_SECONDS: Final = 10.0
"""What the figures at the decision are taken over, as those of a running deployment are, where no verdict says over which time it looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Both versions over `seconds` up to `at`, while `share` percent of new conversations went to the candidate."""

    at: datetime
    seconds: float
    share: float
    stable: Counts
    candidate: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """`decided_at`: when it was taken back, else when it ended; `decided`: what led to that. `points`: oldest first."""

    decided_at: datetime | None
    decided: Point | None
    points: tuple[Point, ...]


def course(blocks: Sequence[StoredBlock], decided_at: datetime | None, window_seconds: float | None = None) -> Course:
    """`blocks` oldest first; those whose time was not kept are left out. `window_seconds`: what the verdict looked at."""
    timed = [(stored.at, stored.block) for stored in blocks if stored.at is not None]
    step = max(POINT_SECONDS_MIN, sum(block.seconds for _, block in timed) / POINTS_MAX)
    points: list[Point] = []
    group: list[tuple[datetime, Block]] = []
    for at, block in timed:
        group.append((at, block))
        if sum(each.seconds for _, each in group) >= step:
            points.append(_point(group))
            group = []
    if group:
        points.append(_point(group))
    end = decided_at or (timed[-1][0] if timed else None)
    window = window_seconds or DECIDED_SECONDS
    last = [(at, block) for at, block in timed if end is not None and at <= end < at + timedelta(seconds=window - block.seconds / 2)]
    return Course(decided_at=decided_at, decided=_point(last) if last else None, points=tuple(points))


def _point(group: Sequence[tuple[datetime, Block]]) -> Point:
    at, newest = group[-1]
    return Point(
        at=at,
        seconds=sum(block.seconds for _, block in group),
        share=newest.share,
        stable=_counts(cell for _, block in group for cell in (block.stable_new, block.stable_pinned)),
        candidate=_counts(cell for _, block in group for cell in (block.candidate_new, block.candidate_pinned)),
    )


def _counts(cells: Iterable[Cell]) -> Counts:
    routed = answered = errors = 0
    histogram = [0] * BUCKETS
    for cell in cells:
        routed, answered, errors = routed + cell.routed, answered + cell.answered, errors + cell.errors
        for bucket, count in cell.histogram:
            histogram[bucket] += count
    return Counts(routed=routed, answered=answered, errors=errors, histogram=tuple(histogram))
