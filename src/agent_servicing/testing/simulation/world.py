"""The simulated world: agents, users, one or two real engines, and a virtual clock that everybody shares. Stories happen in it.

Time passes only here. While an engine is held up inside a call, the world goes on around it: users ask, operators press, things break,
and the other engine takes over when the lease has run out.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, AgentState
from agent_servicing.ports import Commit, Lease
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import Pulse
from agent_servicing.testing.clock import CountingIds, VirtualClock
from agent_servicing.testing.faults import Killed
from agent_servicing.testing.restores import MemoryRestores
from agent_servicing.testing.simulation import watchers
from agent_servicing.testing.simulation.channel import SimChannel
from agent_servicing.testing.simulation.faults import READINGS, STORE, Fault, Weather
from agent_servicing.testing.simulation.gate import Guarded
from agent_servicing.testing.simulation.listeners import Listeners
from agent_servicing.testing.simulation.parts import Body, SimClient, SimMetrics, SimRouter, SimRuntime, SimSnapshots, SimVerifier
from agent_servicing.testing.simulation.plane import Users
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.simulation.store import SimStore

LEASE_SECONDS = 30.0
ACTION_SECONDS = 10.0
READ_SECONDS = 5.0

PROBE_SECONDS = 0.5
"""How exactly the health checks of resting agents keep their intervals here; the supervisor looks five times as often."""

SHORTEST_WAIT_SECONDS = 0.01
"""As the supervisor waits between two looks for agents that are due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The wall clock was set by so many seconds at that virtual second, when there were so many events."""

    at: float
    seconds: float
    events: int


@dataclass(slots=True, kw_only=True)
class Pilot:
    """One server process with its engine. `down_until`: it was killed and is being started again. `held`: inside a call that takes its time.

    `lease_until`: when the lease of its turn really ends, whatever the wall clock says.
    """

    name: str
    engine: Engine | None = None
    lease: Lease | None = None
    lease_until: float = 0.0
    began_at: float = 0.0
    down_until: float = 0.0
    held: bool = False
    told_of_jumps: int = 0
    probe_at: float = 0.0
    beat_at: float = 0.0


@dataclass(kw_only=True)
class World:
    """Everything there is. `quiet` means that nothing disturbs the engines now; `calm_seconds` is how long it was so in all.

    With `rests` agents that need nothing get no full turns; the engine's pulse watches them. With `configures` there is a way to the
    instances for their configurations.
    """

    dice: Random
    weather: Weather
    engines: int = 1
    rests: bool = False
    configures: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.runtime = SimRuntime(clock=self.clock, later=self.later, on_fall=self._fallen)
        self.client = SimClient(clock=self.clock, runtime=self.runtime)
        self.router = SimRouter(later=self.later, clock=self.clock, runtime=self.runtime)
        self.metrics = SimMetrics(clock=self.clock)
        self.verifier = SimVerifier(self.later, self.runtime)
        self.snapshots = SimSnapshots(self.later)
        self.restores = MemoryRestores(self.later)
        self.listeners = Listeners(self.clock)
        self.store = SimStore(CountingIds())
        self.channel = SimChannel(self.clock, runtime=self.runtime, timer=self.later) if self.configures else None
        self.sites: dict[str, Site] = {}
        self.pilots = [Pilot(name=f"engine {n + 1}") for n in range(self.engines)]
        self.happen: Callable[[], float] | None = None
        self.next_happening = float("inf")
        self.breach: watchers.Breach | None = None
        self.calm_seconds = 0.0
        self.upset_until = 0.0
        self.kills = self.turns = self.steps = 0
        self.told: list[tuple[float, str]] = []
        self.jumps: list[Jump] = []
        self.plans_changed_at = float("-inf")
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    @property
    def seconds(self) -> float:
        return self.clock.monotonic()

    def add(self, manifest: Manifest, *, rate: float, conversations: int) -> Site:
        """A new agent with its users, nothing installed yet."""
        users = Users(
            agent=manifest.agent,
            rate=rate,
            conversations=conversations if manifest.conversation_key else 0,
            router=self.router,
            metrics=self.metrics,
            runtime=self.runtime,
            dice=self.dice,
        )
        site = self.sites[manifest.agent] = Site(agent=manifest.agent, manifest=manifest, users=users)
        users.on_served = lambda served: watchers.served(self, site, served)
        agent = Agent(agent=manifest.agent, manifest=manifest, instances=manifest.run.instances, created_at=self.clock.now())
        self.store.add(AgentState(agent=agent), self.clock.now())
        return site

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._later, (self.seconds + seconds, self._order, what))

    def tell(self, text: str) -> None:
        """One line of the timeline for people."""
        self.told.append((self.seconds, text))

    def upset(self, seconds: float) -> None:
        """Something is being done to the engines; what they owe within bounded time is not counted meanwhile."""
        self.upset_until = max(self.upset_until, self.seconds + seconds)

    @property
    def quiet(self) -> bool:
        parts = self.runtime.reachable and self.router.reachable and self.metrics.reachable
        honest = not (self.router.late or self.router.deaf or self.metrics.stale)
        return parts and honest and self.seconds >= self.upset_until

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock, forward or back. Real time, which is `seconds`, knows nothing of it."""
        self.tell(f"the clock is set {'forward' if seconds > 0 else 'back'} by {abs(seconds):g} s")
        self.clock.jump(seconds)
        self.jumps.append(Jump(at=self.seconds, seconds=seconds, events=len(self.store.events)))
        self.upset(5.0)

    def plans_changed(self) -> None:
        """Somebody changed when things may begin; a turn under way may still go by what was before."""
        self.plans_changed_at = self.seconds

    def numbered(self) -> int:
        """A number nobody had before."""
        self._order += 1
        return self._order

    def jumped_since(self, moment: float, *, forward: bool = False) -> bool:
        """Whether the clock was set after that second."""
        return any(jump.at >= moment and (jump.seconds > 0 or not forward) for jump in self.jumps)

    async def live(self, until: float) -> None:
        """Let everything go on until that virtual second, or until a law is broken."""
        while self.seconds < until and self.breach is None:
            due = min(until, self.next_happening, self._next_turn())
            self.pass_time(max(SHORTEST_WAIT_SECONDS, due - self.seconds))
            if self.happen is not None and self.seconds >= self.next_happening:
                self.next_happening = self.seconds + self.happen()
            for pilot in self._free_pilots():
                await self._look_around(pilot)
                if pilot.held or pilot.engine is None:
                    continue
                leases = await self.store.claim(self.clock.now(), lease_seconds=LEASE_SECONDS, limit=1)
                for lease in leases:
                    await self._turn(pilot, lease)
            self.steps += 1
            watchers.step(self)

    def pass_time(self, seconds: float) -> None:
        """Users ask and what was to happen later happens; nobody thinks."""
        until = self.seconds + seconds
        while self._later and self._later[0][0] <= until:
            at, _, what = heappop(self._later)
            self._flow(at - self.seconds)
            what()
        self._flow(until - self.seconds)

    async def hold(self, pilot: Pilot, seconds: float) -> None:
        """This engine is held up so long; the world is not."""
        pilot.held = True
        self.upset(seconds + LEASE_SECONDS)
        try:
            await self.live(self.seconds + seconds)
        finally:
            pilot.held = False

    async def suffer(self, pilot: Pilot, name: str, fault: Fault, call: Callable[[], Awaitable[Any]]) -> Any:
        """The call, with that fault around it."""
        self.tell(f"{pilot.name}: {name}: {fault.value}")
        # A lease that could not be given back has to run out before anybody looks again.
        self.upset(LEASE_SECONDS if name == "release" else 5.0)
        limit = READ_SECONDS if name in READINGS else ACTION_SECONDS
        if fault in (Fault.CRASH_AFTER, Fault.ERROR_AFTER, Fault.TIMEOUT_AFTER, Fault.TWICE):
            await call()
        match fault:
            case Fault.CRASH_BEFORE | Fault.CRASH_AFTER:
                raise Killed(name)
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                raise TemporaryError(f"{name} was not answered", retry_after_seconds=self.dice.choice([0.1, 1.0, 5.0]))
            case Fault.REFUSED:
                raise PermanentError(f"{name} is refused")
            case Fault.TIMEOUT_BEFORE | Fault.TIMEOUT_AFTER:
                await self.hold(pilot, limit)
                raise TimeoutError
            case Fault.SLOW:
                await self.hold(pilot, self.dice.uniform(0.1, 0.9) * limit)
                return await call()
            case Fault.TWICE:
                return await call()
            case Fault.STALL:
                return await self._stall(pilot, name, call)

    async def _stall(self, pilot: Pilot, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Longer than the lease: before a call to the store, after one to the outside, which has its deadline and begins in time."""
        seconds = LEASE_SECONDS + self.dice.choice([0.0, 1.0, 20.0])
        if name in STORE:
            await self.hold(pilot, seconds)
            return await call()
        result = await call()
        await self.hold(pilot, seconds)
        return result

    async def _turn(self, pilot: Pilot, lease: Lease) -> None:
        self.turns += 1
        pilot.began_at = self.seconds
        pilot.lease, pilot.lease_until = lease, self.seconds + LEASE_SECONDS
        try:
            if pilot.engine is not None:
                await pilot.engine.turn(lease)
        except Killed as killed:
            self._killed(pilot, str(killed))
        pilot.lease = None

    def _killed(self, pilot: Pilot, where: str) -> None:
        """Another process takes its place. The only server of a database takes back the leases of the one that died."""
        self.kills += 1
        self.tell(f"{pilot.name} is killed at {where}")
        pilot.engine = None
        self.verifier.runs.clear()  # its test runs die with it
        self.snapshots.restart()
        self.restores.restart()
        pilot.down_until = self.seconds + self.dice.choice([0.1, 2.0, 10.0])
        self.upset(pilot.down_until - self.seconds + LEASE_SECONDS)
        if len(self.pilots) == 1 and self.dice.random() < 0.5:
            self.store.drop_leases()

    def _next_turn(self) -> float:
        """When the next engine that is free finds an agent that is due."""
        free = [p for p in self.pilots if not p.held]
        if not free:
            return float("inf")
        begins = min((p.down_until for p in free if p.engine is None), default=float("inf"))
        watches = min((p.probe_at for p in free if p.engine and p.engine.pulse and p.engine.pulse.resting), default=float("inf"))
        due = min((self._due(agent) for agent in self.store.rows), default=float("inf"))
        return min(begins, watches, max(due, min(p.down_until for p in free)))

    def _due(self, agent: str) -> float:
        now = self.clock.now()
        return self.seconds + (self.store.free_at(agent, now, lease_seconds=LEASE_SECONDS) - now).total_seconds()

    async def _look_around(self, pilot: Pilot) -> None:
        """What the supervisor does beside turns: at its start, and once the clock was set, every agent is looked at; resting ones are watched."""
        if pilot.engine is None or pilot.told_of_jumps < len(self.jumps):
            pilot.engine = pilot.engine or self._engine(pilot)
            pilot.told_of_jumps = len(self.jumps)
            await self.store.wake(None, self.clock.now())
        pulse = pilot.engine.pulse
        if pulse is None or self.seconds < pilot.probe_at or not pulse.resting:
            return
        pilot.probe_at = self.seconds + PROBE_SECONDS
        try:
            await pulse.probe()
            if self.seconds >= pilot.beat_at:
                pilot.beat_at = self.seconds + self.limits.idle_interval_seconds
                await pulse.beat()
        except Killed as killed:
            self._killed(pilot, str(killed))

    def _free_pilots(self) -> list[Pilot]:
        free = [p for p in self.pilots if not p.held and p.down_until <= self.seconds]
        if len(free) > 1:
            self.dice.shuffle(free)
        return free

    def _flow(self, seconds: float) -> None:
        if seconds <= 0:
            return
        if self.quiet:
            self.calm_seconds += seconds
        for site in self.sites.values():
            site.users.flow(seconds)
        self.clock.advance(seconds)

    def _fallen(self, body: Body) -> None:
        site = self.sites.get(body.agent)
        if site is not None:
            watchers.fallen(self, site, body)

    def _engine(self, pilot: Pilot) -> Engine:
        async def guard(name: str, method: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
            if name not in READINGS:
                watchers.called(self, pilot, name, args)
            fault = self.weather.draw(name)
            if name == "commit":
                method = partial(self._commit, pilot)
            if fault is None:
                return await method(*args, **options)
            return await self.suffer(pilot, name, fault, partial(method, *args, **options))

        channel: Any = Guarded(self.channel, guard, prefix="config_") if self.channel is not None else self.listeners
        ports: dict[str, Any] = {
            name: Guarded(getattr(self, name), guard)
            for name in ("store", "runtime", "router", "metrics", "verifier", "snapshots", "restores")
        }
        seen = {"runtime": ports["runtime"], "router": ports["router"], "client": self.client, "store": self.store, "clock": self.clock}
        pulse = Pulse(**seen, interval_seconds=self.limits.idle_interval_seconds) if self.rests else None
        return Engine(
            client=self.client,
            clock=self.clock,
            limits=self.limits,
            action_timeout_seconds=ACTION_SECONDS,
            pulse=pulse,
            channel=channel,
            **ports,
        )

    async def _commit(self, pilot: Pilot, lease: Lease, commit: Commit, now: datetime) -> bool:
        """The real commit, with what was before and after it shown to the watchers."""
        before = watchers.before_commit(self, lease)
        written = await self.store.commit(lease, commit, now)
        watchers.committed(self, lease, commit, before, written=written, began_at=pilot.began_at)
        return written
