"""Many agents, the real engine with its pulse, memory adapters and a virtual clock. What the supervisor does in loops is done here in turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec, Intent, Probe, Release
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.ports import Router, Runtime
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import Pulse
from agent_servicing.testing.clock import CountingIds, VirtualClock
from agent_servicing.testing.faults import FaultyPort, Fuse, Killed
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.store import MemoryStore

STEP_SECONDS = 0.1
INTERVAL_SECONDS = 1.0
HEALTH = Health(path="/healthz", interval_seconds=2.0, healthy_after=2, unhealthy_after=3)
SPEC = DeploymentSpec(strategy="install", steps=(50.0, 100.0), monitor_seconds=2.0, hold_seconds=60.0, keep_warm_seconds=5.0)


@dataclass
class RestingWorld:
    """`rests` off: an engine without a pulse, as before there was one. `turns` names every agent that got a full turn."""

    agents: int = 3
    rests: bool = True
    fuse: Fuse = field(default_factory=Fuse)
    turns: list[str] = field(default_factory=list)
    kills: int = 0
    wakes: int = 0

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.runtime = MemoryRuntime(self.clock)
        self.router = MemoryRouter()
        self.metrics = MemoryMetrics(self.clock, self.router, self.runtime)
        self.client = MemoryClient(self.clock, self.runtime)
        self.store = MemoryStore(CountingIds())
        self.names = [f"Agent-{n}" for n in range(self.agents)]
        for name in self.names:
            agent = Agent(agent=name, manifest=a_manifest(name), instances=2, created_at=self.clock.now())
            self.store.add(AgentState(agent=agent), self.clock.now())
        self.begin()

    def begin(self, *, runtime: Runtime | None = None, router: Router | None = None) -> None:
        """A new engine process, other drivers if told so; everything the last one kept in memory is gone."""
        store, clock = FaultyPort(self.store, self.fuse), self.clock
        seen = {"runtime": runtime or self.runtime, "router": router or self.router, "client": self.client}
        pulse = Pulse.of(**seen, store=store, clock=clock, interval_seconds=INTERVAL_SECONDS) if self.rests else None  # type: ignore[arg-type]
        self.engine = Engine(**seen, store=store, metrics=self.metrics, clock=clock, limits=Limits(), action_timeout_seconds=5, pulse=pulse)  # type: ignore[arg-type]
        self._beat_at = clock.monotonic()

    @property
    def resting(self) -> int:
        return self.engine.pulse.resting if self.engine.pulse else 0

    def latest(self, name: str) -> Mapping[str, Probe]:
        """The newest health check of each instance, as whoever shows it is told."""
        return self.engine.pulse.latest(name) if self.engine.pulse else {}

    def age(self, probe: Probe) -> float:
        return (self.clock.now() - probe.at).total_seconds()

    async def start_again(self) -> None:
        """As the supervisor does at its start."""
        self.begin()
        await self.store.wake(None, self.clock.now())

    async def run(self, seconds: float) -> None:
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until - STEP_SECONDS / 2:
            try:
                await self._step()
            except* Killed:
                self.kills += 1
                await self.start_again()
            self.clock.advance(STEP_SECONDS)
            for name in self.names:
                self.metrics.send(name, 5)

    async def _step(self) -> None:
        pulse = self.engine.pulse
        if pulse is not None:
            await pulse.probe()
            if self.clock.monotonic() >= self._beat_at:
                self._beat_at += INTERVAL_SECONDS
                await pulse.beat()
        for lease in await self.store.claim(self.clock.now(), lease_seconds=30, limit=self.agents):
            self.turns.append(lease.agent)
            await self.engine.turn(lease)

    async def at_rest(self) -> "RestingWorld":
        """Every agent installed and, if it may, resting."""
        for name in self.names:
            self.request(name, DeploymentKind.INSTALL, "1.0.0")
        await self.run(10)
        assert all(self.store.rows[name].state.agent.version == "1.0.0" for name in self.names)
        self.turns.clear()
        return self

    def request(self, name: str, kind: DeploymentKind, version: str, *, scheduled_at: datetime | None = None) -> str:
        deployment = Deployment(
            deployment=f"upg-{name}-{kind}-{version}",
            agent=name,
            kind=kind,
            from_version=None,
            to_version=version,
            spec=replace(SPEC, strategy="install" if kind is DeploymentKind.INSTALL else "blue-green"),
            reason="a test",
            actor="tester",
            requested_at=self.clock.now(),
            scheduled_at=scheduled_at,
            status=DeploymentStatus.SCHEDULED if scheduled_at else DeploymentStatus.QUEUED,
        )
        self.store.request(deployment, Release(agent=name, version=version, manifest=a_manifest(name), ref=version), self.clock.now())
        return deployment.deployment

    def scale(self, name: str, instances: int) -> None:
        intent = Intent(intent=len(self.turns) + 1, agent=name, verb=Verb.SCALE, actor="tester", at=self.clock.now(), value=instances)
        self.store.intend(intent, self.clock.now())

    def alive(self, name: str) -> list[str]:
        return sorted(p.instance for p in self.runtime.processes[name].values() if p.alive)


def a_manifest(name: str) -> Manifest:
    run = Run(command=("serve",), instances=2)
    return Manifest(agent=name, source=Source(kind="path", location="/srv/agent"), run=run, health=HEALTH)
