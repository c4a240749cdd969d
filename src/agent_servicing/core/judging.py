"""Measures both versions while traffic is split, keeps the evidence, and asks the judge. Called by `conduct` in every turn of a deployment.

Decides nothing about traffic but one thing: on suspicion at full traffic it gives the old version a part again, because without a control
an outage of something both depend on looks exactly like a bad version.
"""

from dataclasses import replace

from agent_servicing.core import events, latency
from agent_servicing.core.analysis import SAMPLES_KEPT, Arm, Evidence, Judgement, Reading, Sample, Tally, begin, observe, verdict
from agent_servicing.core.draft import Draft
from agent_servicing.core.impact import Impact
from agent_servicing.core.limits import COUNTERS_STALE_SECONDS
from agent_servicing.core.metrics import Counters, Counts, GenerationCounters
from agent_servicing.core.model import Deployment, DeploymentSpec
from agent_servicing.core.stages import Analyse, StageRecord, Verify
from agent_servicing.core.status import DeploymentStatus, StageStatus, Verdict
from agent_servicing.core.traffic import able

SAMPLE_SECONDS = 0.5
"""Between readings while traffic is split. Evidence needs several blocks, and a block is no shorter than a reading: half a second halves
the time to a verdict at high traffic, and costs nothing, because a deployment is looked at that often anyway."""

SAMPLE_SLACK = 0.9
"""A reading that comes a little early still counts, or every other one would be left out."""

UNSEEN_SECONDS = 5.0
"""A longer gap between two readings was not watched: nobody looked, or the clock was set forward. No watch is shortened by it."""

WARMUP_SECONDS = 45.0
"""Longest warm-up that is taken by default: versions that need longer say so."""

WARMUP_UNWATCHED_SECONDS = 5.0
"""Warm-up of a deployment without any watch: the judge looks on beside it all the same."""

SUSPICION_ODDS = 20.0
"""From here on a version with all of the traffic is compared again."""

CALM_ODDS = 5.0
"""Below this the suspicion is over; lower than where it began, so that it does not flap."""

QUIET_ODDS = 10.0
"""Evidence against a version below this is none."""

CONTROL_PERCENT = 50.0
"""The control's part on suspicion: with equal halves the comparison needs the least time."""


def measure(draft: Draft, deployment: Deployment) -> Deployment:
    """Adds what was counted since the last reading; judges it while the candidate carries traffic."""
    counters, latest = draft.world.counters, deployment.latest
    if counters is None:
        return deployment
    if latest is None:
        draft.put(started := replace(deployment, baseline=counters, latest=counters))
        return started
    seconds = (counters.at - latest.at).total_seconds()
    if 0 <= seconds < SAMPLE_SLACK * SAMPLE_SECONDS:
        return deployment
    delta = counters.since(latest)
    changed = replace(deployment, latest=counters, impact=_impact(draft, deployment, delta, max(0.0, seconds)))
    if seconds > UNSEEN_SECONDS:
        stages = tuple(_unseen(draft, record, seconds) for record in deployment.stages)
        changed = replace(changed, stages=stages)
    if draft.agent.candidate == deployment.candidate and deployment.candidate is not None and deployment.stable is not None:
        changed = _sampled(draft, changed, delta, max(seconds, 0.001))
    draft.put(changed)
    return changed


def _unseen(draft: Draft, record: StageRecord, seconds: float) -> StageRecord:
    """The part of a gap between two readings that a watch under way does not count as watched."""
    if not isinstance(record.stage, Analyse) or record.status is not StageStatus.IN_PROGRESS:
        return record
    gap = min(seconds, draft.since(record.started_at)) - UNSEEN_SECONDS
    return replace(record, unseen_seconds=record.unseen_seconds + gap) if gap > 0 else record


def up_to_date(draft: Draft, deployment: Deployment) -> bool:
    """Whether the verdict rests on counters that were read just now; an older one must not let anything pass."""
    if deployment.latest is None:
        return False
    return 0 <= (draft.now - deployment.latest.at).total_seconds() <= COUNTERS_STALE_SECONDS


def undecided(deployment: Deployment) -> bool:
    """Enough requests at this share, and nothing that speaks against the version: neither good nor bad was proved."""
    judgement, evidence, policy = deployment.judgement, deployment.evidence, deployment.spec.policy
    if judgement is None or evidence is None or judgement.verdict is not Verdict.INCONCLUSIVE or judgement.common_cause:
        return False
    enough = not evidence.warming and evidence.counted.stage_requests >= policy.min_requests
    calm = judgement.failing_odds < QUIET_ODDS and not any(c.candidate_failing for c in evidence.criteria)
    # With all of the traffic there is nobody to compare it with, so that evidence stays low: suspicion must be compared first.
    alone = evidence.share == 100 and judgement.suspicion >= SUSPICION_ODDS
    return policy.enabled and enough and calm and not alone


def warmup_seconds(spec: DeploymentSpec) -> float:
    """A quarter of the first watch, unless the operator says otherwise."""
    if spec.warmup_seconds is not None:
        return spec.warmup_seconds
    watch = spec.monitor_seconds or spec.pause_seconds or spec.bake_seconds
    return min(WARMUP_SECONDS, watch / 4) if watch else WARMUP_UNWATCHED_SECONDS


def control(draft: Draft, deployment: Deployment) -> None:
    """Live control: half of the traffic goes back to the old version on suspicion, and forward again when that is over."""
    judgement = deployment.judgement
    if judgement is None or draft.agent.candidate != deployment.candidate or not deployment.spec.policy.enabled or deployment.overridden_by:
        return
    if deployment.control_since is not None:
        if judgement.suspicion < CALM_ODDS or judgement.verdict is Verdict.PASSING:
            _compare(draft, deployment, 100.0, "the suspicion is over: the new version has all traffic again", since=False)
        return
    if not _settled(deployment):
        return
    part = min(CONTROL_PERCENT, 100.0 * able(draft, deployment.stable) / max(1, draft.agent.instances))
    suspected = judgement.suspicion >= SUSPICION_ODDS and judgement.verdict is not Verdict.FAILING
    if draft.agent.share == 100 and suspected and part > 0 and deployment.status is not DeploymentStatus.PAUSED:
        reason = f"suspicion ({judgement.sentence}): {part:g} % go to the old version again, to compare"
        _compare(draft, deployment, 100.0 - part, reason, since=True)


def _settled(deployment: Deployment) -> bool:
    """All traffic has arrived and is being watched or verified: a share that is still being set and measured is left alone."""
    running = next((record.stage for record in deployment.stages if record.status is StageStatus.IN_PROGRESS), None)
    return isinstance(running, Verify) or (isinstance(running, Analyse) and running.bake)


def _compare(draft: Draft, deployment: Deployment, share: float, reason: str, *, since: bool) -> None:
    changed = replace(deployment, control_since=draft.now if since else None)
    draft.put(changed, replace(draft.agent, share=share))
    draft.tell(events.TRAFFIC_SHIFTED, deployment=changed, percent=share, note=reason, reason=reason)
    draft.wake_in(0)


def _sampled(draft: Draft, deployment: Deployment, delta: Counters, seconds: float) -> Deployment:
    candidate, stable = delta.generation(deployment.candidate), delta.generation(deployment.stable)
    sample = Sample(at=draft.now, seconds=seconds, candidate=candidate.total, stable=stable.total)
    evidence, judgement = _judged(draft, deployment, candidate, stable, seconds)
    changed = replace(
        deployment,
        samples=(*deployment.samples, sample)[-SAMPLES_KEPT:],
        evidence=evidence,
        judgement=judgement,
        reported=draft.world.reports if draft.world.reports is not None else deployment.reported,
    )
    metrics = {"blue": _side(sample.stable, seconds), "green": _side(sample.candidate, seconds)}
    draft.tell(events.METRICS_UPDATE, deployment=changed, metrics=metrics, verdict=judgement.verdict, sentence=judgement.sentence)
    draft.wake_in(SAMPLE_SECONDS)
    return changed


def _judged(
    draft: Draft, deployment: Deployment, candidate: GenerationCounters, stable: GenerationCounters, seconds: float
) -> tuple[Evidence, Judgement]:
    policy = deployment.spec.policy
    evidence = deployment.evidence or begin(policy, warmup_seconds(deployment.spec))
    view = draft.world.routing
    share = view.routing.share if view is not None and view.routing is not None else draft.agent.share
    reading = Reading(
        seconds=min(seconds, UNSEEN_SECONDS),
        share=share,
        candidate=Arm(new=candidate.new, pinned=candidate.pinned, custom=_reported(draft, deployment, deployment.candidate)),
        stable=Arm(new=stable.new, pinned=stable.pinned, custom=_reported(draft, deployment, deployment.stable)),
    )
    evidence, block = observe(evidence, reading, policy)
    if block is not None:
        draft.keep_block(deployment, block)
    return evidence, verdict(evidence, policy)


def _reported(draft: Draft, deployment: Deployment, generation: int | None) -> dict[str, Tally]:
    """What its instances have reported since the last reading; nothing while reports cannot be read."""
    if draft.world.reports is None or generation is None:
        return {}
    before = deployment.reported.get(generation, {})
    now = draft.world.reports.get(generation, {})
    return {name: _since(tally, before.get(name, Tally())) for name, tally in now.items()}


def _since(now: Tally, before: Tally) -> Tally:
    """Counts that went backwards were begun anew, by another server for one."""
    if now.total < before.total or now.bad < before.bad:
        return now
    return Tally(total=now.total - before.total, bad=now.bad - before.bad)


def _side(counts: Counts, seconds: float) -> dict[str, object]:
    mean = latency.mean_ms(counts.histogram)
    rate = counts.error_rate
    return {
        "error_rate": None if rate is None else round(rate, 2),
        "latency_ms": None if mean is None else round(mean, 1),
        "p95_latency_ms": latency.quantile_ms(counts.histogram, 0.95),
        "throughput": round(counts.answered / seconds, 1),
        "requests": counts.answered,
    }


def _impact(draft: Draft, deployment: Deployment, delta: Counters, seconds: float) -> Impact:
    candidate = delta.generation(deployment.candidate).total
    before, requests = deployment.impact, sum(g.total.answered for g in delta.generations.values())
    share = candidate.answered / requests if requests else 0.0
    return Impact(
        requests=before.requests + requests,
        candidate_requests=before.candidate_requests + candidate.answered,
        candidate_errors=before.candidate_errors + candidate.errors,
        stable_errors=before.stable_errors + delta.generation(deployment.stable).total.errors,
        unserved=before.unserved + delta.unserved,
        downtime_seconds=round(before.downtime_seconds + (seconds if delta.unserved else 0.0), 3),
        exposed_seconds=round(before.exposed_seconds + seconds * share, 3),
        conversations_touched=_touched(draft, before, candidate),
    )


def _touched(draft: Draft, before: Impact, candidate: Counts) -> int | None:
    """Without a key the data plane knows no conversations, which is not the same as none."""
    if draft.agent.manifest.conversation_key is None:
        return before.conversations_touched
    return (before.conversations_touched or 0) + candidate.conversations
