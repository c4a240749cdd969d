"""From evidence to a verdict. The engine calls it after each `observe`; pure, so the same evidence always says the same."""

from dataclasses import dataclass
from math import exp

from agent_servicing.core.analysis import sentences
from agent_servicing.core.analysis.evidence import Criterion, Evidence
from agent_servicing.core.analysis.judgement import EvidenceBar, Judgement
from agent_servicing.core.analysis.missing import missing_requests
from agent_servicing.core.analysis.policy import CUSTOM, ERRORS, Policy
from agent_servicing.core.analysis.routes import CATASTROPHE_ODDS_FACTOR, absolute_odds, controlled, relative_odds
from agent_servicing.core.status import Verdict

CALM_ODDS = 10.0
"""Nothing passes while some route to failing has got this far."""

NO_DATA_SECONDS = 60.0
"""A candidate that has answered nothing for this long is not judged by what it answered before."""

NO_ANSWERS, WARM_UP = "no_answers", "warm_up_errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to failing: how strong it is, and the criterion it is about (None: answers, or the warm-up)."""

    rule: str
    odds: float
    needed: float
    criterion: Criterion | None = None


def verdict(evidence: Evidence, policy: Policy) -> Judgement:
    needed, proven, counted = policy.needed_odds, 1 / policy.beta, evidence.counted
    routes = _routes(evidence, policy, needed)
    proofs = [(c.name, c.proof_odds) for c in evidence.criteria]
    failing_odds = max([r.odds * needed / r.needed for r in routes])
    shared = _Shared(
        evidence=evidence,
        policy=policy,
        bars=(
            *[EvidenceBar(name=r.rule, odds=r.odds, needed=r.needed) for r in routes],
            *[EvidenceBar(name=f"{name}_proof", odds=odds, needed=proven) for name, odds in proofs],
        ),
        failing_odds=failing_odds,
        suspicion=max([sum(c.above_promote) for c in evidence.criteria], default=0.0),
    )
    if failing_odds >= needed:
        return _failing(shared, next(r for r in routes if r.odds >= r.needed))
    if not counted.carried_seconds or not (counted.requests or counted.warm_requests):
        return shared.say(Verdict.NO_DATA, sentences.no_requests(evidence))
    if counted.silent_seconds >= NO_DATA_SECONDS:
        return shared.say(Verdict.NO_DATA, sentences.silent(evidence))
    if evidence.warming:
        return shared.say(Verdict.INCONCLUSIVE, sentences.warming(evidence))
    enough = counted.stage_seconds >= policy.dwell_seconds and counted.requests >= policy.min_requests
    if enough and failing_odds < CALM_ODDS and all(odds >= proven for _, odds in proofs):
        return shared.say(Verdict.PASSING, sentences.passing(evidence, policy))
    missing = missing_requests(evidence, policy)
    if policy.common_cause == "hold" and any(c.common_cause for c in evidence.criteria):
        return shared.say(Verdict.INCONCLUSIVE, sentences.common_cause(evidence), missing=missing, common_cause=True)
    suspect = None
    if failing_odds >= CALM_ODDS:
        strongest = max(routes, key=_progress)
        suspect = (strongest.rule, strongest.odds, strongest.needed)
    return shared.say(Verdict.INCONCLUSIVE, sentences.inconclusive(evidence, policy, missing, suspect), missing=missing)


def _routes(evidence: Evidence, policy: Policy, needed: float) -> list[Route]:
    control = controlled(evidence.counted)
    routes = []
    if evidence.criteria and evidence.criteria[0].name == ERRORS:
        catastrophe = sum([exp(min(c, 50.0)) for c in evidence.catastrophe]) / len(evidence.catastrophe)
        routes.append(Route(rule=WARM_UP, odds=catastrophe, needed=CATASTROPHE_ODDS_FACTOR / policy.alpha))
    for c in evidence.criteria:
        routes.append(Route(rule=f"{c.name}_relative", odds=relative_odds(c, policy, needed), needed=needed, criterion=c))
        routes.append(Route(rule=f"{c.name}_absolute", odds=absolute_odds(c, policy, needed, control=control), needed=needed, criterion=c))
    answers = max(sum(evidence.answers.fewer), sum(evidence.answers.unanswered))
    routes.append(Route(rule=NO_ANSWERS, odds=answers, needed=needed))
    return routes


def _progress(route: Route) -> float:
    return route.odds / route.needed


@dataclass(frozen=True, slots=True, kw_only=True)
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


def _failing(shared: _Shared, route: Route) -> Judgement:
    """With automatic rollback off the same is said, but as inconclusive: nothing acts on it and nothing passes."""
    told = sentences.failing(shared.evidence, shared.policy, route.rule, route.criterion, route.odds)
    off = not shared.policy.enabled
    custom = route.rule.startswith(CUSTOM)
    return Judgement(
        verdict=Verdict.INCONCLUSIVE if off else Verdict.FAILING,
        sentence=f"{told.sentence}; automatic rollback is off" if off else told.sentence,
        metric=told.metric,
        value=told.value,
        threshold=told.threshold,
        requests=told.requests,
        window_seconds=told.seconds,
        rule=route.criterion.name if custom and route.criterion else route.rule,
        evidence=shared.bars,
        stable_value=told.stable_value,
        suspicion=shared.suspicion,
        failing_odds=shared.failing_odds,
    )
