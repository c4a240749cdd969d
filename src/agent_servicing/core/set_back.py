"""First of all in a decision: moments that lie in the future were written before the clock was set back. They count as now.

Without this every wait that had begun would last as long as the clock was set back by: a drain, a restart, the end of a shift. Nothing
ends earlier by it: a wait that is begun anew lasts its whole time. What was promised for a time of day (a scheduled start, a confirmation,
the end of a lock) is left alone.
"""

from dataclasses import replace
from datetime import datetime

from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Deployment, Generation, Instance
from agent_servicing.core.stages import Analyse, StageRecord
from agent_servicing.core.status import StageStatus


def set_back(draft: Draft) -> None:
    """Calls for nothing while no moment lies ahead, which is nearly always."""
    now = draft.now
    for instance in list(draft.instances.values()):
        begun = (instance.created_at, instance.started_at, instance.config_told_at)
        ending = (instance.draining_at, instance.stopping_since, instance.signalled_at)
        if any(at is not None and at > now for at in (*begun, *ending)):
            draft.put(_instance(instance, now))
    for generation in list(draft.generations.values()):
        if any(at > now for at in generation.crashes) or (generation.draining_since or now) > now:
            draft.put(_generation(generation, now))
    deployment = draft.active
    if deployment is not None:
        _deployment(draft, deployment, now)


def _past(at: datetime | None, now: datetime) -> datetime | None:
    return at if at is None or at <= now else now


def _instance(instance: Instance, now: datetime) -> Instance:
    return replace(
        instance,
        created_at=min(instance.created_at, now),
        started_at=_past(instance.started_at, now),
        draining_at=_past(instance.draining_at, now),
        stopping_since=_past(instance.stopping_since, now),
        signalled_at=_past(instance.signalled_at, now),
        config_told_at=_past(instance.config_told_at, now),
    )


def _generation(generation: Generation, now: datetime) -> Generation:
    crashes = tuple(min(at, now) for at in generation.crashes)
    return replace(generation, crashes=crashes, draining_since=_past(generation.draining_since, now))


def _deployment(draft: Draft, deployment: Deployment, now: datetime) -> None:
    stages = tuple(_stage(record, now) for record in deployment.stages)
    measured = deployment.stage_baseline
    ahead = measured is not None and measured.at > now
    if stages == deployment.stages and not ahead and all(at is None or at <= now for at in (deployment.in_force_at, deployment.paused_at)):
        return
    draft.put(
        replace(
            deployment,
            stages=stages,
            in_force_at=_past(deployment.in_force_at, now),
            paused_at=_past(deployment.paused_at, now),
            stage_baseline=None if ahead else measured,
        )
    )


def _stage(record: StageRecord, now: datetime) -> StageRecord:
    """A stage under way begins anew, its deadline as far ahead as it was at first; that of a confirmation is a time of day."""
    begun = record.started_at
    if record.status is not StageStatus.IN_PROGRESS or begun is None or begun <= now:
        return record
    confirms = isinstance(record.stage, Analyse) and record.stage.confirm
    deadline = record.deadline_at if record.deadline_at is None or confirms else record.deadline_at - (begun - now)
    return replace(record, started_at=now, deadline_at=deadline)
