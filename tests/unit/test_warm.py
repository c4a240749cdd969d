"""A version kept warm for a rollback: what it survives, and what ends it."""

import pytest

from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus
from tests.unit.world import AGENT, World

pytestmark = pytest.mark.anyio

FIRST = 1


async def with_a_warm_version() -> World:
    world = await World().installed()
    await world.outcome(world.request(DeploymentKind.UPGRADE, "1.1.0", keep_warm_seconds=600))
    await world.run(lambda: world.state.generations[0].status is GenerationStatus.WARM)
    return world


def warm(world: World) -> list[str]:
    return sorted(i.instance for i in world.state.instances if i.generation == FIRST)


async def seconds(world: World, count: float) -> None:
    until = world.clock.monotonic() + count
    await world.run(lambda: world.clock.monotonic() >= until)


async def test_a_warm_version_whose_health_checks_fail_for_a_while_is_kept_and_then_rolled_back_to() -> None:
    world = await with_a_warm_version()
    before, started = warm(world), list(world.runtime.started)
    world.client.sick.update(before)
    await seconds(world, 20)
    assert warm(world) == before
    world.client.sick.clear()
    await seconds(world, 2)
    assert (await world.outcome(world.request(DeploymentKind.ROLLBACK, "1.0.0"))).status is DeploymentStatus.COMPLETED
    assert world.state.agent.stable == FIRST
    assert world.runtime.started == started


async def test_a_rollback_does_not_go_to_warm_instances_that_do_not_answer_just_then() -> None:
    world = await with_a_warm_version()
    world.client.sick.update(warm(world))
    await seconds(world, 20)
    done = await world.outcome(world.request(DeploymentKind.ROLLBACK, "1.0.0"))
    assert done.status is DeploymentStatus.COMPLETED
    assert world.state.agent.stable not in (FIRST, None)


async def test_a_warm_instance_that_died_is_started_again() -> None:
    world = await with_a_warm_version()
    world.runtime.crash(AGENT, "g1-1-1")
    await seconds(world, 10)
    assert warm(world) == ["g1-1-4", "g1-2-2", "g1-3-3"]
    assert (await world.outcome(world.request(DeploymentKind.ROLLBACK, "1.0.0"))).status is DeploymentStatus.COMPLETED
    assert world.state.agent.stable == FIRST


async def test_a_warm_version_that_cannot_be_started_again_is_let_go() -> None:
    world = await with_a_warm_version()
    world.runtime.behaviour("1.0.0").crashes = True
    world.runtime.crash(AGENT, "g1-1-1")
    await seconds(world, 120)
    assert [g.version for g in world.state.generations] == ["1.1.0"]
