"""Leads one deployment per agent: begins the next one, has it measured, runs its guards and stages, closes it."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.actions import CollectReleases, EndVerification
from agent_servicing.core.arrive import arrive
from agent_servicing.core.begin import begin_next
from agent_servicing.core.draft import Draft
from agent_servicing.core.guards import guard
from agent_servicing.core.impact import footing_view, impact_view
from agent_servicing.core.interpret import deadline_seconds, enter, progress
from agent_servicing.core.judging import control, measure
from agent_servicing.core.model import Deployment
from agent_servicing.core.retreat import describe
from agent_servicing.core.spans import span
from agent_servicing.core.stages import Replace, SetTraffic, StageRecord, Verify
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, StageStatus
from agent_servicing.core.trail import trail

_GUARDED = (DeploymentStatus.IN_PROGRESS, DeploymentStatus.PAUSED, DeploymentStatus.BAKING)


def conduct(draft: Draft) -> None:
    if draft.removing:
        _drop_all(draft)
        return
    arrive(draft)
    deployment = draft.active or begin_next(draft)
    if deployment is None:
        return
    draft.wake_in(0.5)
    deployment = measure(draft, deployment)
    if deployment.status in _GUARDED and not deployment.handed_over and guard(draft, deployment):
        deployment = draft.deployments[deployment.deployment]
    deployment = draft.deployments[deployment.deployment]
    if deployment.status is not DeploymentStatus.PAUSED:
        _advance(draft, deployment)
        trail(draft, draft.deployments[deployment.deployment])
    deployment = draft.deployments[deployment.deployment]
    if deployment.status in _GUARDED and not deployment.handed_over:
        control(draft, deployment)


def _advance(draft: Draft, deployment: Deployment) -> None:
    """Enter the next stage or ask the present one how far it is; at most one step for each observation."""
    index = next((n for n, s in enumerate(deployment.stages) if s.status in (StageStatus.PENDING, StageStatus.IN_PROGRESS)), None)
    if index is None:
        _finish(draft, deployment)
        return
    record = deployment.stages[index]
    if record.status is StageStatus.PENDING:
        entered = enter(draft, deployment, record.stage)
        until = draft.now + span(deadline_seconds(draft, deployment, record.stage))
        record = replace(record, status=StageStatus.IN_PROGRESS, started_at=draft.now, deadline_at=until)
        draft.put(_with(entered, index, record))
        draft.tell(events.STAGE_STARTED, deployment=entered, stage=record.stage.name, status="in_progress")
        draft.wake_in(0)
        return
    outcome = progress(draft, deployment, record)
    deployment = draft.deployments[deployment.deployment]
    if not outcome.done:
        if outcome.note != record.note:
            draft.put(_with(deployment, index, replace(record, note=outcome.note)))
        return
    record = replace(record, status=StageStatus.COMPLETED, completed_at=draft.now, deadline_at=None, note=outcome.note)
    draft.put(_with(deployment, index, record))
    _tell_completed(draft, deployment, record)
    draft.wake_in(0)


def _tell_completed(draft: Draft, deployment: Deployment, record: StageRecord) -> None:
    name, seconds = record.stage.name, round(record.duration_seconds or 0.0, 3)
    draft.tell(events.STAGE_COMPLETED, deployment=deployment, stage=name, status="completed", duration_seconds=seconds, note=record.note)
    if isinstance(record.stage, SetTraffic | Replace):
        draft.tell(events.TRAFFIC_SHIFTED, deployment=deployment, stage=name, percent=record.stage.percent, note=record.note)


def _with(deployment: Deployment, index: int, record: StageRecord) -> Deployment:
    return replace(deployment, stages=(*deployment.stages[:index], record, *deployment.stages[index + 1 :]))


def _finish(draft: Draft, deployment: Deployment) -> None:
    back = deployment.status is DeploymentStatus.ROLLING_BACK
    if not back:
        status = DeploymentStatus.COMPLETED
    elif deployment.trigger is not None and not deployment.trigger.auto and deployment.untouched:
        status = DeploymentStatus.CANCELLED
    elif deployment.stable is None:
        status = DeploymentStatus.FAILED
    else:
        status = DeploymentStatus.ROLLED_BACK
    _close(draft, deployment, status)


def _close(draft: Draft, deployment: Deployment, status: DeploymentStatus) -> None:
    closed = replace(deployment, status=status, finished_at=draft.now, stage_baseline=None, revision=deployment.revision + 1)
    draft.put(closed)
    _tidy(draft, closed)
    duration = round(draft.since(closed.started_at), 3)
    data: dict[str, object] = {
        "from_version": closed.from_version,
        "to_version": closed.to_version,
        "strategy": closed.spec.strategy,
        "status": "success" if status is DeploymentStatus.COMPLETED else status.value,
        "duration_seconds": duration,
        "downtime_seconds": closed.impact.downtime_seconds,
        "impact": impact_view(closed.impact),
        "before": footing_view(closed.before),
        "after": footing_view(draft.footing()),
    }
    if closed.trigger is not None:
        data["rollback"] = {"reason": closed.trigger.reason, **describe(closed.trigger)}
        if status is DeploymentStatus.ROLLED_BACK:
            _tell_rolled_back(draft, closed)
    live = events.COMPLETED if status is DeploymentStatus.COMPLETED else status.value
    if status is not DeploymentStatus.ROLLED_BACK:
        draft.tell(
            live, deployment=closed, reason=closed.message, status=status.value, version=closed.to_version, duration_seconds=duration
        )
    draft.tell(closed.kind.value, deployment=closed, actor=closed.actor, reason=closed.reason, audit=True, data=data)
    _collect(draft)


def _tidy(draft: Draft, closed: Deployment) -> None:
    """What a deployment leaves nothing of: a stable side that counts as shrunk, tests that still run."""
    stable = draft.generations.get(closed.stable or 0)
    if stable is not None and stable.shrunk_until is not None:
        draft.put(replace(stable, shrunk_until=None))
    if any(isinstance(record.stage, Verify) and record.started_at for record in closed.stages):
        draft.do(EndVerification(key=closed.deployment))


def _tell_rolled_back(draft: Draft, closed: Deployment) -> None:
    """The traffic's own story: how long taking it back took, and whom it touched meanwhile."""
    trigger = closed.trigger
    if trigger is None:
        return
    data = {
        **describe(trigger),
        "status": "rolled_back",
        "duration_seconds": round(draft.since(trigger.at), 3),
        "impact": impact_view(closed.impact),
        "from_version": closed.to_version,
        "to_version": closed.from_version,
    }
    draft.tell(events.ROLLBACK_COMPLETED, deployment=closed, actor=trigger.actor, reason=trigger.reason, data=data)
    if closed.kind is not DeploymentKind.ROLLBACK:
        entry = {**data, "status": "success", "strategy": closed.spec.strategy}
        draft.tell(events.AUDIT_ROLLBACK, deployment=closed, actor=trigger.actor, reason=trigger.reason, audit=True, data=entry)


def _collect(draft: Draft) -> None:
    """Installed versions that no generation, rollback point or waiting deployment needs are deleted."""
    keep = {g.version for g in draft.generations.values()} | set(draft.before.rollback_points)
    keep |= {v for d in draft.deployments.values() for v in (d.to_version, d.from_version) if v is not None and not d.terminal}
    keep |= {v for v in (draft.agent.version, draft.before.agent.version) if v is not None}
    draft.do(CollectReleases(agent=draft.agent.agent, keep=frozenset(keep)))


def _drop_all(draft: Draft) -> None:
    for deployment in list(draft.deployments.values()):
        if not deployment.terminal:
            _close(draft, replace(deployment, message="the agent is being removed"), DeploymentStatus.CANCELLED)
