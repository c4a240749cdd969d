"""Instances that have another configuration than the one in force get it back, are not pestered, and keep what they refused away."""

from dataclasses import replace

import pytest

from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.patch import PatchStatus
from agent_servicing.core.config.report import Level
from agent_servicing.testing.channel import Manners
from tests.unit.test_rollout import HOT, a_world, commits, values
from tests.unit.world import World

pytestmark = pytest.mark.anyio

FOREIGN = ConfigDocument(revision="nobody's", values={"timeout_seconds": 1})


async def patched() -> World:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    return world


def drifted(world: World) -> list[dict[str, object]]:
    return [dict(e.data) for e in world.events if e.type == "config_drifted"]


async def steps(world: World, seconds: float) -> None:
    until = world.clock.monotonic() + seconds
    await world.run(lambda: world.clock.monotonic() >= until)


async def test_a_configuration_that_was_changed_behind_our_back_is_put_right_and_told_in_the_audit() -> None:
    world = await patched()
    world.channel.applied["g1-2-2"] = FOREIGN
    await world.run(lambda: values(world)["g1-2-2"] == 60)
    assert set(values(world).values()) == {60}
    (told,) = drifted(world)
    assert (told["instance"], told["config_version"], told["found"]) == ("g1-2-2", "cfg-1.0.0-p1", "another revision")
    event = next(e for e in world.events if e.type == "config_drifted")
    assert (event.actor, event.audit, event.reason) == ("system", True, "g1-2-2 had another revision instead of cfg-1.0.0-p1")


async def test_a_file_that_is_gone_is_written_again_and_silence_of_an_agent_is_no_drift() -> None:
    levels: tuple[Level, ...] = ("file", "http", "sdk")
    for level in levels:
        world = await patched()
        world.channel.manners["g1-2-2"] = Manners(level=level)
        world.channel.lost.add("g1-2-2")
        await steps(world, 15)
        assert [told["found"] for told in drifted(world)] == (["nothing"] if level == "file" else [])
        assert ("g1-2-2" in world.channel.lost) is (level != "file")


async def test_one_that_does_not_take_it_is_asked_every_ten_seconds_and_not_more_often() -> None:
    world = await patched()
    before = len(commits(world, "cfg-1.0.0-p1"))
    world.channel.manners["g1-2-2"] = Manners(applies=None)
    world.channel.applied["g1-2-2"] = FOREIGN
    await steps(world, 45)
    assert len(commits(world, "cfg-1.0.0-p1")) - before == 5
    world.channel.manners.clear()
    await world.run(lambda: values(world)["g1-2-2"] == 60)


@pytest.mark.parametrize("level", ["sdk", "file"])
async def test_what_an_instance_gave_back_is_not_offered_to_it_again(level: Level) -> None:
    world = await patched()
    await world.run(lambda: world.state.patch is None)
    before = len(world.channel.history)
    world.channel.manners["g1-2-2"] = Manners(level=level)
    world.channel.says("g1-2-2", "cfg-1.0.0-p1", "reverted")
    world.channel.applied["g1-2-2"] = FOREIGN
    await steps(world, 60)
    assert world.channel.history[before:] == []
    assert drifted(world) == []


async def test_a_file_that_could_not_be_written_is_tried_again() -> None:
    world = await patched()
    world.channel.manners["g1-2-2"] = Manners(applies=False, level="file")
    world.channel.applied["g1-2-2"] = FOREIGN
    await steps(world, 25)
    assert values(world)["g1-2-2"] == 1
    world.channel.manners["g1-2-2"] = Manners(level="file")
    await world.run(lambda: values(world)["g1-2-2"] == 60)


async def test_who_could_not_go_back_in_time_gets_it_when_it_answers_again() -> None:
    world = await a_world()
    world.channel.manners["g1-3-3"] = Manners(applies=False)

    def deaf(w: World) -> None:
        if ("g1-1-1", "cfg-1.0.0-p1") in w.channel.history:
            w.channel.manners["g1-1-1"] = Manners(applies=None)

    world.after_step = deaf
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="instant"))
    assert patch.status is PatchStatus.REVERTED
    assert patch.message.endswith("not confirmed by g1-1-1")
    assert values(world)["g1-1-1"] == 60
    world.after_step = None
    world.channel.manners.clear()
    await world.run(lambda: set(values(world).values()) == {30})


async def test_one_that_started_before_a_change_and_is_ready_after_it_gets_the_change() -> None:
    world = await a_world()
    world.runtime.crash("WowTest", "g1-2-2")
    await world.run(lambda: "g1-2-4" in world.runtime.configs)
    world.client.sick.add("g1-2-4")
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="instant"))
    world.client.sick.clear()
    await world.run(lambda: values(world).get("g1-2-4") == 60)


async def test_agents_that_read_only_at_their_start_are_left_alone() -> None:
    manifest = replace(HOT, config=replace(HOT.config, reload="restart"))
    world = await World(manifest=manifest).installed()
    world.channel.applied["g1-2-2"] = FOREIGN
    await steps(world, 30)
    assert world.channel.history == []
