"""What instances are busy with and where their generations stand: counts from whoever really counts, and None for what nobody does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_servicing.core import drains
from agent_servicing.core.config.report import ConfigReport, Load
from agent_servicing.core.drains import InstanceWork, conversation_seconds_left, instance_work, planned_phase
from agent_servicing.core.manifest import ConfigSpec, ConversationKey, Drain
from agent_servicing.core.model import Generation
from agent_servicing.core.status import DeploymentKind, GenerationStatus, Verb
from agent_servicing.testing.clock import START
from tests.unit.world import World, a_manifest

pytestmark = pytest.mark.anyio

MANIFEST = a_manifest(
    config=ConfigSpec(defaults={}, reload="sdk"),
    conversation_key=ConversationKey(kind="header", name="X-Conversation-Id"),
    drain=Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=40),
)


async def work_of(world: World, *, says: bool = True, **seen: object) -> dict[str, InstanceWork]:
    """By instance, from what router and channel know at this moment."""
    view = await world.router.observe(MANIFEST.agent)
    looked = {"in_flight": view.in_flight, "reports": await world.channel.known(MANIFEST.agent) if says else None, **seen}
    found = drains.World(at=world.clock.now(), **looked)  # type: ignore[arg-type]
    return {i.instance: instance_work(i, MANIFEST, found) for i in world.state.instances}


async def test_streams_and_conversations_are_what_an_instance_says_itself_and_nothing_when_it_says_nothing() -> None:
    world = await World(manifest=MANIFEST).installed()
    world.channel.loads["g1-2-2"] = Load(active_requests=3, active_streams=2, open_conversations=7)
    world.router.in_flight.update(dict.fromkeys(("g1-1-1", "g1-2-2", "g1-3-3"), 5))
    work = await work_of(world)
    assert (work["g1-2-2"].active_streams, work["g1-2-2"].open_conversations) == (2, 7)
    assert (work["g1-1-1"].active_streams, work["g1-1-1"].open_conversations) == (None, None)
    assert (await work_of(world, says=False))["g1-2-2"].active_streams is None
    assert {one.drain_seconds_left for one in work.values()} == {None}


async def test_what_was_said_long_ago_is_not_known_any_more() -> None:
    world = await World(manifest=MANIFEST).installed()

    load = Load(active_streams=2)
    said = ConfigReport(instance="g1-2-2", level="sdk", at=world.clock.now() - timedelta(seconds=60), state="ready", load=load)
    work = (await work_of(world, in_flight={"g1-2-2": 3}, reports={"g1-2-2": said}))["g1-2-2"]
    assert (work.in_flight, work.active_streams, work.open_conversations, work.says) == (3, None, None, "")


async def test_a_data_plane_that_cannot_be_read_leaves_the_rest() -> None:
    world = await World(manifest=MANIFEST).installed()
    world.channel.loads["g1-2-2"] = Load(active_streams=2)
    work = (await work_of(world, in_flight=None))["g1-2-2"]
    assert (work.in_flight, work.active_streams, work.open_conversations) == (None, 2, 0)


@pytest.mark.parametrize(("streams", "left"), [(1, 100.0), (0, 5.0), (None, 100.0)])
async def test_an_instance_that_leaves_shows_what_is_left_of_its_time(streams: int | None, left: float) -> None:
    world = await World(manifest=MANIFEST).installed()
    world.router.in_flight["g1-3-3"] = 1
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: any(i.draining_at for i in world.state.instances))
    if streams is not None:
        world.channel.loads["g1-3-3"] = Load(active_streams=streams)
    passed = (world.clock.now() - next(i.draining_at for i in world.state.instances if i.draining_at)).total_seconds()
    shown = (await work_of(world))["g1-3-3"].drain_seconds_left
    assert shown == pytest.approx(left - passed, abs=0.1)


async def test_a_generation_ramps_serves_drains_and_stays_warm() -> None:
    world = await World(manifest=MANIFEST).installed()
    phases: dict[int, list[str]] = {}

    def note(w: World) -> None:
        for generation in w.state.generations:
            seen = phases.setdefault(generation.number, [])
            phase = planned_phase(generation, stable=w.state.agent.stable, candidate=w.state.agent.candidate)
            if phase not in seen[-1:]:
                seen.append(phase)

    world.after_step = note
    name = world.request(DeploymentKind.UPGRADE, "1.1.0")
    await world.outcome(name)
    await world.run(lambda: len(world.state.generations) == 1)
    assert phases[1][:3] == ["active", "draining", "warm"]
    assert phases[2][-2:] == ["ramping", "active"]


def test_conversations_have_a_time_of_their_own_while_their_generation_drains_and_at_no_other() -> None:
    generation = Generation(number=1, version="1.0.0", created_at=START, desired=1)
    draining = replace(generation, status=GenerationStatus.DRAINING, draining_since=START)
    later = START + timedelta(seconds=15)
    assert conversation_seconds_left(generation, MANIFEST, later) is None
    assert conversation_seconds_left(draining, MANIFEST, later) == 25.0
    assert conversation_seconds_left(draining, MANIFEST, START + timedelta(seconds=99)) == 0.0
    assert conversation_seconds_left(draining, replace(MANIFEST, conversation_key=None), later) is None
