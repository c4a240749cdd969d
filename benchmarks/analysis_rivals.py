"""Re-implementations of other decision rules, for `analysis.py`: ours, not the products; only the rules are taken over, from sources and papers.

Each takes the counts of a deployment by second and returns the second at which it would roll back, or None. All of them, like the judge,
ignore the first `WARM_UP_SECONDS`, and hold the operator's 5 % of errors and 300 ms at the 95th percentile.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import hypergeom

from agent_servicing.core.latency import EDGES_MS
from benchmarks.analysis_traffic import CANDIDATE, STABLE, Traffic

WARM_UP_SECONDS = 45
ERROR_LIMIT, SLOW_LIMIT = 0.05, 0.05
ROLLBACK_BUCKET, PROMOTE_BUCKET = EDGES_MS.index(300.0), EDGES_MS.index(150.0)

Rule = Callable[[Traffic], int | None]


def window(seconds: int, least: int) -> Rule:
    """The limits, read literally over a sliding window, with a minimum of requests."""

    def rule(traffic: Traffic) -> int | None:
        n, e, ok, slow = (_rolling(x, seconds) for x in _candidate(traffic))
        return _first((n >= max(1, least)) & ((e > ERROR_LIMIT * n) | (slow > SLOW_LIMIT * ok)), seconds)

    return rule


def intervals(seconds: int, failures: int, *, silence_fails: bool) -> Rule:
    """Flagger: failed checks add up, no data fails, roll back at the threshold. Argo: more failures than failureLimit, no data is no failure."""

    def rule(traffic: Traffic) -> int | None:
        n, e, ok, slow = (_chunks(x, seconds) for x in _candidate(traffic))
        failed = (e > ERROR_LIMIT * n) | (slow > SLOW_LIMIT * ok) | ((n == 0) & silence_fails)
        reached = np.flatnonzero(np.cumsum(failed) >= failures)
        return WARM_UP_SECONDS + (int(reached[0]) + 1) * seconds if len(reached) else None

    return rule


def mann_whitney(every: int) -> Rule:
    """Kayenta's judge: points of 10 s; "High" when the lower limit of the shift's 98 % interval is over a quarter of the estimate."""

    def rule(traffic: Traffic) -> int | None:
        points = [(_rates(traffic, arm, 10), _p95(traffic, arm, 10)) for arm in (STABLE, CANDIDATE)]
        for second in range(2 * every, len(traffic.share) - WARM_UP_SECONDS + 1, every):
            for metric in (0, 1):
                stable, candidate = (p[metric][: second // 10] for p in points)
                if _high(stable[~np.isnan(stable)], candidate[~np.isnan(candidate)]):
                    return WARM_UP_SECONDS + second
        return None

    return rule


def fisher(every: int, alpha: float) -> Rule:
    """Fisher's exact test on all counts so far, one-sided, looked at again and again."""

    def rule(traffic: Traffic) -> int | None:
        at = slice(every - 1, None, every)
        crossed = False
        for bad, total in ((traffic.errors, traffic.answered), (_over(traffic, PROMOTE_BUCKET), traffic.histogram.sum(axis=2))):
            k, n = (np.cumsum(x[:, WARM_UP_SECONDS:], axis=1)[:, at] for x in (bad, total))
            crossed |= hypergeom.sf(k[CANDIDATE] - 1, n.sum(axis=0), k.sum(axis=0), n[CANDIDATE]) < alpha
        reached = np.flatnonzero(crossed)
        return WARM_UP_SECONDS + (int(reached[0]) + 1) * every if len(reached) else None

    return rule


def msprt(alpha: float, tau: float) -> Rule:
    """Mixture sequential ratio test on the difference of two rates, two metrics, all counts so far."""

    def rule(traffic: Traffic) -> int | None:
        crossed = False
        for bad, total in ((traffic.errors, traffic.answered), (_over(traffic, PROMOTE_BUCKET), traffic.histogram.sum(axis=2))):
            k, n = (np.cumsum(x[:, WARM_UP_SECONDS:], axis=1).astype(float) for x in (bad, total))
            known = (n > 0).all(axis=0)
            n = np.maximum(n, 1)
            p = (k + 0.5) / (n + 1)
            difference, variance = k[CANDIDATE] / n[CANDIDATE] - k[STABLE] / n[STABLE], (p * (1 - p) / n).sum(axis=0)
            evidence = 0.5 * np.log(variance / (variance + tau**2)) + tau**2 * difference**2 / (2 * variance * (variance + tau**2))
            crossed |= known & (difference > 0) & (evidence > np.log(2 / alpha))
        return _first(crossed, 1)

    return rule


RIVALS: dict[str, Rule] = {
    "limits, 10 s window": window(10, 1),
    "limits, 60 s window, 20 requests": window(60, 20),
    "Flagger-like 60 s x 5": intervals(60, 5, silence_fails=True),
    "Argo-like failureLimit 0": intervals(60, 1, silence_fails=False),
    "Argo-like failureLimit 3": intervals(60, 4, silence_fails=False),
    "Kayenta-like every 60 s": mann_whitney(60),
    "Fisher p<0.01 every 10 s": fisher(10, 0.01),
    "mSPRT 1 %": msprt(0.01, 0.01),
}


def _candidate(traffic: Traffic) -> tuple[np.ndarray, ...]:
    """Requests, errors, successes and slow ones of the candidate after the warm-up."""
    counts = (traffic.answered, traffic.errors, traffic.histogram.sum(axis=2), _over(traffic, ROLLBACK_BUCKET))
    return tuple(x[CANDIDATE, WARM_UP_SECONDS:] for x in counts)


def _over(traffic: Traffic, bucket: int) -> np.ndarray:
    return traffic.histogram[:, :, bucket + 1 :].sum(axis=2)


def _rolling(x: np.ndarray, seconds: int) -> np.ndarray:
    sums = np.concatenate([[0], np.cumsum(x)])
    return sums[seconds:] - sums[:-seconds]


def _chunks(x: np.ndarray, seconds: int) -> np.ndarray:
    whole = len(x) // seconds
    return x[: whole * seconds].reshape(whole, seconds).sum(axis=1)


def _first(reached: np.ndarray, seconds: int) -> int | None:
    hits = np.flatnonzero(reached)
    return WARM_UP_SECONDS + seconds + int(hits[0]) if len(hits) else None


def _rates(traffic: Traffic, arm: int, seconds: int) -> np.ndarray:
    n, e = (_chunks(x[arm, WARM_UP_SECONDS:], seconds).astype(float) for x in (traffic.answered, traffic.errors))
    return np.where(n > 0, e / np.maximum(n, 1), np.nan)


def _p95(traffic: Traffic, arm: int, seconds: int) -> np.ndarray:
    rows = traffic.histogram[arm, WARM_UP_SECONDS:]
    whole = len(rows) // seconds
    sums = rows[: whole * seconds].reshape(whole, seconds, -1).sum(axis=1).cumsum(axis=1)
    buckets = (sums >= 0.95 * sums[:, -1:]).argmax(axis=1)
    edges = np.array((*EDGES_MS, EDGES_MS[-1] * 1.1))
    before = np.take_along_axis(sums, np.maximum(buckets - 1, 0)[:, None], axis=1)[:, 0] * (buckets > 0)
    within = np.take_along_axis(sums, buckets[:, None], axis=1)[:, 0] - before
    part = (0.95 * sums[:, -1] - before) / np.maximum(within, 1)
    low = np.where(buckets > 0, edges[np.maximum(buckets - 1, 0)], 0.0)
    return np.where(sums[:, -1] > 0, low + part * (edges[buckets] - low), np.nan)


def _high(stable: np.ndarray, candidate: np.ndarray) -> bool:
    n, m = len(stable), len(candidate)
    if min(n, m) < 5:
        return False
    shifts = np.sort((candidate[:, None] - stable[None, :]).ravel())
    lower = int(len(shifts) / 2 - 2.326 * np.sqrt(n * m * (n + m + 1) / 12))
    return lower >= 0 and shifts[lower] > 0.25 * abs(np.median(shifts)) and candidate.mean() >= stable.mean()
