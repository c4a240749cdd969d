"""Weighs one closed block: evidence and block in, evidence out. The only thing that `observe` and `replay` do to evidence, so both agree."""

from dataclasses import replace

from agent_servicing.core.analysis import wealth
from agent_servicing.core.analysis.answers import settled, watched
from agent_servicing.core.analysis.blocks import Block
from agent_servicing.core.analysis.events import Events, events_of
from agent_servicing.core.analysis.evidence import ALARM_LEVELS, ALARM_MOST, NO_PROOF, QUIET, Alarm, Criterion, Evidence, Stretch
from agent_servicing.core.analysis.policy import ERRORS, LATENCY, Limits, Policy, limits_of
from agent_servicing.core.analysis.routes import absolute_odds, controlled, relative_odds
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
    silent = evidence.stable_silent_seconds + block.seconds if not block.stable_answered else 0.0
    evidence = _counted(replace(evidence, stable_silent_seconds=silent), block, moved=moved)
    stake = wealth.HOURLY_STAKE * block.seconds / HORIZON_SECONDS + (wealth.STAGE_STAKE if moved else 0.0)
    slow = evidence.slow_stretch
    criteria = []
    for criterion, limits in zip(evidence.criteria, limits_of(policy), strict=True):
        events = events_of(limits, block, evidence, policy)
        after = _alarms(criterion, events, limits, evidence, moved=moved)
        if not block.warm_up and events.total:
            after = _weighed(after, events, limits, stake)
            after = _stretched(after, events, block, policy, control=controlled(evidence))
            if criterion.name == LATENCY:
                slow = _dense(slow, block, candidate=True) if after.stretch.requests else EMPTY
        criteria.append(after)
    catastrophe = _catastrophe(evidence, block, policy, criteria)
    answers = evidence.answers if block.warm_up else watched(evidence, block)
    return _remembered(replace(evidence, criteria=tuple(criteria), catastrophe=catastrophe, answers=answers, slow_stretch=slow), block)


def _counted(evidence: Evidence, block: Block, *, moved: bool) -> Evidence:
    """Clocks and counters, and a new stage where the share has changed."""
    answered, routed = block.candidate_answered, block.candidate_routed
    errors = block.candidate_new.errors + block.candidate_pinned.errors
    seconds, warm = block.seconds, block.warm_up
    carries = bool(answered or routed or evidence.carried_seconds)
    judged = 0 if warm or not carries else 1
    stage = 0 if moved else 1
    return replace(
        evidence,
        blocks=evidence.blocks + 1,
        share=block.share,
        carried_seconds=evidence.carried_seconds + seconds if carries else 0.0,
        stage_seconds=evidence.stage_seconds * stage + seconds * judged,
        stage_requests=evidence.stage_requests * stage + answered * judged,
        stage_errors=evidence.stage_errors * stage + errors * judged,
        judged_seconds=evidence.judged_seconds + seconds * judged,
        requests=evidence.requests + answered * judged,
        errors=evidence.errors + errors * judged,
        warm_requests=evidence.warm_requests + (answered if warm else 0),
        warm_errors=evidence.warm_errors + (errors if warm else 0),
        silent_seconds=0.0 if answered else evidence.silent_seconds + seconds,
        answers=settled(evidence.answers) if moved else evidence.answers,
        open=None,
    )


def _alarms(criterion: Criterion, events: Events, limits: Limits, evidence: Evidence, *, moved: bool) -> Criterion:
    """Is either version bad just now? Before the bets, because these ask the stable version's alarms."""
    proof, in_alarm = (NO_PROOF, NO_PROOF) if moved else (criterion.proof, criterion.proof_in_alarm)
    promote, rollback, candidate = criterion.stable_above_promote, criterion.stable_above_rollback, criterion.candidate_above_rollback
    if events.stable_total:
        promote = _alarm(promote, events.stable_over_promote, events.stable_total, limits.promote)
        rollback = _alarm(rollback, events.stable_over_rollback, events.stable_total, limits.rollback)
    elif not controlled(evidence):
        promote = rollback = QUIET
    if events.total:
        candidate = _alarm(candidate, events.over_rollback, events.total, limits.rollback)
    after = Criterion(
        name=criterion.name,
        above_rollback=criterion.above_rollback,
        above_promote=criterion.above_promote,
        worse=criterion.worse,
        worse_at_all=criterion.worse_at_all,
        proof=proof,
        proof_in_alarm=in_alarm,
        stable_above_promote=promote,
        stable_above_rollback=rollback,
        candidate_above_rollback=candidate,
        stretch=criterion.stretch,
    )
    return replace(after, proof_in_alarm=NO_PROOF) if after.stable_doubtful and not criterion.stable_doubtful else after


def _alarm(alarm: Alarm, bad: int, total: int, limit: float) -> Alarm:
    if not bad and alarm == QUIET:
        return alarm
    return wealth.alarmed(alarm, bad, total, limit, ALARM_LEVELS, ALARM_MOST)


def _weighed(criterion: Criterion, events: Events, limits: Limits, stake: float) -> Criterion:
    """The bets after the block. What stable's own trouble could explain is not counted against the candidate."""
    total, doubtful = events.total, criterion.stable_doubtful
    above_rollback, above_promote, proof, in_alarm = (
        criterion.above_rollback,
        criterion.above_promote,
        criterion.proof,
        criterion.proof_in_alarm,
    )
    if not criterion.stable_failing:
        above_rollback = wealth.grown(above_rollback, stake, wealth.against_limit(events.over_rollback, total, limits.rollback))
    if doubtful:
        in_alarm = wealth.proved(in_alarm, events.perhaps_over_promote, total, limits.promote)
    else:
        above_promote = wealth.grown(above_promote, stake, wealth.against_limit(events.over_promote, total, limits.promote))
        proof = wealth.proved(proof, events.perhaps_over_promote, total, limits.promote)
    worse, at_all = criterion.worse, criterion.worse_at_all
    if events.stable_total and events.comparisons:
        pairs = zip(worse, events.comparisons, strict=True)
        worse = tuple([wealth.grown(w, stake, wealth.against_stable(strata, limits.ratio)) for w, strata in pairs])
        if at_all:
            at_all = wealth.grown(at_all, stake, wealth.against_stable(events.comparisons[0], 1.0))
    return replace(
        criterion,
        above_rollback=above_rollback,
        above_promote=above_promote,
        worse=worse,
        worse_at_all=at_all,
        proof=proof,
        proof_in_alarm=in_alarm,
    )


def _stretched(criterion: Criterion, events: Events, block: Block, policy: Policy, *, control: bool) -> Criterion:
    if max(relative_odds(criterion, policy), absolute_odds(criterion, policy, control=control)) <= QUIET_ODDS:
        return criterion if not criterion.stretch.requests else replace(criterion, stretch=Stretch())
    before = criterion.stretch
    stretch = Stretch(
        seconds=before.seconds + block.seconds,
        requests=before.requests + events.total,
        bad=before.bad + events.over_rollback,
        stable_requests=before.stable_requests + events.stable_total,
        stable_bad=before.stable_bad + events.stable_over_rollback,
    )
    return replace(criterion, stretch=stretch)


def _catastrophe(evidence: Evidence, block: Block, policy: Policy, criteria: list[Criterion]) -> tuple[float, ...]:
    """The only bet of the warm-up. Blocks in which stable fails too do not count, unless the operator wants his limits literally."""
    if not block.warm_up or not block.candidate_answered or not criteria or criteria[0].name != ERRORS:
        return evidence.catastrophe
    if criteria[0].stable_failing and policy.common_cause == "hold":
        return evidence.catastrophe
    limit = max(CATASTROPHE_LIMIT, limits_of(policy)[0].rollback)
    errors = block.candidate_new.errors + block.candidate_pinned.errors
    gains = wealth.against_limit(errors, block.candidate_answered, limit, CATASTROPHE_LEVELS)
    return tuple([c + min(gain, wealth.BLOCK_GAIN_MAX) for c, gain in zip(evidence.catastrophe, gains, strict=True)])


def _remembered(evidence: Evidence, block: Block) -> Evidence:
    """Stable's latencies of this block become the reference for the next ones."""
    recent, earlier, seconds = _dense(evidence.recent, block, candidate=False), evidence.earlier, evidence.recent_seconds + block.seconds
    if seconds >= REFERENCE_SECONDS:
        recent, earlier, seconds = EMPTY, recent, 0.0
    return replace(evidence, recent=recent, earlier=earlier, recent_seconds=seconds)


def _dense(histogram: tuple[int, ...], block: Block, *, candidate: bool) -> tuple[int, ...]:
    cells = (block.candidate_new, block.candidate_pinned) if candidate else (block.stable_new, block.stable_pinned)
    counts = list(histogram)
    for cell in cells:
        for bucket, count in cell.histogram:
            counts[bucket] += count
    return tuple(counts)
