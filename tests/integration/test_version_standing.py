"""Deprecated and withdrawn versions: said by people or by the source, refused, warned of, passed over, and brought back in an emergency."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent_servicing.core.errors import Conflict, Invalid, NotFound
from agent_servicing.core.standing import Standing
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.services.views import VersionInfo
from agent_servicing.testing.clock import START
from tests.integration.services_world import ADA, AGENT, World, agent_toml, an_upgrade, open_world
from tests.store_builders import a_manifest

pytestmark = pytest.mark.anyio
WITHDRAWN, DEPRECATED, AVAILABLE = Standing.WITHDRAWN, Standing.DEPRECATED, Standing.AVAILABLE


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as world:
        yield world


async def mark(world: World, version: str, standing: Standing, reason: str = "loses memories") -> object:
    return await world.services.standing.mark(AGENT, version, standing, reason=reason, actor=ADA)


async def info(world: World, version: str) -> VersionInfo:
    return next(i for i in (await world.services.versions.list(AGENT)).versions if i.version == version)


def source_says(world: World, version: str, **words: str | None) -> None:
    world.source.found[version] = replace(world.source.found[version], **words)  # type: ignore[arg-type]


async def test_a_withdrawn_version_is_refused_and_not_offered_until_it_is_restored(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    await mark(world, "1.1.0", WITHDRAWN)
    view = await world.services.versions.list(AGENT)
    assert (view.available, view.hints.recommended) == ((), None)
    found = await info(world, "1.1.0")
    assert (found.standing, found.standing_reason, found.standing_by, found.upgradable) == ("withdrawn", "loses memories", ADA, False)
    assert found.compatibility == "is withdrawn: loses memories"
    with pytest.raises(Conflict, match="loses memories") as caught:
        await world.upgrade("1.1.0")
    assert caught.value.code == "version_withdrawn"
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.1.0"))
    assert [refusal.code for refusal in plan.refusals] == ["version_withdrawn"]
    assert not (await world.services.fleet.get(AGENT)).available
    await mark(world, "1.1.0", AVAILABLE, "was a false alarm")
    await world.upgrade("1.1.0")
    assert ("version_withdrawn", "success") in await world.audit()
    assert ("version_restored", "success") in await world.audit()


async def test_a_deprecated_version_is_warned_of_and_not_recommended(world: World) -> None:
    await world.add("1.0.0", "1.1.0", "1.2.0")
    await mark(world, "1.2.0", DEPRECATED, "slow")
    view = await world.services.versions.list(AGENT)
    assert [i.version for i in view.available] == ["1.2.0", "1.1.0"]
    assert view.hints.recommended is not None
    assert view.hints.recommended.version == "1.1.0"
    plan = await world.services.upgrades.plan(AGENT, an_upgrade("1.2.0"))
    assert plan.refusals == ()
    assert "1.2.0 is deprecated: slow." in plan.warnings


async def test_withdrawing_cancels_what_waits_to_bring_it_and_names_what_is_under_way(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    first = await world.upgrade("1.1.0")
    await world.begin()
    later = await world.upgrade("1.1.0", schedule=START.replace(year=START.year + 1, month=1, day=1))
    marked = await world.services.standing.mark(AGENT, "1.1.0", WITHDRAWN, reason="loses memories", actor=ADA)
    assert (marked.cancelled, marked.under_way, marked.running) == ((later.deployment,), (first.deployment,), False)
    cancelled = await world.services.upgrades.find(later.deployment)
    assert (cancelled.status, "was withdrawn by" in cancelled.message) == (DeploymentStatus.CANCELLED, True)


async def test_where_it_serves_it_goes_on_and_everybody_is_warned(world: World) -> None:
    await world.add("1.0.0", "2.0.0")
    assert (await world.services.fleet.get(AGENT)).urgency == "normal"
    marked = await world.services.standing.mark(AGENT, "1.0.0", WITHDRAWN, reason="loses memories", actor=ADA)
    assert marked.running
    agent = await world.services.fleet.get(AGENT)
    assert (agent.state.agent.version, agent.standing, agent.urgency) == ("1.0.0", WITHDRAWN, "withdrawn")
    assert (await world.services.fleet.totals()).withdrawn_running == 1
    view = await world.services.versions.list(AGENT)
    assert (view.current_standing, view.current_standing_reason) == ("withdrawn", "loses memories")
    assert view.hints.recommended is not None
    assert (view.hints.recommended.version, view.hints.recommended.urgency) == ("2.0.0", "withdrawn")
    assert await world.services.fleet.restart(AGENT, actor=ADA, reason="new certificate")


async def test_a_rollback_passes_withdrawn_versions_over_and_brings_one_back_in_an_emergency_only(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0", "1.2.0")
    await mark(world, "1.1.0", WITHDRAWN)
    points = {p.version: (p.can_rollback, p.note) for p in (await world.services.versions.list(AGENT)).rollback_points}
    assert points == {"1.1.0": (False, "withdrawn: loses memories; needs override_withdrawn"), "1.0.0": (True, "")}
    rollbacks = world.services.rollbacks
    assert (await rollbacks.plan(AGENT, target_version=None)).to_version == "1.0.0"
    with pytest.raises(Conflict, match="loses memories") as caught:
        await rollbacks.request(AGENT, target_version="1.1.0", reason="bad", actor=ADA)
    assert (caught.value.code, caught.value.details["rollback_points"]) == ("version_withdrawn", ["1.0.0"])
    brought = await rollbacks.request(AGENT, target_version="1.1.0", reason="all is on fire", actor=ADA, override_withdrawn=True)
    assert brought.to_version == "1.1.0"
    events = [each.event for each in await world.services.events.since(0) if each.event.type == "rollback_requested"]
    assert events[-1].data["override_withdrawn"] is True


async def test_an_upgrade_under_way_is_taken_back_to_the_serving_version_whatever_its_standing(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    await world.upgrade("1.1.0")
    await world.begin()
    await mark(world, "1.0.0", WITHDRAWN)
    back = await world.services.rollbacks.request(AGENT, target_version=None, reason="bad", actor=ADA)
    assert back.to_version == "1.0.0"


async def test_with_nothing_but_withdrawn_points_the_rollback_says_so(world: World) -> None:
    await world.add("1.0.0")
    await world.upgraded_to("1.1.0")
    await mark(world, "1.0.0", WITHDRAWN)
    with pytest.raises(Conflict) as caught:
        await world.services.rollbacks.request(AGENT, target_version=None, reason="bad", actor=ADA)
    assert (caught.value.code, "override_withdrawn" in (caught.value.hint or "")) == ("version_withdrawn", True)


async def test_the_source_withdraws_what_it_released_and_people_have_the_last_word(world: World) -> None:
    await world.add("1.0.0", "1.1.0")
    later = await world.upgrade("1.1.0", schedule=START.replace(year=START.year + 1, month=1, day=1))
    source_says(world, "1.1.0", withdrawn="yanked: broken wheels")
    source_says(world, "1.0.0", deprecated="use 1.2")
    await world.services.versions.refresh(AGENT)
    assert (await info(world, "1.1.0")).standing_by == "source"
    assert (await info(world, "1.0.0")).standing == "deprecated"
    events = [e.event for e in await world.services.events.since(0) if e.event.type in {"version_withdrawn", "version_deprecated"}]
    assert sorted((e.data["version"], e.data["by_source"], e.reason) for e in events) == [
        ("1.0.0", True, "use 1.2"),
        ("1.1.0", True, "yanked: broken wheels"),
    ]
    assert (await world.services.upgrades.find(later.deployment)).status is DeploymentStatus.CANCELLED
    await mark(world, "1.1.0", AVAILABLE, "our wheels are fine")
    await world.services.versions.refresh(AGENT)
    assert (await info(world, "1.1.0")).standing == "available"
    await world.upgrade("1.1.0")
    source_says(world, "1.1.0", withdrawn=None)
    await world.services.versions.refresh(AGENT)
    assert (await info(world, "1.1.0")).standing == "available"


async def test_saying_the_same_again_or_without_a_reason_or_of_nothing_is_refused(world: World) -> None:
    await world.add("1.0.0")
    with pytest.raises(Conflict) as unchanged:
        await mark(world, "1.0.0", AVAILABLE)
    assert unchanged.value.code == "standing_unchanged"
    with pytest.raises(Invalid, match="reason"):
        await mark(world, "1.0.0", WITHDRAWN, " ")
    with pytest.raises(NotFound, match=r"9\.9\.9"):
        await mark(world, "9.9.9", WITHDRAWN)
    with pytest.raises(Invalid, match="semantic version"):
        await mark(world, "latest", WITHDRAWN)


async def test_an_agent_is_not_added_with_a_withdrawn_version(world: World) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        world.source.put(version)
    source_says(world, "1.2.0", withdrawn="broken")
    source_says(world, "1.1.0", deprecated="slow")
    with pytest.raises(Conflict) as caught:
        await world.services.fleet.add(a_manifest(), version="1.2.0", actor=ADA)
    assert caught.value.code == "version_withdrawn"
    _, deployment = await world.services.fleet.add(a_manifest(), version=None, actor=ADA)
    assert deployment.to_version == "1.0.0"


async def test_a_new_version_that_is_withdrawn_already_is_not_announced(world: World) -> None:
    await world.add("1.0.0")
    world.source.put("1.1.0")
    source_says(world, "1.1.0", withdrawn="broken")
    await world.services.versions.refresh(AGENT)
    assert not [e for e in await world.services.events.since(0) if e.event.type in {"version_available", "version_withdrawn"}]


async def test_a_version_whose_schema_refuses_the_configuration_in_force_says_so_and_is_not_recommended(world: World) -> None:
    wide = '{"properties": {"timeout_seconds": {"type": "integer"}}}'
    world.source.put("1.0.0", manifest_text=agent_toml(timeout_seconds=30), schema=wide)
    await world.add("1.0.0")
    narrow = '{"properties": {"timeout_seconds": {"type": "integer", "maximum": 10}}}'
    world.source.put("1.1.0", manifest_text=agent_toml(timeout_seconds=30), schema=narrow)
    world.source.put("1.0.1", manifest_text=agent_toml(timeout_seconds=30), schema=wide)
    await world.services.versions.refresh(AGENT)
    found = await info(world, "1.1.0")
    assert not found.upgradable
    assert found.config_problems
    assert found.config_problems[0].startswith("timeout_seconds ")
    assert "cannot use the configuration in force" in found.compatibility
    assert (await info(world, "1.0.1")).config_problems == ()
    view = await world.services.versions.list(AGENT)
    assert view.hints.recommended is not None
    assert view.hints.recommended.version == "1.0.1"
    assert (found.state_door, bool(found.state_note)) == ((await world.services.versions.changes(AGENT, "1.0.0", "1.1.0")).state_door, True)
