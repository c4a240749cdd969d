"""What instances are busy with and where their generations stand: counts from whoever really counts, and None for what nobody does."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_servicing.core.config.report import ConfigReport, Load
from agent_servicing.core.manifest import ConfigSpec, ConversationKey, Drain
from agent_servicing.core.model import Generation
from agent_servicing.core.status import DeploymentKind, GenerationStatus, Verb
from agent_servicing.services.workload import InstanceWork, Workload, conversation_seconds_left, phase_of
from agent_servicing.testing.clock import START
from tests.unit.world import World, a_manifest

pytestmark = pytest.mark.anyio

MANIFEST = a_manifest(
    config=ConfigSpec(defaults={}, reload="sdk"),
    conversation_key=ConversationKey(kind="header", name="X-Conversation-Id"),
    drain=Drain(timeout_seconds=5, stream_timeout_seconds=100, conversation_timeout_seconds=40),
)


def workload(world: World, *, says: bool = True) -> Workload:
    return Workload(metrics=world.metrics, clock=world.clock, known=world.channel if says else None)


async def test_streams_and_conversations_are_what_an_instance_says_itself_and_nothing_when_it_says_nothing() -> None:
    world = await World(manifest=MANIFEST).installed()
    world.channel.loads["g1-2-2"] = Load(active_requests=3, active_streams=2, open_conversations=7)
    work = await workload(world).of(world.state)
    assert (work["g1-2-2"].active_streams, work["g1-2-2"].open_conversations) == (2, 7)
    assert (work["g1-1-1"].active_streams, work["g1-1-1"].open_conversations) == (None, None)
    assert (await workload(world, says=False).of(world.state))["g1-2-2"].active_streams is None
    assert {one.drain_seconds_left for one in work.values()} == {None}


async def test_what_was_said_long_ago_is_not_known_any_more() -> None:
    world = await World(manifest=MANIFEST).installed()

    class Silent:
        async def known(self, _: str) -> dict[str, ConfigReport]:
            load = Load(active_streams=2)
            return {"g1-2-2": ConfigReport(instance="g1-2-2", level="sdk", at=world.clock.now() - timedelta(seconds=60), load=load)}

    work = await Workload(metrics=world.metrics, clock=world.clock, known=Silent()).of(world.state)
    assert work["g1-2-2"] == InstanceWork(in_flight=0)


async def test_counters_that_cannot_be_read_leave_the_rest() -> None:
    world = await World(manifest=MANIFEST).installed()
    world.metrics.reachable = False
    world.channel.loads["g1-2-2"] = Load(active_streams=2)
    work = await workload(world).of(world.state)
    assert work["g1-2-2"] == InstanceWork(active_streams=2, open_conversations=0)


@pytest.mark.parametrize(("streams", "left"), [(1, 100.0), (0, 5.0), (None, 100.0)])
async def test_an_instance_that_leaves_shows_what_is_left_of_its_time(streams: int | None, left: float) -> None:
    world = await World(manifest=MANIFEST).installed()
    world.router.in_flight["g1-3-3"] = 1
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: any(i.draining_at for i in world.state.instances))
    if streams is not None:
        world.channel.loads["g1-3-3"] = Load(active_streams=streams)
    passed = (world.clock.now() - next(i.draining_at for i in world.state.instances if i.draining_at)).total_seconds()
    shown = (await workload(world).of(world.state))["g1-3-3"].drain_seconds_left
    assert shown == pytest.approx(left - passed, abs=0.1)


async def test_a_generation_ramps_serves_drains_stays_warm_and_is_drained() -> None:
    world = await World(manifest=MANIFEST).installed()
    phases: dict[int, list[str]] = {}

    def note(w: World) -> None:
        for generation in w.state.generations:
            seen = phases.setdefault(generation.number, [])
            if (phase := phase_of(w.state, generation)) not in seen[-1:]:
                seen.append(phase)

    world.after_step = note
    name = world.request(DeploymentKind.UPGRADE, "1.1.0")
    await world.outcome(name)
    await world.run(lambda: len(world.state.generations) == 1)
    assert phases[1][:3] == ["active", "draining", "warm"]
    assert phases[1][-1] in ("draining", "drained")
    assert phases[2][-2:] == ["ramping", "active"]


def test_conversations_have_a_time_of_their_own_while_their_generation_drains_and_at_no_other() -> None:
    generation = Generation(number=1, version="1.0.0", created_at=START, desired=1)
    draining = replace(generation, status=GenerationStatus.DRAINING, draining_since=START)
    later = START + timedelta(seconds=15)
    assert conversation_seconds_left(MANIFEST, generation, later) is None
    assert conversation_seconds_left(MANIFEST, draining, later) == 25.0
    assert conversation_seconds_left(MANIFEST, draining, START + timedelta(seconds=99)) == 0.0
    assert conversation_seconds_left(replace(MANIFEST, conversation_key=None), draining, later) is None
