"""The smallest adapter of each port the engine uses, in memory, on the virtual clock.

`MemoryRuntime` runs pretended processes, `MemoryRouter` obeys at once, `MemoryMetrics` counts requests that the test sends. What should
go wrong is set on the objects: versions that cannot be installed, never become healthy or crash, and what share of requests they fail.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent_servicing.core import latency
from agent_servicing.core.analysis import Tally
from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters, Counts, GenerationCounters, InstanceCounters
from agent_servicing.core.model import Preparation, Probe, Process, Release, Verification
from agent_servicing.core.reports import Limit
from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import RateLimit, Routing, RoutingView
from agent_servicing.core.status import PreparationStatus, VerificationStatus
from agent_servicing.ports import Clock


@dataclass(slots=True)
class Behaviour:
    """How instances of one version behave."""

    installs: bool = True
    healthy: bool = True
    crashes: bool = False
    ignores_sigterm: bool = False
    error_share: float = 0.0
    latency_ms: float = 10.0
    verifies: bool | None = True
    """Whether its tests pass; None: they cannot be run."""
    verify_seconds: float = 5.0


@dataclass(slots=True)
class MemoryRuntime:
    """Implements `Runtime`. Ports count up from 10001; a started instance is alive until stopped, killed or crashed."""

    clock: Clock
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    processes: dict[str, dict[str, Process]] = field(default_factory=dict)
    installed: dict[tuple[str, str], Preparation] = field(default_factory=dict)
    reachable: bool = True
    started: list[str] = field(default_factory=list)
    output: list[tuple[str, str]] = field(default_factory=list)
    epochs: dict[tuple[str, str], int] = field(default_factory=dict)
    limits: bool = True
    """Whether it can limit what instances use; a limit of `deaf` ones is not taken up. `output`: what instances printed, ended ones too."""
    deaf: set[str] = field(default_factory=set)
    configs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Revision and text that each instance was started with."""

    def behaviour(self, version: str) -> Behaviour:
        if version not in self.behaviours:
            self.behaviours[version] = Behaviour()
        return self.behaviours[version]

    async def prepare(self, release: Release, *, again: bool = False) -> None:
        key = (release.agent, release.version)
        if key not in self.installed or again:
            works = self.behaviour(release.version).installs
            status = PreparationStatus.READY if works else PreparationStatus.FAILED
            self.installed[key] = Preparation(status=status, detail="" if works else "no such dependency", at=self.clock.now())

    async def preparation(self, agent: str, version: str) -> Preparation:
        self._check()
        return self.installed.get((agent, version), Preparation(status=PreparationStatus.ABSENT))

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        self._check()
        running = self.processes.setdefault(release.agent, {})
        if (await self.preparation(release.agent, release.version)).status is not PreparationStatus.READY:
            raise TemporaryError(f"version {release.version} of {release.agent} is not installed")
        if instance in running:
            return
        self.started.append(instance)
        self.epochs[release.agent, instance] = epoch
        self.configs[instance] = (revision, config)
        crashed = self.behaviour(release.version).crashes
        running[instance] = Process(
            instance=instance,
            generation=generation,
            version=release.version,
            alive=not crashed,
            host="127.0.0.1",
            port=10_000 + len(self.started),
            pid=len(self.started),
            started_at=self.clock.now(),
            exit_code=1 if crashed else None,
            last_output="boom" if crashed else "",
            resources=Resources() if self.limits else None,
        )

    @property
    def limitable(self) -> frozenset[str]:
        return frozenset({"memory_mb"}) if self.limits else frozenset()

    async def limit(self, agent: str, instance: str, resources: Resources) -> None:
        """Implements `LimitsInstances`."""
        self._check()
        process = self.processes.get(agent, {}).get(instance)
        if process is not None and process.alive and self.limits and instance not in self.deaf:
            self.processes[agent][instance] = replace(process, resources=resources)

    async def stop(self, agent: str, instance: str, *, kill: bool = False) -> None:
        process = self.processes.get(agent, {}).get(instance)
        if process is not None and (kill or not self.behaviour(process.version).ignores_sigterm):
            self.processes[agent][instance] = replace(process, alive=False, exit_code=-9 if kill else 0)

    async def observe(self, agent: str) -> Mapping[str, Process]:
        self._check()
        return dict(self.processes.get(agent, {}))

    async def living(self) -> Mapping[str, Mapping[str, int | None]]:
        self._check()
        return {agent: {name: p.pid for name, p in found.items() if p.alive} for agent, found in self.processes.items()}

    async def forget(self, agent: str, instance: str) -> None:
        process = self.processes.get(agent, {}).get(instance)
        if process is not None and process.alive:
            raise TemporaryError(f"{agent}/{instance} still runs; it cannot be forgotten yet")
        self.processes.get(agent, {}).pop(instance, None)

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        self._check()
        return [one for one in self.output or [(name, "started") for name in self.started] if instance in (None, one[0])][-lines:]

    async def collect(self, agent: str, *, keep: Collection[str]) -> Sequence[str]:
        used = {process.version for process in self.processes.get(agent, {}).values() if process.alive}
        gone = [version for owner, version in self.installed if owner == agent and version not in used.union(keep)]
        for version in gone:
            del self.installed[agent, version]
        return gone

    async def holder(self, token: str) -> tuple[str, Process] | None:
        """Implements `InstanceTokens`: every instance has the token that `token_of` says."""
        every = ((agent, process) for agent, running in self.processes.items() for process in running.values() if process.alive)
        return next(((agent, process) for agent, process in every if self.token_of(agent, process.instance) == token), None)

    def token_of(self, agent: str, instance: str) -> str:
        return f"token-of-{agent}-{instance}"

    def crash(self, agent: str, instance: str) -> None:
        """The instance dies by itself."""
        process = self.processes[agent][instance]
        self.processes[agent][instance] = replace(process, alive=False, exit_code=139, last_output="killed")

    def _check(self) -> None:
        if not self.reachable:
            raise TemporaryError("the runtime does not answer")


@dataclass(slots=True)
class MemoryClient:
    """Implements `AgentClient` by the behaviour of the version."""

    clock: Clock
    runtime: MemoryRuntime
    sick: set[str] = field(default_factory=set)

    async def probe(self, manifest: Manifest, process: Process) -> Probe:
        path = manifest.health.path or "/"
        well = self.runtime.behaviour(process.version).healthy and process.instance not in self.sick
        detail = "" if well else f"GET {path} answered 503"
        return Probe(instance=process.instance, healthy=well, at=self.clock.now(), detail=detail)


@dataclass(slots=True)
class MemoryVerifier:
    """Implements `Verifier` by the behaviour of the version; it takes `verify_seconds` of virtual time."""

    clock: Clock
    runtime: MemoryRuntime
    begun: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    reachable: bool = True

    async def begin(self, release: Release, *, key: str) -> None:
        self._check()
        if key not in self.begun:
            self.begun[key] = (release.version, self.clock.now())
            self.history.append(key)

    async def outcome(self, key: str) -> Verification:
        self._check()
        if key not in self.begun:
            return Verification(status=VerificationStatus.ABSENT)
        version, began = self.begun[key]
        behaviour = self.runtime.behaviour(version)
        if (self.clock.now() - began).total_seconds() < behaviour.verify_seconds:
            return Verification(status=VerificationStatus.RUNNING)
        at = self.clock.now()
        match behaviour.verifies:
            case True:
                return Verification(status=VerificationStatus.PASSED, detail="smoke tests: 5 of 5 passed", passed=5, at=at)
            case False:
                detail = "smoke tests: 4 of 5 passed; test_recall failed"
                return Verification(status=VerificationStatus.FAILED, detail=detail, passed=4, failed=1, at=at)
            case None:
                return Verification(status=VerificationStatus.UNAVAILABLE, detail="smoke tests could not be run: no pytest", at=at)

    async def forget(self, key: str) -> None:
        self._check()
        self.begun.pop(key, None)

    def restart(self) -> None:
        """The server was started anew: what ran is gone."""
        self.begun.clear()

    def _check(self) -> None:
        if not self.reachable:
            raise TemporaryError("the verifier does not answer")


@dataclass(slots=True)
class MemoryReports:
    """Implements `Reports`. `report` is what an instance of that generation says."""

    clock: Clock
    values: dict[str, list[tuple[int, str, float, datetime]]] = field(default_factory=dict)
    reachable: bool = True

    def report(self, agent: str, generation: int, metric: str, *values: float) -> None:
        self.values.setdefault(agent, []).extend((generation, metric, value, self.clock.now()) for value in values)

    async def tallies(self, agent: str, metrics: Sequence[Limit], since: datetime) -> Mapping[int, Mapping[str, Tally]]:
        if not self.reachable:
            raise TemporaryError("the reports cannot be read")
        found: dict[int, dict[str, Tally]] = {}
        for generation, metric, value, at in self.values.get(agent, ()):
            limit = next((limit for limit in metrics if limit.name == metric), None)
            if limit is not None and at >= since:
                tally = found.setdefault(generation, {}).get(metric, Tally())
                found[generation][metric] = Tally(total=tally.total + 1, bad=tally.bad + limit.broken_by(value))
        return found


@dataclass(slots=True)
class MemoryRouter:
    """Implements `Router`. `history` holds every routing applied, for invariants."""

    routings: dict[str, Routing] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    pinned: dict[int, int] | None = None
    reachable: bool = True
    history: list[Routing] = field(default_factory=list)

    async def observe(self, agent: str) -> RoutingView:
        self._check()
        return RoutingView(routing=self.routings.get(agent), epoch="1", in_flight=dict(self.in_flight))

    async def observe_all(self) -> Mapping[str, Routing]:
        self._check()
        return dict(self.routings)

    async def conversations(self, agent: str) -> Mapping[int, int] | None:  # noqa: ARG002 (the port's)
        self._check()
        return self.pinned

    async def apply(self, routing: Routing) -> None:
        self._check()
        self.routings[routing.agent] = routing
        self.history.append(routing)

    async def remove(self, agent: str) -> None:
        self._check()
        self.routings.pop(agent, None)

    def _check(self) -> None:
        if not self.reachable:
            raise TemporaryError("the data plane does not answer")


@dataclass(slots=True)
class MemoryMetrics:
    """Implements `Metrics`. `send` routes requests exactly by the routing in force: no luck involved. `converse` is one request of a conversation.

    `pinned_share` of all requests (0–1) belong to conversations that the stable generation began; `bad_instances` fail the share of
    requests given for them.
    """

    clock: Clock
    router: MemoryRouter
    runtime: MemoryRuntime
    counted: dict[str, dict[int, GenerationCounters]] = field(default_factory=dict)
    unserved: dict[str, int] = field(default_factory=dict)
    reachable: bool = True
    carried: dict[tuple[str, int], float] = field(default_factory=dict)
    owed: dict[tuple[str, int], float] = field(default_factory=dict)
    of_instances: dict[str, InstanceCounters] = field(default_factory=dict)
    pinned_share: float = 0.0
    bad_instances: dict[str, float] = field(default_factory=dict)
    limited: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By agent, what was left in the bucket of its rate limit, and when (monotonic)."""
    pins: dict[tuple[str, str], int] = field(default_factory=dict)
    """By agent and conversation, the generation that it was with."""

    async def counters(self, agent: str) -> Counters:
        if not self.reachable:
            raise TemporaryError("the counters cannot be read")
        return Counters(
            at=self.clock.now(),
            generations=dict(self.counted.get(agent, {})),
            instances=dict(self.of_instances),
            unserved=self.unserved.get(agent, 0),
            limited=self.limited.get(agent, 0),
        )

    def send(self, agent: str, requests: int) -> None:
        """So many new requests arrive now."""
        routing = self.router.routings.get(agent)
        if routing is None:
            return
        requests -= self._refused(agent, routing.rate_limit, requests)
        pinned = int(requests * self.pinned_share) if routing.stable is not None else 0
        if pinned and routing.stable is not None:
            self._answer(agent, routing, routing.stable, pinned, pinned=True)
        requests -= pinned
        for generation, share in _shares(routing).items():
            exact = requests * share / 100 + self.carried.get((agent, generation), 0.0)
            whole = int(exact + 1e-9)
            self.carried[agent, generation] = exact - whole
            self._answer(agent, routing, generation, whole)

    def converse(self, agent: str, conversation: str) -> None:
        """One request of this conversation arrives now; it stays where it is pinned, as `Routing` says."""
        routing = self.router.routings.get(agent)
        if routing is None:
            return
        if routing.conversation_key is None:
            self.send(agent, 1)
            return
        pin = self.pins.get((agent, conversation))
        target = routing.redirects.get(pin, pin) if pin is not None else None
        pinned = routing.generation(target) is not None
        if not pinned:
            below = zlib.crc32(conversation.encode()) % 10_000 < routing.share * 100
            target = routing.candidate if routing.candidate is not None and below else routing.stable
        if target is not None:
            self._answer(agent, routing, target, 1, pinned=pinned, came=int(target != pin))
            self.pins[agent, conversation] = target

    def _refused(self, agent: str, limit: RateLimit | None, requests: int) -> int:
        """How many of them are beyond the agent's limit."""
        if limit is None:
            self.buckets.pop(agent, None)
            return 0
        now = self.clock.monotonic()
        left, since = self.buckets.get(agent, (float(limit.burst), now))
        left = min(limit.burst, left + (now - since) * limit.requests_per_second)
        passed = min(requests, int(left + 1e-9))
        self.buckets[agent] = (left - passed, now)
        self.limited[agent] = self.limited.get(agent, 0) + requests - passed
        return requests - passed

    def _answer(self, agent: str, routing: Routing, number: int, requests: int, *, pinned: bool = False, came: int = 0) -> None:
        route = routing.generation(number)
        if route is None or not route.backends:
            self.unserved[agent] = self.unserved.get(agent, 0) + requests
            return
        behaviour = self.runtime.behaviour(route.version)
        names = [backend.instance for backend in route.backends]
        exact = requests * sum(self.bad_instances.get(name, behaviour.error_share) for name in names) / len(names)
        exact += self.owed.get((agent, number), 0.0)
        errors = min(requests, int(exact + 1e-9))
        self.owed[agent, number] = exact - errors
        self._count_instances(names, requests, errors)
        bucket = next((i for i, edge in enumerate(latency.EDGES_MS) if behaviour.latency_ms <= edge), latency.BUCKETS - 1)
        histogram = tuple(requests - errors if i == bucket else 0 for i in range(latency.BUCKETS))
        new = Counts(routed=requests, answered=requests, errors=errors, conversations=came, histogram=histogram)
        counted = self.counted.setdefault(agent, {})
        before = counted.get(number, GenerationCounters())
        counted[number] = replace(before, pinned=before.pinned + new) if pinned else replace(before, new=before.new + new)

    def _count_instances(self, names: Sequence[str], requests: int, errors: int) -> None:
        """Requests evenly, errors where they are made: at the bad ones, if any are."""
        bad = [name for name in names if name in self.bad_instances] or list(names)
        for place, name in enumerate(names):
            before = self.of_instances.get(name, InstanceCounters())
            mine = requests // len(names) + (place < requests % len(names))
            wrong = errors // len(bad) + (bad.index(name) < errors % len(bad)) if name in bad else 0
            self.of_instances[name] = InstanceCounters(requests=before.requests + mine, errors=before.errors + wrong)


def _shares(routing: Routing) -> dict[int, float]:
    shares: dict[int, float] = {}
    if routing.candidate is not None:
        shares[routing.candidate] = routing.share
    rest = 100 - routing.share if routing.candidate is not None else 100.0
    if routing.stable is not None:
        shares[routing.stable] = shares.get(routing.stable, 0.0) + rest
    return {generation: share for generation, share in shares.items() if share > 0}
