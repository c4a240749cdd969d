"""The judge before this package: the operator's limits on a window, by an exact binomial test. Goes once the engine asks `verdict`."""

from collections.abc import Sequence
from math import exp, lgamma, log, log1p

from agent_servicing.core import latency
from agent_servicing.core.analysis.blocks import Sample
from agent_servicing.core.analysis.judgement import Judgement
from agent_servicing.core.analysis.policy import Policy
from agent_servicing.core.metrics import Counts
from agent_servicing.core.status import Verdict

SIGNIFICANCE = 0.01
"""How unlikely a window must be under the operator's limit before it counts as a breach; looked at every second, so small."""


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
