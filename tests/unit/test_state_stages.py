"""Rollbacks that put a snapshot back, or have what was written converted: new instances get a folder of their own, and traffic never waits."""

import pytest

from agent_servicing.core.manifest import ConfigSpec, Run
from agent_servicing.core.model import Deployment
from agent_servicing.core.stages import ConvertState, SetAside, StageRecord
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus, StageStatus
from tests.unit.test_judging import a_world, upgrade
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio


async def upgraded(**spec: object) -> World:
    """At 1.1.0, whose instances answer our requests."""
    world = await World(manifest=a_manifest(run=Run(command=("serve",), instances=2), config=ConfigSpec(reload="sdk"))).installed()
    assert (await world.outcome(upgrade(world, monitor_seconds=0.0, **spec))).status is DeploymentStatus.COMPLETED
    return world


def roll_back(world: World, version: str = "1.0.0", **spec: object) -> str:
    return world.request(DeploymentKind.ROLLBACK, version, **spec)


def note(done: Deployment, kind: type) -> StageRecord:
    return next(record for record in done.stages if isinstance(record.stage, kind))


async def test_a_snapshot_is_put_back_into_a_folder_of_its_own_for_new_instances() -> None:
    world = await upgraded()
    done = await world.outcome(roll_back(world, restore="upg-002"))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.restores.folders == {(AGENT, 1): "upg-002"}
    assert [record.stage.name for record in done.stages] == [
        "restore_state", "deploy_target", "health_check_target", "route_traffic_100", "decommission_current", "set_state_aside",
    ]  # fmt: skip
    assert world.state.agent.epoch == 1
    (generation,) = world.state.generations
    assert (generation.version, generation.epoch) == ("1.0.0", 1)
    started = {i.instance for i in world.state.instances}
    assert started
    assert all(world.runtime.epochs[AGENT, name] == 1 for name in started)


async def test_nothing_starts_before_the_snapshot_is_unpacked() -> None:
    world = await upgraded()
    before = len(world.runtime.started)
    name = roll_back(world, restore="upg-002")
    await world.run(lambda: bool(world.restores.runs))
    assert len(world.runtime.started) == before
    await world.outcome(name)
    assert len(world.runtime.started) > before


async def test_what_was_left_is_counted_once_nobody_writes_there_and_offered_to_those_that_serve() -> None:
    world = await upgraded()
    done = await world.outcome(roll_back(world, restore="upg-002"))
    (count,) = world.restores.counts
    version, snapshot, epoch, takers, complete = count
    assert (version, snapshot, epoch, complete) == ("1.1.0", "upg-002", 0, True)
    assert set(takers) == {i.instance for i in world.state.instances}
    assert "set aside" in note(done, SetAside).note


async def test_a_snapshot_that_cannot_be_unpacked_changes_nothing() -> None:
    world = await upgraded()
    world.restores.problems["restore"] = "chunk 1234 of the snapshot is damaged"
    done = await world.outcome(roll_back(world, restore="upg-002"))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "damaged" in done.trigger.reason
    assert (world.state.agent.version, world.state.agent.epoch) == ("1.1.0", 0)
    assert not world.restores.counts


async def test_a_count_that_fails_does_not_fail_the_rollback() -> None:
    world = await upgraded()
    world.restores.problems["count"] = "the disk is full"
    done = await world.outcome(roll_back(world, restore="upg-002"))
    assert done.status is DeploymentStatus.COMPLETED
    assert "kept whole, but not counted: the disk is full" in note(done, SetAside).note


async def test_a_warm_version_is_not_taken_for_a_restore_and_later_ones_stay_in_the_new_folder() -> None:
    world = await upgraded(keep_warm_seconds=1000.0)
    warm = next(g.number for g in world.state.generations if g.status is GenerationStatus.WARM)
    await world.outcome(roll_back(world, restore="upg-002"))
    assert world.state.agent.stable != warm
    world.runtime.behaviour("1.2.0")
    name = world.request(DeploymentKind.UPGRADE, "1.2.0", steps=(100.0,), monitor_seconds=0.0)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    assert {g.epoch for g in world.state.generations} == {1}


async def test_the_version_that_serves_can_be_given_a_snapshot_too() -> None:
    world = await a_world()
    done = await world.outcome(roll_back(world, "1.0.0", restore="snp-1"))
    assert done.status is DeploymentStatus.COMPLETED
    assert done.message != "1.0.0 is already running"
    assert world.state.agent.epoch == 1


async def test_what_a_restored_version_wrote_is_kept_when_the_rollback_itself_is_taken_back() -> None:
    world = await upgraded()
    name = roll_back(world, restore="upg-002")
    await world.run(lambda: world.state.agent.share == 100)
    world.runtime.behaviour("1.0.0").healthy = False
    world.runtime.behaviour("1.0.0").crashes = True
    for instance in [i.instance for i in world.state.instances if i.version == "1.0.0"]:
        world.runtime.processes[AGENT].pop(instance)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert world.state.agent.epoch == 0
    assert [(count[0], count[2]) for count in world.restores.counts] == [("1.0.0", 1)]


async def test_the_version_that_leaves_converts_what_it_wrote_before_the_old_one_starts() -> None:
    world = await upgraded()
    leaving = {i.instance for i in world.state.instances if i.version == "1.1.0"}
    done = await world.outcome(roll_back(world, convert=2))
    assert done.status is DeploymentStatus.COMPLETED
    ((version, schema, names),) = world.restores.conversions
    assert (version, schema, set(names)) == ("1.1.0", 2, leaving)
    assert done.stages[0].note == "7 records converted"


async def test_a_conversion_that_fails_or_hangs_does_not_hold_up_the_rollback() -> None:
    world = await upgraded()
    world.restores.problems["convert"] = "it does not answer"
    done = await world.outcome(roll_back(world, convert=2))
    assert done.status is DeploymentStatus.COMPLETED
    assert note(done, ConvertState).note == "not converted, the state stays as it is: it does not answer"
    slow = await upgraded()
    slow.restores.seconds = 10_000.0
    done = await slow.outcome(roll_back(slow, convert=2))
    assert done.status is DeploymentStatus.COMPLETED
    assert "the rest stays as it is" in note(done, ConvertState).note


async def test_an_upgrade_that_is_taken_back_has_the_newcomer_convert_after_the_traffic_is_away() -> None:
    world = await a_world()
    world.runtime.behaviour("1.1.0").error_share = 0.5
    done = await world.outcome(upgrade(world, convert=2))
    assert done.status is DeploymentStatus.ROLLED_BACK
    names = [record.stage.name for record in done.stages if record.status is StageStatus.COMPLETED]
    assert names[-3:] == ["route_traffic_0", "convert_state_back", "decommission_candidate"]
    assert world.restores.conversions[0][:2] == ("1.1.0", 2)
