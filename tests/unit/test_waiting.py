"""What waits, seen from outside: scheduled starts, freezes, locks and free places, and everything that passes them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_servicing.core.model import Deployment
from agent_servicing.core.queue import waiting_for
from agent_servicing.core.schedule import Line, Lock, Places, Rule, RuleKind, Stop, Tried
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from tests.unit.world import AGENT, World

pytestmark = pytest.mark.anyio

UPGRADE, ROLLBACK, RESTART = DeploymentKind.UPGRADE, DeploymentKind.ROLLBACK, DeploymentKind.RESTART


def change(world: World, name: str, **changes: object) -> None:
    """What a service would write into a waiting deployment."""
    deployments = tuple(replace(d, **changes) if d.deployment == name else d for d in world.state.deployments)  # type: ignore[arg-type]
    world.state = replace(world.state, deployments=deployments)


def schedule(world: World, version: str, seconds: float, **changes: object) -> str:
    name = world.request(UPGRADE, version)
    at = world.clock.now() + timedelta(seconds=seconds)
    change(world, name, status=DeploymentStatus.SCHEDULED, scheduled_at=at, **changes)
    return name


def freeze(world: World, seconds: float, name: str = "holidays") -> None:
    now = world.clock.now()
    rule = Rule(
        rule="frz-1", kind=RuleKind.FREEZE, name=name, reason="nobody is in", actor="ada", created_at=now,
        starts_at=now, ends_at=now + timedelta(seconds=seconds),
    )  # fmt: skip
    world.state = replace(world.state, line=Line(rules=(rule,)))


def stop(world: World) -> None:
    world.state = replace(world.state, line=Line(stop=Stop(actor="ada", reason="incident", since=world.clock.now())))


def found(world: World, name: str) -> Deployment:
    return next(d for d in world.state.deployments if d.deployment == name)


async def some_turns(world: World, turns: int = 20) -> None:
    for _ in range(turns):
        await world.step()


async def test_a_freeze_holds_an_upgrade_says_why_and_lets_it_begin_when_it_ends() -> None:
    world = await World().installed()
    freeze(world, 100)
    ends = world.clock.now() + timedelta(seconds=100)
    name = world.request(UPGRADE, "1.1.0")
    await some_turns(world)
    assert found(world, name).status is DeploymentStatus.QUEUED
    assert found(world, name).message.startswith("freeze 'holidays' until 2026-01-01 00:0")
    assert waiting_for(found(world, name)) == "freeze"
    held = [e for e in world.events if e.type == "held"]
    assert [(e.deployment, e.data["until"], e.data["waiting_for"]) for e in held] == [(name, ends.isoformat(), "freeze")]
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    assert done.started_at is not None
    assert ends <= done.started_at < ends + timedelta(seconds=2)


async def test_a_pass_that_becomes_too_old_while_an_upgrade_waits_holds_it_and_a_new_one_lets_it_begin() -> None:
    world = await World().installed()
    now = world.clock.now()
    name, passed = schedule(world, "1.1.0", 100), schedule(world, "1.2.0", 50, override_staging=True)
    world.state = replace(world.state, tried={v: Tried(until=now + timedelta(seconds=20)) for v in ("1.1.0", "1.2.0")})
    assert (await world.outcome(passed)).status is DeploymentStatus.COMPLETED, "who was let past the gate does not wait"
    await some_turns(world, 300)
    assert (waiting_for(found(world, name)), found(world, name).started_at) == ("staging", None)
    assert "passed too long ago" in found(world, name).message
    world.state = replace(world.state, tried={"1.1.0": Tried(until=world.clock.now() + timedelta(hours=1))})
    assert (await world.outcome(name)).started_at is not None


async def test_a_stopped_line_holds_upgrades_and_restarts_until_it_is_resumed() -> None:
    world = await World().installed()
    stop(world)
    upgrade, restart = world.request(UPGRADE, "1.1.0"), world.request(RESTART, "1.0.0")
    await some_turns(world, 200)
    assert {found(world, name).message for name in (upgrade, restart)} == {
        "the line is stopped by ada since 2026-01-01 00:00 UTC: incident"
    }
    assert {waiting_for(found(world, name)) for name in (upgrade, restart)} == {"line"}
    world.state = replace(world.state, line=Line())
    assert (await world.outcome(upgrade)).status is DeploymentStatus.COMPLETED


async def test_rollbacks_and_first_installations_pass_everything() -> None:
    world = World()
    stop(world)
    now = world.clock.now()
    lock = Lock(agent=AGENT, holder="grace", reason="mine", since=now, expires_at=now + timedelta(days=1))
    world.state = replace(world.state, lock=lock, places=Places(limit=1, under_way=1))
    await world.installed("1.0.0")
    world.state = replace(world.state, lock=None, places=Places(), line=Line())
    await world.outcome(world.request(UPGRADE, "1.1.0"))
    stop(world)
    world.state = replace(world.state, lock=lock, places=Places(limit=1, under_way=1))
    done = await world.outcome(world.request(ROLLBACK, "1.0.0"))
    assert (done.status, world.state.agent.version) == (DeploymentStatus.COMPLETED, "1.0.0")


async def test_what_is_under_way_is_not_interrupted_by_a_freeze_or_a_stop() -> None:
    world = await World().installed()
    name = world.request(UPGRADE, "1.1.0")
    await world.run(lambda: world.state.agent.share > 0)
    stop(world)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


async def test_an_emergency_passes_the_freeze_and_those_that_wait() -> None:
    world = await World().installed()
    freeze(world, 10_000)
    waits = world.request(UPGRADE, "1.1.0")
    await some_turns(world)
    urgent = world.request(UPGRADE, "1.2.0")
    change(world, urgent, override_freeze=True)
    assert (await world.outcome(urgent)).status is DeploymentStatus.COMPLETED
    assert found(world, waits).status is DeploymentStatus.QUEUED


async def test_anothers_lock_holds_and_ones_own_does_not() -> None:
    world = await World().installed()
    now = world.clock.now()
    held = Lock(agent=AGENT, holder="grace", reason="by hand", since=now, expires_at=now + timedelta(seconds=60))
    world.state = replace(world.state, lock=held)
    name = world.request(UPGRADE, "1.1.0")
    await some_turns(world)
    assert "locked by grace" in found(world, name).message
    done = await world.outcome(name)
    assert done.started_at is not None
    assert done.started_at >= held.expires_at
    own = replace(held, holder="tester", expires_at=world.clock.now() + timedelta(days=1))
    world.state = replace(world.state, lock=own)
    assert (await world.outcome(world.request(UPGRADE, "1.2.0"))).status is DeploymentStatus.COMPLETED


async def test_without_a_free_place_it_waits_and_remembers_since_when() -> None:
    world = await World().installed()
    world.state = replace(world.state, places=Places(limit=2, under_way=2))
    name = world.request(UPGRADE, "1.1.0")
    began = world.clock.now()
    await some_turns(world)
    waiting = found(world, name)
    assert waiting.message == "waits for a free place: 2 of 2 deployments are under way"
    assert waiting.place_since == began
    revision = waiting.revision
    await some_turns(world)
    assert found(world, name).revision == revision, "waiting on changes nothing"
    world.state = replace(world.state, places=Places(limit=2, under_way=1))
    assert (await world.outcome(name)).place_since is None


async def test_a_scheduled_start_is_on_time() -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 60)
    due = found(world, name).scheduled_at
    await some_turns(world)
    assert found(world, name).status is DeploymentStatus.SCHEDULED
    done = await world.outcome(name)
    assert done.started_at is not None
    assert due is not None
    assert due <= done.started_at <= due + timedelta(seconds=2)
    (started,) = [e for e in world.events if e.type == "started" and e.deployment == name]
    assert "late_seconds" not in started.data


async def test_a_start_that_nobody_looked_at_is_made_up_for_within_its_grace_and_says_so() -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 60, start_grace_seconds=900)
    world.clock.advance(60 + 600)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    (started,) = [e for e in world.events if e.type == "started" and e.deployment == name]
    assert started.data["late_seconds"] == pytest.approx(600, abs=2)
    assert "nobody looked after it" in str(started.data["late_because"])


async def test_a_start_missed_by_more_than_its_grace_is_given_up_and_told() -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 60, start_grace_seconds=900)
    world.clock.advance(60 + 901)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.CANCELLED
    assert done.message.startswith("missed: it was to start 2026-01-01 00:0")
    assert done.started_at is None
    mine = [(e.type, e.audit, e.data["status"]) for e in world.events if e.deployment == name]
    assert mine == [("schedule_missed", True, "missed"), ("cancelled", False, "cancelled"), ("upgrade", True, "cancelled")]
    assert world.state.agent.version == "1.0.0"


async def test_without_grace_any_absence_is_a_miss_but_a_look_in_time_is_not() -> None:
    world = await World().installed()
    missed = schedule(world, "1.1.0", 60, start_grace_seconds=5)
    world.clock.advance(70)
    assert (await world.outcome(missed)).status is DeploymentStatus.CANCELLED
    kept = schedule(world, "1.2.0", 60, start_grace_seconds=5)
    assert (await world.outcome(kept)).status is DeploymentStatus.COMPLETED


async def test_a_freeze_longer_than_the_grace_holds_a_scheduled_start_and_is_no_miss() -> None:
    world = await World().installed()
    freeze(world, 1200)
    ends = world.clock.now() + timedelta(seconds=1200)
    name = schedule(world, "1.1.0", 60, start_grace_seconds=10)
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    assert done.started_at is not None
    assert done.started_at >= ends
    (started,) = [e for e in world.events if e.type == "started" and e.deployment == name]
    assert "freeze 'holidays'" in str(started.data["late_because"])


async def test_a_scheduled_start_that_finds_its_agent_busy_waits_its_turn_and_is_no_miss() -> None:
    world = await World().installed()
    first = world.request(UPGRADE, "1.1.0", monitor_seconds=300)
    name = schedule(world, "1.2.0", 30, start_grace_seconds=10)
    await world.outcome(first)
    assert name not in world.finished
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    (started,) = [e for e in world.events if e.type == "started" and e.deployment == name]
    assert started.data["late_because"] == "another deployment of this agent was under way"


async def test_a_clock_set_back_puts_a_scheduled_start_off_and_never_starts_it_twice() -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 60)
    await some_turns(world, 5)
    world.clock.jump(-3600)
    await some_turns(world, 100)
    assert found(world, name).status is DeploymentStatus.SCHEDULED
    done = await world.outcome(name)
    assert done.status is DeploymentStatus.COMPLETED
    assert [e.type for e in world.events if e.deployment == name].count("started") == 1


async def test_a_clock_set_back_after_the_start_changes_nothing() -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 10)
    await world.run(lambda: found(world, name).active)
    world.clock.jump(-3600)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED


@pytest.mark.parametrize(("jump", "status"), [(700, DeploymentStatus.COMPLETED), (7200, DeploymentStatus.CANCELLED)])
async def test_a_clock_that_jumps_ahead_over_a_start_is_like_an_absence(jump: float, status: DeploymentStatus) -> None:
    world = await World().installed()
    name = schedule(world, "1.1.0", 60, start_grace_seconds=900)
    await some_turns(world, 3)
    world.clock.jump(jump)
    assert (await world.outcome(name)).status is status


async def test_an_agent_that_is_removed_takes_what_waits_with_it() -> None:
    from agent_servicing.core.status import AgentStatus, Verb

    world = await World().installed()
    stop(world)
    name, later = world.request(UPGRADE, "1.1.0"), schedule(world, "1.2.0", 600)
    await some_turns(world, 3)
    world.intend(Verb.REMOVE)
    await world.run(lambda: world.state.agent.status is AgentStatus.REMOVED)
    assert {world.finished[n].status for n in (name, later)} == {DeploymentStatus.CANCELLED}


async def test_an_agent_that_was_scaled_while_an_upgrade_waited_begins_it_with_its_new_size() -> None:
    from agent_servicing.core.status import Verb

    world = await World().installed()
    freeze(world, 60)
    name = world.request(UPGRADE, "1.1.0")
    world.intend(Verb.SCALE, value=5)
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    assert len([i for i in world.state.instances if i.version == "1.1.0"]) == 5
