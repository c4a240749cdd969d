"""How unevenly the stable version's failures come, and so how much less a burst of the candidate's says. Used by `update` and `evidence`.

The evidence takes requests as independent; when failures come in bursts (a client that repeats, a dependency that flickers), as many of
them scatter more, by a factor φ. A likelihood ratio raised to a power of at most one is still fair evidence, so the judge divides
its logarithm by φ. It is estimated from stable alone and from blocks of the past alone: the candidate's luck has no part in it.
"""

from dataclasses import dataclass

BURST_MAX = 20.0
"""φ of failures that come in tens on average. A version is not excused further than this."""

CALM_EVENTS = 40.0
"""So many failures without bursts are taken for granted: one burst is no habit."""

CALM_MOST = 1.5
"""An estimate below this is chance, and no reason to wait longer for a verdict."""

MEMORY = 1 - 1 / 50
"""What a pair of blocks with failures still counts at the next one: about fifty of them are remembered."""

UNLIKE = 4
"""Blocks of which one is more than so many times as large as the other are not compared; chance would tell too much there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """`bad` and `total` of stable's last block; how far such neighbours were apart (`scatter`), and how far chance would have them (`chance`).

    Neighbours, so that a rate that is high for long, as in an outage, does not look like bursts.
    """

    bad: int = 0
    total: int = 0
    scatter: float = 0.0
    chance: float = 0.0

    @property
    def factor(self) -> float:
        """φ: 1, or from `CALM_MOST` to `BURST_MAX`."""
        estimate = (self.scatter + CALM_EVENTS) / (self.chance + CALM_EVENTS)
        return min(BURST_MAX, estimate) if estimate >= CALM_MOST else 1.0


STEADY = Dispersion()


def scattered(before: Dispersion, bad: int, total: int) -> Dispersion:
    """After a block in which stable answered `total` requests, `bad` of them badly."""
    events, both = before.bad + bad, before.total + total
    if not before.total or not events or events == both or max(before.total, total) > UNLIKE * min(before.total, total):
        return Dispersion(bad=bad, total=total, scatter=before.scatter, chance=before.chance)
    # Pearson's statistic of the two blocks, times their events, and what it is on average when any of the requests might have failed.
    apart = (bad * before.total - before.bad * total) ** 2 / (before.total * total)
    chance = events * (both - events) / (both - 1)
    return Dispersion(bad=bad, total=total, scatter=MEMORY * before.scatter + apart, chance=MEMORY * before.chance + chance)
