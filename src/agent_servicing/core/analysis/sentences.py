"""The judge's words: for an operator at two in the morning, plain and with the numbers. Used by `verdict`."""

from dataclasses import dataclass
from functools import lru_cache

from agent_servicing.core import latency
from agent_servicing.core.analysis.evidence import Criterion, Evidence
from agent_servicing.core.analysis.judgement import EvidenceBar
from agent_servicing.core.analysis.policy import CUSTOM, LATENCY, Policy
from agent_servicing.core.spans import in_words

ODDS_SHOWN_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A failing verdict in words and numbers. Rates in percent, latency in ms."""

    sentence: str
    metric: str
    value: float | None
    threshold: float | None
    stable_value: float | None
    requests: int
    seconds: float


def no_requests(evidence: Evidence) -> str:
    if evidence.counted.carried_seconds:
        return f"no answers yet, {evidence.counted.carried_seconds:.0f} s after the first request"
    return "no requests yet"


def silent(evidence: Evidence) -> str:
    return f"no data: the new version has answered nothing for {evidence.counted.silent_seconds:.0f} s"


def warming(evidence: Evidence) -> str:
    left = max(0.0, evidence.warmup_seconds - evidence.counted.carried_seconds)
    return f"warming up for {left:.0f} s more; {evidence.counted.warm_errors} errors in {evidence.counted.warm_requests} requests so far"


def passing(evidence: Evidence, policy: Policy) -> str:
    return _errors_in(evidence) + _proven(policy)


@lru_cache(maxsize=64)
def _proven(policy: Policy) -> str:
    proofs = []
    if policy.error_promote_limit is not None:
        proofs.append(f"error rate below {policy.error_promote_limit:g}%")
    if policy.latency_promote_limit_ms is not None:
        proofs.append(f"{_quantile(policy)} below {policy.latency_promote_limit_ms:g} ms")
    proofs += [f"{metric.name} below {metric.promote_percent:g}%" for metric in policy.custom]
    return f"; {' and '.join(proofs)} proven at {1 / policy.beta:.0f}:1" if proofs else "; no limit is set"


def common_cause(evidence: Evidence) -> str:
    names = ", ".join(_label(c.name) for c in evidence.criteria if c.common_cause)
    return f"common cause: the old version is failing too ({names}); the traffic stays as it is until that has passed"


def inconclusive(evidence: Evidence, policy: Policy, missing: int | None, suspect: EvidenceBar | None) -> str:
    """`suspect` is the strongest route to failing with its odds and what it needs, when it is worth a word."""
    words = [_missing(evidence, policy, missing)]
    if suspect is not None:
        words.insert(0, f"suspicion ({suspect.name.replace('_', ' ')}): {_odds(suspect.odds)} of {_odds(suspect.needed)}")
    else:
        words.append(_errors_in(evidence))
    words += [f"the old version is above the promote limit itself ({_label(c.name)})" for c in evidence.criteria if c.stable_doubtful]
    words += [
        f"the old version fails in bursts ({_label(c.name)}), so that one failure says {c.dispersion.factor:.0f} times less"
        for c in evidence.criteria
        if c.dispersion.factor > 1
    ]
    return "; ".join(words)


def failing(evidence: Evidence, policy: Policy, bar: EvidenceBar, criterion: Criterion | None) -> Told:
    """Told with the numbers of the stretch that the evidence rests on."""
    if criterion is None:
        return _no_answers(evidence, bar.odds) if bar.name == "no_answers" else _warm_up(evidence, policy)
    if criterion.name == LATENCY:
        return _slow(evidence, policy, criterion, bar.odds)
    return _rate(policy, criterion, bar.odds)


def _rate(policy: Policy, criterion: Criterion, odds: float) -> Told:
    """Errors, or a custom metric's bad observations."""
    stretch, name = criterion.stretch, criterion.name
    limit, label = policy.error_rate_threshold, "Error rate"
    if name.startswith(CUSTOM):
        label = name.removeprefix(CUSTOM)
        limit = next((m.rollback_percent for m in policy.custom if m.name == label), None)
    value = 100 * stretch.bad / max(1, stretch.requests)
    stable = 100 * stretch.stable_bad / stretch.stable_requests if stretch.stable_requests else None
    what = "requests" if not name.startswith(CUSTOM) else "observations"
    end = f"{stretch.requests} {what} in {in_words(stretch.seconds)}, odds {_odds(odds)}"
    if limit is not None and value > limit:
        compared = f"; the old version has {stable:.1f}%" if stable is not None else "; no old version to compare with"
        sentence = f"{label} threshold exceeded ({value:.1f}% > {limit:g}%){compared}; {end}"
    else:
        sentence = f"{label} is worse than the old version's ({value:.1f}% against {stable or 0.0:.1f}%); {end}"
    return Told(
        sentence=sentence,
        metric=name,
        value=value,
        threshold=limit,
        stable_value=stable,
        requests=stretch.requests,
        seconds=stretch.seconds,
    )


def _slow(evidence: Evidence, policy: Policy, criterion: Criterion, odds: float) -> Told:
    stretch, limit, q = criterion.stretch, policy.latency_threshold_ms or 0.0, policy.latency_quantile
    value = latency.quantile_ms(evidence.slow_stretch, q) or 0.0
    stable = latency.quantile_ms(evidence.reference.whole, q)
    end = f"{stretch.requests} successful requests in {in_words(stretch.seconds)}, odds {_odds(odds)}"
    if stretch.bad > (1 - q) * stretch.requests:
        compared = f"; the old version has {stable:g} ms" if stable is not None else "; no old version to compare with"
        sentence = f"Latency threshold exceeded ({_quantile(policy)} {value:g} ms > {limit:g} ms){compared}; {end}"
    else:
        sentence = f"Slower than the old version ({_quantile(policy)} {value:g} ms against {stable or 0.0:g} ms); {end}"
    return Told(
        sentence=sentence,
        metric="latency_ms",
        value=value,
        threshold=limit,
        stable_value=stable,
        requests=stretch.requests,
        seconds=stretch.seconds,
    )


def _warm_up(evidence: Evidence, policy: Policy) -> Told:
    requests, errors, limit = evidence.counted.warm_requests, evidence.counted.warm_errors, policy.error_rate_threshold or 0.0
    value = 100 * errors / max(1, requests)
    return Told(
        sentence=f"Error rate threshold exceeded ({value:.1f}% > {limit:g}%); during the warm-up, {errors} errors in {requests} requests",
        metric="error_rate",
        value=value,
        threshold=limit,
        stable_value=None,
        requests=requests,
        seconds=evidence.counted.carried_seconds,
    )


def _no_answers(evidence: Evidence, odds: float) -> Told:
    requests = evidence.counted.requests
    compared = "" if sum(evidence.answers.unanswered) >= odds else ", the old one does"
    return Told(
        sentence=f"The new version leaves many of its requests without an answer{compared}; instances may hang; odds {_odds(odds)}",
        metric="answered",
        value=None,
        threshold=None,
        stable_value=None,
        requests=requests,
        seconds=evidence.counted.stage_seconds,
    )


def _missing(evidence: Evidence, policy: Policy, missing: int | None) -> str:
    if missing is None and evidence.counted.stage_seconds < policy.dwell_seconds:
        return f"{in_words(policy.dwell_seconds - evidence.counted.stage_seconds)} more of this share needed"
    if missing is None:
        return "at this rate no number of requests proves it good enough to promote by itself"
    rate = evidence.counted.requests / evidence.counted.judged_seconds if evidence.counted.judged_seconds else 0.0
    wait = f", about {in_words(missing / rate)} at this rate" if rate else ""
    about = "" if evidence.counted.requests < policy.min_requests else "about "
    return f"{about}{missing} more requests needed{wait}"


def _errors_in(evidence: Evidence) -> str:
    return f"{evidence.counted.errors} errors in {evidence.counted.requests} requests"


def _odds(odds: float) -> str:
    return f"{odds:.0f}:1" if odds < ODDS_SHOWN_MAX else f"over {ODDS_SHOWN_MAX}:1"


def _quantile(policy: Policy) -> str:
    return f"p{100 * policy.latency_quantile:g}"


def _label(name: str) -> str:
    return {"error_rate": "errors", LATENCY: "latency"}.get(name, name.removeprefix(CUSTOM))
