"""Who leaves is told by when its streams are to end: once, with what is left of their budget, and again only when it seems not to know."""

from dataclasses import replace

import pytest

from agent_servicing.core.manifest import ConfigSpec, Drain
from agent_servicing.core.status import InstanceStatus, Verb
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio

MANIFEST = a_manifest(
    config=ConfigSpec(defaults={}, reload="sdk"),
    drain=Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=0),
)


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


async def seconds(world: World, many: float) -> None:
    until = world.clock.monotonic() + many
    await world.run(lambda: world.clock.monotonic() >= until)
