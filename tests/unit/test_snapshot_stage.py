"""The copy of the state that an upgrade begins with: nothing changes before it is there."""

import pytest

from agent_servicing.core.status import DeploymentStatus, StageStatus
from tests.unit.test_judging import a_world, upgrade

pytestmark = pytest.mark.anyio


async def test_the_state_of_the_version_that_serves_is_copied_before_anything_starts() -> None:
    world = await a_world()
    done = await world.outcome(name := upgrade(world, snapshot=True))
    assert done.status is DeploymentStatus.COMPLETED
    first, second = done.stages[:2]
    assert (first.stage.name, first.status, first.note) == ("snapshot_state", StageStatus.COMPLETED, "3 files")
    assert second.started_at is not None
    assert first.completed_at is not None
    assert second.started_at >= first.completed_at
    assert world.snapshots.begun[name][0] == "1.0.0"


async def test_without_a_copy_nothing_is_changed_and_the_reason_is_told() -> None:
    world = await a_world()
    world.snapshots.problem = "the disk is full"
    done = await world.outcome(upgrade(world, snapshot=True))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "the disk is full" in done.trigger.reason
    assert "nothing was changed" in done.trigger.reason
    assert world.state.agent.version == "1.0.0"
    assert "1.1.0" not in {instance.version for instance in world.state.instances}
    assert not any(r.stage.kind == "launch" and r.started_at for r in done.stages)


async def test_a_copy_that_was_lost_with_the_server_is_begun_again() -> None:
    world = await a_world()
    name = upgrade(world, snapshot=True)
    await world.run(lambda: bool(world.snapshots.begun))
    world.snapshots.begun.clear()
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    assert name in world.snapshots.begun
