"""The latency histogram's edges: one place, read by the proxy's configuration, the metrics adapters and the analysis."""

from collections.abc import Sequence

_STEPS = (1.0, 1.1, 1.25, 1.4, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 7.5, 8.0, 9.0)

EDGES_MS: tuple[float, ...] = tuple(round(step * 10**decade, 3) for decade in range(5) for step in _STEPS)
"""Upper edges of the buckets, 1 ms to 90 s, about 12 % apart and holding every round limit an operator would name.

Bucket i counts responses of at most `EDGES_MS[i]` and more than the edge before; one more bucket at the end counts the slower ones.
"""

BUCKETS = len(EDGES_MS) + 1

EMPTY: tuple[int, ...] = (0,) * BUCKETS


def above(histogram: Sequence[int], limit_ms: float) -> int:
    """How many responses certainly took longer than `limit_ms`: those in buckets that begin at the limit or later."""
    return sum(count for lower, count in zip((0.0, *EDGES_MS), histogram, strict=True) if count and lower >= limit_ms)


def quantile_ms(histogram: Sequence[int], q: float) -> float | None:
    """The upper edge of the bucket that holds quantile `q` (0–1), None without data; 12 % coarse by construction."""
    total = sum(histogram)
    if not total:
        return None
    rank, seen = q * total, 0
    for edge, count in zip((*EDGES_MS, EDGES_MS[-1]), histogram, strict=True):
        seen += count
        if seen >= rank:
            return edge
    return EDGES_MS[-1]


def mean_ms(histogram: Sequence[int]) -> float | None:
    """The mean, each response taken at the middle of its bucket; for display, never for a verdict."""
    total = sum(histogram)
    if not total:
        return None
    middles = ((low + high) / 2 for low, high in zip((0.0, *EDGES_MS), (*EDGES_MS, EDGES_MS[-1]), strict=True))
    return sum(middle * count for middle, count in zip(middles, histogram, strict=True)) / total
