"""From evidence to a verdict. The engine calls it after each `observe`; pure, so the same evidence always says the same."""

from dataclasses import dataclass
from math import exp

from agent_servicing.core.analysis import sentences
from agent_servicing.core.analysis.evidence import Criterion, Evidence
from agent_servicing.core.analysis.judgement import EvidenceBar, Judgement
from agent_servicing.core.analysis.missing import missing_requests
from agent_servicing.core.analysis.policy import CUSTOM, ERRORS, Policy
from agent_servicing.core.analysis.routes import CATASTROPHE_ODDS_FACTOR, controlled, route_odds
from agent_servicing.core.status import Verdict

_LOG_MAX = 50.0

CALM_ODDS = 10.0
"""Nothing passes while some route to failing has got this far."""

NO_DATA_SECONDS = 60.0
"""A candidate that has answered nothing for this long is not judged by what it answered before."""

_NEARLY = 0.9
"""Nothing has fired below this; rounding is left to the exact comparison."""

NO_ANSWERS, WARM_UP = "no_answers", "warm_up_errors"


Route = tuple[EvidenceBar, Criterion | None]
"""One way to failing: how strong it is, and the criterion it is about (None: answers, or the warm-up)."""


def verdict(evidence: Evidence, policy: Policy) -> Judgement:
    needed, proven, counted = policy.needed_odds, 1 / policy.beta, evidence.counted
    routes = _routes(evidence, policy, needed)
    bars = [bar for bar, _ in routes]
    proofs = [EvidenceBar(name=f"{c.name}_proof", odds=c.proof_odds, needed=proven) for c in evidence.criteria]
    failing_odds = max([bar.odds * needed / bar.needed for bar in bars])
    shared = _Shared(evidence, policy, (*bars, *proofs), failing_odds, max([sum(c.above_promote) for c in evidence.criteria], default=0.0))
    if failing_odds > _NEARLY * needed:
        fired = next((route for route in routes if route[0].odds >= route[0].needed), None)
        if fired is not None:
            return _failing(shared, *fired)
    if not counted.carried_seconds or not (counted.requests or counted.warm_requests):
        return shared.say(Verdict.NO_DATA, sentences.no_requests(evidence))
    if counted.silent_seconds >= NO_DATA_SECONDS:
        return shared.say(Verdict.NO_DATA, sentences.silent(evidence))
    if evidence.warming:
        return shared.say(Verdict.INCONCLUSIVE, sentences.warming(evidence))
    enough = counted.stage_seconds >= policy.dwell_seconds and counted.requests >= policy.min_requests
    if enough and failing_odds < CALM_ODDS and min([proof.odds for proof in proofs], default=proven) >= proven:
        return shared.say(Verdict.PASSING, sentences.passing(evidence, policy))
    missing = missing_requests(evidence, policy)
    if policy.common_cause == "hold" and any(c.common_cause for c in evidence.criteria):
        return shared.say(Verdict.INCONCLUSIVE, sentences.common_cause(evidence), missing=missing, common_cause=True)
    suspect = max(bars, key=_progress) if failing_odds >= CALM_ODDS else None
    return shared.say(Verdict.INCONCLUSIVE, sentences.inconclusive(evidence, policy, missing, suspect), missing=missing)


def _routes(evidence: Evidence, policy: Policy, needed: float) -> list[Route]:
    control = controlled(evidence.counted)
    routes: list[Route] = []
    if evidence.criteria and evidence.criteria[0].name == ERRORS:
        odds = sum([exp(min(c, _LOG_MAX)) for c in evidence.catastrophe]) / len(evidence.catastrophe)
        routes.append((EvidenceBar(name=WARM_UP, odds=odds, needed=CATASTROPHE_ODDS_FACTOR / policy.alpha), None))
    for c in evidence.criteria:
        relative, absolute = route_odds(c, policy, needed, control=control)
        routes.append((EvidenceBar(name=f"{c.name}_relative", odds=relative, needed=needed), c))
        routes.append((EvidenceBar(name=f"{c.name}_absolute", odds=absolute, needed=needed), c))
    answers = max(sum(evidence.answers.fewer), sum(evidence.answers.unanswered))
    routes.append((EvidenceBar(name=NO_ANSWERS, odds=answers, needed=needed), None))
    return routes


def _progress(bar: EvidenceBar) -> float:
    return bar.odds / bar.needed


@dataclass(slots=True)
class _Shared:
    """What every judgement carries, whatever it says."""

    evidence: Evidence
    policy: Policy
    bars: tuple[EvidenceBar, ...]
    failing_odds: float
    suspicion: float

    def say(self, verdict: Verdict, sentence: str, *, missing: int | None = None, common_cause: bool = False) -> Judgement:
        """Anything but failing; the numbers are the error rate since the warm-up."""
        evidence = self.evidence
        requests, errors, seconds = evidence.counted.requests, evidence.counted.errors, evidence.counted.judged_seconds
        if not seconds:
            requests, errors, seconds = evidence.counted.warm_requests, evidence.counted.warm_errors, evidence.counted.carried_seconds
        return Judgement(
            verdict=verdict,
            sentence=sentence,
            metric=ERRORS if requests else None,
            value=100 * errors / requests if requests else None,
            threshold=self.policy.error_rate_threshold,
            requests=evidence.counted.requests,
            window_seconds=seconds,
            evidence=self.bars,
            missing_requests=missing,
            common_cause=common_cause,
            suspicion=self.suspicion,
            failing_odds=self.failing_odds,
        )


def _failing(shared: _Shared, bar: EvidenceBar, criterion: Criterion | None) -> Judgement:
    """With automatic rollback off the same is said, but as inconclusive: nothing acts on it and nothing passes."""
    told = sentences.failing(shared.evidence, shared.policy, bar, criterion)
    off = not shared.policy.enabled
    custom = criterion is not None and criterion.name.startswith(CUSTOM)
    return Judgement(
        verdict=Verdict.INCONCLUSIVE if off else Verdict.FAILING,
        sentence=f"{told.sentence}; automatic rollback is off" if off else told.sentence,
        metric=told.metric,
        value=told.value,
        threshold=told.threshold,
        requests=told.requests,
        window_seconds=told.seconds,
        rule=told.metric if custom else bar.name,
        evidence=shared.bars,
        stable_value=told.stable_value,
        suspicion=shared.suspicion,
        failing_odds=shared.failing_odds,
    )
