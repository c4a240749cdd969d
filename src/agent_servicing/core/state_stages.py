"""The stages about an agent's state: what each asks its driver for, and how far it is. Called by `interpret`.

Going forward, what cannot be done ends the deployment (`guards`). Going back, nothing that a conversion or a count does holds up traffic.
"""

from typing import assert_never

from agent_servicing.core.actions import BeginConversion, BeginRestore, BeginSetAside, BeginSnapshot
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import CONVERSION_PATIENCE_SECONDS, SET_ASIDE_PATIENCE_SECONDS, SNAPSHOT_DEADLINE_SECONDS
from agent_servicing.core.model import Deployment
from agent_servicing.core.progress import Progress
from agent_servicing.core.stages import ConvertState, RestoreState, SetAside, SnapshotState, StageRecord, StateStage
from agent_servicing.core.state import SavingStatus
from agent_servicing.core.status import DeploymentKind


def state_deadline_seconds(stage: StateStage) -> float:
    """Those that hold nobody up end by themselves before."""
    match stage:
        case SnapshotState() | RestoreState():
            return SNAPSHOT_DEADLINE_SECONDS
        case ConvertState() | SetAside():
            return 2 * (CONVERSION_PATIENCE_SECONDS + SET_ASIDE_PATIENCE_SECONDS)
        case _:
            assert_never(stage)


def state_progress(draft: Draft, deployment: Deployment, record: StageRecord, stage: StateStage) -> Progress:
    draft.wake_in(0.25)
    match stage:
        case SnapshotState():
            return _copied(draft, deployment)
        case RestoreState():
            return _restored(draft, deployment, stage)
        case ConvertState():
            return _converted(draft, deployment, record, stage)
        case SetAside():
            return _set_aside(draft, deployment, record, stage)
        case _:
            assert_never(stage)


def _copied(draft: Draft, deployment: Deployment) -> Progress:
    """A failure is a guard's."""
    serving = draft.generations.get(deployment.stable or 0)
    if serving is None:
        return Progress(done=True, note="nothing is running whose state could be kept")
    if _absent(draft):
        agent, key = draft.agent.agent, deployment.deployment
        ready = tuple(i.instance for i in draft.ready(serving.number))
        draft.do(BeginSnapshot(agent=agent, version=serving.version, key=key, epoch=serving.epoch, instances=ready))
    return _told(draft, "copying the state")


def _restored(draft: Draft, deployment: Deployment, stage: RestoreState) -> Progress:
    """A failure is a guard's: nothing has changed."""
    if _absent(draft):
        _, epoch = deployment.epochs
        agent, key = draft.agent.agent, deployment.deployment
        draft.do(BeginRestore(agent=agent, version=deployment.to_version, key=key, snapshot=stage.snapshot, epoch=epoch))
    return _told(draft, f"unpacking {stage.snapshot}")


def _converted(draft: Draft, deployment: Deployment, record: StageRecord, stage: ConvertState) -> Progress:
    """Nothing waits for what cannot be converted: it stays as it is, and the note says so."""
    leaving = deployment.stable if stage.target == "stable" else deployment.candidate
    ready = draft.ready(leaving)
    if not ready:
        return Progress(done=True, note="nobody of the version that leaves is there to convert its state; it stays as it is")
    found = draft.world.saving
    if found is not None and found.status is SavingStatus.FAILED:
        return Progress(done=True, note=f"not converted, the state stays as it is: {found.detail}")
    if _absent(draft):
        names, version = tuple(i.instance for i in ready), ready[0].version
        agent, key = draft.agent.agent, deployment.deployment
        draft.do(BeginConversion(agent=agent, version=version, key=key, schema=stage.schema, instances=names))
    if draft.since(record.started_at) > CONVERSION_PATIENCE_SECONDS:
        return Progress(done=True, note=f"not all was converted within {CONVERSION_PATIENCE_SECONDS:g} s; the rest stays as it is")
    return _told(draft, f"converting the state to schema {stage.schema}")


def _set_aside(draft: Draft, deployment: Deployment, record: StageRecord, stage: SetAside) -> Progress:
    """The traffic is back: a rollback that waits does not wait for this, nor do instances that end slowly hold it up for long."""
    leaving, epoch = (deployment.stable, deployment.epochs[0]) if stage.target == "stable" else (deployment.candidate, deployment.epochs[1])
    waited = draft.since(record.started_at)
    here = leaving in draft.generations
    urgent = any(d.kind is DeploymentKind.ROLLBACK and not d.active and not d.terminal for d in draft.deployments.values())
    if here and not urgent and waited <= SET_ASIDE_PATIENCE_SECONDS:
        return Progress(done=False, note="waiting for the last instances that write to the state that was left")
    found = draft.world.saving
    if found is not None and found.status is SavingStatus.FAILED:
        return Progress(done=True, note=f"kept whole, but not counted: {found.detail}")
    if _absent(draft):
        version = deployment.from_version if stage.target == "stable" else deployment.to_version
        draft.do(
            BeginSetAside(
                agent=draft.agent.agent,
                version=version or deployment.to_version,
                key=deployment.deployment,
                snapshot=stage.snapshot,
                epoch=epoch,
                instances=tuple(i.instance for i in draft.ready(draft.agent.stable)),
                complete=not here,
            )
        )
    if urgent or waited > SET_ASIDE_PATIENCE_SECONDS + CONVERSION_PATIENCE_SECONDS:
        return Progress(done=True, note="kept whole; it is still being counted")
    return _told(draft, "counting what was written since the snapshot")


def _absent(draft: Draft) -> bool:
    return draft.world.saving is not None and draft.world.saving.status is SavingStatus.ABSENT


def _told(draft: Draft, meanwhile: str) -> Progress:
    found = draft.world.saving
    done = found is not None and found.status is SavingStatus.DONE
    return Progress(done=done, note=found.detail if found is not None and found.detail else meanwhile)
