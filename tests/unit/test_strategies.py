"""Canary and rolling on the real observer, decision and actions: who starts, who gets traffic, who leaves, and what taking back does."""

from datetime import timedelta

import pytest

from agent_servicing.core.capacity import places, stable_places
from agent_servicing.core.manifest import ConversationKey, Run
from agent_servicing.core.model import Deployment, DeploymentSpec
from agent_servicing.core.routing import effective_share
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.core.strategies.batches import batches
from agent_servicing.services.strategy_warnings import strategy_warnings
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio


class Watch:
    """After every step: how many of each version are ready in the data plane, and the share."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, float]] = []

    def __call__(self, world: World) -> None:
        routing = world.router.routings[AGENT]
        ready = {"1.0.0": 0, "1.1.0": 0}
        for route in routing.generations:
            ready[route.version] += route.ready
        self.seen.append((ready["1.0.0"], ready["1.1.0"], routing.share if routing.candidate is not None else 0.0))


async def a_world(instances: int, *, requests_per_second: int = 200, conversations: bool = False) -> tuple[World, Watch]:
    key = ConversationKey(kind="header", name="X-Conversation-Id") if conversations else None
    manifest = a_manifest(run=Run(command=("serve",), instances=instances), conversation_key=key)
    world = await World(requests_per_second=requests_per_second, manifest=manifest).installed()
    watch = Watch()
    world.after_step = watch
    return world, watch


async def upgraded(world: World, strategy: str, **spec: object) -> Deployment:
    return await world.outcome(world.request(DeploymentKind.UPGRADE, "1.1.0", strategy=strategy, **spec))


def stage_names(strategy: str, instances: int, **spec: object) -> list[str]:
    return [s.name for s in UPGRADES[strategy](DeploymentSpec(strategy=strategy, **spec), instances)]  # type: ignore[arg-type]


async def test_a_canary_of_one_in_ten_leaves_nine_and_gets_a_tenth_of_the_traffic() -> None:
    world, watch = await a_world(10)
    deployment = await upgraded(world, "canary", percent=10.0, monitor_seconds=20.0)
    assert deployment.status is DeploymentStatus.COMPLETED
    assert (9, 1, 10.0) in watch.seen
    assert all(old + new >= 10 for old, new, _ in watch.seen if new)
    assert watch.seen[-1][1] == 10


async def test_a_canary_that_fails_gives_everything_back_at_once_and_the_tenth_instance_returns() -> None:
    world, watch = await a_world(10)
    world.runtime.behaviour("1.1.0").error_share = 0.5
    deployment = await upgraded(world, "canary", percent=10.0, monitor_seconds=60.0)
    assert deployment.status is DeploymentStatus.ROLLED_BACK
    assert max(new for _, new, _ in watch.seen) == 1
    await world.run(lambda: watch.seen[-1][:2] == (10, 0))


@pytest.mark.parametrize("strategy", ["canary", "rolling"])
@pytest.mark.parametrize("instances", [1, 2, 3, 7, 10])
async def test_whatever_the_size_no_strategy_ever_has_fewer_ready_than_before_and_ends_with_all_on_the_new_version(
    strategy: str, instances: int
) -> None:
    world, watch = await a_world(instances)
    deployment = await upgraded(world, strategy, monitor_seconds=5.0)
    assert deployment.status is DeploymentStatus.COMPLETED
    during = [seen for seen in watch.seen if seen[1]]
    assert min(old + new for old, new, _ in during) >= instances
    assert all(share <= 100 * new / instances + 0.01 for _, new, share in during)
    assert world.state.agent.version == "1.1.0"
    assert len(world.router.routings[AGENT].generation(world.state.agent.stable).backends) == instances  # type: ignore[union-attr]


async def test_rolling_replaces_batch_by_batch_and_the_old_side_shrinks_behind_it() -> None:
    world, watch = await a_world(6)
    deployment = await upgraded(world, "rolling", batch_size=2)
    assert [r.stage.name for r in deployment.stages if r.stage.name.startswith("replace")] == [
        "replace_batch_1_of_3",
        "replace_batch_2_of_3",
        "replace_batch_3_of_3",
    ]
    pairs = [(old, new) for old, new, _ in watch.seen]
    assert pairs.index((4, 2)) < pairs.index((2, 4)) < pairs.index((1, 6))


async def test_a_rolling_update_that_is_taken_back_half_way_moves_traffic_only_as_old_instances_return() -> None:
    world, watch = await a_world(6)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", strategy="rolling", batch_size=2, pause_seconds=60.0)
    await world.run(lambda: (2, 4) in [seen[:2] for seen in watch.seen])
    watch.seen.clear()
    world.intend(Verb.CANCEL, name)
    assert (await world.outcome(name)).status is DeploymentStatus.ROLLED_BACK
    for old, _, share in watch.seen[1:]:
        assert 100 - share <= 100 * old / (6 - 1) + 0.01, "the old side got more than it could carry"
    await world.run(lambda: watch.seen[-1] == (6, 0, 0.0))


@pytest.mark.parametrize("strategy", sorted(UPGRADES))
async def test_a_fix_can_be_rolled_out_while_the_old_version_has_nobody_healthy(strategy: str) -> None:
    world, watch = await a_world(2)
    world.runtime.behaviour("1.0.0").crashes = True
    for instance in list(world.runtime.processes[AGENT]):
        world.runtime.crash(AGENT, instance)
    deployment = await upgraded(world, strategy, monitor_seconds=5.0)
    assert deployment.status is DeploymentStatus.COMPLETED
    assert watch.seen[-1][1] == 2


async def test_pausing_within_a_batch_keeps_instances_and_share_where_they_are() -> None:
    world, watch = await a_world(4)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", strategy="rolling")
    await world.run(lambda: any(new == 2 for _, new, _ in watch.seen))
    world.intend(Verb.PAUSE, name)
    await world.step()
    for _ in range(40):
        await world.step()
    before = watch.seen[-1]
    for _ in range(100):
        await world.step()
    assert watch.seen[-1] == before
    world.intend(Verb.RESUME, name)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_old_instances_stay_while_they_still_answer_open_conversations() -> None:
    world, watch = await a_world(4, conversations=True)
    world.metrics.pinned_share = 0.75  # of all requests belong to conversations that the old version began
    deployment = await upgraded(world, "rolling")
    assert deployment.status is DeploymentStatus.COMPLETED
    assert min(old for old, new, _ in watch.seen if new == 4) >= 3


async def test_an_agent_scaled_up_in_the_middle_of_a_rolling_update_ends_with_all_of_them_new() -> None:
    world, watch = await a_world(4)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", strategy="rolling", pause_seconds=3.0)
    await world.run(lambda: any(new == 2 for _, new, _ in watch.seen))
    world.intend(Verb.SCALE, value=8)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    await world.run(lambda: watch.seen[-1][1] == 8)


async def test_conversations_that_a_version_had_count_as_touched_also_when_it_was_taken_back() -> None:
    world, watch = await a_world(4, conversations=True)
    had: set[str] = set()

    def talk(_: World) -> None:
        watch(world)
        for number in range(20):
            name = f"talk-{number}-{int(world.clock.monotonic()) // 5}"
            world.metrics.converse(AGENT, name)
            if world.metrics.pins.get((AGENT, name)) == 2:
                had.add(name)

    world.after_step = talk
    deployment = await upgraded(world, "canary", percent=25.0, confirm_seconds=30.0)
    assert deployment.status is DeploymentStatus.ROLLED_BACK
    assert deployment.impact.conversations_touched == len(had) > 0
    assert any(world.metrics.pins[AGENT, name] == 1 for name in had), "some of them asked again, and were answered by the old version"


async def test_a_promoted_canary_goes_on_without_waiting_and_a_full_promote_takes_all_at_once() -> None:
    world, watch = await a_world(10)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", strategy="canary", monitor_seconds=3_600.0)
    await world.run(lambda: (9, 1, 10.0) in watch.seen)
    world.intend(Verb.PROMOTE, name, value=1)
    deployment = await world.outcome(name)
    assert deployment.status is DeploymentStatus.COMPLETED
    assert [r.status.value for r in deployment.stages if r.stage.name.startswith("promote_batch")] == ["skipped", "skipped", "completed"]


async def test_unconfirmed_it_goes_back_and_confirmed_it_stays() -> None:
    world, _ = await a_world(2)
    deployment = await upgraded(world, "blue-green", steps=(100.0,), confirm_seconds=30.0)
    assert deployment.status is DeploymentStatus.ROLLED_BACK
    assert deployment.trigger is not None
    assert deployment.trigger.reason.startswith("nobody confirmed 1.1.0 by ")
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", steps=(100.0,), confirm_seconds=30.0)
    await world.run(lambda: any(d.status is DeploymentStatus.BAKING for d in world.state.deployments))
    world.intend(Verb.PROMOTE, name)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_a_pause_does_not_move_the_time_by_which_somebody_must_confirm() -> None:
    world, _ = await a_world(2)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", steps=(100.0,), confirm_seconds=30.0)
    await world.run(lambda: any(d.status is DeploymentStatus.BAKING for d in world.state.deployments))
    world.intend(Verb.PAUSE, name)
    begun = world.clock.monotonic()
    assert (await world.outcome(name)).status is DeploymentStatus.ROLLED_BACK
    assert world.clock.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("instances", "size", "percent", "ends"),
    [
        (3, 1, None, (33.33, 66.66, 100.0)),
        (10, 3, None, (30.0, 60.0, 90.0, 100.0)),
        (10, None, 25.0, (30.0, 60.0, 90.0, 100.0)),
        (2, 99, None, (100.0,)),
        (1, None, 1.0, (100.0,)),
    ],
)
async def test_batches_are_percentages_that_give_back_their_numbers(
    instances: int, size: int | None, percent: float | None, ends: tuple[float, ...]
) -> None:
    cut = batches(instances, size, percent)
    assert cut.after() == ends
    assert [places(instances, end) for end in cut.after()][-1] == instances


async def test_batches_cover_every_size_exactly() -> None:
    for instances in range(1, 129):
        for size in range(1, instances + 1):
            numbers = [places(instances, end) for end in batches(instances, size, None).after()]
            assert numbers == [*range(size, instances, size), instances]


@pytest.mark.parametrize(("instances", "percent", "expected"), [(10, 10, 1), (10, 0, 0), (3, 5, 1), (1, 10, 1), (20, 100, 20), (7, 50, 4)])
async def test_a_part_is_rounded_up_never_to_none_and_never_beyond_all(instances: int, percent: float, expected: int) -> None:
    assert places(instances, percent) == expected


async def test_the_stable_side_keeps_what_the_traffic_the_conversations_and_the_reserve_need() -> None:
    common = {"instances": 10, "candidate": 5, "share": 50.0, "measured": 0.0, "spare": None}
    assert stable_places(**common) == 5
    assert stable_places(**{**common, "share": 20.0}) == 8
    assert stable_places(**{**common, "measured": 85.0}) == 9
    assert stable_places(**{**common, "spare": 1}) == 9
    assert stable_places(**{**common, "candidate": 10, "share": 100.0}) == 1


async def test_a_side_made_smaller_on_purpose_gets_back_only_what_it_can_carry() -> None:
    half = {"wanted": 0.0, "candidate_ready": 5, "stable_ready": 5, "needed": 10}
    assert effective_share(**half) == 0.0
    assert effective_share(**half, shrunk=True) == pytest.approx(100 * (1 - 5 / 9))
    assert effective_share(**{**half, "stable_ready": 9}, shrunk=True) == 0.0
    assert effective_share(**{**half, "candidate_ready": 0}, shrunk=True) == 0.0


async def test_the_strategies_compile_to_the_stages_the_guide_names() -> None:
    assert stage_names("canary", 10, monitor_seconds=60.0, bake_seconds=5.0) == [
        "deploy_canary",
        "health_check_canary",
        "route_traffic_10",
        "monitor_metrics_10",
        "promote_batch_1_of_3",
        "promote_batch_2_of_3",
        "promote_batch_3_of_3",
        "bake",
        "decommission_baseline",
    ]
    assert stage_names("rolling", 2, pause_seconds=5.0, verify=True) == [
        "deploy_batch_1",
        "health_check_batch_1",
        "replace_batch_1_of_2",
        "pause_after_batch_1",
        "replace_batch_2_of_2",
        "verify",
        "decommission_old",
    ]


@pytest.mark.parametrize(
    ("strategy", "instances", "spec", "said"),
    [
        ("canary", 1, {}, "There is one instance: the canary is a second one beside it"),
        ("canary", 2, {"percent": 10.0}, "rounded up to 1"),
        ("canary", 2, {"percent": 80.0}, "is all of them"),
        ("rolling", 1, {}, "There is one instance: the new one starts beside it"),
        ("rolling", 4, {"batch_size": 9}, "One batch holds all 4 instances"),
        ("blue-green", 4, {"monitor_seconds": 0.0}, "The monitor time is 0"),
        ("blue-green", 4, {"confirm_seconds": 60.0}, "goes back by itself 60 s after it has all traffic"),
    ],
)
async def test_what_is_odd_about_a_strategy_on_this_agent_is_said_beforehand(
    strategy: str, instances: int, spec: dict[str, object], said: str
) -> None:
    warnings = list(strategy_warnings(DeploymentSpec(strategy=strategy, **spec), instances))  # type: ignore[arg-type]
    assert any(said in warning for warning in warnings), warnings


async def test_an_upgrade_that_could_not_begin_before_it_was_to_be_confirmed_does_not_begin_at_all() -> None:
    world, _ = await a_world(2)
    first = world.request(DeploymentKind.UPGRADE, "1.1.0", monitor_seconds=60.0)
    late = world.request(DeploymentKind.UPGRADE, "1.2.0", confirm_until=world.clock.now() + timedelta(seconds=20))
    assert (await world.outcome(first)).status is DeploymentStatus.COMPLETED
    done = await world.outcome(late)
    assert done.status is DeploymentStatus.CANCELLED
    assert "over before it could begin" in done.message


async def test_a_promote_out_of_a_pause_gives_the_stage_its_time_back() -> None:
    world, _ = await a_world(2)
    world.runtime.behaviour("1.1.0").healthy = False
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", strategy="rolling")
    await world.run(lambda: any(r.stage.name == "health_check_batch_1" and r.started_at for d in world.state.deployments for r in d.stages))
    world.intend(Verb.PAUSE, name)
    await world.step()
    world.clock.advance(40)
    world.runtime.behaviour("1.1.0").healthy = True
    world.intend(Verb.PROMOTE, name)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_a_watch_that_is_not_to_hold_still_goes_on_when_it_may() -> None:
    world, _ = await a_world(2)
    deployment = await upgraded(world, "blue-green", steps=(50.0, 100.0), monitor_seconds=10.0, hold_seconds=0.0)
    assert deployment.status is DeploymentStatus.COMPLETED


async def test_a_bake_that_was_paused_bakes_again() -> None:
    world, _ = await a_world(2)
    name = world.request(DeploymentKind.UPGRADE, "1.1.0", steps=(100.0,), bake_seconds=60.0)
    await world.run(lambda: any(d.status is DeploymentStatus.BAKING for d in world.state.deployments))
    for verb in (Verb.PAUSE, Verb.RESUME):
        world.intend(verb, name)
        await world.step()
    assert world.state.deployments[0].status is DeploymentStatus.BAKING
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_a_paused_rollback_does_not_keep_another_rollback_waiting() -> None:
    world, _ = await a_world(2)
    world.after_step = None
    for version in ("1.1.0", "1.2.0"):
        done = await world.outcome(
            world.request(DeploymentKind.UPGRADE, version, steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=0.0)
        )
        assert done.status is DeploymentStatus.COMPLETED
    first = world.request(DeploymentKind.ROLLBACK, "1.1.0")
    await world.run(lambda: any(d.deployment == first and d.active for d in world.state.deployments))
    world.intend(Verb.PAUSE, first)
    await world.step()
    second = world.request(DeploymentKind.ROLLBACK, "1.0.0")
    assert (await world.outcome(second)).status is DeploymentStatus.COMPLETED
    assert world.state.agent.version == "1.0.0"
