"""The supervisor with its pulse in real time over memory adapters: rests, is woken by a crash, and looks at everything when it starts."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec, Release
from agent_servicing.core.status import DeploymentKind
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import REST_SECONDS, Pulse
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.testing.channel import MemoryChannel
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.store import MemoryStore

pytestmark = pytest.mark.anyio

AGENT = "WowTest"
MANIFEST = Manifest(
    agent=AGENT, source=Source(kind="path", location="/srv/wow"), run=Run(command=("serve",), instances=2), health=Health(path="/healthz")
)


class Server:
    """What outlives one engine process, and the way to start such a process."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.runtime = MemoryRuntime(self.clock)
        self.router = MemoryRouter()
        self.store = MemoryStore(RandomIds())
        now = self.clock.now()
        self.store.add(AgentState(agent=Agent(agent=AGENT, manifest=MANIFEST, instances=2, created_at=now)), now)
        install = Deployment(
            deployment="upg-1",
            agent=AGENT,
            kind=DeploymentKind.INSTALL,
            from_version=None,
            to_version="1.0.0",
            spec=DeploymentSpec(strategy="install"),
            reason="a test",
            actor="tester",
            requested_at=now,
        )
        self.store.request(install, Release(agent=AGENT, version="1.0.0", manifest=MANIFEST, ref="1.0.0"), now)

    @asynccontextmanager
    async def running(self, channel: MemoryChannel | None = None) -> AsyncIterator[Supervisor]:
        client, interval = MemoryClient(self.clock, self.runtime), 0.2
        pulse = Pulse.of(
            runtime=self.runtime, router=self.router, client=client, store=self.store, clock=self.clock, interval_seconds=interval
        )
        engine = Engine(
            store=self.store,
            runtime=self.runtime,
            router=self.router,
            metrics=MemoryMetrics(self.clock, self.router, self.runtime),
            client=client,
            clock=self.clock,
            limits=Limits(idle_interval_seconds=interval),
            action_timeout_seconds=5,
            channel=channel,
            pulse=pulse,
        )
        supervisor = Supervisor(engine=engine, store=self.store, bus=LocalEventBus(), clock=self.clock, lease_seconds=30, concurrency=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.run)
            yield supervisor
            tasks.cancel_scope.cancel()

    def alive(self) -> int:
        return sum(p.alive for p in self.runtime.processes.get(AGENT, {}).values())


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await SystemClock().sleep(0.02)


def rests(supervisor: Supervisor) -> bool:
    return supervisor.engine.pulse is not None and supervisor.engine.pulse.resting == 1


async def test_a_crash_of_an_agent_at_rest_is_noticed_long_before_its_next_turn() -> None:
    server = Server()
    async with server.running() as supervisor:
        await until(lambda: rests(supervisor))
        turns = supervisor.turns
        await server.clock.sleep(1)
        assert supervisor.turns - turns <= 2
        server.runtime.crash(AGENT, "g1-1-1")
        await until(lambda: server.alive() == 2, seconds=REST_SECONDS / 5)


class TellingChannel(MemoryChannel):
    """Says that there are answers when `heard` has one for it."""

    def __init__(self, heard: MemoryObjectReceiveStream[str]) -> None:
        super().__init__(SystemClock())
        self._heard = heard

    async def answered(self) -> Collection[str]:
        return [await self._heard.receive()]


async def test_an_agent_is_looked_at_as_soon_as_the_last_answer_of_its_instances_is_in() -> None:
    server = Server()
    tell, heard = anyio.create_memory_object_stream[str](1)
    async with tell, heard, server.running(TellingChannel(heard)) as supervisor:
        await until(lambda: rests(supervisor))
        for _ in range(3):
            turns = supervisor.turns
            await tell.send(AGENT)
            await until(lambda turns=turns: supervisor.turns > turns, seconds=REST_SECONDS / 5)  # type: ignore[misc]


async def test_a_new_supervisor_looks_at_agents_at_once_whatever_was_written_as_their_next_turn() -> None:
    server = Server()
    async with server.running() as supervisor:
        await until(lambda: rests(supervisor))
    server.store._wake(AGENT, server.clock.now() + timedelta(seconds=100))
    server.runtime.crash(AGENT, "g1-2-2")
    async with server.running():
        await until(lambda: server.alive() == 2, seconds=REST_SECONDS / 5)
