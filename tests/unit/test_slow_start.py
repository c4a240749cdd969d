"""Instances that take their time to become healthy: waited for, neither doubled nor given up before their deadline."""

import pytest

from agent_servicing.core.manifest import Health
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from tests.unit.world import World, a_manifest

pytestmark = pytest.mark.anyio


async def test_a_slow_start_is_waited_for_and_gets_no_company() -> None:
    world = await World().installed()
    before = len(world.runtime.started)
    world.runtime.behaviour("1.1.0").healthy = False
    name = world.request(DeploymentKind.UPGRADE, "1.1.0")
    await world.run(lambda: any(i.unhealthy_in_a_row for i in world.state.instances))
    for _ in range(20):
        await world.step()
    assert len(world.runtime.started) - before == 3
    world.runtime.behaviour("1.1.0").healthy = True
    assert (await world.outcome(name)).status is DeploymentStatus.COMPLETED
    assert len(world.runtime.started) - before == 3


async def test_a_quick_start_is_not_made_slow_by_a_leisurely_health_interval() -> None:
    manifest = a_manifest(health=Health(path="/healthz", interval_seconds=5.0, healthy_after=2))
    world = await World(manifest=manifest).installed()
    started = [(i.started_at, i.ready_at) for i in world.state.instances]
    assert all(begun and ready and (ready - begun).total_seconds() <= 1.0 for begun, ready in started)
