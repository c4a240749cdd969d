"""What takes a deployment back whatever stage it is in, strongest reason first. Alive in every state that carries traffic, paused included."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.analysis import without_worst
from agent_servicing.core.draft import Draft
from agent_servicing.core.interpret import watch_seconds
from agent_servicing.core.judging import undecided
from agent_servicing.core.limits import COMMON_CAUSE_SECONDS, PAUSE_DEADLINE_SECONDS, REPLACED_MAX
from agent_servicing.core.metrics import Counts
from agent_servicing.core.model import Deployment
from agent_servicing.core.retreat import retreat
from agent_servicing.core.spans import span
from agent_servicing.core.stages import Analyse, RestoreState, SnapshotState, StageRecord
from agent_servicing.core.state import SavingStatus
from agent_servicing.core.status import (
    DeploymentKind,
    DeploymentStatus,
    InstanceStatus,
    PreparationStatus,
    StageStatus,
    Verdict,
    VerificationStatus,
)


def guard(draft: Draft, deployment: Deployment) -> bool:
    """True when the deployment is being taken back because of one of the reasons below."""
    reasons = (_overtaken, _broken, _unsaved, _not_installed, _judged, _undecided, _unverified, _excused, _late, _forgotten)
    return any(reason(draft, draft.deployments[deployment.deployment]) for reason in reasons)


def _overtaken(draft: Draft, deployment: Deployment) -> bool:
    """A rollback somebody asked for does not wait for an upgrade, nor for another rollback that somebody paused."""
    if deployment.kind is DeploymentKind.ROLLBACK and deployment.status is not DeploymentStatus.PAUSED:
        return False
    rollback = next((d for d in draft.deployments.values() if d.kind is DeploymentKind.ROLLBACK and not d.active and not d.terminal), None)
    if rollback is None:
        return False
    reason = f"rollback {rollback.deployment} requested by {rollback.actor}: {rollback.reason}"
    retreat(draft, deployment, reason=reason, actor=rollback.actor, auto=False)
    return True


def _broken(draft: Draft, deployment: Deployment) -> bool:
    """A newcomer that crashes, does not start or turns unhealthy has failed; only a first installation keeps trying, nothing else can serve."""
    generation = draft.generations.get(deployment.candidate or 0)
    if generation is None or (draft.agent.stable is None and not generation.crash_looping):
        return False
    failed = [
        i
        for i in draft.of(generation.number, InstanceStatus.FAILED)
        if draft.since(i.stopping_since) <= _age(draft, deployment) and i.instance not in deployment.replaced
    ]
    if not failed:
        return False
    worst = failed[-1]
    retreat(draft, deployment, reason=f"instance {worst.instance} of {worst.version} {worst.reason}")
    return True


def _age(draft: Draft, deployment: Deployment) -> float:
    return draft.since(deployment.started_at)


def _not_installed(draft: Draft, deployment: Deployment) -> bool:
    preparation = draft.world.preparations.get(deployment.to_version)
    generation = draft.generations.get(deployment.candidate or 0)
    if preparation is None or preparation.status is not PreparationStatus.FAILED or generation is None or generation.desired:
        return False
    if preparation.at is not None and preparation.at < (deployment.started_at or draft.now):
        return False  # an earlier deployment's failure; the launch stage tries afresh
    retreat(draft, deployment, reason=f"version {deployment.to_version} could not be installed: {preparation.detail}")
    return True


def _judged(draft: Draft, deployment: Deployment) -> bool:
    judgement = deployment.judgement
    if judgement is None or judgement.verdict is not Verdict.FAILING or draft.agent.candidate is None:
        return False
    if deployment.overridden_by is not None:
        return False
    sick = _one_bad_instance(draft, deployment)
    if sick is not None:
        _replace_instance(draft, deployment, sick)
        return False
    retreat(
        draft,
        deployment,
        reason=judgement.sentence,
        metric=judgement.metric,
        value=judgement.value,
        threshold=judgement.threshold,
        window_seconds=judgement.window_seconds,
        requests=judgement.requests,
    )
    return True


def _one_bad_instance(draft: Draft, deployment: Deployment) -> str | None:
    """The one instance all of the errors come from, where the others acquit the version; so often and no more."""
    judgement, counters = deployment.judgement, draft.world.counters
    if judgement is None or judgement.metric != "error_rate" or counters is None or len(deployment.replaced) >= REPLACED_MAX:
        return None
    before = deployment.baseline.instances if deployment.baseline else {}
    counted = {}
    for instance in draft.ready(deployment.candidate):
        now, then = counters.instances.get(instance.instance), before.get(instance.instance)
        if now is not None:
            counted[instance.instance] = (now.requests - (then.requests if then else 0), now.errors - (then.errors if then else 0))
    stable = sum((s.stable for s in deployment.samples), Counts())
    return without_worst(counted, (stable.answered, stable.errors), deployment.spec.policy)


def _replace_instance(draft: Draft, deployment: Deployment, name: str) -> None:
    """One sick host is no bad version: it is replaced, and the watch begins anew."""
    instance, why = draft.instances[name], f"it alone is bad: {deployment.judgement.sentence if deployment.judgement else ''}"
    draft.put(replace(instance, status=InstanceStatus.FAILED, reason=why, stopping_since=draft.now))
    draft.put(replace(deployment, replaced=(*deployment.replaced, name), evidence=None, judgement=None, baseline=draft.world.counters))
    draft.tell(events.INSTANCE_UNHEALTHY, deployment=deployment, instance=name, version=instance.version, problem=why, audit=True)


def _undecided(draft: Draft, deployment: Deployment) -> bool:
    """The operator wanted no version that could not be proved good."""
    watch = next((r for r in deployment.stages if isinstance(r.stage, Analyse) and r.status is StageStatus.IN_PROGRESS), None)
    if watch is None or not isinstance(watch.stage, Analyse) or watch.stage.confirm or deployment.status is DeploymentStatus.PAUSED:
        return False
    over = draft.since(watch.started_at) >= watch_seconds(watch.stage, watch.started_at or draft.now)
    if not over or deployment.spec.on_inconclusive != "rollback" or deployment.overridden_by or not undecided(deployment):
        return False
    retreat(
        draft,
        deployment,
        reason=f"stage {watch.stage.name} proved nothing: {deployment.judgement.sentence if deployment.judgement else ''}",
    )
    return True


def _unsaved(draft: Draft, deployment: Deployment) -> bool:
    """Before anything has changed, so nothing is lost by giving up."""
    found = draft.world.saving
    if found is None or found.status is not SavingStatus.FAILED:
        return False
    match deployment.state_stage:
        case SnapshotState():
            hint = "nothing was changed; mend that and ask again, or ask for the upgrade without a snapshot"
            reason = f"no snapshot of the state could be taken: {found.detail} ({hint})"
        case RestoreState(snapshot=snapshot):
            reason = f"{snapshot} could not be restored: {found.detail} (nothing was changed; take another one, or keep the state)"
        case _:
            return False
    retreat(draft, deployment, reason=reason)
    return True


def _unverified(draft: Draft, deployment: Deployment) -> bool:
    found = draft.world.verification
    if found is None or not deployment.being_verified or found.status is not VerificationStatus.FAILED:
        return False
    reason = f"{deployment.to_version} failed its own tests at its production address: {_first_line(found.detail)}"
    retreat(draft, deployment, reason=reason, note=found.detail)
    return True


def _first_line(text: str) -> str:
    """The sentence before the output; that stands in the stage's note."""
    return text.splitlines()[0] if text else "no details"


def _excused(draft: Draft, deployment: Deployment) -> bool:
    """While the old version fails too, nobody can say anything about the new one: the watch gets its time anew, though not for ever."""
    if deployment.judgement is None or not deployment.judgement.common_cause:
        return False
    until = draft.now + span(deployment.spec.hold_seconds)
    stages = tuple(
        replace(record, deadline_at=max(until, record.deadline_at or until)) if _may_wait(draft, record) else record
        for record in deployment.stages
    )
    draft.put(replace(deployment, stages=stages))
    return False


def _may_wait(draft: Draft, record: StageRecord) -> bool:
    watch = isinstance(record.stage, Analyse) and not record.stage.confirm and record.status is StageStatus.IN_PROGRESS
    return watch and draft.since(record.started_at) < COMMON_CAUSE_SECONDS


def _late(draft: Draft, deployment: Deployment) -> bool:
    for record in deployment.stages:
        confirm = isinstance(record.stage, Analyse) and record.stage.confirm
        if deployment.status is DeploymentStatus.PAUSED and not confirm:
            continue
        if record.status is StageStatus.IN_PROGRESS and record.deadline_at is not None and draft.now > record.deadline_at:
            if confirm:
                retreat(draft, deployment, reason=f"nobody confirmed {deployment.to_version} by {record.deadline_at:%Y-%m-%d %H:%M:%S} UTC")
                return True
            note = f": {record.note}" if record.note else ""
            reason = f"stage {record.stage.name} did not finish in time{note}"
            if isinstance(record.stage, Analyse) and not deployment.spec.policy.enabled:
                # Without automatic rollback a hold that nobody ends becomes a pause: somebody must decide, nothing promotes itself.
                draft.put(replace(deployment, status=DeploymentStatus.PAUSED, paused_at=draft.now, message=reason))
                draft.tell(events.PAUSED, deployment=deployment, reason=reason, audit=True, status="success")
                return False
            retreat(draft, deployment, reason=reason)
            return True
    return False


def _forgotten(draft: Draft, deployment: Deployment) -> bool:
    if deployment.status is not DeploymentStatus.PAUSED or draft.since(deployment.paused_at) <= PAUSE_DEADLINE_SECONDS:
        return False
    retreat(draft, deployment, reason="paused for longer than a day")
    return True
