"""The one interpreter of stages: enters a stage, says how far it is. Every strategy runs through here, so safety is proved once."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from agent_servicing.core.actions import BeginVerification, PrepareRelease
from agent_servicing.core.analysis import Judgement
from agent_servicing.core.capacity import places
from agent_servicing.core.draft import Draft
from agent_servicing.core.judging import undecided, up_to_date
from agent_servicing.core.keep import stop_generation
from agent_servicing.core.limits import (
    LAUNCH_SLACK_SECONDS,
    RETIRE_DEADLINE_SECONDS,
    RETIRE_PATIENCE_SECONDS,
    SHARE_TOLERANCE_POINTS,
    SHIFT_DEADLINE_SECONDS,
    TESTS_DEADLINE_SECONDS,
    VERIFY_MIN_REQUESTS,
    VERIFY_MIN_REQUESTS_WHOLE,
    VERIFY_PATIENCE_BATCH_SECONDS,
    VERIFY_PATIENCE_SECONDS,
    VERIFY_PATIENCE_WHOLE_SECONDS,
    WATCH_SLACK_SECONDS,
    ZERO_SECONDS,
)
from agent_servicing.core.manifest import Conversations
from agent_servicing.core.metrics import Counters
from agent_servicing.core.model import Deployment, Generation
from agent_servicing.core.progress import Progress
from agent_servicing.core.routing import redirected
from agent_servicing.core.spans import in_words, span
from agent_servicing.core.stages import (
    Analyse,
    CheckHealth,
    ConvertState,
    Launch,
    Replace,
    RestoreState,
    Retire,
    SetAside,
    SetTraffic,
    SnapshotState,
    Stage,
    StageRecord,
    Verify,
)
from agent_servicing.core.state_stages import state_deadline_seconds, state_progress
from agent_servicing.core.status import (
    DeploymentKind,
    DeploymentStatus,
    GenerationStatus,
    InstanceStatus,
    PreparationStatus,
    Verdict,
    VerificationStatus,
)
from agent_servicing.core.traffic import able, desired_routing, in_force


def deadline_seconds(draft: Draft, deployment: Deployment, stage: Stage) -> float:
    health = draft.manifest(deployment.to_version).health
    match stage:
        case SnapshotState() | RestoreState() | ConvertState() | SetAside():
            return state_deadline_seconds(stage)
        case Launch():
            return draft.limits.install_timeout_seconds + LAUNCH_SLACK_SECONDS
        case CheckHealth():
            return health.startup_timeout_seconds + health.healthy_after * health.interval_seconds + LAUNCH_SLACK_SECONDS
        case SetTraffic():
            return SHIFT_DEADLINE_SECONDS
        case Replace():
            return health.startup_timeout_seconds + health.healthy_after * health.interval_seconds + SHIFT_DEADLINE_SECONDS
        case Analyse():
            seconds = watch_seconds(stage, draft.now)
            return seconds if stage.confirm else seconds + max(deployment.spec.hold_seconds, WATCH_SLACK_SECONDS)
        case Verify():
            return TESTS_DEADLINE_SECONDS
        case Retire():
            return RETIRE_DEADLINE_SECONDS
        case _:
            assert_never(stage)


def watch_seconds(stage: Analyse, begun: datetime) -> float:
    """How long a watch that began then lasts: its seconds, and up to its moment."""
    return max(stage.seconds, (stage.until - begun).total_seconds() if stage.until is not None else 0.0)


def enter(draft: Draft, deployment: Deployment, stage: Stage) -> Deployment:
    """What a stage wants, written into the state; what must be done for it follows from there."""
    bakes = isinstance(stage, Analyse) and stage.bake
    status = DeploymentStatus.BAKING if bakes else deployment.status
    if not bakes and status is DeploymentStatus.BAKING:
        status = DeploymentStatus.IN_PROGRESS
    fresh = replace(deployment, status=status, in_force_at=None, stage_baseline=None)
    match stage:
        case SetTraffic():
            _aim(draft, fresh, stage.percent, move_conversations=stage.move_conversations)
        case Retire():
            if stage.target == "stable":
                fresh = replace(fresh, from_config=old.config if (old := draft.generations.get(fresh.stable or 0)) else None)
                _hand_over(draft, fresh)
            else:
                _dismiss(draft, fresh)
        case Replace():
            draft.want(fresh.candidate, stage.percent)
        case Analyse() if stage.bake and not stage.confirm and fresh.spec.control_percent > 0:
            _aim(draft, fresh, 100.0 - fresh.spec.control_percent)
        case SnapshotState() | RestoreState() | ConvertState() | SetAside() | Launch() | CheckHealth() | Analyse() | Verify():
            pass
        case _:
            assert_never(stage)
    return fresh


def progress(draft: Draft, deployment: Deployment, record: StageRecord) -> Progress:
    match record.stage:
        case SnapshotState() | RestoreState() | ConvertState() | SetAside():
            return state_progress(draft, deployment, record, record.stage)
        case Launch():
            return _launched(draft, deployment, record.stage)
        case CheckHealth():
            return _healthy(draft, deployment)
        case SetTraffic():
            return _shifted(draft, deployment, record.stage.percent)
        case Replace():
            return _replaced(draft, deployment, record.stage)
        case Analyse():
            return _watched(draft, deployment, record, record.stage)
        case Verify():
            return _verified(draft, deployment)
        case Retire():
            return _retired(draft, deployment, record, record.stage)
        case _:
            assert_never(record.stage)


def _launched(draft: Draft, deployment: Deployment, stage: Launch) -> Progress:
    generation = draft.generations.get(deployment.candidate or 0)
    if generation is None:
        return Progress(done=False, note="its instances are gone")
    preparation = draft.world.preparations.get(deployment.to_version)
    if preparation is None or preparation.status is not PreparationStatus.READY:
        return _preparing(draft, deployment)
    wanted = places(draft.agent.instances, stage.percent)
    if (generation.part, generation.desired) != (stage.percent, wanted):
        draft.want(generation.number, stage.percent)
        draft.wake_in(0)
    running = [i for i in draft.of(generation.number, InstanceStatus.STARTING, InstanceStatus.READY) if i.started_at]
    draft.wake_in(0.1)
    return Progress(done=0 < wanted <= len(running), note=f"{len(running)} of {wanted} instances running")


def _preparing(draft: Draft, deployment: Deployment) -> Progress:
    preparation = draft.world.preparations.get(deployment.to_version)
    if preparation is None or preparation.status is PreparationStatus.ABSENT:
        draft.do(PrepareRelease(agent=draft.agent.agent, version=deployment.to_version))
    elif preparation.status is PreparationStatus.FAILED:  # for an earlier deployment, else a guard had taken this one back
        draft.do(PrepareRelease(agent=draft.agent.agent, version=deployment.to_version, again=True))
    draft.wake_in(0.1)
    return Progress(done=False, note=f"installing {deployment.to_version}")


def _healthy(draft: Draft, deployment: Deployment) -> Progress:
    generation = draft.generations.get(deployment.candidate or 0)
    ready, wanted = len(draft.ready(deployment.candidate)), generation.desired if generation else 0
    draft.wake_in(0.25)
    return Progress(done=ready >= wanted > 0, note=f"{ready} of {wanted} instances healthy")


def _replaced(draft: Draft, deployment: Deployment, stage: Replace) -> Progress:
    """Health before traffic; the stable side shrinks behind it (`trail`). Asking for the part again is harmless and survives a scaling."""
    draft.want(deployment.candidate, stage.percent)
    health = _healthy(draft, deployment)
    draft.wake_in(0.1)
    if not health.done:
        return health
    if draft.agent.candidate != deployment.candidate or draft.agent.share < stage.percent:
        _aim(draft, deployment, stage.percent)
    patience = VERIFY_PATIENCE_BATCH_SECONDS if stage.spare is None else VERIFY_PATIENCE_SECONDS
    return _shifted(draft, deployment, stage.percent, patience_seconds=patience)


def _aim(draft: Draft, deployment: Deployment, percent: float, *, move_conversations: bool = False) -> None:
    agent = replace(draft.agent, candidate=deployment.candidate, share=percent)
    stable, candidate = deployment.stable, deployment.candidate
    # A version that is taken back half-way never keeps any, nor does one whose state is left behind.
    keeps = percent >= 100 and _policy(draft, stable).on_rollback == "keep" and deployment.spec.restore is None
    if move_conversations and not keeps and candidate is not None and stable is not None:
        old, new = (stable, candidate) if percent >= 100 else (candidate, stable)
        agent = replace(agent, redirects=redirected(agent.redirects, old, new))
    draft.put(agent)
    draft.wake_in(0)


def _shifted(draft: Draft, deployment: Deployment, percent: float, *, patience_seconds: float = VERIFY_PATIENCE_SECONDS) -> Progress:
    """Verified twice: read back from the data plane, then by the share of requests it really routed."""
    if draft.generations.get(deployment.candidate or 0) is None:
        return Progress(done=percent == 0, note="its instances are gone")
    draft.wake_in(0.1)
    wanted = desired_routing(draft).share if draft.agent.candidate is not None else 0.0
    if wanted < percent:
        return Progress(done=False, note=f"only {wanted:g} % of the traffic has ready instances to go to")
    if wanted > percent and deployment.status is not DeploymentStatus.ROLLING_BACK and not able(draft, deployment.stable):
        return Progress(done=in_force(draft), note="the old version has no healthy instance: the new one carries everything")
    if wanted > percent:
        return Progress(done=False, note=f"{wanted:g} % of the traffic stays until the old version's instances are back")
    counters = draft.world.counters
    if not in_force(draft):
        return Progress(done=False, note="setting the share")
    if counters is None:
        return _unmeasured(deployment)
    if deployment.stage_baseline is None:
        _begin_to_measure(draft, deployment, counters)
        return Progress(done=False, note="share is set; measuring")
    return _measured(draft, deployment, percent, counters, patience_seconds)


def _measured(draft: Draft, deployment: Deployment, percent: float, counters: Counters, patience_seconds: float) -> Progress:
    baseline = deployment.stage_baseline or counters
    delta = counters.since(baseline)
    candidate = delta.generation(deployment.candidate).new.routed
    total = candidate + delta.generation(deployment.stable).new.routed
    whole = percent in (0, 100)
    waited = draft.since(baseline.at)
    if total >= (VERIFY_MIN_REQUESTS_WHOLE if whole else VERIFY_MIN_REQUESTS):
        measured = 100 * candidate / total
        sigma = 100 * (percent / 100 * (1 - percent / 100) / total) ** 0.5
        note = f"measured {measured:.1f} % of {total} requests"
        done = abs(measured - percent) <= max(SHARE_TOLERANCE_POINTS, 4 * sigma)
        if not done:  # anew, else what strayed once, while one side had nobody ready, would speak against it for hours
            draft.put(replace(deployment, stage_baseline=counters))
        return Progress(done=done, note=note)
    patience = min(patience_seconds, VERIFY_PATIENCE_WHOLE_SECONDS) if whole else patience_seconds
    return Progress(done=waited >= patience, note=f"set; too little traffic to measure it ({total} requests in {waited:.0f} s)")


def _begin_to_measure(draft: Draft, deployment: Deployment, counters: Counters) -> None:
    """The first reading that is certainly younger than the routing; a driver may hand out one that is a little older."""
    since = deployment.in_force_at
    if since is None:
        draft.put(replace(deployment, in_force_at=draft.now))
    elif counters.at >= since:
        draft.put(replace(deployment, stage_baseline=counters))


def _unmeasured(deployment: Deployment) -> Progress:
    """Going forward waits for counters; going back does not: the data plane has confirmed the routing, and that must do."""
    back = deployment.status is DeploymentStatus.ROLLING_BACK or deployment.kind is DeploymentKind.ROLLBACK
    return Progress(done=back, note="set; the counters cannot be read")


def _watched(draft: Draft, deployment: Deployment, record: StageRecord, stage: Analyse) -> Progress:
    """What the judge says counts when the time is over, a passing verdict earlier where that is asked; the rest holds until the deadline.

    A watch that proved nothing either way goes on only on enough requests and calm evidence, and only where the operator wants that.
    """
    draft.wake_in(1.0)
    if stage.confirm:
        until = f" at {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC" if record.deadline_at else ""
        return Progress(done=False, note=f"waits for somebody to confirm it by a promote; goes back{until} otherwise")
    judgement = deployment.judgement or Judgement(verdict=Verdict.NO_DATA, sentence="no requests yet")
    left = record.watch_seconds_left(draft.now)
    over = left == 0  # unknown is not over
    if not up_to_date(draft, deployment):
        return Progress(done=False, note="the counters cannot be read")
    if judgement.verdict is Verdict.PASSING and (over or deployment.spec.promote_early):
        return Progress(done=True, note=judgement.sentence)
    if not over:
        return Progress(done=False, note=f"{judgement.sentence}; {in_words(left or 0.0)} left")
    if deployment.overridden_by is not None:
        return Progress(done=True, note=f"{judgement.sentence}; overridden by {deployment.overridden_by}")
    if undecided(deployment) and deployment.spec.on_inconclusive == "promote":
        return Progress(done=True, note=judgement.sentence)
    return Progress(done=False, note=f"holding: {judgement.sentence}")


def _verified(draft: Draft, deployment: Deployment) -> Progress:
    """A failure is a guard's; tests that cannot be run on this machine say nothing about the version, and that is what the note says."""
    found = draft.world.verification
    draft.wake_in(0.5)
    if found is None or found.status is VerificationStatus.RUNNING:
        return Progress(done=False, note="testing it at its production address")
    if found.status is VerificationStatus.ABSENT:
        version, key = deployment.to_version, deployment.deployment
        draft.do(BeginVerification(agent=draft.agent.agent, version=version, key=key))
        return Progress(done=False, note="testing it at its production address")
    if found.status is VerificationStatus.UNAVAILABLE:
        return Progress(done=True, note=f"not verified: {found.detail}")
    return Progress(done=found.status is VerificationStatus.PASSED, note=found.detail)


def _hand_over(draft: Draft, deployment: Deployment) -> None:
    """The candidate becomes the stable version: from here on, going back is a rollback of its own."""
    old = draft.generations.get(deployment.stable or 0)
    new = draft.generations.get(deployment.candidate or 0)
    redirects = {k: v for k, v in draft.agent.redirects.items() if k != deployment.candidate}
    if _moves_at_next_turn(draft, deployment) and old is not None and deployment.candidate is not None:
        redirects = dict(redirected(redirects, old.number, deployment.candidate))
    draft.put(
        replace(
            draft.agent,
            stable=deployment.candidate,
            candidate=None,
            share=0.0,
            version=deployment.to_version,
            version_deployed_at=draft.now,
            redirects=redirects,
            epoch=new.epoch if new is not None else draft.agent.epoch,
        )
    )
    for generation in list(draft.generations.values()):
        if generation.epoch != draft.agent.epoch:  # nobody serves from a folder that was left
            stop_generation(draft, generation.number)
    if old is not None and old.epoch == draft.agent.epoch:
        warm_until = draft.now + span(deployment.spec.keep_warm_seconds)
        draft.put(replace(old, status=GenerationStatus.DRAINING, draining_since=draft.now, warm_until=warm_until, shrunk_until=None))
    draft.wake_in(0)


def _moves_at_next_turn(draft: Draft, deployment: Deployment) -> bool:
    """Asked of the version that leaves; the turn in flight ends where it is, as moving changes only where the next request goes."""
    return deployment.kind is not DeploymentKind.ROLLBACK and _policy(draft, deployment.stable).on_promote == "move_at_next_turn"


def _policy(draft: Draft, number: int | None) -> Conversations:
    generation = draft.generations.get(number or 0)
    return draft.manifest(generation.version).conversations if generation is not None else Conversations()


def _dismiss(draft: Draft, deployment: Deployment) -> None:
    draft.put(replace(draft.agent, candidate=None, share=0.0))
    generation = draft.generations.get(deployment.candidate or 0)
    if generation is not None and generation.number != draft.agent.stable:
        _send_off(draft, deployment, generation)
    draft.wake_in(0)


def _send_off(draft: Draft, deployment: Deployment, generation: Generation) -> None:
    """A newcomer ends; a warm old version that a cancelled rollback had woken goes back to its rest."""
    if generation.created_at >= (deployment.started_at or draft.now):
        stop_generation(draft, generation.number)
    else:
        draft.put(replace(generation, status=GenerationStatus.WARM, draining_since=draft.now))


def _retired(draft: Draft, deployment: Deployment, record: StageRecord, stage: Retire) -> Progress:
    """Measured zero: between two readings after the routing was in force, nobody new was sent there.

    Nothing depends on this stage any more, but a rollback may wait behind it: what cannot be measured in time is said, not waited for.
    """
    leaving = deployment.stable if stage.target == "stable" else deployment.candidate
    if leaving is None or leaving not in draft.generations:
        return Progress(done=True)
    draft.wake_in(0.25)
    if not in_force(draft):
        return Progress(done=False, note="taking it out of the data plane")
    overdue = draft.since(record.started_at) > RETIRE_PATIENCE_SECONDS
    counters, baseline = draft.world.counters, deployment.stage_baseline
    if counters is None:
        return Progress(done=overdue, note="set; the counters cannot be read")
    if baseline is None:
        _begin_to_measure(draft, deployment, counters)
        return Progress(done=False, note="waiting for its traffic to reach zero")
    new = counters.since(baseline).generation(leaving).new.routed
    if new:
        draft.put(replace(deployment, stage_baseline=counters))
        return Progress(done=overdue, note=f"{new} new requests still went there")
    done = draft.since(baseline.at) >= ZERO_SECONDS
    return Progress(done=done, note="no new request since the shift" if done else "waiting for its traffic to reach zero")
