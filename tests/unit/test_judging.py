"""The judge inside a deployment: what a watch does at its end, what happens at full traffic, and who may take the decision from it."""

import pytest

from agent_servicing.core.analysis import CustomMetric, Policy
from agent_servicing.core.manifest import Run
from agent_servicing.core.model import Deployment
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio


async def a_world(requests_per_second: int = 100, instances: int = 2) -> World:
    return await World(
        requests_per_second=requests_per_second, manifest=a_manifest(run=Run(command=("serve",), instances=instances))
    ).installed()


def upgrade(world: World, **spec: object) -> str:
    return world.request(DeploymentKind.UPGRADE, "1.1.0", **{"steps": (50.0, 100.0), "monitor_seconds": 10.0, **spec})


def current(world: World) -> Deployment:
    return next(d for d in world.state.deployments)


def stage(world: World) -> str:
    return next((r.stage.name for d in world.state.deployments for r in d.stages if r.status == "in_progress"), "")


async def test_a_version_that_errs_in_a_few_requests_only_is_found_by_comparison_with_the_old_one() -> None:
    world = await a_world()
    world.runtime.behaviour("1.1.0").error_share = 0.082
    done = await world.outcome(upgrade(world, monitor_seconds=120.0))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert done.trigger.reason.startswith("Error rate threshold exceeded (")
    assert done.trigger.requests is not None


async def test_when_both_versions_fail_the_watch_waits_beyond_its_deadline_and_goes_on_by_itself_when_it_is_over() -> None:
    world = await a_world()
    name = upgrade(world, monitor_seconds=20.0, hold_seconds=10.0)
    await world.run(lambda: stage(world) == "monitor_metrics_50")
    for version in ("1.0.0", "1.1.0"):
        world.runtime.behaviour(version).error_share = 0.25
    await world.run(lambda: bool(current(world).judgement and current(world).judgement.common_cause))  # type: ignore[union-attr]
    begun = world.clock.monotonic()
    await world.run(lambda: world.clock.monotonic() - begun > 120)
    assert current(world).status is DeploymentStatus.IN_PROGRESS
    assert "common cause" in next(r.note for r in current(world).stages if r.status == "in_progress")
    for version in ("1.0.0", "1.1.0"):
        world.runtime.behaviour(version).error_share = 0.0
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_a_version_that_turns_bad_with_all_traffic_is_compared_again_and_taken_back() -> None:
    world = await a_world()
    name = upgrade(world, bake_seconds=600.0)
    await world.run(lambda: stage(world) == "bake")
    world.runtime.behaviour("1.1.0").error_share = 0.15
    shares: set[float] = set()
    world.after_step = lambda w: shares.add(w.state.agent.share)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert 50.0 in shares
    assert any(e.type == "traffic_shifted" and "suspicion" in str(e.data.get("note")) for e in world.events)


async def test_an_outage_of_both_during_the_bake_takes_nothing_back() -> None:
    world = await a_world()
    name = upgrade(world, bake_seconds=60.0)
    await world.run(lambda: stage(world) == "bake")
    for version in ("1.0.0", "1.1.0"):
        world.runtime.behaviour(version).error_share = 0.3
    begun = world.clock.monotonic()
    await world.run(lambda: world.clock.monotonic() - begun > 200)
    assert current(world).trigger is None
    for version in ("1.0.0", "1.1.0"):
        world.runtime.behaviour(version).error_share = 0.0
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_a_control_that_the_operator_asked_for_stays_with_the_old_version_through_the_bake() -> None:
    world = await a_world()
    name = upgrade(world, bake_seconds=20.0, control_percent=10.0)
    await world.run(lambda: stage(world) == "bake")
    await world.step()
    assert world.router.routings[AGENT].share == 90
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


@pytest.mark.parametrize(
    ("choice", "status"),
    [("promote", DeploymentStatus.COMPLETED), ("rollback", DeploymentStatus.ROLLED_BACK), ("hold", DeploymentStatus.ROLLED_BACK)],
)
async def test_a_watch_that_proved_nothing_does_what_the_operator_chose(choice: str, status: DeploymentStatus) -> None:
    world = await a_world()
    for version in ("1.0.0", "1.1.0"):
        world.runtime.behaviour(version).error_share = 0.02  # exactly at the promote limit: never provable
    done = await world.outcome(upgrade(world, monitor_seconds=20.0, hold_seconds=20.0, on_inconclusive=choice))
    assert done.status is status
    if choice == "rollback":
        assert done.trigger is not None
        assert "proved nothing" in done.trigger.reason


async def test_without_traffic_nothing_is_promoted_and_the_note_says_what_is_missing() -> None:
    world = await a_world(requests_per_second=0)
    name = upgrade(world, monitor_seconds=5.0, hold_seconds=60.0)
    await world.run(lambda: stage(world) == "monitor_metrics_50")
    begun = world.clock.monotonic()
    await world.run(lambda: world.clock.monotonic() - begun > 10)
    assert "holding: no requests yet" in next(r.note for r in current(world).stages if r.status == "in_progress")
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK


async def test_counters_that_cannot_be_read_let_nothing_pass_whatever_was_known_before() -> None:
    world = await a_world(requests_per_second=400)
    name = upgrade(world, monitor_seconds=60.0, hold_seconds=30.0, policy=Policy(dwell_seconds=5.0))
    await world.run(lambda: bool(current(world).judgement and current(world).judgement.verdict == "passing"))  # type: ignore[union-attr]
    world.metrics.reachable = False
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "counters cannot be read" in done.trigger.reason


async def test_a_failing_verdict_takes_back_a_paused_deployment_too() -> None:
    world = await a_world()
    name = upgrade(world, monitor_seconds=600.0)
    await world.run(lambda: stage(world) == "monitor_metrics_50")
    world.intend(Verb.PAUSE, name)
    await world.step()
    world.runtime.behaviour("1.1.0").error_share = 0.3
    assert (await world.outcome(name)).status is DeploymentStatus.ROLLED_BACK


async def test_an_overridden_analysis_still_tells_but_takes_nothing_back() -> None:
    world = await a_world()
    name = upgrade(world, monitor_seconds=60.0)
    await world.run(lambda: stage(world) == "monitor_metrics_50")
    world.intend(Verb.OVERRIDE, name)
    world.runtime.behaviour("1.1.0").error_share = 0.3
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    assert done.overridden_by == "tester"
    assert "overridden by tester" in next(r.note for r in done.stages if r.stage.name == "monitor_metrics_50")
    assert done.judgement is not None
    assert done.judgement.verdict == "failing"


async def test_the_one_bad_instance_is_replaced_and_the_version_is_not_blamed() -> None:
    world = await a_world(requests_per_second=200, instances=4)
    world.metrics.bad_instances["g2-1-1"] = 0.6
    done = await world.outcome(upgrade(world, monitor_seconds=60.0))
    assert done.status is DeploymentStatus.COMPLETED
    assert done.replaced == ("g2-1-1",)
    entry = next(e for e in world.events if e.type == "instance_unhealthy" and e.audit)
    assert "it alone is bad" in str(entry.data["problem"])


async def test_promote_early_goes_on_as_soon_as_the_verdict_is_passing() -> None:
    world = await a_world(requests_per_second=400)
    policy = Policy(dwell_seconds=5.0)
    done = await world.outcome(upgrade(world, monitor_seconds=3_600.0, promote_early=True, policy=policy))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.clock.monotonic() < 1_000


@pytest.mark.parametrize(("quality", "status"), [(0.9, DeploymentStatus.COMPLETED), (0.4, DeploymentStatus.ROLLED_BACK)])
async def test_what_the_agent_reports_of_itself_is_judged_with_the_same_machinery(quality: float, status: DeploymentStatus) -> None:
    world = await a_world()
    metric = CustomMetric(name="quality", below=0.7, rollback_percent=10.0, promote_percent=4.0)
    name = upgrade(world, monitor_seconds=60.0, policy=Policy(custom=(metric,)))

    def report(_: World) -> None:
        world.reports.report(AGENT, 1, "quality", *[0.9] * 5)
        world.reports.report(AGENT, 2, "quality", *[quality] * 5)

    world.after_step = report
    done = await world.outcome(name)
    assert done.status is status
    if done.trigger is not None:
        assert done.trigger.metric == "custom:quality"
        assert done.trigger.reason.startswith("quality")


@pytest.mark.parametrize(
    ("verifies", "status"), [(True, DeploymentStatus.COMPLETED), (None, DeploymentStatus.COMPLETED), (False, DeploymentStatus.ROLLED_BACK)]
)
async def test_a_version_is_tested_at_its_production_address_before_the_old_one_leaves(
    verifies: bool | None, status: DeploymentStatus
) -> None:
    world = await a_world()
    world.runtime.behaviour("1.1.0").verifies = verifies
    done = await world.outcome(upgrade(world, verify=True))
    assert done.status is status
    note = next(r.note for r in done.stages if r.stage.name == "verify")
    assert {True: "5 of 5 passed", None: "not verified", False: "test_recall failed"}[verifies] in note
    assert world.verifier.begun == {}


async def test_tests_that_were_lost_with_the_server_run_again() -> None:
    world = await a_world()
    world.runtime.behaviour("1.1.0").verify_seconds = 5.0
    name = upgrade(world, verify=True)
    await world.run(lambda: bool(world.verifier.begun))
    world.verifier.restart()
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
