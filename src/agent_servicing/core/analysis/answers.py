"""Watches for requests that never come back: hung instances answer nothing, so that their errors never arrive. Used by `update`.

Answers lag behind requests, and most just after the share has changed. So the comparison waits after each change, spans more than the time
an answer takes, and halves its evidence: counts that lag scatter up to twice as much as those of independent events.
"""

from agent_servicing.core.analysis import wealth
from agent_servicing.core.analysis.blocks import Block
from agent_servicing.core.analysis.evidence import Answers
from agent_servicing.core.latency import EDGES_MS

ANSWER_RATIO = 0.8
"""The candidate may answer this much fewer of its requests than stable does, and without stable this share of them."""

SPAN_SECONDS_MIN, SPAN_SECONDS_MAX = 10.0, 120.0

SPAN_SECONDS_UNKNOWN = 60.0
"""Span while nobody knows how long an answer of the stable version takes."""

SPAN_REQUESTS = 20
"""Requests routed to the candidate before a span is weighed."""

_TEMPER = 0.5


def settled(answers: Answers) -> Answers:
    """At a change of the share: begin anew and wait."""
    return Answers(fewer=answers.fewer, unanswered=answers.unanswered)


def watched(answers: Answers, block: Block, reference: tuple[int, ...]) -> Answers:
    """After a block past the warm-up. `reference`: the buckets of stable's quantiles, the 99th percentile last."""
    span, before = _span_seconds(reference), answers
    settled = before.settling_seconds >= span
    after = Answers(
        fewer=before.fewer,
        unanswered=before.unanswered,
        settling_seconds=before.settling_seconds if settled else before.settling_seconds + block.seconds,
        seconds=before.seconds + block.seconds if settled else 0.0,
        candidate_routed=before.candidate_routed + block.candidate_routed if settled else 0,
        candidate_answered=before.candidate_answered + block.candidate_answered if settled else 0,
        stable_routed=before.stable_routed + block.stable_routed if settled else 0,
        stable_answered=before.stable_answered + block.stable_answered if settled else 0,
    )
    if after.seconds < span or after.candidate_routed < SPAN_REQUESTS:
        return after
    return _weighed(after)


def _weighed(span: Answers) -> Answers:
    stake = wealth.HOURLY_STAKE * span.seconds / 3600
    fewer, unanswered = span.fewer, span.unanswered
    if span.stable_answered:
        # The same test as for errors with the roles exchanged: an answer is the event, and stable must not have too many of them.
        strata = [(span.stable_answered, span.candidate_answered, span.stable_routed, span.candidate_routed)]
        fewer = wealth.grown(fewer, stake, _tempered(wealth.against_stable(strata, 1 / ANSWER_RATIO)))
    else:
        missing = max(0, span.candidate_routed - span.candidate_answered)
        unanswered = wealth.grown(unanswered, stake, _tempered(wealth.against_limit(missing, span.candidate_routed, 1 - ANSWER_RATIO)))
    return Answers(fewer=fewer, unanswered=unanswered, settling_seconds=span.settling_seconds)


def _tempered(gains: list[float]) -> list[float]:
    return [_TEMPER * gain for gain in gains]


def _span_seconds(reference: tuple[int, ...]) -> float:
    """Twice the time within which stable answers 99 of 100 requests."""
    if not reference:
        return SPAN_SECONDS_UNKNOWN
    answer_ms = EDGES_MS[min(reference[-1], len(EDGES_MS) - 1)]
    return min(SPAN_SECONDS_MAX, max(SPAN_SECONDS_MIN, 2 * answer_ms / 1000))
