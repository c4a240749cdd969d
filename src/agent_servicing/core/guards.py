"""What takes a deployment back whatever stage it is in, strongest reason first. Alive in every state that carries traffic, paused included."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import PAUSE_DEADLINE_SECONDS
from agent_servicing.core.model import Deployment
from agent_servicing.core.retreat import retreat
from agent_servicing.core.stages import Analyse
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
    return any(reason(draft, deployment) for reason in (_overtaken, _broken, _not_installed, _judged, _unverified, _late, _forgotten))


def _overtaken(draft: Draft, deployment: Deployment) -> bool:
    """A rollback somebody asked for does not wait for an upgrade."""
    if deployment.kind is DeploymentKind.ROLLBACK:
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
    failed = [i for i in draft.of(generation.number, InstanceStatus.FAILED) if draft.since(i.stopping_since) <= _age(draft, deployment)]
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


def _unverified(draft: Draft, deployment: Deployment) -> bool:
    found = draft.world.verification
    if found is None or not deployment.being_verified or found.status is not VerificationStatus.FAILED:
        return False
    retreat(draft, deployment, reason=f"{deployment.to_version} failed its own tests at its production address: {found.detail}")
    return True


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
