"""Is the new version worse? Counts in, verdict out; pure, so that a verdict can be replayed from what was stored.

This is the absolute judge: the operator's limits on the candidate's own requests, with a minimum sample and an exact binomial test, so
that a handful of unlucky requests is not a verdict. The sequential comparison with the stable version takes its place here later,
behind the same `judge`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, lgamma, log, log1p

from agent_servicing.core import latency
from agent_servicing.core.metrics import Counts
from agent_servicing.core.status import Verdict

SAMPLES_KEPT = 240
"""Readings kept with a deployment, one a second while traffic is split: the window of every verdict fits, memory stays bounded."""

SIGNIFICANCE = 0.01
"""How unlikely a window must be under the operator's limit before it counts as a breach; looked at every second, so small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's limits. Rates in percent, latency in ms at quantile `latency_quantile` of successful requests; None switches a limit off."""

    enabled: bool = True
    error_rate_threshold: float | None = 5.0
    latency_threshold_ms: float | None = None
    latency_quantile: float = 0.95
    min_requests: int = 50
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one generation answered between two readings."""

    at: datetime
    seconds: float
    candidate: Counts
    stable: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and the numbers behind it. `sentence` is for people; `metric` is error_rate (percent) or latency_ms."""

    verdict: Verdict
    sentence: str
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None
    requests: int = 0
    window_seconds: float = 0.0


def judge(samples: Sequence[Sample], policy: Policy) -> Judgement:
    """The verdict on the samples of the last `window_seconds`. Failing wins; too little data is never passing."""
    window, seconds = _window(samples, policy.window_seconds)
    answered = window.answered
    if not answered:
        return Judgement(verdict=Verdict.NO_DATA, sentence="no requests yet", window_seconds=seconds)
    if policy.enabled:
        for breach in (_errors(window, policy, seconds), _slow(window, policy, seconds)):
            if breach is not None:
                return breach
    missing = policy.min_requests - answered
    if missing > 0:
        rate = answered / seconds if seconds else 0.0
        wait = f", about {missing / rate:.0f} s at this rate" if rate else ""
        sentence = f"{missing} more requests needed{wait}"
        return Judgement(verdict=Verdict.INCONCLUSIVE, sentence=sentence, requests=answered, window_seconds=seconds)
    return Judgement(
        verdict=Verdict.PASSING,
        sentence=f"{window.errors} errors in {answered} requests",
        metric="error_rate",
        value=window.error_rate,
        threshold=policy.error_rate_threshold,
        requests=answered,
        window_seconds=seconds,
    )


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p), summed from the larger terms in logarithms; exact to about 1e-10."""
    if k <= 0:
        return 1.0
    if k > n or p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    log_term = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p)
    total = 0.0
    for i in range(k, n + 1):
        term = exp(log_term)
        total += term
        if term < total * 1e-12 and i > n * p:
            break
        log_term += log((n - i) / (i + 1)) + log(p) - log1p(-p) if i < n else 0.0
    return min(1.0, total)


def _window(samples: Sequence[Sample], seconds: float) -> tuple[Counts, float]:
    total, spent = Counts(), 0.0
    for sample in reversed(samples):
        if spent >= seconds:
            break
        total, spent = total + sample.candidate, spent + sample.seconds
    return total, spent


def _errors(window: Counts, policy: Policy, seconds: float) -> Judgement | None:
    limit, n, k = policy.error_rate_threshold, window.answered, window.errors
    if limit is None or n < min(policy.min_requests, 20) or 100 * k <= limit * n:
        return None
    if binomial_tail(k, n, limit / 100) > SIGNIFICANCE:
        return None
    value = 100 * k / n
    return Judgement(
        verdict=Verdict.FAILING,
        sentence=f"Error rate threshold exceeded ({value:.1f}% > {limit:g}%)",
        metric="error_rate",
        value=value,
        threshold=limit,
        requests=n,
        window_seconds=seconds,
    )


def _slow(window: Counts, policy: Policy, seconds: float) -> Judgement | None:
    limit, n = policy.latency_threshold_ms, sum(window.histogram)
    if limit is None or n < min(policy.min_requests, 20):
        return None
    k, allowed = latency.above(window.histogram, limit), 1 - policy.latency_quantile
    if k <= allowed * n or binomial_tail(k, n, allowed) > SIGNIFICANCE:
        return None
    value = latency.quantile_ms(window.histogram, policy.latency_quantile)
    return Judgement(
        verdict=Verdict.FAILING,
        sentence=f"Latency threshold exceeded (p{100 * policy.latency_quantile:g} {value:g} ms > {limit:g} ms)",
        metric="latency_ms",
        value=value,
        threshold=limit,
        requests=n,
        window_seconds=seconds,
    )
