"""The decision, seen from outside: what happens to traffic, processes and deployments in a small simulated world."""

import pytest

from agent_servicing.core.manifest import ConversationKey, Conversations, Health, Run
from agent_servicing.core.model import Deployment
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus, InstanceStatus, StageStatus, Verb
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio

UPGRADE, ROLLBACK = DeploymentKind.UPGRADE, DeploymentKind.ROLLBACK


def never_unserved(world: World) -> None:
    """Zero downtime: from the first installation on, no request finds nobody."""
    assert world.metrics.unserved.get(AGENT, 0) == 0
    routing = world.router.routings.get(AGENT)
    if routing is not None and world.state.agent.stable is not None:
        assert routing.stable is not None
        assert sum(g.ready for g in routing.generations) >= 1


async def test_a_first_installation_serves_with_all_its_instances() -> None:
    world = await World().installed("1.0.0")
    routing = world.router.routings[AGENT]
    assert world.state.agent.version == "1.0.0"
    assert [g.ready for g in routing.generations] == [3]
    assert routing.stable == 1


async def test_a_blue_green_upgrade_passes_every_step_and_completes() -> None:
    world = await World().installed()
    world.after_step = never_unserved
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.COMPLETED
    assert [r.stage.name for r in done.stages] == [
        "deploy_green",
        "health_check_green",
        "route_traffic_25",
        "monitor_metrics_25",
        "route_traffic_50",
        "monitor_metrics_50",
        "route_traffic_100",
        "decommission_blue",
    ]
    assert all(r.status is StageStatus.COMPLETED for r in done.stages)
    assert world.state.agent.version == "1.1.0"
    shares = [r.share for r in world.router.history if r.candidate == 2]
    assert [s for n, s in enumerate(shares) if n == 0 or s != shares[n - 1]] == [25, 50, 100]
    assert done.stages[2].note.startswith("measured 2")


async def test_the_old_version_stays_warm_and_then_leaves_without_touching_traffic() -> None:
    world = await World().installed()
    await world.outcome(world.request(UPGRADE, "1.1.0", keep_warm_seconds=60))
    assert world.state.generations[0].status in (GenerationStatus.DRAINING, GenerationStatus.WARM)
    world.after_step = never_unserved
    await world.run(lambda: len(world.state.generations) == 1)
    assert world.state.generations[0].version == "1.1.0"
    assert len(world.runtime.processes[AGENT]) == 3


async def test_an_error_rate_above_the_limit_takes_the_deployment_back_with_its_numbers() -> None:
    world = await World().installed()
    world.runtime.behaviour("1.1.0").error_share = 0.3
    world.after_step = never_unserved
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert done.trigger.metric == "error_rate"
    assert done.trigger.threshold == 5.0
    assert done.trigger.value == pytest.approx(30, abs=5)
    assert done.trigger.requests is not None
    assert done.trigger.requests >= 20
    assert done.impact.candidate_errors > 0
    assert world.state.agent.version == "1.0.0"
    assert world.router.routings[AGENT].candidate is None
    kinds = [(e.type, e.audit) for e in world.events]
    assert ("rollback_triggered", True) in kinds
    assert ("rollback", True) in kinds
    assert ("upgrade", True) in kinds


async def test_a_slow_version_is_taken_back_by_its_latency() -> None:
    from agent_servicing.core.analysis import Policy

    world = await World().installed()
    world.runtime.behaviour("1.1.0").latency_ms = 450
    done = await world.outcome(world.request(UPGRADE, "1.1.0", policy=Policy(latency_threshold_ms=300)))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert (done.trigger.metric, done.trigger.threshold) == ("latency_ms", 300)


async def test_no_traffic_holds_and_is_taken_back_at_the_deadline_never_promoted() -> None:
    world = await World(requests_per_second=0).installed()
    name = world.request(UPGRADE, "1.1.0", hold_seconds=30)
    await world.run(lambda: any("holding" in r.note for r in world.state.deployments[0].stages))
    assert world.router.routings[AGENT].share == 25
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "no requests yet" in done.trigger.reason


async def test_a_stage_waits_for_the_minimum_sample_and_then_goes_on() -> None:
    world = await World(requests_per_second=4).installed()
    done = await world.outcome(world.request(UPGRADE, "1.1.0", hold_seconds=600))
    assert done.status is DeploymentStatus.COMPLETED
    watched = done.stages[3]
    assert watched.duration_seconds is not None
    assert watched.duration_seconds > 40  # 50 requests at one a second, although five seconds were asked for


async def test_unreadable_counters_hold_a_deployment() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0", hold_seconds=20)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.metrics.reachable = False
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK


async def test_a_version_that_cannot_be_installed_never_starts_and_nothing_changes() -> None:
    world = await World().installed()
    world.runtime.behaviour("1.1.0").installs = False
    before = list(world.runtime.started)
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "no such dependency" in done.trigger.reason
    assert world.runtime.started == before


async def test_a_failed_installation_is_tried_afresh_by_the_next_upgrade() -> None:
    world = await World().installed()
    world.runtime.behaviour("1.1.0").installs = False
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    world.runtime.behaviour("1.1.0").installs = True
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.COMPLETED


async def test_a_version_that_crashes_at_start_leaves_the_stable_one_serving() -> None:
    world = await World().installed()
    world.runtime.behaviour("1.1.0").crashes = True
    world.after_step = never_unserved
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "boom" in done.trigger.reason
    assert all(r.share == 0 for r in world.router.history if r.stable == 1)


async def test_a_version_that_never_becomes_healthy_is_taken_back_with_the_probe_in_the_reason() -> None:
    world = await World(manifest=a_manifest(health=Health(path="/nope", startup_timeout_seconds=5))).installed()
    world.runtime.behaviour("1.1.0").healthy = False
    done = await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert done.status is DeploymentStatus.ROLLED_BACK
    assert done.trigger is not None
    assert "GET /nope answered 503" in done.trigger.reason


async def test_a_candidate_that_crashes_under_traffic_is_taken_back_at_once() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0", monitor_seconds=60)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.after_step = never_unserved
    world.runtime.crash(AGENT, world.state.instances[-1].instance)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.ROLLED_BACK


async def test_a_paused_deployment_keeps_its_share_and_still_rolls_back_when_it_turns_bad() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0", monitor_seconds=20)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.PAUSE, name)
    await world.run(lambda: world.state.deployments[0].status is DeploymentStatus.PAUSED)
    for _ in range(100):
        await world.step()
    assert world.state.deployments[0].status is DeploymentStatus.PAUSED
    assert world.router.routings[AGENT].share == 25
    world.runtime.behaviour("1.1.0").error_share = 0.5
    assert (await world.outcome(name)).status is DeploymentStatus.ROLLED_BACK


async def test_a_resumed_deployment_goes_on_to_its_end() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0", monitor_seconds=20)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.PAUSE, name)
    await world.run(lambda: world.state.deployments[0].status is DeploymentStatus.PAUSED)
    world.clock.advance(3600)
    world.intend(Verb.RESUME, name)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_promote_ends_the_wait_and_full_goes_to_the_end() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0", monitor_seconds=3600)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.PROMOTE, name)
    await world.run(lambda: world.router.routings[AGENT].share == 50)
    world.intend(Verb.PROMOTE, name, value=1)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    assert "skipped: promoted by tester" in [r.note for r in done.stages]


async def test_cancel_before_traffic_is_cancelled_and_with_traffic_rolled_back() -> None:
    world = await World().installed()
    early = world.request(UPGRADE, "1.1.0")
    await world.run(lambda: bool(world.state.deployments[0].stages))
    world.intend(Verb.CANCEL, early)
    assert (await world.outcome(early)).status is DeploymentStatus.CANCELLED
    late = world.request(UPGRADE, "1.1.0", monitor_seconds=600)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.CANCEL, late)
    assert (await world.outcome(late)).status is DeploymentStatus.ROLLED_BACK
    assert world.state.agent.version == "1.0.0"


async def test_a_warm_rollback_starts_no_process() -> None:
    world = await World().installed()
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    before = list(world.runtime.started)
    world.after_step = never_unserved
    done = await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.state.agent.version == "1.0.0"
    assert world.runtime.started == before


async def test_a_cold_rollback_starts_the_old_version_again() -> None:
    world = await World().installed()
    await world.outcome(world.request(UPGRADE, "1.1.0", keep_warm_seconds=0))
    await world.run(lambda: len(world.state.generations) == 1)
    world.after_step = never_unserved
    done = await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.state.agent.stable == 3


async def test_a_rollback_does_not_wait_for_an_upgrade_under_way_nor_for_its_pause() -> None:
    world = await World().installed()
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    upgrade = world.request(UPGRADE, "1.2.0", monitor_seconds=3600)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.PAUSE, upgrade)
    queued = world.request(UPGRADE, "1.3.0", monitor_seconds=3600)
    rollback = world.request(ROLLBACK, "1.0.0")
    assert (await world.outcome(rollback)).status is DeploymentStatus.COMPLETED
    assert world.finished[upgrade].status is DeploymentStatus.ROLLED_BACK
    assert queued not in world.finished
    assert world.state.agent.version == "1.0.0"


async def test_conversations_move_at_once_with_a_rollback_but_not_with_an_upgrade() -> None:
    key = ConversationKey(kind="header", name="X-Conversation-Id")
    world = await World(manifest=a_manifest(conversation_key=key)).installed()
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    assert world.router.routings[AGENT].redirects == {}
    await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert world.router.routings[AGENT].redirects == {2: 1}


async def test_a_promotion_moves_open_conversations_when_the_leaving_version_says_so() -> None:
    key = ConversationKey(kind="header", name="X-Conversation-Id")
    moving = Conversations(on_promote="move_at_next_turn")
    world = await World(manifest=a_manifest(conversation_key=key, conversations=moving)).installed()
    world.after_step = never_moved_before_the_hand_over
    await world.outcome(world.request(UPGRADE, "1.1.0", strategy="canary"))
    assert world.router.routings[AGENT].redirects == {1: 2}
    await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert world.router.routings[AGENT].redirects == {2: 1}


def never_moved_before_the_hand_over(world: World) -> None:
    assert world.state.agent.stable != 1 or 1 not in world.state.agent.redirects


async def test_a_rollback_keeps_open_conversations_when_the_leaving_version_says_so_but_a_retreat_does_not() -> None:
    key = ConversationKey(kind="header", name="X-Conversation-Id")
    keeping = Conversations(on_promote="move_at_next_turn", on_rollback="keep")
    world = await World(manifest=a_manifest(conversation_key=key, conversations=keeping)).installed()
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert world.state.agent.stable == 1
    assert world.router.routings[AGENT].redirects == {}
    retreats = world.request(UPGRADE, "1.2.0", strategy="canary")
    await world.run(lambda: world.state.agent.share > 0)
    world.intend(Verb.CANCEL, retreats)
    await world.run(lambda: world.state.agent.candidate is None or world.state.agent.candidate in world.state.agent.redirects)
    assert world.state.agent.redirects == {3: 1}


async def test_a_crashed_instance_is_replaced_and_a_crash_loop_slows_down() -> None:
    world = await World().installed()
    world.after_step = never_unserved
    world.runtime.crash(AGENT, "g1-1-1")
    await world.run(lambda: world.router.routings[AGENT].generations[0].ready == 3 and "g1-1-1" not in world.runtime.processes[AGENT])
    first = len(world.runtime.started)
    for _ in range(400):
        for name, process in list(world.runtime.processes[AGENT].items()):
            if process.alive and "-1-" in name:
                world.runtime.crash(AGENT, name)
        await world.step()
    assert "crash_loop" in world.types()
    assert len(world.runtime.started) - first < 30


async def test_the_last_healthy_instance_stays_in_rotation_although_its_probe_fails() -> None:
    world = await World(manifest=a_manifest(run=Run(command=("serve",), instances=1))).installed()
    world.client.sick.add("g1-1-1")
    world.after_step = never_unserved
    await world.run(lambda: "g1-1-1" not in world.runtime.processes[AGENT])
    assert world.router.routings[AGENT].generations[0].ready == 1


async def test_scaling_adds_and_removes_instances_without_a_gap() -> None:
    world = await World().installed()
    world.after_step = never_unserved
    world.intend(Verb.SCALE, value=5)
    await world.run(lambda: world.router.routings[AGENT].generations[0].ready == 5)
    world.intend(Verb.SCALE, value=1)
    await world.run(lambda: len(world.runtime.processes[AGENT]) == 1)


async def test_an_instance_with_requests_in_flight_is_not_signalled() -> None:
    world = await World().installed()
    world.router.in_flight["g1-3-3"] = 2
    world.intend(Verb.SCALE, value=2)
    for _ in range(50):
        await world.step()
    assert world.runtime.processes[AGENT]["g1-3-3"].alive
    assert world.state.instances[-1].status is InstanceStatus.DRAINING
    world.router.in_flight.clear()
    await world.run(lambda: "g1-3-3" not in world.runtime.processes[AGENT])


async def test_an_instance_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    world = await World().installed()
    world.runtime.behaviour("1.0.0").ignores_sigterm = True
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: len(world.runtime.processes[AGENT]) == 2)


async def test_a_removed_agent_leaves_nothing_behind() -> None:
    world = await World().installed()
    world.request(UPGRADE, "1.1.0", monitor_seconds=600)
    await world.run(lambda: world.router.routings[AGENT].share == 25)
    world.intend(Verb.REMOVE)
    await world.run(lambda: world.state.agent.status == "removed")
    assert world.runtime.processes[AGENT] == {}
    assert AGENT not in world.router.routings
    assert world.finished["upg-002"].status is DeploymentStatus.CANCELLED


async def test_a_second_upgrade_to_what_already_runs_is_cancelled_with_a_reason() -> None:
    world = await World().installed()
    world.request(UPGRADE, "1.1.0")
    second = world.request(UPGRADE, "1.1.0")
    done: Deployment = await world.outcome(second)
    assert done.status is DeploymentStatus.CANCELLED
    assert done.message == "1.1.0 is already running"


async def test_a_restart_replaces_every_instance_of_the_same_version() -> None:
    world = await World().installed()
    world.after_step = never_unserved
    done = await world.outcome(world.request(DeploymentKind.RESTART, "1.0.0", strategy="restart"))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.state.agent.stable == 2


async def test_four_upgrades_in_a_row_never_hold_more_than_three_generations() -> None:
    world = await World().installed()
    most = 0

    def count(seen: World) -> None:
        nonlocal most
        never_unserved(seen)
        most = max(most, len(seen.state.generations))

    world.after_step = count
    for minor in range(1, 5):
        done = await world.outcome(world.request(UPGRADE, f"1.{minor}.0", keep_warm_seconds=36_000))
        assert done.status is DeploymentStatus.COMPLETED
    assert most == 3


async def test_processes_nobody_knows_are_ended() -> None:
    world = await World().installed()
    await world.runtime.start(world.state.releases["1.0.0"], instance="g9-1-1", generation=9)
    await world.run(lambda: "g9-1-1" not in world.runtime.processes[AGENT])


async def test_an_unreachable_runtime_or_data_plane_changes_nothing() -> None:
    world = await World().installed()
    world.runtime.reachable = False
    for _ in range(20):
        assert (await world.step()).actions == ()
    world.runtime.reachable, world.router.reachable = True, False
    for _ in range(20):
        assert (await world.step()).actions == ()
    assert len(world.runtime.processes[AGENT]) == 3


async def test_a_steady_agent_changes_no_state_at_all() -> None:
    world = await World().installed()
    for _ in range(20):
        await world.step()
    from dataclasses import replace

    def unprobed() -> object:
        return replace(world.state, instances=tuple(replace(i, probed_at=None) for i in world.state.instances))

    before = unprobed()
    for _ in range(20):
        decision = await world.step()
        assert decision.actions == ()
        assert decision.events == ()
    assert unprobed() == before


async def test_after_the_hand_over_no_verb_can_send_traffic_to_the_version_that_leaves() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0")
    await world.run(lambda: world.state.agent.stable == 2)
    for verb in (Verb.PAUSE, Verb.CANCEL, Verb.PROMOTE):
        world.intend(verb, name)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    assert world.state.agent.version == "1.1.0"


async def test_counters_that_cannot_be_read_do_not_keep_a_rollback_waiting_behind_a_finished_upgrade() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0")
    await world.run(lambda: world.state.agent.stable == 2)
    world.metrics.reachable = False
    rollback = world.request(ROLLBACK, "1.0.0")
    assert (await world.outcome(rollback)).status is DeploymentStatus.COMPLETED
    assert world.finished[name].status is DeploymentStatus.COMPLETED
    assert world.state.agent.version == "1.0.0"


async def test_an_instance_that_crashed_beyond_the_new_scale_is_forgotten() -> None:
    world = await World().installed()
    world.runtime.crash(AGENT, "g1-3-3")
    world.intend(Verb.SCALE, value=2)
    await world.run(lambda: len(world.state.instances) == 2 and len(world.runtime.processes[AGENT]) == 2)
