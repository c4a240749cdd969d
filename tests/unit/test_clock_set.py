"""The wall clock is set while the server runs."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState
from agent_servicing.ports import Lease
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.testing.clock import CountingIds, VirtualClock
from agent_servicing.testing.store import MemoryStore

pytestmark = pytest.mark.anyio


class Engine:
    """Sets the clock in its first turn and puts the agent off."""

    pulse = channel = None

    def __init__(self, clock: VirtualClock, store: MemoryStore, jump_seconds: float) -> None:
        self.clock, self.store, self.jump_seconds, self.turns = clock, store, jump_seconds, 0
        self.again = anyio.Event()

    async def turn(self, lease: Lease) -> bool:
        self.turns += 1
        await self.store.release(lease, next_at=self.clock.now() + timedelta(days=1))
        if self.turns == 1:
            self.clock.jump(self.jump_seconds)
        else:
            self.again.set()
        return True


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0, 5.0, -5.0])
async def test_once_the_clock_was_set_every_agent_is_looked_at(jump_seconds: float) -> None:
    clock = VirtualClock()
    store = MemoryStore(CountingIds())
    manifest = Manifest(agent="Agent", source=Source(kind="path", location="/srv/agent"), run=Run(), health=Health())
    store.add(AgentState(agent=Agent(agent="Agent", manifest=manifest, instances=1, created_at=clock.now())), clock.now())
    engine: Any = Engine(clock, store, jump_seconds)
    supervisor = Supervisor(engine=engine, store=store, bus=LocalEventBus(), clock=clock, lease_seconds=30.0, concurrency=1)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.run)
            await engine.again.wait()
            tasks.cancel_scope.cancel()
    assert engine.turns == 2
