"""Agents at rest get no turns, and whatever happens to one is noticed as fast as if they did."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from agent_servicing.core.model import Process
from agent_servicing.core.routing import Routing
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.reconcile.pulse import REST_SECONDS
from agent_servicing.testing.faults import Fuse
from agent_servicing.testing.memory import MemoryRouter, MemoryRuntime
from tests.simulation.resting_world import HEALTH, INTERVAL_SECONDS, STEP_SECONDS, RestingWorld

pytestmark = pytest.mark.anyio

NOTICED_SECONDS = INTERVAL_SECONDS + 2 * STEP_SECONDS


async def test_agents_at_rest_get_a_full_turn_now_and_then_and_not_all_at_once() -> None:
    world = await RestingWorld(agents=20).at_rest()
    assert world.resting == 20
    await world.run(2 * REST_SECONDS)
    assert sorted(world.turns) == sorted([*world.names] * 2)
    await world.run(REST_SECONDS / 10)
    assert len(world.turns) - 40 < 10


async def test_a_turn_that_finds_nothing_writes_nothing_and_the_times_of_looks_are_known_all_the_same() -> None:
    world = await RestingWorld().at_rest()
    written = {name: world.store.rows[name].state for name in world.names}
    await world.run(2 * REST_SECONDS)
    assert sorted(set(world.turns)) == world.names
    for name in world.names:
        assert world.store.rows[name].state is written[name]
        assert {i.instance for i in written[name].instances} == set(world.latest(name))
        assert all(world.age(probe) <= HEALTH.interval_seconds + 2 * STEP_SECONDS for probe in world.latest(name).values())


async def test_after_a_restart_instances_are_looked_at_however_old_the_times_on_record_are() -> None:
    world = await RestingWorld().at_rest()
    await world.run(3 * REST_SECONDS)
    await world.start_again()
    assert not world.latest("Agent-1")
    await world.run(2 * STEP_SECONDS)
    assert all(world.age(probe) <= 2 * STEP_SECONDS for probe in world.latest("Agent-1").values())
    assert len(world.latest("Agent-1")) == 2


async def test_a_crash_at_rest_is_noticed_within_the_interval() -> None:
    world = await RestingWorld().at_rest()
    world.runtime.crash("Agent-1", "g1-1-1")
    await world.run(NOTICED_SECONDS)
    assert world.alive("Agent-1") == ["g1-1-3", "g1-2-2"]
    assert set(world.turns) == {"Agent-1"}
    await world.run(5)
    assert world.resting == 3


async def test_a_process_that_nobody_wants_is_noticed_within_the_interval() -> None:
    world = await RestingWorld().at_rest()
    wanted = world.runtime.processes["Agent-1"]["g1-1-1"]
    world.runtime.processes["Agent-1"]["g9-1-1"] = replace(wanted, instance="g9-1-1", generation=9, pid=99)
    await world.run(NOTICED_SECONDS)
    assert world.alive("Agent-1") == ["g1-1-1", "g1-2-2"]


async def test_health_checks_keep_their_interval_at_rest() -> None:
    world = await RestingWorld(agents=1).at_rest()
    asked: list[float] = []
    probe = world.client.probe

    class Client:
        async def probe(self, manifest: object, process: Process) -> object:
            if process.instance == "g1-1-1":
                asked.append(world.clock.monotonic())
            return await probe(manifest, process)  # type: ignore[arg-type]

    world.client = Client()  # type: ignore[assignment]
    await world.start_again()
    await world.run(65)
    gaps = [b - a for a, b in itertools.pairwise(asked)]
    assert max(gaps) <= HEALTH.interval_seconds + 2 * STEP_SECONDS
    assert len(asked) <= 65 / HEALTH.interval_seconds * 1.1 + 2


@pytest.mark.parametrize("rests", [True, False], ids=["at rest", "with a turn each interval"])
async def test_an_unhealthy_instance_leaves_after_as_many_failed_checks_as_its_manifest_says(rests: bool) -> None:
    world = await RestingWorld(rests=rests).at_rest()
    world.client.sick.add("g1-1-1")
    await world.run(HEALTH.interval_seconds * (HEALTH.unhealthy_after - 1) - INTERVAL_SECONDS / 2)
    assert "g1-1-1" in served(world, "Agent-0")
    await world.run(HEALTH.interval_seconds + INTERVAL_SECONDS)
    assert "g1-1-1" not in served(world, "Agent-0")


def served(world: RestingWorld, name: str) -> set[str]:
    return {b.instance for g in world.router.routings[name].generations for b in g.backends}


async def test_one_failed_check_costs_some_turns_and_nothing_else() -> None:
    world = await RestingWorld().at_rest()
    world.client.sick.update({"g1-1-1"})
    await world.run(HEALTH.interval_seconds)
    world.client.sick.clear()
    await world.run(10)
    assert world.alive("Agent-0") == ["g1-1-1", "g1-2-2"]
    assert world.resting == 3


@pytest.mark.parametrize("known", [True, False], ids=["another routing", "no routing"])
async def test_routing_that_is_lost_or_changed_is_set_again_within_the_interval(known: bool) -> None:
    world = await RestingWorld().at_rest()
    wanted = world.router.routings["Agent-2"]
    del world.router.routings["Agent-2"]
    if known:
        world.router.routings["Agent-2"] = Routing(agent="Agent-2")
    await world.run(NOTICED_SECONDS)
    assert world.router.routings["Agent-2"] == wanted
    assert set(world.turns) == {"Agent-2"}


async def test_an_intent_and_a_request_are_taken_up_at_once() -> None:
    world = await RestingWorld().at_rest()
    world.scale("Agent-0", 3)
    upgrade = world.request("Agent-1", DeploymentKind.UPGRADE, "1.1.0")
    await world.run(STEP_SECONDS)
    assert len(world.store.rows["Agent-0"].state.generations[0].crashes) == 0
    assert world.store.rows["Agent-0"].state.agent.instances == 3
    assert world.store.rows["Agent-1"].state.deployments[0].status is DeploymentStatus.IN_PROGRESS
    await world.run(60)
    assert world.store.history[upgrade].status is DeploymentStatus.COMPLETED
    assert world.resting == 3


async def test_an_agent_with_a_scheduled_deployment_rests_until_its_time() -> None:
    world = await RestingWorld(agents=1).at_rest()
    begins = world.clock.now() + timedelta(seconds=12.5)
    name = world.request("Agent-0", DeploymentKind.UPGRADE, "1.1.0", scheduled_at=begins)
    await world.run(3)
    assert world.resting == 1
    await world.run(60)
    started = world.store.history[name].started_at
    assert started is not None
    assert begins <= started <= begins + timedelta(seconds=2 * STEP_SECONDS)


async def test_a_warm_version_rests_until_its_budget_is_over() -> None:
    world = await RestingWorld(agents=1).at_rest()
    world.request("Agent-0", DeploymentKind.UPGRADE, "1.1.0")
    await world.run(60)
    assert [g.version for g in world.store.rows["Agent-0"].state.generations] == ["1.1.0"]


class PlainRuntime:
    """A driver of somebody else's that cannot look at everything at once."""

    def __init__(self, inner: MemoryRuntime) -> None:
        self.prepare, self.preparation, self.start, self.stop = inner.prepare, inner.preparation, inner.start, inner.stop
        self.observe, self.forget, self.logs, self.collect = inner.observe, inner.forget, inner.logs, inner.collect


class PlainRouter:
    def __init__(self, inner: MemoryRouter) -> None:
        self.observe, self.apply, self.remove = inner.observe, inner.apply, inner.remove


@pytest.mark.parametrize("part", ["runtime", "router"])
async def test_with_a_driver_that_cannot_look_at_everything_at_once_agents_get_their_turns(part: str) -> None:
    world = RestingWorld()
    plain = {"runtime": PlainRuntime(world.runtime)} if part == "runtime" else {"router": PlainRouter(world.router)}
    world.begin(**plain)  # type: ignore[arg-type]
    await world.at_rest()
    await world.run(10)
    assert world.resting == 0
    assert all(9 <= world.turns.count(name) <= 11 for name in world.names)
    world.runtime.crash("Agent-1", "g1-1-1")
    await world.run(NOTICED_SECONDS)
    assert len(world.alive("Agent-1")) == 2


@pytest.mark.parametrize("part", ["runtime", "router"])
async def test_while_the_look_at_everything_fails_agents_get_their_turns_and_rest_again_after(part: str) -> None:
    world = await RestingWorld().at_rest()
    failing = getattr(world, part)
    failing.reachable = False
    await world.run(10)
    assert all(world.turns.count(name) >= 9 for name in world.names)
    failing.reachable = True
    await world.run(5)
    assert world.resting == 3


class HalfBlindRouter(MemoryRouter):
    """Answers for each agent, but not for all at once: a defect, or a timeout that only the large answer meets."""

    async def observe_all(self) -> Mapping[str, Routing]:
        raise RuntimeError("no such command")


async def test_a_defect_in_the_look_at_everything_costs_turns_and_nothing_else() -> None:
    world = RestingWorld()
    world.router = HalfBlindRouter()
    world.metrics.router = world.router
    world.begin()
    await world.at_rest()
    world.runtime.crash("Agent-1", "g1-1-1")
    await world.run(2 * NOTICED_SECONDS)
    assert len(world.alive("Agent-1")) == 2


async def test_a_new_engine_looks_at_every_agent_at_once_and_notices_what_happened_meanwhile() -> None:
    world = await RestingWorld().at_rest()
    world.runtime.crash("Agent-1", "g1-1-1")
    del world.router.routings["Agent-2"]
    await world.start_again()
    await world.run(STEP_SECONDS)
    assert set(world.turns) == set(world.names)
    await world.run(5)
    assert len(world.alive("Agent-1")) == 2
    assert "Agent-2" in world.router.routings


async def test_an_engine_that_was_not_told_finds_resting_agents_by_time() -> None:
    world = await RestingWorld().at_rest()
    world.begin()
    await world.run(REST_SECONDS)
    assert set(world.turns) == set(world.names)


async def test_an_agent_that_another_engine_took_over_is_let_go_of() -> None:
    world = await RestingWorld().at_rest()
    mine = world.engine
    await world.start_again()
    await world.run(5)
    upgrade = world.request("Agent-0", DeploymentKind.UPGRADE, "1.1.0")
    for _ in range(40):
        await world.run(1)
        assert mine.pulse is not None
        await mine.pulse.beat()
    assert world.store.history[upgrade].status is DeploymentStatus.COMPLETED
    assert mine.pulse is not None
    assert mine.pulse.resting == 0


@pytest.mark.parametrize("at", range(40))
async def test_an_engine_killed_at_any_call_while_an_agent_is_roused_leaves_it_to_the_next(at: int) -> None:
    world = await RestingWorld(agents=2).at_rest()
    world.fuse.calls, world.fuse.at, world.fuse.blown = 0, at, False
    world.runtime.crash("Agent-0", "g1-1-1")
    world.scale("Agent-1", 3)
    await world.run(45)
    assert len(world.alive("Agent-0")) == 2
    assert len(world.alive("Agent-1")) == 3
    assert world.resting == 2
    assert world.kills == 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_a_fleet_at_rest_ends_as_one_with_full_turns_does(seed: int) -> None:
    ends = []
    for rests in (True, False):
        world = await RestingWorld(agents=6, rests=rests, fuse=Fuse()).at_rest()
        await accidents(world, random.Random(seed))
        assert all(len(world.alive(name)) == world.store.rows[name].state.agent.instances for name in world.names)
        ends.append({name: (row.state.agent.version, row.state.agent.instances) for name, row in world.store.rows.items()})
        assert not rests or world.resting == 6
    assert ends[0] == ends[1]


async def accidents(world: RestingWorld, dice: random.Random) -> None:
    """Instances die, routing is lost, parts do not answer, operators ask for things; then a minute of peace."""
    for n in range(12):
        name = dice.choice(world.names)
        act = dice.choice(["crash", "lose", "unplug", "scale", "upgrade", "restart"])
        if act == "crash" and (alive := world.alive(name)):
            world.runtime.crash(name, dice.choice(alive))
        elif act == "lose":
            world.router.routings.pop(name, None)
        elif act == "unplug":
            part = dice.choice([world.runtime, world.router, world.metrics])
            part.reachable = not part.reachable
        elif act == "scale":
            world.scale(name, dice.choice([1, 2, 3]))
        elif act == "upgrade" and not world.store.rows[name].state.deployments and not world.store.rows[name].waiting:
            world.request(name, DeploymentKind.UPGRADE, f"1.{n + 1}.0")
        elif act == "restart":
            await world.start_again()
        await world.run(dice.choice([0.5, 3, 12]))
    world.runtime.reachable = world.router.reachable = world.metrics.reachable = True
    await world.run(120)
