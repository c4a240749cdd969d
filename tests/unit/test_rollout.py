"""A change of the configuration on its way through the instances, seen from outside: what they get, what they say, what becomes of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_servicing.core.config.layers import Layers, Override
from agent_servicing.core.config.patch import PatchStatus
from agent_servicing.core.config.report import Load
from agent_servicing.core.manifest import ConfigSpec, Manifest
from agent_servicing.core.routing import RateLimit
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus, Verb
from agent_servicing.testing.channel import Manners
from tests.unit.world import World, a_manifest

pytestmark = pytest.mark.anyio

HOT = a_manifest(config=ConfigSpec(defaults={"timeout_seconds": 30, "model": "small"}, reload="sdk"))


async def a_world(**more: object) -> World:
    return await World(manifest=HOT, **more).installed()  # type: ignore[arg-type]


def values(world: World) -> dict[str, object]:
    """What each instance uses of the key that the tests change."""
    living = {i.instance for i in world.state.instances}
    return {name: d.values["timeout_seconds"] for name, d in world.channel.applied.items() if name in living}


def commits(world: World, revision: str) -> list[str]:
    return [instance for instance, name in world.channel.history if name == revision]


async def test_a_change_reaches_one_instance_first_then_the_others_and_becomes_what_the_generation_has() -> None:
    world = await a_world()
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.APPLIED
    assert values(world) == {"g1-1-1": 60, "g1-2-2": 60, "g1-3-3": 60}
    assert [result.result for result in patch.results.values()] == ["applied"] * 3
    assert commits(world, "cfg-1.0.0-p1") == ["g1-1-1", "g1-2-2", "g1-3-3"]
    assert world.state.generations[0].config == "cfg-1.0.0-p1"
    told = next(e for e in world.events if e.type == "config_patch")
    assert told.audit
    assert told.data["config_changes"] == {"timeout_seconds": {"old": 30, "new": 60}}
    assert told.data["downtime_seconds"] == 0
    assert "config_applied" in world.types()


async def test_every_instance_is_asked_before_any_has_it_and_one_refusal_means_nothing_is_applied() -> None:
    world = await a_world()
    world.channel.manners["g1-3-3"] = Manners(accepts=False)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.REFUSED
    assert patch.message == "g1-3-3: the agent's own check says no"
    assert patch.results["g1-3-3"].result == "refused"
    assert commits(world, "cfg-1.0.0-p1") == []
    assert set(values(world).values()) == {30}
    assert world.state.generations[0].config == ""
    assert world.channel.prepared == {}, "those that had accepted were told that it will not come"


async def test_an_instance_that_never_answers_is_named_and_nothing_is_applied() -> None:
    world = await a_world()
    world.channel.manners["g1-2-2"] = Manners(accepts=None)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.REFUSED
    assert patch.message == "no answer within 3 s from g1-2-2"
    assert patch.results["g1-2-2"].result == "unanswered"
    assert set(values(world).values()) == {30}


@pytest.mark.parametrize("manners", [Manners(applies=False), Manners(lies=True), Manners(applies=None)])
async def test_the_first_one_failing_takes_it_back_before_anybody_else_has_it(manners: Manners) -> None:
    world = await a_world()
    world.channel.manners["g1-1-1"] = manners
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.REVERTED
    assert set(commits(world, "cfg-1.0.0-p1")) == {"g1-1-1"}
    assert set(values(world).values()) == {30}


async def test_a_later_one_failing_takes_it_back_from_everybody() -> None:
    world = await a_world()
    world.channel.manners["g1-3-3"] = Manners(applies=False)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="instant"))
    assert patch.status is PatchStatus.REVERTED
    assert patch.message.startswith("g1-3-3: it could not open its model")
    assert {name: r.result for name, r in patch.results.items()} == {"g1-1-1": "reverted", "g1-2-2": "reverted", "g1-3-3": "failed"}
    assert set(values(world).values()) == {30}
    assert world.state.generations[0].config == ""


async def test_one_that_accepts_and_then_crashes_takes_it_back_and_its_successor_starts_with_what_was_before() -> None:
    world = await a_world()

    def crash(w: World) -> None:
        patch = w.state.patch
        if patch is not None and patch.status is PatchStatus.TRYING and ("g1-1-1", "cfg-1.0.0-p1") in w.channel.history:
            w.runtime.crash("WowTest", "g1-1-1")
            w.after_step = None

    world.after_step = crash
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.REVERTED
    assert patch.message == "g1-1-1 did not survive it"
    await world.run(lambda: "g1-1-4" in world.runtime.configs)
    assert '"timeout_seconds": 30' in world.runtime.configs["g1-1-4"][1]


async def test_two_exits_within_a_minute_of_it_take_it_back_and_one_does_not() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    world.runtime.crash("WowTest", "g1-1-1")
    for _ in range(10):
        await world.step()
    assert world.state.generations[0].config == "cfg-1.0.0-p1"
    world.runtime.crash("WowTest", "g1-2-2")
    await world.run(lambda: world.patches["cfg-1.0.0-p1"].status is PatchStatus.REVERTED)
    assert world.patches["cfg-1.0.0-p1"].message.startswith("2 instances ended within 60 s")
    await world.run(lambda: set(values(world).values()) == {30})
    assert world.state.generations[0].config == ""


async def test_an_instance_that_goes_back_by_itself_takes_it_back_from_everybody() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    world.channel.says("g1-2-2", "cfg-1.0.0-p1", "reverted")
    await world.run(lambda: world.patches["cfg-1.0.0-p1"].status is PatchStatus.REVERTED)
    assert set(values(world).values()) == {30}


async def test_after_a_quiet_minute_there_is_nothing_left_to_do_for_it() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    await world.run(lambda: world.state.patch is None)
    assert world.state.generations[0].config == "cfg-1.0.0-p1"
    world.runtime.crash("WowTest", "g1-1-1")
    await world.run(lambda: "g1-1-4" in world.runtime.configs)
    assert world.runtime.configs["g1-1-4"][0] == "cfg-1.0.0-p1"
    assert '"timeout_seconds": 60' in world.runtime.configs["g1-1-4"][1]


async def test_an_agent_without_a_ready_instance_gets_it_at_the_next_start() -> None:
    world = await a_world()
    world.runtime.behaviour("1.0.0").crashes = True
    for instance in list(world.runtime.processes["WowTest"]):
        world.runtime.crash("WowTest", instance)
    await world.step()
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.APPLIED
    started = len(world.runtime.started)
    await world.run(lambda: len(world.runtime.started) > started)
    assert '"timeout_seconds": 60' in world.runtime.configs[world.runtime.started[-1]][1]


async def test_during_an_upgrade_both_generations_get_it() -> None:
    world = await a_world()
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", monitor_seconds=60.0)
    await world.run(lambda: world.state.agent.share == 25 and len([i for i in world.state.instances if i.status == "ready"]) == 6)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    assert patch.status is PatchStatus.APPLIED
    assert len(patch.results) == 6
    assert set(values(world).values()) == {60}
    assert {g.config for g in world.state.generations} == {"cfg-1.0.0-p1"}
    ended = await world.outcome(name)
    assert ended.from_config == "cfg-1.0.0-p1"


async def test_a_warm_version_keeps_what_it_had_and_a_rollback_restores_it() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}))
    await world.run(lambda: world.state.patch is None)
    await world.outcome(world.request(DeploymentKind.UPGRADE, "1.1.0", steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=600.0))
    await world.run(lambda: any(g.status is GenerationStatus.WARM for g in world.state.generations))
    await world.patched(world.patch("cfg-1.1.0-p1", {"timeout_seconds": 90}))
    assert {g.version: g.config for g in world.state.generations} == {"1.0.0": "cfg-1.0.0-p1", "1.1.0": "cfg-1.1.0-p1"}
    await world.outcome(world.request(DeploymentKind.ROLLBACK, "1.0.0"))
    stable = next(g for g in world.state.generations if g.number == world.state.agent.stable)
    assert (stable.version, stable.config) == ("1.0.0", "cfg-1.0.0-p1")
    assert {i.instance: 60 for i in world.state.instances if i.generation == stable.number}.items() <= values(world).items()


async def test_an_operator_takes_back_what_is_under_way() -> None:
    world = await a_world()
    world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="safe", look_seconds=600.0, share_percent=34.0)
    await world.run(lambda: values(world)["g1-1-1"] == 60)
    assert values(world) == {"g1-1-1": 60, "g1-2-2": 30, "g1-3-3": 30}
    world.intend(Verb.REVERT_CONFIG)
    patch = await world.patched("cfg-1.0.0-p1")
    assert patch.status is PatchStatus.REVERTED
    assert set(values(world).values()) == {30}


async def test_the_safe_profile_compares_the_first_ones_with_the_others_and_takes_back_what_is_worse() -> None:
    world = await a_world(requests_per_second=100)
    world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="safe", look_seconds=60.0, share_percent=34.0)
    await world.run(lambda: values(world)["g1-1-1"] == 60)
    world.metrics.bad_instances["g1-1-1"] = 0.5
    patch = await world.patched("cfg-1.0.0-p1")
    assert patch.status is PatchStatus.REVERTED
    assert "do worse" in patch.message
    assert (patch.since - patch.requested_at).total_seconds() < 60
    assert set(values(world).values()) == {30}


async def test_the_safe_profile_lets_a_good_change_through_and_holds_one_that_nobody_used() -> None:
    world = await a_world(requests_per_second=100)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60}, profile="safe", look_seconds=30.0, share_percent=34.0))
    assert patch.status is PatchStatus.APPLIED
    world.requests_per_second = 0
    patch = await world.patched(world.patch("cfg-1.0.0-p2", {"timeout_seconds": 70}, profile="safe", look_seconds=30.0, share_percent=34.0))
    assert patch.status is PatchStatus.REVERTED
    assert "too few to tell" in patch.message


async def test_a_change_that_somebody_overtook_is_refused() -> None:
    world = await a_world()
    name = world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60})
    assert world.state.patch is not None
    world.state = replace(world.state, patch=replace(world.state.patch, parent="cfg-1.0.0-p9"))
    patch = await world.patched(name)
    assert patch.status is PatchStatus.REFUSED
    assert "any more" in patch.message


async def test_while_reports_cannot_be_read_nothing_is_taken_for_confirmed() -> None:
    world = await a_world()
    world.channel.reachable = False
    world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60})
    for _ in range(20):
        with pytest.raises(Exception, match="the channel is down"):
            await world.step()
    assert world.channel.history == []


async def test_only_some_places_get_values_of_their_own() -> None:
    world = await a_world()
    world.patch("cfg-1.0.0-p1", {})
    assert world.state.patch is not None
    world.state = replace(world.state, patch=replace(world.state.patch, layers=Layers(places={2: {"timeout_seconds": 5}})))
    patch = await world.patched("cfg-1.0.0-p1")
    assert patch.status is PatchStatus.APPLIED
    assert values(world) == {"g1-1-1": 30, "g1-2-2": 5, "g1-3-3": 30}


async def test_a_temporary_value_goes_back_by_itself_when_its_time_is_over() -> None:
    world = await a_world()
    world.patch("cfg-1.0.0-p1", {})
    assert world.state.patch is not None
    until = world.clock.now() + timedelta(seconds=120)
    override = Override(values={"timeout_seconds": 5}, expires_at=until, reason="a test")
    world.state = replace(world.state, patch=replace(world.state.patch, layers=Layers(overrides=(override,))))
    await world.patched("cfg-1.0.0-p1")
    assert set(values(world).values()) == {5}
    patch = await world.patched("cfg-1.0.0-p1-x")
    assert world.clock.now() >= until
    assert (patch.status, patch.actor, patch.reason) == (PatchStatus.APPLIED, "system", "the time of timeout_seconds is over")
    assert set(values(world).values()) == {30}


@pytest.mark.parametrize(("streams", "seconds"), [(0, 30.0), (1, 300.0), (None, 300.0)])
async def test_an_instance_that_says_it_has_no_streams_is_given_the_time_of_plain_requests(streams: int | None, seconds: float) -> None:
    world = await a_world()
    world.router.in_flight["g1-3-3"] = 1
    if streams is not None:
        world.channel.loads["g1-3-3"] = Load(active_requests=1, active_streams=streams)
    begun = world.clock.now()
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: "g1-3-3" not in {i.instance for i in world.state.instances})
    took = (world.clock.now() - begun).total_seconds()
    assert seconds <= took < seconds + 15


async def test_limits_of_the_router_come_into_force_without_a_word_to_any_instance() -> None:
    world = await a_world()
    limits = {"rate_limit": {"requests_per_second": 5}, "request_timeout_seconds": 2}
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"servicing": limits}, profile="safe"))
    assert (patch.status, patch.results) == (PatchStatus.APPLIED, {})
    assert commits(world, "cfg-1.0.0-p1") == []
    routing = world.router.routings["WowTest"]
    assert (routing.rate_limit, routing.request_timeout_seconds) == (RateLimit(requests_per_second=5.0, burst=5), 2.0)


async def test_limits_together_with_a_value_of_the_agent_wait_until_everybody_gets_it() -> None:
    world = await a_world()
    world.channel.manners["g1-1-1"] = Manners(applies=False)
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"timeout_seconds": 60, "servicing": {"request_timeout_seconds": 2}}))
    assert patch.status is PatchStatus.REVERTED
    assert all(routing.request_timeout_seconds is None for routing in world.router.history)


async def test_limits_that_the_router_does_not_take_up_are_taken_back() -> None:
    world = await a_world()

    def deaf(w: World) -> None:
        """It forgets limits, as one would that is of an earlier release."""
        for agent, routing in w.router.routings.items():
            w.router.routings[agent] = replace(routing, request_timeout_seconds=None)

    world.after_step = deaf
    patch = await world.patched(world.patch("cfg-1.0.0-p1", {"servicing": {"request_timeout_seconds": 2}}))
    assert patch.status is PatchStatus.REVERTED
    assert patch.message == "the router did not take up the limits within 3 s"
    assert world.state.generations[0].config == ""


async def test_a_temporary_limit_goes_back_by_itself() -> None:
    world = await a_world()
    world.state = replace(world.state, patch=None)
    revision = world.patch("cfg-1.0.0-p1", {})
    assert world.state.patch is not None
    until = world.clock.now() + timedelta(seconds=30)
    override = Override(values={"servicing": {"request_timeout_seconds": 2}}, expires_at=until)
    world.state = replace(world.state, patch=replace(world.state.patch, layers=Layers(overrides=(override,))))
    await world.patched(revision)
    assert world.router.routings["WowTest"].request_timeout_seconds == 2.0
    await world.run(lambda: world.clock.now() > until and world.router.routings["WowTest"].request_timeout_seconds is None)


COLD = a_manifest(config=ConfigSpec(defaults={"timeout_seconds": 30}, reload="restart"))
SMALL = {"servicing": {"resources": {"memory_mb": 256}}}


def memory(world: World) -> dict[str, int | None]:
    """What each running instance may use, as the runtime has it."""
    running = world.runtime.processes["WowTest"].values()
    return {p.instance: p.resources.memory_mb for p in running if p.alive and p.resources is not None}


@pytest.mark.parametrize("manifest", [HOT, COLD])
async def test_a_limit_of_memory_is_set_on_one_instance_first_then_on_the_others_and_nobody_is_told(manifest: Manifest) -> None:
    world = await World(manifest=manifest).installed()
    seen: list[set[int | None]] = []
    world.after_step = lambda w: seen.append(set(memory(w).values()))
    patch = await world.patched(world.patch("cfg-1.0.0-p1", SMALL))
    assert patch.status is PatchStatus.APPLIED
    assert [(r.result, r.level) for r in patch.results.values()] == [("applied", "runtime")] * 3
    assert commits(world, "cfg-1.0.0-p1") == []
    assert {None, 256} in seen
    assert memory(world) == {"g1-1-1": 256, "g1-2-2": 256, "g1-3-3": 256}


async def test_an_instance_that_starts_later_starts_with_the_limit() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", SMALL))
    world.runtime.crash("WowTest", "g1-1-1")
    await world.run(lambda: "g1-1-4" in memory(world))
    assert memory(world)["g1-1-4"] == 256


async def test_a_limit_that_is_not_taken_up_is_taken_back_everywhere() -> None:
    world = await a_world()
    world.runtime.deaf = {"g1-3-3"}
    patch = await world.patched(world.patch("cfg-1.0.0-p1", SMALL))
    assert patch.status is PatchStatus.REVERTED
    assert patch.message == "not confirmed within 3 s by g1-3-3"
    await world.run(lambda: set(memory(world).values()) == {None})


async def test_a_limit_for_one_place_is_for_that_one() -> None:
    world = await a_world()
    revision = world.patch("cfg-1.0.0-p1", {})
    assert world.state.patch is not None
    world.state = replace(world.state, patch=replace(world.state.patch, layers=Layers(places={2: SMALL})))
    await world.patched(revision)
    assert memory(world) == {"g1-1-1": None, "g1-2-2": 256, "g1-3-3": None}


async def test_a_limit_of_memory_that_ends_two_instances_is_taken_back() -> None:
    world = await a_world()
    await world.patched(world.patch("cfg-1.0.0-p1", SMALL))
    for name in ("g1-1-1", "g1-2-2"):
        world.runtime.crash("WowTest", name)
    await world.run(lambda: world.patches["cfg-1.0.0-p1"].status is PatchStatus.REVERTED)
    await world.run(lambda: set(memory(world).values()) == {None})


async def test_what_a_rate_limit_refuses_is_no_evidence_against_anybody() -> None:
    world = await a_world(requests_per_second=50)
    limits = {"rate_limit": {"requests_per_second": 10, "burst": 10}}
    await world.patched(world.patch("cfg-1.0.0-p1", {"servicing": limits}))
    before = await world.metrics.counters("WowTest")
    began = world.clock.monotonic()
    await world.run(lambda: world.clock.monotonic() - began > 20)
    since = (await world.metrics.counters("WowTest")).since(before)
    counts = since.generations[1].total
    assert counts.answered == pytest.approx(10 * (world.clock.monotonic() - began), abs=12)
    assert counts.errors == 0
    assert since.limited > 3 * counts.answered
    upgrade = world.request(DeploymentKind.UPGRADE, "1.1.0")
    await world.run(lambda: upgrade in world.finished)
    assert world.finished[upgrade].status is DeploymentStatus.COMPLETED
