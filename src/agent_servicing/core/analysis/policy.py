"""The operator's limits as the judge needs them. Written by `services.specs` into a deployment, read by every other module of this package."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from agent_servicing.core.latency import EDGES_MS

PROMOTE_ERROR_RATE_MAX = 2.0
"""Percent below which a version is good whatever the old one does, when the operator names no limit of his own."""

LEAST, MOST = 0.0001, 0.9999
"""A limit of 0 % or 100 % has no odds; the nearest that has."""

_LEAST_CRITERIA = 2
"""With a single criterion the evidence asked for stays what it is for errors and latency: switching one off must not loosen the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomMetric:
    """Share of bad observations of something the agent reports itself (quality, cost, tokens): values above `above` or below `below`.

    Shares in percent; `ratio`: how many times the stable version's share is not yet worse.
    """

    name: str
    above: float | None = None
    below: float | None = None
    rollback_percent: float
    promote_percent: float
    ratio: float = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's limits. Rates in percent, latency in ms at quantile `latency_quantile` of successful requests.

    A threshold of None switches the whole criterion off. A promote limit of None is derived from the threshold, see the properties.
    `alpha` bounds how likely a version that is no worse is rolled back in one deployment, `beta` how likely one that only just misses
    the promote limit passes; the ratios say how much more than the stable version's share of failed or slow requests is not yet worse.
    """

    enabled: bool = True
    error_rate_threshold: float | None = 5.0
    latency_threshold_ms: float | None = None
    latency_quantile: float = 0.95
    min_requests: int = 50
    promote_error_rate: float | None = None
    promote_latency_ms: float | None = None
    alpha: float = 0.01
    beta: float = 0.05
    error_ratio: float = 1.5
    latency_ratio: float = 1.25
    regression: Literal["rollback", "hold"] = "rollback"
    common_cause: Literal["hold", "rollback"] = "hold"
    dwell_seconds: float = 60.0
    custom: tuple[CustomMetric, ...] = ()

    @property
    def error_promote_limit(self) -> float | None:
        """Percent; None when errors are not judged."""
        if self.error_rate_threshold is None:
            return None
        if self.promote_error_rate is not None:
            return self.promote_error_rate
        return min(PROMOTE_ERROR_RATE_MAX, 0.4 * self.error_rate_threshold)

    @property
    def latency_promote_limit_ms(self) -> float | None:
        """None when latency is not judged."""
        if self.latency_threshold_ms is None:
            return None
        return self.promote_latency_ms if self.promote_latency_ms is not None else 0.5 * self.latency_threshold_ms

    @property
    def criteria(self) -> int:
        return (self.error_rate_threshold is not None) + (self.latency_threshold_ms is not None) + len(self.custom)

    @property
    def needed_odds(self) -> float:
        """How strong the evidence of a route must be: each criterion has two of them, and together they may use up `alpha`."""
        return 2 * max(_LEAST_CRITERIA, self.criteria) / self.alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One criterion's null hypotheses as probabilities of a bad event.

    The buckets are those that the latency limits fall into; what comes later is slower. `faster_bucket`: what comes up to it is faster.
    """

    name: str
    rollback: float
    promote: float
    ratio: float
    rollback_bucket: int = 0
    promote_bucket: int = 0
    faster_bucket: int = 0


ERRORS = "error_rate"
LATENCY = "latency"
CUSTOM = "custom:"


@lru_cache(maxsize=64)
def limits_of(policy: Policy) -> tuple[Limits, ...]:
    """The criteria that are on, in the order in which evidence holds them."""
    limits: list[Limits] = []
    if policy.error_rate_threshold is not None:
        promote = policy.error_promote_limit or 0.0
        limits.append(_limits(ERRORS, policy.error_rate_threshold / 100, promote / 100, policy.error_ratio))
    if policy.latency_threshold_ms is not None:
        limits.append(_latency_limits(policy, policy.latency_threshold_ms, policy.latency_promote_limit_ms or 0.0))
    limits += (_limits(CUSTOM + m.name, m.rollback_percent / 100, m.promote_percent / 100, m.ratio) for m in policy.custom)
    return tuple(limits)


def _limits(name: str, rollback: float, promote: float, ratio: float) -> Limits:
    return Limits(name=name, rollback=_within(rollback), promote=_within(promote), ratio=ratio)


def _latency_limits(policy: Policy, rollback_ms: float, promote_ms: float) -> Limits:
    """A bucket that a limit falls into counts for neither side: not certainly slower, and not certainly faster."""
    slow = _within(1 - policy.latency_quantile)
    return Limits(
        name=LATENCY,
        rollback=slow,
        promote=slow,
        ratio=policy.latency_ratio,
        rollback_bucket=bisect_left(EDGES_MS, rollback_ms),
        promote_bucket=bisect_left(EDGES_MS, promote_ms),
        faster_bucket=bisect_right(EDGES_MS, promote_ms) - 1,
    )


def _within(probability: float) -> float:
    return min(MOST, max(LEAST, probability))
