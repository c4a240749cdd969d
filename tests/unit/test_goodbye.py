"""Who leaves is told by when its streams are to end: once, with what is left of their budget, and again only when it seems not to know."""

from dataclasses import replace

import pytest

from agent_servicing.core.manifest import ConfigSpec, ConversationKey, Drain
from agent_servicing.core.status import DeploymentKind, GenerationStatus, InstanceStatus, Verb
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio

MANIFEST = a_manifest(
    config=ConfigSpec(defaults={}, reload="sdk"),
    drain=Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=0),
)


KEPT = Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=30)


async def leaving() -> World:
    """One of three instances drains, with a stream that is still open."""
    world = await World(manifest=MANIFEST).installed()
    world.router.in_flight["g1-3-3"] = 1
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: any(i.draining_at for i in world.state.instances))
    return world


async def test_an_instance_that_leaves_is_told_when_its_streams_are_to_end_and_nobody_else_is() -> None:
    world = await leaving()
    assert world.channel.drained == {"g1-3-3": 80.0}


async def test_it_is_told_once_and_again_only_while_it_says_that_it_serves_as_ever() -> None:
    world = await leaving()
    world.channel.drained.clear()
    await seconds(world, 10)
    assert world.channel.drained == {}
    world.channel.states["g1-3-3"] = "ready"
    await seconds(world, 10)
    assert 55 < world.channel.drained["g1-3-3"] < 70
    world.channel.states["g1-3-3"] = "draining"
    await seconds(world, 1)
    world.channel.drained.clear()
    await seconds(world, 10)
    assert world.channel.drained == {}


async def test_the_stream_is_let_finish_until_its_own_budget_is_over() -> None:
    world = await leaving()
    await seconds(world, 90)
    assert world.runtime.processes[AGENT]["g1-3-3"].alive
    await world.run(lambda: "g1-3-3" not in {i.instance for i in world.state.instances})


async def test_the_last_that_answers_is_not_told_to_leave() -> None:
    world = await World(manifest=replace(MANIFEST, run=replace(MANIFEST.run, instances=1))).installed()
    (only,) = world.state.instances
    world.state = replace(world.state, instances=(replace(only, status=InstanceStatus.DRAINING),))
    world.client.sick.update({"g1-1-2", "g1-1-3"})
    await seconds(world, 5)
    assert world.channel.drained == {}


async def replaced(**drain: float) -> World:
    """The second version serves, the first one is kept; its instances say that they drain once they are told so."""
    budgets = {"timeout_seconds": 5, "stream_timeout_seconds": 100, "conversation_timeout_seconds": 0, **drain}
    world = await World(manifest=replace(MANIFEST, drain=Drain(**budgets))).installed()
    world.channel.listens = True
    world.request(DeploymentKind.UPGRADE, "2.0.0", keep_warm_seconds=400.0)
    await world.run(lambda: any(g.status is GenerationStatus.WARM for g in world.state.generations))
    return world


async def test_a_generation_that_another_one_replaced_is_told_when_its_streams_are_to_end_while_its_instances_are_kept() -> None:
    world = await replaced()
    assert world.channel.drained == dict.fromkeys(("g1-1-1", "g1-2-2", "g1-3-3"), 80.0)
    assert {i.status for i in world.state.instances} == {InstanceStatus.READY}


async def test_its_open_conversations_may_begin_streams_until_they_move_so_these_have_longer() -> None:
    world = World(manifest=replace(MANIFEST, conversation_key=ConversationKey(kind="header", name="X-Talk"), drain=KEPT))
    await world.installed()
    world.request(DeploymentKind.UPGRADE, "2.0.0", keep_warm_seconds=400.0)
    await world.run(lambda: any(g.status is GenerationStatus.DRAINING for g in world.state.generations))
    assert set(world.channel.drained.values()) == {30.0 + 80.0}
    told = next(e for e in world.events if e.type == "generation_draining")
    assert (told.data["in_flight"], told.data["conversation_seconds_left"], told.data["stream_seconds_left"]) == (0, 30.0, 130.0)


async def test_a_rollback_to_a_generation_that_was_told_to_end_tells_it_that_it_serves_again() -> None:
    world = await replaced()
    world.request(DeploymentKind.ROLLBACK, "1.0.0", steps=(100.0,))
    await world.run(lambda: world.state.agent.stable == 1)
    assert sorted(set(world.channel.resumed)) == ["g1-1-1", "g1-2-2", "g1-3-3"]
    assert {name[:2] for name in world.channel.drained} == {"g2"}, "now the other one is on its way out"
    phases = [(e.type, e.data["generation"]) for e in world.events if e.type.startswith("generation_")]
    assert phases == [("generation_warm", 1), ("generation_resumed", 1), ("generation_warm", 2)]
    assert [i.instance for i in world.state.instances if i.generation == 1] == ["g1-1-1", "g1-2-2", "g1-3-3"], "the same instances"


async def test_who_serves_and_says_that_it_drains_is_told_that_it_does_not() -> None:
    world = await World(manifest=MANIFEST).installed()
    world.channel.listens = True
    world.channel.states["g1-2-2"] = "draining"
    await seconds(world, 3)
    assert (world.channel.resumed, world.channel.states["g1-2-2"]) == (["g1-2-2"], "ready")


async def test_a_rollback_that_is_cancelled_sends_the_old_generation_to_its_rest_again_with_a_new_time() -> None:
    world = await replaced()
    await seconds(world, 50)
    name = world.request(DeploymentKind.ROLLBACK, "1.0.0", steps=(50.0, 100.0), monitor_seconds=30.0)
    await world.run(lambda: world.channel.resumed)
    world.intend(Verb.CANCEL, name)
    await world.run(lambda: name in world.finished)
    assert world.state.agent.stable == 2
    assert world.channel.drained == dict.fromkeys(("g1-1-1", "g1-2-2", "g1-3-3"), 80.0)


async def seconds(world: World, many: float) -> None:
    until = world.clock.monotonic() + many
    await world.run(lambda: world.clock.monotonic() >= until)
