"""Weighs one closed block: evidence and block in, evidence out. The only thing that `observe` and `replay` do to evidence, so both agree."""

from dataclasses import replace

from agent_servicing.core.analysis import wealth
from agent_servicing.core.analysis.answers import settled, watched
from agent_servicing.core.analysis.blocks import Block, Cell
from agent_servicing.core.analysis.dispersion import scattered
from agent_servicing.core.analysis.events import Events, events_of
from agent_servicing.core.analysis.evidence import (
    ALARM_FROM,
    ALARM_LEVELS,
    ALARM_MOST,
    AT_REST,
    NO_PROOF,
    QUIET,
    Alarm,
    Counted,
    Criterion,
    Evidence,
    Reference,
    Stretch,
)
from agent_servicing.core.analysis.policy import ERRORS, LATENCY, Limits, Policy, limits_of
from agent_servicing.core.analysis.routes import controlled, route_odds
from agent_servicing.core.latency import EMPTY

HORIZON_SECONDS = 3600.0
"""Within this time every late change has got its share of the cash."""

REFERENCE_SECONDS = 120.0
"""Stable's latency is remembered for one to two times this long: recent enough to follow the day, long enough for its 99th percentile."""

CATASTROPHE_LIMIT, CATASTROPHE_LEVELS = 0.2, (8 / 3, 36.0)
"""Error rate that no warm-up excuses, and as multiples of its odds the alternatives 40 % and 90 %."""

QUIET_ODDS = 1.0


def apply(evidence: Evidence, block: Block, policy: Policy) -> Evidence:
    """Evidence after `block`, with nothing open."""
    moved = evidence.share is not None and block.share != evidence.share
    counted, reference = _counted(evidence.counted, block, moved=moved), evidence.reference.buckets()
    control, needed = controlled(counted), policy.needed_odds
    stake = wealth.HOURLY_STAKE * block.seconds / HORIZON_SECONDS + (wealth.STAGE_STAKE if moved else 0.0)
    slow, literally = evidence.slow_stretch, policy.common_cause == "rollback"
    criteria, judged = [], limits_of(policy)
    for criterion, limits in zip(evidence.criteria, judged, strict=True):
        events = events_of(limits, block, reference)
        alarms = _alarms(criterion, events, limits, control=control)
        after = _weighed(criterion, alarms, events, limits, moved=moved, stake=0.0 if block.warm_up else stake, literally=literally)
        if events.total and max(route_odds(after, policy, needed, control=control)) > QUIET_ODDS:
            after = replace(after, stretch=_stretched(criterion.stretch, events, block))
        if limits.name == LATENCY:
            slow = _dense(slow, block.candidate_new, block.candidate_pinned) if after.stretch.requests else EMPTY
        criteria.append(after)
    answers = settled(evidence.answers) if moved else evidence.answers
    return Evidence(
        warmup_seconds=evidence.warmup_seconds,
        blocks=evidence.blocks + 1,
        share=block.share,
        counted=counted,
        criteria=tuple(criteria),
        catastrophe=_catastrophe(evidence, block, policy, criteria) if block.warm_up else evidence.catastrophe,
        answers=answers if block.warm_up else watched(answers, block, reference),
        reference=_remembered(evidence.reference, block),
        slow_stretch=slow,
    )


def _counted(before: Counted, block: Block, *, moved: bool) -> Counted:
    answered, errors, seconds = block.candidate_answered, block.candidate_new.errors + block.candidate_pinned.errors, block.seconds
    carries = bool(answered or block.candidate_routed or before.carried_seconds)
    judged = 1 if carries and not block.warm_up else 0
    warm, stage = 1 - judged, 0 if moved else 1
    return Counted(
        carried_seconds=before.carried_seconds + seconds if carries else 0.0,
        judged_seconds=before.judged_seconds + seconds * judged,
        stage_seconds=before.stage_seconds * stage + seconds * judged,
        silent_seconds=0.0 if answered else before.silent_seconds + seconds,
        stable_silent_seconds=0.0 if block.stable_answered else before.stable_silent_seconds + seconds,
        requests=before.requests + answered * judged,
        errors=before.errors + errors * judged,
        stage_requests=before.stage_requests * stage + answered * judged,
        stage_errors=before.stage_errors * stage + errors * judged,
        warm_requests=before.warm_requests + answered * warm,
        warm_errors=before.warm_errors + errors * warm,
    )


def _alarms(criterion: Criterion, events: Events, limits: Limits, *, control: bool) -> tuple[Alarm, Alarm, Alarm]:
    """Is either version bad just now? Stable above the promote and the roll-back limit, candidate above the latter."""
    promote, rollback, candidate = criterion.stable_above_promote, criterion.stable_above_rollback, criterion.candidate_above_rollback
    if events.stable_total:
        promote = _alarm(promote, events.stable_over_promote, events.stable_total, limits.promote)
        rollback = _alarm(rollback, events.stable_over_rollback, events.stable_total, limits.rollback)
    elif not control:
        promote = rollback = QUIET
    if events.total:
        candidate = _alarm(candidate, events.over_rollback, events.total, limits.rollback)
    return promote, rollback, candidate


def _alarm(alarm: Alarm, bad: int, total: int, limit: float) -> Alarm:
    if not bad and alarm == QUIET:
        return alarm
    return wealth.alarmed(alarm, bad, total, limit, ALARM_LEVELS, ALARM_MOST)


def _weighed(
    before: Criterion, alarms: tuple[Alarm, Alarm, Alarm], events: Events, limits: Limits, *, moved: bool, stake: float, literally: bool
) -> Criterion:
    """The bets after the block; a stake of zero is the warm-up, in which there are none. The stretch begins anew.

    While stable itself is above the roll-back limit, nothing is bet on the candidate's being above it, unless the operator wants his limits
    literally. The bet on the promote limit goes on: it never decides alone, and without it no candidate of an agent that always fails a
    little could be found worse.
    """
    total, perhaps, doubtful = events.total, events.perhaps_over_promote, max(alarms[0]) > ALARM_FROM
    rollback, promote, dispersion = before.above_rollback, before.above_promote, before.dispersion
    bursts = dispersion.factor
    proof = NO_PROOF if moved else before.proof
    in_alarm = NO_PROOF if moved or (doubtful and not before.stable_doubtful) else before.proof_in_alarm
    worse, at_all = before.worse, before.worse_at_all
    if stake and total:
        if literally or max(alarms[1]) <= ALARM_FROM:
            rollback = wealth.multiplied(rollback, stake, wealth.limit_factors(events.over_rollback, total, limits.rollback, bursts))
        promote = wealth.multiplied(promote, stake, wealth.limit_factors(events.over_promote, total, limits.promote, bursts))
        if doubtful:
            in_alarm = wealth.proved(in_alarm, perhaps, total, limits.promote)
        else:
            proof = wealth.proved(proof, perhaps, total, limits.promote)
        if events.stable_total and events.comparisons:
            worse, at_all = _compared(worse, at_all, events, limits, stake, bursts)
    if events.stable_total and limits.name != LATENCY:
        dispersion = scattered(dispersion, events.stable_over_promote, events.stable_total)
    return Criterion(
        name=before.name,
        above_rollback=rollback,
        above_promote=promote,
        worse=worse,
        worse_at_all=at_all,
        proof=proof,
        proof_in_alarm=in_alarm,
        stable_above_promote=alarms[0],
        stable_above_rollback=alarms[1],
        candidate_above_rollback=alarms[2],
        dispersion=dispersion,
        stretch=AT_REST if total else before.stretch,
    )


def _compared(
    worse: tuple[wealth.Wealth, ...], at_all: wealth.Wealth, events: Events, limits: Limits, stake: float, bursts: float
) -> tuple[tuple[wealth.Wealth, ...], wealth.Wealth]:
    after: list[wealth.Wealth] = []
    for n, (bets, strata) in enumerate(zip(worse, events.comparisons, strict=True)):
        if n and strata is events.comparisons[0] and bets == worse[0]:
            after.append(after[0])  # without running conversations both comparisons are the same
        else:
            after.append(wealth.grown(bets, stake, wealth.against_stable(strata, limits.ratio), bursts))
    if at_all:
        at_all = wealth.grown(at_all, stake, wealth.against_stable(events.comparisons[0], 1.0), bursts)
    return tuple(after), at_all


def _stretched(before: Stretch, events: Events, block: Block) -> Stretch:
    return Stretch(
        seconds=before.seconds + block.seconds,
        requests=before.requests + events.total,
        bad=before.bad + events.over_rollback,
        stable_requests=before.stable_requests + events.stable_total,
        stable_bad=before.stable_bad + events.stable_over_rollback,
    )


def _catastrophe(evidence: Evidence, block: Block, policy: Policy, criteria: list[Criterion]) -> tuple[float, ...]:
    """The only bet of the warm-up. Blocks in which stable fails too do not count, unless the operator wants his limits literally."""
    if not block.candidate_answered or not criteria or criteria[0].name != ERRORS:
        return evidence.catastrophe
    if criteria[0].stable_failing and policy.common_cause == "hold":
        return evidence.catastrophe
    limit = max(CATASTROPHE_LIMIT, limits_of(policy)[0].rollback)
    errors = block.candidate_new.errors + block.candidate_pinned.errors
    gains = wealth.against_limit(errors, block.candidate_answered, limit, CATASTROPHE_LEVELS)
    return tuple([c + min(gain, wealth.BLOCK_GAIN_MAX) for c, gain in zip(evidence.catastrophe, gains, strict=True)])


def _remembered(reference: Reference, block: Block) -> Reference:
    """Stable's latencies of this block become the reference for the next ones."""
    recent, seconds = _dense(reference.recent, block.stable_new, block.stable_pinned), reference.seconds + block.seconds
    if seconds >= REFERENCE_SECONDS:
        return Reference(recent=EMPTY, whole=recent, seconds=0.0)
    return Reference(recent=recent, whole=_dense(reference.whole, block.stable_new, block.stable_pinned), seconds=seconds)


def _dense(histogram: tuple[int, ...], *cells: Cell) -> tuple[int, ...]:
    counts = list(histogram)
    for cell in cells:
        for bucket, count in cell.histogram:
            counts[bucket] += count
    return tuple(counts)
