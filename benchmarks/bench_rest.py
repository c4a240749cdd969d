"""(g) The engine at rest: real engine, supervisor and clock over memory adapters; processor time and memory with a thousand idle agents,
and what a second costs with so many agents of which so many are being deployed."""

import gc
import subprocess
import sys
import time

import anyio
import psutil
from common import report

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec, Release
from agent_servicing.core.status import DeploymentKind
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import Pulse
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.store import MemoryStore

SECONDS = 20.0
INSTANCES = 3
PATIENCE_SECONDS = 240.0


class World:
    """Agents on memory adapters, installed by the engine itself."""

    def __init__(self, agents: int, *, rests: bool) -> None:
        self.clock = SystemClock()
        self.runtime = MemoryRuntime(self.clock)
        self.router = MemoryRouter()
        self.metrics = MemoryMetrics(self.clock, self.router, self.runtime)
        self.client = MemoryClient(self.clock, self.runtime)
        self.store = MemoryStore(RandomIds())
        self.pulse = Pulse.of(
            runtime=self.runtime, router=self.router, client=self.client, store=self.store, clock=self.clock, interval_seconds=1.0
        )
        engine = Engine(
            store=self.store,
            runtime=self.runtime,
            router=self.router,
            metrics=self.metrics,
            client=self.client,
            clock=self.clock,
            limits=Limits(),
            action_timeout_seconds=10,
            pulse=self.pulse if rests else None,
        )
        self.supervisor = Supervisor(
            engine=engine, store=self.store, bus=LocalEventBus(), clock=self.clock, lease_seconds=30, concurrency=8
        )
        self.names = [f"Agent-{n:04d}" for n in range(agents)]
        for name in self.names:
            manifest = Manifest(
                agent=name,
                source=Source(kind="path", location="/srv/agent"),
                run=Run(command=("serve",), instances=INSTANCES),
                health=Health(path="/healthz"),
            )
            agent = Agent(agent=name, manifest=manifest, instances=INSTANCES, created_at=self.clock.now())
            self.store.add(AgentState(agent=agent), self.clock.now())
            self.request(name, DeploymentKind.INSTALL, "1.0.0")

    def request(self, name: str, kind: DeploymentKind, version: str) -> None:
        """A deployment; an upgrade then stays in its analysis for an hour."""
        spec = DeploymentSpec(
            strategy="blue-green" if kind is DeploymentKind.UPGRADE else "install", steps=(50.0, 100.0), monitor_seconds=3600
        )
        deployment = Deployment(
            deployment=f"upg-{name}-{version}",
            agent=name,
            kind=kind,
            from_version=None,
            to_version=version,
            spec=spec,
            reason="a benchmark",
            actor="bench",
            requested_at=self.clock.now(),
        )
        manifest = self.store.rows[name].state.agent.manifest
        self.store.request(deployment, Release(agent=name, version=version, manifest=manifest, ref=version), self.clock.now())

    async def installed(self) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while len(self.store.history) < len(self.names):  # noqa: ASYNC110 (a memory store tells nobody)
                await anyio.sleep(0.1)

    async def until(self, resting: int) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while self.pulse.resting < resting:  # noqa: ASYNC110 (nobody tells when agents fall asleep)
                await anyio.sleep(0.1)

    async def measured(self, seconds: float) -> dict[str, float]:
        gc.collect()
        turns, cpu, began = self.supervisor.turns, time.process_time(), time.perf_counter()
        await anyio.sleep(seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        return {
            "cpu_percent_of_one_core": round(100 * cpu / wall, 2),
            "turns_per_second": round((self.supervisor.turns - turns) / wall, 1),
            "rss_mb": round(psutil.Process().memory_info().rss / 2**20, 1),
        }


async def one(agents: int, deploying: int, seconds: float, rests: bool) -> dict[str, float]:
    world = World(agents, rests=rests)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.supervisor.run)
        await world.installed()
        if rests:
            await world.until(agents * 99 // 100)  # one in a hundred may just have its turn
        for name in world.names[:deploying]:
            world.request(name, DeploymentKind.UPGRADE, "1.1.0")
        await anyio.sleep(8 if deploying else 3)  # until each is at its first share
        found = await world.measured(seconds)
        tasks.cancel_scope.cancel()
    return found


def in_its_own_process(agents: int, deploying: int, seconds: float, *, rests: bool = True) -> dict[str, float]:
    """So that nothing of an earlier world counts."""
    words = [sys.executable, __file__, str(agents), str(deploying), str(seconds), str(int(rests))]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, _, value in (part.partition("=") for part in out.split())}


def main() -> None:
    if len(sys.argv) > 1:
        agents, deploying, seconds, rests = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:] != ["0"]
        print(*(f"{name}={value}" for name, value in anyio.run(one, agents, deploying, seconds, rests).items()))
        return
    figures: dict[str, object] = {
        "what": f"agents of {INSTANCES} instances each on memory adapters; upgrades under way stay at 50 %",
        "idle": in_its_own_process(1_000, 0, SECONDS),
        "idle, a full turn for each every second": in_its_own_process(1_000, 0, SECONDS, rests=False),
    }
    for agents in (100, 1_000):
        for deploying in (0, 10, 50):
            figures[f"{agents} agents, {deploying} deployments"] = in_its_own_process(agents, deploying, SECONDS / 2)
    report("rest", figures)


if __name__ == "__main__":
    main()
