"""Whether a version is slower or fails more than the one that serves: pure statistics on requests that both got in pairs, side by side.

The judge of deployments (`core.analysis`) looks at live traffic for as long as it takes. Here the sample has a fixed size and nobody looks before
its end, so plain tests do: each pair gives one ratio new over old, whatever request it was and whatever the machine did at that moment. The
Hodges-Lehmann estimate of the typical ratio comes with the interval that Wilcoxon's signed ranks give, which asks for no distribution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb, exp, lgamma, log, sqrt
from statistics import NormalDist
from typing import Final

from agent_servicing.core.staging.model import CaseResult, CaseStatus, Comparison, RequestComparison, SuiteResult

PAIRS_MAX: Final = 600
"""Pairs of one run."""

VALUES_MAX: Final = 300
"""The estimate takes the mean of every two values, 45 000 numbers; of more pairs, neighbours are made one first."""

PAIRS_MIN: Final = 20
"""With fewer no interval is worth its name."""

CONFIDENCE: Final = 0.98
"""Of each interval; shared out among the requests where each is looked at by itself."""

ERRORS_P: Final = 0.02
TAIL_P: Final = 0.005
TAIL_SHARE: Final = 0.1
"""The slowest tenth of all answers is what counts as the tail."""

TAIL_FACTOR: Final = 2.0
"""The tail may be so many times the tolerance slower: it is far less certain than the middle."""

LOWEST_MS: Final = 1e-3
"""Below a microsecond no clock is right, and a ratio to nothing is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of the typical ratio: `low` and `high` are the ends of its interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The answers to one request, old and new latency of each pair in ms, and how many of those sent to each side were wrong."""

    name: str
    pairs: Sequence[tuple[float, float]]
    sent: int = 0
    old_errors: int = 0
    new_errors: int = 0
    problem: str = ""


def compare(measured: Sequence[Pairs], *, old: str, new: str, tolerance_percent: float) -> tuple[SuiteResult, Comparison]:
    """The suite with a case for each question, and the figures behind it. Takes some hundredths of a second; for a thread."""
    every = [pair for one in measured for pair in one.pairs]
    alone = 1 - (1 - CONFIDENCE) / max(1, len(measured))
    several = len(measured) > 1
    comparison = Comparison(
        old_version=old,
        new_version=new,
        tolerance_percent=tolerance_percent,
        overall=_compared("all requests", every, CONFIDENCE),
        requests=tuple(found for one in measured if (found := _compared(one.name, one.pairs, alone)) is not None) if several else (),
        sent=sum(one.sent for one in measured),
        old_errors=sum(one.old_errors for one in measured),
        new_errors=sum(one.new_errors for one in measured),
    )
    problem = next((one.problem for one in measured if one.problem), "")
    cases = [
        _latency(comparison, 1 + tolerance_percent / 100, len(every)),
        _tail(comparison, every, 1 + TAIL_FACTOR * tolerance_percent / 100),
        _errors(comparison, problem),
        *_each(comparison, 1 + tolerance_percent / 100),
    ]
    return _suite(cases), comparison


def hodges_lehmann(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """The median of the means of all pairs of values, and its interval. For at least two values, symmetric around their centre."""
    n = len(values)
    means = sorted((values[i] + values[j]) / 2 for i in range(n) for j in range(i, n))
    count = len(means)
    spread = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt(n * (n + 1) * (2 * n + 1) / 24)
    rank = max(0, min(int(count / 2 - spread), (count - 1) // 2))
    middle = (means[(count - 1) // 2] + means[count // 2]) / 2
    return middle, means[rank], means[count - 1 - rank]


def more_errors(old_errors: int, new_errors: int, sent: int) -> float:
    """The chance of so many errors on the new side, or more, if both sides had the same rate: Fisher's exact test, one-sided."""
    total = old_errors + new_errors
    whole = _log_choose(2 * sent, total)
    highest = min(total, sent)
    terms = (_log_choose(sent, k) + _log_choose(sent, total - k) - whole for k in range(new_errors, highest + 1) if total - k <= sent)
    return min(1.0, sum(exp(term) for term in terms))


def more_often(new_only: int, old_only: int) -> float:
    """The chance of so many of the odd ones on the new side, or more, if either side were as likely: the sign test, one-sided."""
    n = new_only + old_only
    return float(sum(comb(n, k) for k in range(new_only, n + 1)) / 2**n)


def quantile(values: Sequence[float], q: float) -> float:
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, int(q * len(ordered))))]


def _compared(name: str, pairs: Sequence[tuple[float, float]], confidence: float) -> RequestComparison | None:
    if len(pairs) < 2:
        return None
    estimate = _estimate(pairs, confidence)
    old, new = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return RequestComparison(
        name=name,
        pairs=len(pairs),
        old_p50_ms=quantile(old, 0.5),
        new_p50_ms=quantile(new, 0.5),
        old_p95_ms=quantile(old, 0.95),
        new_p95_ms=quantile(new, 0.95),
        ratio=estimate.ratio,
        low=estimate.low,
        high=estimate.high,
    )


def _estimate(pairs: Sequence[tuple[float, float]], confidence: float) -> Estimate:
    ratios = [log(max(new, LOWEST_MS) / max(old, LOWEST_MS)) for old, new in pairs[:PAIRS_MAX]]
    while len(ratios) > VALUES_MAX:
        ratios = [(one + other) / 2 for one, other in zip(ratios[::2], ratios[1::2], strict=False)]
    middle, low, high = hodges_lehmann(ratios, confidence)
    return Estimate(ratio=exp(middle), low=exp(low), high=exp(high))


def _latency(comparison: Comparison, limit: float, pairs: int) -> CaseResult:
    """Slower for sure and by more than the tolerance fails; what may still be slower by twice as much stays open."""
    found = comparison.overall
    if found is None or found.pairs < PAIRS_MIN:
        message = f"only {pairs} pairs of good answers came in the time given; {PAIRS_MIN} are needed"
        return _case(1, "latency", CaseStatus.INCONCLUSIVE, message)
    said = f"{_words(found)}; up to {comparison.tolerance_percent:g} % slower is tolerated"
    if found.ratio > limit and found.low > 1:
        return _case(1, "latency", CaseStatus.FAILED, said)
    if found.high > limit**2:
        return _case(1, "latency", CaseStatus.INCONCLUSIVE, f"the figures are too uncertain: {said}")
    return _case(1, "latency", CaseStatus.PASSED, said)


def _tail(comparison: Comparison, pairs: Sequence[tuple[float, float]], limit: float) -> CaseResult:
    found = comparison.overall
    if found is None or found.pairs < PAIRS_MIN:
        return _case(2, "latency of the slowest", CaseStatus.SKIPPED, "too few pairs")
    slow = quantile([latency for pair in pairs for latency in pair], 1 - TAIL_SHARE)
    new_only = sum(new > slow >= old for old, new in pairs)
    old_only = sum(old > slow >= new for old, new in pairs)
    ratio = found.new_p95_ms / max(found.old_p95_ms, LOWEST_MS)
    said = f"p95 {found.old_p95_ms:.2f} ms before, {found.new_p95_ms:.2f} ms now"
    bad = ratio > limit and more_often(new_only, old_only) < TAIL_P
    return _case(2, "latency of the slowest", CaseStatus.FAILED if bad else CaseStatus.PASSED, said)


def _errors(comparison: Comparison, problem: str) -> CaseResult:
    old, new, sent = comparison.old_errors, comparison.new_errors, comparison.sent
    if not sent:
        return _case(3, "errors", CaseStatus.INCONCLUSIVE, "nothing was sent")
    said = f"{old} of {sent} wrong answers before, {new} now"
    bad = new > old and more_errors(old, new, sent) < ERRORS_P
    return _case(3, "errors", CaseStatus.FAILED if bad else CaseStatus.PASSED, f"{said}: {problem}" if problem and new else said)


def _each(comparison: Comparison, limit: float) -> Iterator[CaseResult]:
    """A slower request among many may vanish in the whole."""
    for number, found in enumerate(comparison.requests, 4):
        if found.pairs < PAIRS_MIN:
            yield _case(number, f"latency of {found.name}", CaseStatus.SKIPPED, f"only {found.pairs} pairs")
        else:
            bad = found.ratio > limit and found.low > 1
            yield _case(number, f"latency of {found.name}", CaseStatus.FAILED if bad else CaseStatus.PASSED, _words(found))


def _suite(cases: Sequence[CaseResult]) -> SuiteResult:
    statuses = {case.status for case in cases}
    if CaseStatus.FAILED in statuses:
        return SuiteResult(suite="performance", status=CaseStatus.FAILED, cases=tuple(cases))
    if CaseStatus.INCONCLUSIVE in statuses:
        message = next(case.message for case in cases if case.status is CaseStatus.INCONCLUSIVE)
        return SuiteResult(suite="performance", status=CaseStatus.INCONCLUSIVE, cases=tuple(cases), message=message)
    return SuiteResult(suite="performance", status=CaseStatus.PASSED, cases=tuple(cases), message=cases[0].message)


def _case(number: int, name: str, status: CaseStatus, message: str) -> CaseResult:
    return CaseResult(case=f"performance-{number}", suite="performance", name=name, status=status, message=message)


def _words(found: RequestComparison) -> str:
    change, low, high = (100 * (value - 1) for value in (found.ratio, found.low, found.high))
    return f"{change:+.1f} % (between {low:+.1f} and {high:+.1f}), {found.old_p50_ms:.2f} ms before, {found.new_p50_ms:.2f} ms now"


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
