"""The adapters of the simulated world: those of `testing.memory`, which may also be slow, lie, flap, hang and forget. The world owns them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from agent_servicing.core import latency
from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters, Counts, GenerationCounters
from agent_servicing.core.model import Preparation, Probe, Process, Release, Verification
from agent_servicing.core.routing import Routing, RoutingView
from agent_servicing.core.state import Saving, SavingStatus
from agent_servicing.core.status import PreparationStatus, VerificationStatus
from agent_servicing.ports import Clock
from agent_servicing.testing.memory import Behaviour, MemoryClient, MemoryRouter, MemoryRuntime


class Timer(Protocol):
    """Calls `what` when so many virtual seconds have passed."""

    def __call__(self, seconds: float, what: Callable[[], None]) -> None: ...


@dataclass(slots=True)
class Temper(Behaviour):
    """How instances of one version behave in time (seconds). `lives` None is for ever; `flaps` are sick so often that it shows."""

    install: float = 0.0
    start: float = 0.0
    lives: float | None = None
    flaps: float | None = None


@dataclass(slots=True, kw_only=True)
class Body:
    """What is true of one started process, whatever anybody believes. Times are virtual seconds."""

    agent: str
    instance: str
    generation: int
    version: str
    answers_at: float
    sick: bool = False
    hung: bool = False
    felled: bool = False
    proven: bool = False
    busy_until: float = 0.0
    drains_since: float | None = None


@dataclass
class SimRuntime(MemoryRuntime):
    """Installs and starts take their time; what lives too short dies by itself."""

    later: Timer = field(kw_only=True)
    on_fall: Callable[[Body], None] = field(kw_only=True)
    bodies: dict[tuple[str, str], Body] = field(default_factory=dict)

    def temper(self, version: str) -> Temper:
        found = self.behaviours.get(version)
        if not isinstance(found, Temper):
            found = self.behaviours[version] = Temper()
        return found

    def body(self, agent: str, instance: str) -> Body | None:
        return self.bodies.get((agent, instance))

    def alive(self, agent: str, instance: str) -> bool:
        running = self.processes.get(agent)
        process = running.get(instance) if running is not None else None
        return process is not None and process.alive

    def listens(self, agent: str, instance: str) -> bool:
        """Whether it takes a connection: what the data plane's own check sees."""
        body = self.bodies.get((agent, instance))
        return body is not None and self.clock.monotonic() >= body.answers_at and self.alive(agent, instance)

    def able(self, agent: str, instance: str) -> bool:
        """Whether it really answers and is well."""
        body = self.bodies.get((agent, instance))
        return body is not None and not body.sick and not body.hung and self.listens(agent, instance)

    async def prepare(self, release: Release, *, again: bool = False) -> None:
        self._check()
        key = (release.agent, release.version)
        before = self.installed.get(key)
        if before is not None and (before.status is PreparationStatus.INSTALLING or not again):
            return
        temper = self.temper(release.version)
        if not temper.install:
            await super().prepare(release, again=again)
            return
        begun = self.installed[key] = Preparation(status=PreparationStatus.INSTALLING, at=self.clock.now())

        def done() -> None:
            if self.installed.get(key) is begun:
                status = PreparationStatus.READY if temper.installs else PreparationStatus.FAILED
                detail = "" if temper.installs else "no such dependency"
                self.installed[key] = Preparation(status=status, detail=detail, at=self.clock.now())

        self.later(temper.install, done)

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        if instance in self.processes.get(release.agent, {}):
            return
        await super().start(release, instance=instance, generation=generation, config=config, revision=revision, epoch=epoch)
        temper, now = self.temper(release.version), self.clock.monotonic()
        body = Body(agent=release.agent, instance=instance, generation=generation, version=release.version, answers_at=now + temper.start)
        self.bodies[release.agent, instance] = body
        body.felled = temper.crashes
        if temper.lives is not None:
            self.later(temper.lives, lambda: self.fell(release.agent, instance))
        if temper.flaps is not None:
            self.later(temper.flaps, lambda: self._flap(body))

    async def stop(self, agent: str, instance: str, *, kill: bool = False) -> None:
        self._check()
        await super().stop(agent, instance, kill=kill)

    async def forget(self, agent: str, instance: str) -> None:
        self._check()
        await super().forget(agent, instance)
        self.bodies.pop((agent, instance), None)

    def fell(self, agent: str, instance: str) -> None:
        """It dies by itself."""
        body = self.body(agent, instance)
        if body is not None and self.alive(agent, instance):
            self.crash(agent, instance)
            body.felled = True
            self.on_fall(body)

    def hurt(self, body: Body, *, hangs: bool = False) -> None:
        """It turns sick (health fails, requests are answered) or hangs (neither is)."""
        body.sick, body.hung = True, hangs
        self.on_fall(body)

    def _flap(self, body: Body) -> None:
        flaps = self.temper(body.version).flaps
        if flaps is None or not self.alive(body.agent, body.instance):
            return
        if body.sick:
            body.sick = False
        else:
            self.hurt(body)
        self.later(flaps, lambda: self._flap(body))


@dataclass
class SimClient(MemoryClient):
    """Probes see what is true at the moment: not started yet, sick, hanging."""

    async def probe(self, manifest: Manifest, process: Process) -> Probe:
        if not isinstance(self.runtime, SimRuntime):
            return await super().probe(manifest, process)
        body = self.runtime.body(manifest.agent, process.instance)
        well = self.runtime.behaviour(process.version).healthy and self.runtime.able(manifest.agent, process.instance)
        if body is not None and well:
            body.proven = True
        return Probe(instance=process.instance, healthy=well, at=self.clock.now(), detail="" if well else "no answer")


@dataclass
class SimRouter(MemoryRouter):
    """Obeys at once, or `late` by so many seconds (orders stay in order); `observe` always tells the truth."""

    later: Timer = field(kw_only=True)
    clock: Clock = field(kw_only=True)
    runtime: SimRuntime = field(kw_only=True)
    busy_seconds: Callable[[], float] = lambda: 0.0
    late: float = 0.0
    deaf: bool = False
    orders: dict[str, int] = field(default_factory=dict)

    async def observe(self, agent: str) -> RoutingView:
        self._check()
        now = self.clock.monotonic()
        busy = {b.instance: 1 for (owner, _), b in self.runtime.bodies.items() if owner == agent and b.busy_until > now}
        return RoutingView(routing=self.routings.get(agent), epoch="1", in_flight=busy)

    async def apply(self, routing: Routing) -> None:
        self._check()
        order = self.orders[routing.agent] = self.orders.get(routing.agent, 0) + 1
        if self.late:
            self.later(self.late, lambda: self._obey(routing, order))
        elif not self.deaf:
            self._obey(routing, order)

    async def remove(self, agent: str) -> None:
        self.orders[agent] = self.orders.get(agent, 0) + 1
        await super().remove(agent)

    def _obey(self, routing: Routing, order: int) -> None:
        if self.orders.get(routing.agent) == order:
            self.routings[routing.agent] = routing
            self._note_drains(routing)

    def _note_drains(self, routing: Routing) -> None:
        """What begins to drain may have some work to finish first."""
        now = self.clock.monotonic()
        drains = {b.instance for g in routing.generations for b in g.backends if b.state == "drain"}
        for (agent, instance), body in self.runtime.bodies.items():
            if agent != routing.agent or instance not in drains:
                continue
            if body.drains_since is None:
                body.drains_since, body.busy_until = now, now + self.busy_seconds()


NOTHING = Counts()


@dataclass(slots=True)
class Tally:
    """Counts of one kind, cheap to add to; `read` is the last reading, None when something came since."""

    routed: int = 0
    answered: int = 0
    errors: int = 0
    conversations: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    read: Counts | None = None

    def add(self, requests: int, errors: int, bucket: int, *, came: bool) -> None:
        self.routed += requests
        self.answered += requests
        self.errors += errors
        self.conversations += came
        self.buckets[bucket] = self.buckets.get(bucket, 0) + requests - errors
        self.read = None

    def counts(self) -> Counts:
        if not self.routed:
            return NOTHING
        if self.read is not None:
            return self.read
        histogram = list(latency.EMPTY)
        for bucket, count in self.buckets.items():
            histogram[bucket] = count
        self.read = Counts(
            routed=self.routed,
            answered=self.answered,
            errors=self.errors,
            conversations=self.conversations,
            histogram=tuple(histogram),
        )
        return self.read


@dataclass(slots=True)
class Tallies:
    """What one agent's data plane counted, by generation: requests the share decided on, and those of pinned conversations."""

    new: dict[int, Tally] = field(default_factory=dict)
    pinned: dict[int, Tally] = field(default_factory=dict)
    unserved: int = 0

    def read(self, now: datetime) -> Counters:
        generations = {
            n: GenerationCounters(new=_counts(self.new.get(n)), pinned=_counts(self.pinned.get(n)))
            for n in sorted(self.new.keys() | self.pinned.keys())
        }
        return Counters(at=now, generations=generations, unserved=self.unserved)


def _counts(tally: Tally | None) -> Counts:
    return tally.counts() if tally is not None else NOTHING


@dataclass
class SimMetrics:
    """Implements `Metrics` over what was really counted; may be out of reach, stale (an old reading with its old time) or reset to nothing."""

    clock: Clock
    counted: dict[str, Tallies] = field(default_factory=dict)
    reachable: bool = True
    stale: bool = False
    last: dict[str, Counters] = field(default_factory=dict)

    async def counters(self, agent: str) -> Counters:
        if not self.reachable:
            raise TemporaryError("the counters cannot be read")
        if self.stale and agent in self.last:
            return self.last[agent]
        reading = self.tallies(agent).read(self.clock.now())
        self.last[agent] = reading
        return reading

    def tallies(self, agent: str) -> Tallies:
        found = self.counted.get(agent)
        if found is None:
            found = self.counted[agent] = Tallies()
        return found

    def reset(self) -> None:
        self.counted.clear()


@dataclass
class SimVerifier:
    """Implements `Verifier`: a run takes its time, and a version whose answers are wrong fails it."""

    later: Timer
    runtime: SimRuntime
    seconds: Callable[[], float] = lambda: 1.0
    runs: dict[str, Verification] = field(default_factory=dict)

    async def begin(self, release: Release, *, key: str) -> None:
        if key in self.runs:
            return
        self.runs[key] = Verification(status=VerificationStatus.RUNNING)
        passes = self.runtime.temper(release.version).error_share < 1
        status = VerificationStatus.PASSED if passes else VerificationStatus.FAILED

        def done() -> None:
            if key in self.runs:
                self.runs[key] = Verification(status=status, detail=status.value)

        self.later(self.seconds(), done)

    async def outcome(self, key: str) -> Verification:
        return self.runs.get(key, Verification(status=VerificationStatus.ABSENT))

    async def forget(self, key: str) -> None:
        self.runs.pop(key, None)


@dataclass
class SimSnapshots:
    """Implements the engine's part of `Snapshots`: a copy takes its time, one begun under a name that ends in 7 fails."""

    later: Timer
    runs: dict[tuple[str, str], Saving] = field(default_factory=dict)

    async def begin(self, release: Release, *, key: str, **_more: object) -> None:
        name = (release.agent, key)
        if name in self.runs:
            return
        self.runs[name] = Saving(status=SavingStatus.RUNNING)
        outcome = Saving(status=SavingStatus.FAILED, detail="the disk is full") if key.endswith("7") else Saving(status=SavingStatus.DONE)

        def done() -> None:
            if name in self.runs:
                self.runs[name] = outcome

        self.later(1.0, done)

    async def outcome(self, agent: str, key: str) -> Saving:
        return self.runs.get((agent, key), Saving(status=SavingStatus.ABSENT))

    def restart(self) -> None:
        """The server was killed: what was being copied is gone, what was copied is not."""
        self.runs = {name: run for name, run in self.runs.items() if run.status is SavingStatus.DONE}


def spread(routing: Routing) -> Mapping[int, float]:
    """Generation → percent of the requests outside conversations."""
    shares: dict[int, float] = {}
    candidate = routing.share if routing.candidate is not None else 0.0
    if routing.candidate is not None and candidate > 0:
        shares[routing.candidate] = candidate
    if routing.stable is not None and candidate < 100:
        shares[routing.stable] = shares.get(routing.stable, 0.0) + 100 - candidate
    return shares
