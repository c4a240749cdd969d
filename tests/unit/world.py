"""A tiny world for tests of the decision: memory adapters, a virtual clock and a loop that decides, acts and lets time pass."""

from collections.abc import Callable
from dataclasses import replace

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch, Profile
from agent_servicing.core.decide import decide
from agent_servicing.core.draft import Decision
from agent_servicing.core.events import Event
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec, Intent, Release, Snapshot
from agent_servicing.core.schedule import gate
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, Verb
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.observe import Observer
from agent_servicing.testing.channel import MemoryChannel
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.testing.memory import (
    MemoryClient,
    MemoryMetrics,
    MemoryReports,
    MemoryRouter,
    MemoryRuntime,
    MemoryVerifier,
)
from agent_servicing.testing.restores import MemoryRestores, MemorySnapshots

AGENT = "WowTest"


def a_manifest(**changes: object) -> Manifest:
    manifest = Manifest(
        agent=AGENT,
        source=Source(kind="path", location="/srv/wow"),
        run=Run(command=("serve",), instances=3),
        health=Health(path="/healthz"),
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


class World:
    """One agent. `requests_per_second` arrive all the time."""

    def __init__(self, *, requests_per_second: int = 50, manifest: Manifest | None = None) -> None:
        self.manifest = manifest or a_manifest()
        self.clock = VirtualClock()
        self.runtime = MemoryRuntime(self.clock)
        self.client = MemoryClient(self.clock, self.runtime)
        self.router = MemoryRouter()
        self.metrics = MemoryMetrics(self.clock, self.router, self.runtime)
        self.verifier = MemoryVerifier(self.clock, self.runtime)
        self.snapshots = MemorySnapshots(self.clock)
        self.restores = MemoryRestores(self._later)
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.reports = MemoryReports(self.clock)
        self.channel = MemoryChannel(self.clock)
        self.patches: dict[str, Patch] = {}
        self.limits = Limits()
        self.requests_per_second = requests_per_second
        self.events: list[Event] = []
        self.finished: dict[str, Deployment] = {}
        agent = Agent(agent=AGENT, manifest=self.manifest, instances=self.manifest.run.instances, created_at=self.clock.now())
        self.state = AgentState(agent=agent)
        self.after_step: Callable[[World], None] | None = None
        self._ids = 0
        self._due = 0.0

    def request(self, kind: DeploymentKind, version: str, *, strategy: str = "blue-green", **spec: object) -> str:
        self._ids += 1
        name = f"upg-{self._ids:03d}"
        strategy = "rollback" if kind is DeploymentKind.ROLLBACK else strategy
        options = {"monitor_seconds": 5.0, "hold_seconds": 30.0, "keep_warm_seconds": 60.0, **spec}
        deployment = Deployment(
            deployment=name,
            agent=AGENT,
            kind=kind,
            from_version=self.state.agent.version,
            to_version=version,
            spec=DeploymentSpec(strategy=strategy, **options),  # type: ignore[arg-type]
            reason="a test",
            actor="tester",
            requested_at=self.clock.now(),
        )
        release = Release(agent=AGENT, version=version, manifest=self.manifest, ref=version)
        releases = {**self.state.releases, version: release}
        self.state = replace(self.state, deployments=(*self.state.deployments, deployment), releases=releases)
        return name

    def patch(self, revision: str, values: dict[str, object], *, profile: Profile = "fast", **more: object) -> str:
        """What the service would write: these values on top of what is in force."""
        stable = next((g for g in self.state.generations if g.number == self.state.agent.stable), None)
        parent = stable.config if stable is not None else ""
        before = self.state.layers.get(parent, Layers())
        now = self.clock.now()
        patch = Patch(
            revision=revision, parent=parent, layers=replace(before, agent={**before.agent, **values}), profile=profile,
            actor="tester", reason="a test", requested_at=now, since=now, **more,
        )  # fmt: skip
        self.state = replace(self.state, patch=patch)
        return revision

    async def patched(self, revision: str) -> Patch:
        """The change once it is settled."""
        await self.run(lambda: revision in self.patches and not self.patches[revision].open)
        return self.patches[revision]

    def intend(self, verb: Verb, deployment: str | None = None, value: int = 0) -> None:
        self._ids += 1
        intent = Intent(intent=self._ids, agent=AGENT, verb=verb, actor="tester", at=self.clock.now(), deployment=deployment, value=value)
        self.state = replace(self.state, intents=(*self.state.intents, intent))

    async def step(self) -> Decision:
        """One turn of the real observer, decision and actions, then as much time as the decision asked for."""
        observer = Observer(
            runtime=self.runtime,
            router=self.router,
            metrics=self.metrics,
            client=self.client,
            clock=self.clock,
            verifier=self.verifier,
            snapshots=self.snapshots,
            restores=self.restores,
            reports=self.reports,
            channel=self.channel,
        )
        world = await observer.observe(self.state)
        calendar = gate(self.state.line, AGENT, world.at, CALENDAR)
        decision = decide(Snapshot(state=self.state, world=world, gate=calendar), self.limits)
        engine = Engine(
            store=None,  # type: ignore[arg-type]  (this world keeps the state itself)
            runtime=self.runtime,
            router=self.router,
            metrics=self.metrics,
            client=self.client,
            clock=self.clock,
            limits=self.limits,
            action_timeout_seconds=5,
            verifier=self.verifier,
            snapshots=self.snapshots,
            restores=self.restores,
            channel=self.channel,
        )
        for action in decision.actions:
            await engine._do(self.state, action)
        self.events.extend(decision.events)
        ended = {d.deployment: d for d in decision.state.deployments if d.terminal}
        self.finished |= ended
        running = tuple(d for d in decision.state.deployments if not d.terminal)
        patch = decision.state.patch
        if patch is not None:
            self.patches[patch.revision] = patch
        layers = {**self.state.layers, **({patch.revision: patch.layers} if patch is not None else {})}
        live = patch if patch is not None and patch.live else None
        self.state = replace(decision.state, deployments=running, intents=(), layers=layers, patch=live)
        if self.after_step is not None:
            self.after_step(self)
        self._pass(max(0.02, decision.next_in_seconds))
        return decision

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._timers.append((self.clock.monotonic() + seconds, what))

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        due = [what for at, what in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for what in due:
            what()
        self._due += seconds * self.requests_per_second
        whole = int(self._due)
        self._due -= whole
        self.metrics.send(AGENT, whole)

    async def run(self, until: Callable[[], bool], *, steps: int = 5_000) -> None:
        for _ in range(steps):
            if until():
                return
            await self.step()
        raise AssertionError(f"not reached in {steps} steps; deployments: {self.state.deployments}")

    async def installed(self, version: str = "1.0.0") -> "World":
        name = self.request(DeploymentKind.INSTALL, version, strategy="install")
        await self.run(lambda: name in self.finished)
        assert self.finished[name].status is DeploymentStatus.COMPLETED
        return self

    async def outcome(self, name: str) -> Deployment:
        await self.run(lambda: name in self.finished)
        return self.finished[name]

    def types(self) -> list[str]:
        return [e.type for e in self.events]
