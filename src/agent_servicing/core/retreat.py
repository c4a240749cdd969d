"""Taking a deployment back: from any stage, for any reason, by the same way. Never blocked by pause, analysis or anybody's queue."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import LAUNCH_SLACK_SECONDS
from agent_servicing.core.model import Deployment, RollbackTrigger
from agent_servicing.core.spans import span
from agent_servicing.core.stages import StageRecord
from agent_servicing.core.status import DeploymentStatus, StageStatus
from agent_servicing.core.strategies.rollback import abort_stages


def retreat(
    draft: Draft,
    deployment: Deployment,
    *,
    reason: str,
    actor: str = events.SYSTEM,
    auto: bool = True,
    metric: str | None = None,
    value: float | None = None,
    threshold: float | None = None,
    window_seconds: float | None = None,
    requests: int | None = None,
    note: str = "",
) -> None:
    """Stop what is under way and send all traffic back; the numbers are those of the verdict that asked for it.

    `note` is what the stage under way keeps of it, where that is more than the reason.
    """
    current = next((s for s in deployment.stages if s.status is StageStatus.IN_PROGRESS), None)
    trigger = RollbackTrigger(
        reason=reason,
        auto=auto,
        actor=actor,
        at=draft.now,
        metric=metric,
        value=value,
        threshold=threshold,
        window_seconds=window_seconds,
        requests=requests,
        stage=current.stage.name if current else None,
    )
    stages = tuple(_ended(draft, record, note or reason, auto=auto) for record in deployment.stages)
    back = tuple(StageRecord(stage=stage) for stage in abort_stages(deployment))
    changed = replace(
        deployment,
        status=DeploymentStatus.ROLLING_BACK,
        paused_at=None,
        stages=stages + back,
        trigger=trigger,
        message=reason,
    )
    draft.put(changed, replace(draft.agent, share=0.0))
    _restore_stable(draft, deployment)
    draft.wake_in(0)
    if current is not None and auto:
        draft.tell(events.STAGE_FAILED, deployment=changed, stage=current.stage.name, status="failed", problem=reason)
    draft.tell(events.ROLLBACK_TRIGGERED, deployment=changed, actor=actor, reason=reason, audit=True, data=describe(trigger))


def _restore_stable(draft: Draft, deployment: Deployment) -> None:
    """A stable side that was shrunk becomes whole again; until its instances had their time to start, traffic returns as they do."""
    stable = draft.generations.get(deployment.stable or 0)
    if stable is None or stable.number != draft.agent.stable or stable.shrunk_until is None:
        return
    patience = draft.manifest(stable.version).health.startup_timeout_seconds + LAUNCH_SLACK_SECONDS
    draft.put(replace(stable, shrunk_until=draft.now + span(patience)))
    draft.want(stable.number, 100.0)


def describe(trigger: RollbackTrigger) -> dict[str, object]:
    """The trigger's numbers as an event carries them beside its reason, rounded for people."""
    return {
        "auto_triggered": trigger.auto,
        "metric": trigger.metric,
        "value": round(trigger.value, 3) if trigger.value is not None else None,
        "threshold": trigger.threshold,
        "window_seconds": round(trigger.window_seconds, 1) if trigger.window_seconds is not None else None,
        "requests": trigger.requests,
        "stage": trigger.stage,
        "status": "triggered",
    }


def _ended(draft: Draft, record: StageRecord, note: str, *, auto: bool) -> StageRecord:
    match record.status:
        case StageStatus.IN_PROGRESS:
            status = StageStatus.FAILED if auto else StageStatus.SKIPPED
            return replace(record, status=status, completed_at=draft.now, deadline_at=None, note=note)
        case StageStatus.PENDING:
            return replace(record, status=StageStatus.SKIPPED)
        case _:
            return record
