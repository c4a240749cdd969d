"""Upgrades and rollbacks as operators ask for them: what is accepted, what is refused and why, and what the audit keeps."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest

from agent_servicing.core.errors import Conflict, Invalid, NotFound, ServicingError
from agent_servicing.core.model import AgentState
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.services.planning import QUEUE_MAX
from agent_servicing.services.requests import AutoRollback
from agent_servicing.testing.clock import START
from tests.integration.services_world import ADA, AGENT, World, agent_toml, an_upgrade, open_world

pytestmark = pytest.mark.anyio

GRACE = "grace"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


async def refused(world: World, version: str = "1.1.0", **changes: object) -> ServicingError:
    """The error of an upgrade that must be refused; nothing may be left of it, and the dry run must say the same."""
    before, told = await world.store.load(AGENT), await world.audit()
    with pytest.raises(ServicingError) as caught:
        await world.upgrade(version, **changes)
    plan = await world.services.upgrades.plan(AGENT, an_upgrade(version, **changes))
    assert caught.value.code == plan.refusals[0].code
    assert (await world.store.load(AGENT), await world.audit()) == (before, told)
    return caught.value


async def test_an_accepted_upgrade_is_queued_with_everything_that_was_asked(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    limits = AutoRollback(thresholds={"error_rate_threshold": 2.5, "latency_threshold_ms": 300, "min_requests": 7})
    deployment = await world.upgrade("v1.1.0", steps=(10.0, 100.0), monitor_seconds=5, auto_rollback=limits, hold_seconds=60)
    assert (deployment.kind, deployment.from_version, deployment.to_version) == (DeploymentKind.UPGRADE, "1.0.0", "1.1.0")
    assert (deployment.status, deployment.reason, deployment.actor) == (DeploymentStatus.QUEUED, "faster", ADA)
    spec = deployment.spec
    assert (spec.strategy, spec.steps, spec.monitor_seconds, spec.hold_seconds, spec.keep_warm_seconds) == (
        "blue-green",
        (10, 100),
        5,
        60,
        600,
    )
    assert (spec.policy.error_rate_threshold, spec.policy.latency_threshold_ms, spec.policy.min_requests) == (2.5, 300, 7)
    assert (await world.store.load(AGENT)).deployments == (deployment,)
    assert await world.store.next_due() == world.clock.now()
    event = (await world.services.events.since(0, deployment=deployment.deployment))[-1].event
    assert (event.type, event.actor, event.reason) == ("upgrade_requested", ADA, "faster")
    asked = {"from_version": "1.0.0", "to_version": "1.1.0", "strategy": "blue-green", "status": "requested"}
    assert event.data == {**asked, "source": {"kind": "engine"}}
    assert await world.services.upgrades.get(AGENT, deployment.deployment) == deployment
    assert await world.services.upgrades.find(deployment.deployment) == deployment


async def test_a_dry_run_says_what_would_be_done_and_writes_nothing(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    before = await world.audit()
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.1.0", steps=(25.0, 100.0), monitor_seconds=180, bake_seconds=60))
    assert [stage.stage for stage in plan.stages] == [
        "deploy_green",
        "health_check_green",
        "route_traffic_25",
        "monitor_metrics_25",
        "route_traffic_100",
        "bake",
        "decommission_blue",
    ]
    assert all(stage.sentence.endswith(".") for stage in plan.stages)
    assert (plan.from_version, plan.to_version, plan.refusals, plan.estimated_duration_minutes) == ("1.0.0", "1.1.0", (), 5.0)
    assert await world.audit() == before
    assert (await world.store.load(AGENT)).deployments == ()


@pytest.mark.parametrize(
    ("version", "changes", "family", "code"),
    [
        ("1.0.0", {}, Conflict, "same_version"),
        ("0.9.0", {}, Conflict, "downgrade"),
        ("2.0.0", {}, Conflict, "breaking_not_acknowledged"),
        ("3.0.0", {"acknowledge_breaking": True}, Conflict, "path_not_allowed"),
        ("1.9.9", {}, NotFound, "unknown_version"),
        ("newest", {}, Invalid, "bad_version"),
        ("1.1.0", {"strategy": "yolo"}, Invalid, "unknown_strategy"),
        ("1.1.0", {"reason": "  "}, Invalid, "reason_missing"),
        ("1.1.0", {"reason": "x" * 2001}, Invalid, "reason_too_long"),
        ("1.1.0", {"steps": (50.0, 25.0, 100.0)}, Invalid, "bad_value"),
        ("1.1.0", {"steps": (25.0,)}, Invalid, "bad_value"),
        ("1.1.0", {"steps": ()}, Invalid, "bad_value"),
        ("1.1.0", {"monitor_seconds": -1}, Invalid, "bad_value"),
        ("1.1.0", {"bake_seconds": float("nan")}, Invalid, "bad_value"),
        ("1.1.0", {"auto_rollback": AutoRollback(thresholds={"min_requests": 0})}, Invalid, "bad_value"),
        ("1.1.0", {"auto_rollback": AutoRollback(thresholds={"error_rate_threshold": 101})}, Invalid, "bad_value"),
        ("1.1.0", {"auto_rollback": AutoRollback(thresholds={"latency_threshold_ms": 0})}, Invalid, "bad_value"),
        ("1.1.0", {"schedule": START - timedelta(days=1)}, Invalid, "schedule_in_past"),
        ("1.1.0", {"schedule": START + timedelta(days=999)}, Invalid, "bad_value"),
        ("1.1.0", {"schedule": datetime(2026, 1, 2)}, Invalid, "bad_value"),  # noqa: DTZ001 (that is the point)
        ("1.1.0", {"bake_seconds": 1, "bake_until": START}, Invalid, "bad_value"),
        ("1.4.0", {}, Invalid, "unusable_version"),
    ],
)
async def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    world: World, version: str, changes: dict[str, object], family: type[Exception], code: str
) -> None:
    world.source.put("3.0.0", manifest_text=agent_toml(upgrade='from = ">=2.0"'))
    world.source.put("1.4.0", manifest_text="not toml at all")
    await world.add("1.0.0", "0.9.0", "1.1.0", "2.0.0")
    error = await refused(world, version, **changes)
    assert isinstance(error, family)
    assert error.code == code
    assert error.message


async def test_an_unknown_strategy_lists_those_there_are_and_an_unknown_version_too(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    assert "blue-green" in (await refused(world, strategy="teleport")).message
    assert "1.1.0, 1.0.0" in (await refused(world, "1.2.0")).hint


async def test_every_wrong_number_is_named_at_once(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    error = await refused(world, steps=(7.0,), monitor_seconds=-1, strategy="yolo")
    assert [each.path for each in error.errors] == ["strategy", "steps", "monitor_seconds"]


async def test_a_path_that_is_not_allowed_names_the_way_round(world: World) -> None:
    world.source.put("3.0.0", manifest_text=agent_toml(upgrade='from = ">=2.0"'))
    await world.add("1.0.0", "2.0.0")
    error = await refused(world, "3.0.0", acknowledge_breaking=True)
    assert "2.0.0" in error.hint


async def test_breaking_changes_of_versions_in_between_must_be_acknowledged_too(world: World) -> None:
    world.source.put("1.1.0", kind="breaking", text="old files are not read")
    await world.add("1.0.0", "1.2.0")
    error = await refused(world, "1.2.0")
    assert "old files are not read" in error.message
    assert (await world.upgrade("1.2.0", acknowledge_breaking=True)).status is DeploymentStatus.QUEUED


async def test_a_scheduled_upgrade_waits_for_its_time_and_leaves_the_agent_free(world: World) -> None:
    await world.add("1.0.0", "1.1.0", "1.2.0")
    at = world.clock.now() + timedelta(hours=3)
    deployment = await world.upgrade("1.2.0", schedule=at, bake_until=at + timedelta(hours=4))
    assert (deployment.status, deployment.scheduled_at) == (DeploymentStatus.SCHEDULED, at)
    assert deployment.spec.bake_until == at + timedelta(hours=4)
    assert (await world.upgrade("1.1.0", when_busy="reject")).status is DeploymentStatus.QUEUED


async def test_a_time_that_has_just_passed_means_now(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    deployment = await world.upgrade("1.1.0", schedule=world.clock.now() - timedelta(seconds=30))
    assert (deployment.status, deployment.scheduled_at) == (DeploymentStatus.QUEUED, None)


async def test_a_busy_agent_queues_or_refuses_and_names_who_holds_it_since_when(world: World) -> None:
    await world.add("1.0.0", "1.1.0", "1.2.0")
    first = await world.upgrade("1.1.0")
    await world.begin()
    error = await refused(world, "1.2.0", when_busy="reject")
    assert error.code == "agent_busy"
    for part in (first.deployment, ADA, "1.1.0", "in_progress since 2026-01-01"):
        assert part in error.message
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.2.0"))
    assert first.deployment in plan.warnings[0]
    assert (await world.upgrade("1.2.0")).status is DeploymentStatus.QUEUED


async def test_asking_twice_for_the_same_is_refused(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    first = await world.upgrade("1.1.0")
    error = await refused(world, "1.1.0")
    assert error.code == "already_requested"
    assert first.deployment in error.message


async def test_of_many_operators_at_once_exactly_one_is_first(world: World) -> None:
    await world.add("1.0.0", *(f"1.{n}.0" for n in range(1, 9)))
    outcomes: list[str] = []

    async def operator(number: int) -> None:
        try:
            await world.upgrade(f"1.{number}.0", when_busy="reject")
            outcomes.append("accepted")
        except Conflict as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as tasks:
        for number in range(1, 9):
            tasks.start_soon(operator, number)
    assert sorted(outcomes) == ["accepted", *["agent_busy"] * 7]


async def test_the_queue_has_an_end(world: World) -> None:
    versions = [f"1.{n}.0" for n in range(1, QUEUE_MAX + 2)]
    await world.add("1.0.0", *versions)
    for version in versions[:-1]:
        await world.upgrade(version)
    assert (await refused(world, versions[-1])).code == "queue_full"


async def test_warnings_speak_of_state_that_would_not_come_back(world: World) -> None:
    world.source.put("1.0.0", manifest_text=agent_toml(writes=1, reads=(1,)))
    world.source.put("1.1.0", manifest_text=agent_toml(writes=2, reads=(1, 2)))
    await world.add("1.0.0")
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.1.0", auto_rollback=AutoRollback(enabled=False)))
    assert plan.state_door == "one_way"
    assert any("no way back" in warning for warning in plan.warnings)
    assert any("rollback is off" in warning for warning in plan.warnings)


async def test_the_list_pages_through_every_deployment_newest_first(world: World) -> None:
    await world.add("1.0.0", *(f"1.{n}.0" for n in range(1, 6)))
    for number in range(1, 6):
        await world.upgrade(f"1.{number}.0")
    seen, cursor = [], None
    while True:
        page = await world.services.upgrades.list([AGENT], limit=2, cursor=cursor)
        seen += [d.to_version for d in page.deployments]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["1.5.0", "1.4.0", "1.3.0", "1.2.0", "1.1.0", "1.0.0"]
    with pytest.raises(Invalid) as caught:
        await world.services.upgrades.list([AGENT], cursor="1; DROP TABLE")
    assert caught.value.code == "bad_cursor"


# --- verbs ---


async def test_a_waiting_upgrade_is_cancelled_at_once(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    waiting = await world.upgrade("1.1.0", schedule=world.clock.now() + timedelta(hours=1))
    cancelled = await world.services.upgrades.verb(AGENT, waiting.deployment, Verb.CANCEL, actor=GRACE, reason="not today")
    assert (cancelled.status, cancelled.revision, cancelled.finished_at) == (DeploymentStatus.CANCELLED, 1, world.clock.now())
    assert (await world.store.load(AGENT)).deployments == ()
    assert (await world.store.load(AGENT)).intents == ()
    assert (await world.audit())[-2:] == [("cancel_requested", "requested"), ("upgrade", "cancelled")]


async def test_an_engine_that_was_just_starting_it_does_not_undo_the_cancel(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    waiting = await world.upgrade("1.1.0")
    (lease,) = await world.store.claim(world.clock.now(), lease_seconds=30, limit=1)
    await world.services.upgrades.verb(AGENT, waiting.deployment, Verb.CANCEL, actor=GRACE)
    await world.store.release(lease, next_at=world.clock.now() + timedelta(seconds=60))
    assert await world.store.next_due() == world.clock.now()
    assert (await world.services.upgrades.find(waiting.deployment)).status is DeploymentStatus.CANCELLED


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        (DeploymentStatus.IN_PROGRESS, {Verb.PAUSE, Verb.PROMOTE, Verb.CANCEL}),
        (DeploymentStatus.PAUSED, {Verb.RESUME, Verb.PROMOTE, Verb.CANCEL}),
        (DeploymentStatus.BAKING, {Verb.PAUSE, Verb.PROMOTE, Verb.CANCEL}),
        (DeploymentStatus.ROLLING_BACK, set()),
        (DeploymentStatus.COMPLETED, set()),
        (DeploymentStatus.QUEUED, {Verb.CANCEL}),
    ],
)
async def test_only_what_makes_sense_in_a_status_can_be_asked(world: World, status: DeploymentStatus, allowed: set[Verb]) -> None:
    await world.add("1.0.0", "1.1.0")
    deployment = await world.upgrade("1.1.0")
    if status is not DeploymentStatus.QUEUED:
        await world.begin(status)
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.PROMOTE, Verb.CANCEL):
        if verb in allowed:
            await world.services.upgrades.verb(AGENT, deployment.deployment, verb, actor=ADA)
            continue
        with pytest.raises(Conflict) as caught:
            await world.services.upgrades.verb(AGENT, deployment.deployment, verb, actor=ADA)
        current = caught.value.details["deployment"]
        assert (caught.value.code, getattr(current, "status", None)) == ("wrong_state", status)


async def test_a_verb_becomes_a_wish_for_the_engine_and_an_audit_entry(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    deployment = await world.upgrade("1.1.0")
    await world.begin()
    await world.services.upgrades.verb(AGENT, deployment.deployment, Verb.PROMOTE, actor=GRACE, reason="looks good", full=True)
    (intent,) = (await world.store.load(AGENT)).intents
    assert (intent.verb, intent.deployment, intent.actor, intent.value) == (Verb.PROMOTE, deployment.deployment, GRACE, 1)
    event = (await world.services.events.since(0))[-1].event
    assert (event.type, event.actor, event.reason, event.data["full"]) == ("promote_requested", GRACE, "looks good", True)


@pytest.mark.parametrize(
    ("expected", "code"),
    [({"if_state": "paused"}, "state_mismatch"), ({"if_version": 7}, "version_mismatch"), ({"if_state": "queued"}, None)],
)
async def test_a_verb_on_an_outdated_view_is_refused(world: World, expected: dict[str, object], code: str | None) -> None:
    await world.add("1.0.0", "1.1.0")
    deployment = await world.upgrade("1.1.0")

    async def ask() -> None:
        await world.services.upgrades.verb(AGENT, deployment.deployment, Verb.CANCEL, actor=ADA, **expected)  # type: ignore[arg-type]

    if code is None:
        await ask()
        return
    with pytest.raises(Conflict) as caught:
        await ask()
    assert (caught.value.code, caught.value.details["deployment"]) == (code, deployment)
    assert (await world.services.upgrades.find(deployment.deployment)).status is DeploymentStatus.QUEUED


async def test_a_deployment_of_another_agent_is_not_found(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    deployment = await world.upgrade("1.1.0")
    for ask in (
        lambda: world.services.upgrades.get("Other", deployment.deployment),
        lambda: world.services.upgrades.find("upg-nothing"),
        lambda: world.services.upgrades.verb("Other", deployment.deployment, Verb.CANCEL, actor=ADA),
    ):
        with pytest.raises(NotFound) as caught:
            await ask()
        assert caught.value.code == "unknown_deployment"


# --- rollback ---


async def roll_back(world: World, target: str | None = None, reason: str = "slow") -> tuple[DeploymentKind, str | None, str]:
    deployment = await world.services.rollbacks.request(AGENT, target_version=target, reason=reason, actor=GRACE)
    assert deployment.deployment.startswith("rbk-")
    return deployment.kind, deployment.from_version, deployment.to_version


async def test_a_rollback_goes_to_the_previous_version_unless_told_otherwise(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0", "1.2.0")
    assert await roll_back(world) == (DeploymentKind.ROLLBACK, "1.2.0", "1.1.0")
    assert (await world.audit())[-1] == ("rollback_requested", "requested")
    assert await roll_back(world, "v1.0.0") == (DeploymentKind.ROLLBACK, "1.2.0", "1.0.0")


async def test_while_an_upgrade_is_under_way_a_rollback_goes_to_the_version_that_serves(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    world.source.put("1.2.0")
    await world.services.versions.refresh(AGENT)
    await world.upgrade("1.2.0")
    await world.begin(DeploymentStatus.PAUSED)
    assert await roll_back(world) == (DeploymentKind.ROLLBACK, "1.2.0", "1.1.0")
    assert await roll_back(world, "1.0.0") == (DeploymentKind.ROLLBACK, "1.2.0", "1.0.0")


async def test_a_queue_never_keeps_a_rollback_out(world: World) -> None:
    versions = [f"1.{n}.0" for n in range(2, QUEUE_MAX + 2)]
    await world.add("1.0.0", "1.1.0", *versions)
    await world.upgraded_to("1.1.0")
    for version in versions:
        await world.upgrade(version)
    assert await roll_back(world) == (DeploymentKind.ROLLBACK, "1.1.0", "1.0.0")


@pytest.mark.parametrize(
    ("target", "family", "code"),
    [
        ("9.9.9", NotFound, "unknown_version"),
        ("1.5.0", Conflict, "not_a_rollback_point"),
        ("1.1.0", Conflict, "not_a_rollback_point"),
        ("previous", Invalid, "invalid"),
    ],
)
async def test_an_invalid_target_is_refused_and_the_valid_ones_are_named(
    world: World, target: str, family: type[Exception], code: str
) -> None:
    await world.add("1.0.0", "1.5.0")
    await world.upgraded_to("1.1.0")
    with pytest.raises(family) as caught:
        await roll_back(world, target)
    error = caught.value
    assert isinstance(error, ServicingError)
    assert error.code == code
    if code != "invalid":
        assert (error.hint, error.details["rollback_points"]) == ("Valid rollback points: 1.0.0.", ["1.0.0"])


async def test_what_was_never_changed_cannot_be_rolled_back(world: World) -> None:
    await world.add("1.0.0")
    with pytest.raises(Conflict) as caught:
        await roll_back(world)
    assert caught.value.code == "no_rollback_point"


async def test_a_rollback_needs_a_reason_and_is_asked_once(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    with pytest.raises(Invalid) as missing:
        await roll_back(world, reason=" ")
    assert missing.value.code == "reason_missing"
    await roll_back(world)
    with pytest.raises(Conflict) as again:
        await roll_back(world)
    assert again.value.code == "already_requested"


async def test_going_back_over_a_one_way_door_needs_a_choice(world: World) -> None:
    world.source.put("1.0.0", manifest_text=agent_toml(writes=1, reads=(1,)))
    world.source.put("1.1.0", manifest_text=agent_toml(writes=2, reads=(1, 2)))
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    with pytest.raises(Conflict) as caught:
        await world.services.rollbacks.request(AGENT, target_version=None, reason="x", actor=ADA)
    assert (caught.value.code, caught.value.details["state_door"]) == ("state_choice_needed", "one_way")
    assert "keep" in (caught.value.hint or "")
    going = await world.services.rollbacks.request(AGENT, target_version=None, reason="x", actor=ADA, state="keep")
    assert going.to_version == "1.0.0"


async def test_an_upgrade_of_a_version_that_keeps_state_plans_a_copy_first(world: World) -> None:
    world.source.put("1.0.0", manifest_text=agent_toml())
    world.source.put("1.1.0", manifest_text=agent_toml())
    await world.add("1.0.0")
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.1.0"))
    assert plan.stages[0].stage == "snapshot_state"
    without = await world.services.upgrades.plan(AGENT, an_upgrade("1.1.0", snapshot=False))
    assert without.stages[0].stage == "deploy_green"


async def test_nothing_is_restored_for_an_agent_without_state(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    with pytest.raises(Conflict) as caught:
        await world.services.rollbacks.request(AGENT, target_version=None, reason="x", actor=ADA, state="restore")
    assert caught.value.code == "no_state"
    with pytest.raises(Invalid) as wrong:
        await world.services.rollbacks.request(AGENT, target_version=None, reason="x", actor=ADA, snapshot="upg-1")
    assert wrong.value.code == "snapshot_without_restore"


async def test_a_version_one_came_back_from_stays_a_rollback_point(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    await roll_back(world)
    await world.finish()
    state: AgentState = await world.store.load(AGENT)
    assert (state.agent.version, state.rollback_points) == ("1.0.0", ("1.1.0",))
