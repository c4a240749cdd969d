"""Watches the agents that rest: instead of a full turn for each, one look at all of them every interval. Called by engine and supervisor.

A turn that finds nothing to do lets its agent `settle` here. From then on the pulse compares processes, routing and health checks with what
that turn saw and makes the agent due as soon as anything differs. It decides nothing. What it knows is in memory only: whoever dies here
loses nothing but time, because every resting agent is due for a full turn within `REST_SECONDS`, and at the start of a server at once.
"""

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Self
from zlib import crc32

import anyio
import structlog

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Probe, Process
from agent_servicing.core.rest import Rest
from agent_servicing.core.routing import Routing
from agent_servicing.ports import AgentClient, Clock, Router, Runtime, SeesAllInstances, SeesAllRoutings, Store

log = structlog.get_logger(__name__)

REST_SECONDS = 30.0
"""A resting agent gets a full turn this often all the same: for whatever a pulse cannot see, and for engines that know nothing of it."""

PLACES = 60
"""Moments within `REST_SECONDS` at which agents take their turns: spread out, but several together, so that one claim finds them."""

LOOK_TIMEOUT_SECONDS = 5.0
"""Longest wait for one look at everything."""

PROBES_AT_ONCE = 64
"""Health checks of resting agents under way at the same time; bounds sockets. One that hangs is given up by the client after 2 s."""

PROBE_ROUND_SECONDS = 0.1
"""How exactly the intervals of health checks are kept."""


@dataclass(slots=True, kw_only=True, eq=False)
class Resting:
    """One agent's rest. `ends_at` (monotonic): when its turn is due anyway. `called`: it was made due and only waits for its turn."""

    rest: Rest
    pids: Mapping[str, int | None]
    routing: Routing
    ends_at: float
    probe_seconds: float
    called: bool = False
    asked: int = 0
    probe_at: float = 0.0
    probes: dict[str, Probe] = field(default_factory=dict)


class Pulse:
    """`run` beats and probes until cancelled; `beat` and `probe` are one round of each."""

    def __init__(
        self,
        *,
        runtime: SeesAllInstances,
        router: SeesAllRoutings,
        client: AgentClient,
        store: Store,
        clock: Clock,
        interval_seconds: float,
    ) -> None:
        self._runtime, self._router, self._client, self._store, self._clock = runtime, router, client, store, clock
        self._interval_seconds = interval_seconds
        self._resting: dict[str, Resting] = {}
        self._due: list[tuple[float, int, Resting]] = []
        self._numbers = count()
        self._probing = 0
        self._problem = ""
        self._woke: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls, *, runtime: Runtime, router: Router, client: AgentClient, store: Store, clock: Clock, interval_seconds: float
    ) -> Self | None:
        """None when a driver cannot look at everything at once: then no agent rests."""
        if not isinstance(runtime, SeesAllInstances) or not isinstance(router, SeesAllRoutings):
            return None
        return cls(runtime=runtime, router=router, client=client, store=store, clock=clock, interval_seconds=interval_seconds)

    @property
    def resting(self) -> int:
        """How many agents rest now."""
        return sum(not entry.called for entry in self._resting.values())

    def next_turn_at(self, rest: Rest) -> datetime:
        """Each agent has its own place within `REST_SECONDS`, so that a thousand that began together do not come back together."""
        now = self._clock.now()
        place = crc32(rest.agent.encode()) % PLACES * REST_SECONDS / PLACES
        regular = now + timedelta(seconds=REST_SECONDS - (now.timestamp() - place) % REST_SECONDS)
        return regular if rest.until is None else min(regular, rest.until)

    def settle(self, rest: Rest) -> None:
        """From now on the agent is watched here. Call it when the turn that found it so is committed, with the same `rest`."""
        now = self._clock.now()
        seconds = min((manifest.health.interval_seconds for manifest, _ in rest.instances.values()), default=REST_SECONDS)
        entry = Resting(
            rest=rest,
            pids={name: process.pid for name, (_, process) in rest.instances.items()},
            routing=rest.routing,
            ends_at=self._clock.monotonic() + max(0.0, (self.next_turn_at(rest) - now).total_seconds()),
            probe_seconds=seconds,
            probes=dict(rest.probes),
        )
        self._resting[rest.agent] = entry
        ago = (now - rest.probed_at).total_seconds() if rest.probed_at else seconds
        self._plan(entry, self._clock.monotonic() + seconds - min(max(ago, 0.0), seconds))

    def rouse(self, agent: str) -> Mapping[str, Probe]:
        """A full turn begins: the agent is no longer watched here. Returns the latest health check of each instance made here."""
        entry = self._resting.pop(agent, None)
        return entry.probes if entry else {}

    def latest(self, agent: str) -> Mapping[str, Probe]:
        """The newest health check of each instance while the agent rests, for who wants to show it: turns that find nothing else write none."""
        entry = self._resting.get(agent)
        return entry.probes if entry else {}

    async def run(self, woke: Callable[[], None]) -> None:
        """`woke` is called when an agent has become due."""
        self._woke = woke
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat_for_ever)
            while True:
                await self._clock.sleep(PROBE_ROUND_SECONDS)
                if self._probing < PROBES_AT_ONCE and (due := self._due_now()):
                    tasks.start_soon(self._probe, due)

    async def _beat_for_ever(self) -> None:
        while True:
            await self._clock.sleep(self._interval_seconds)
            await self.beat()

    # --- processes and routing -----------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """One look at all processes and all routing. When it fails, nobody rests: full turns look at each agent as well as they can."""
        self._drop_overdue()
        before = [entry for entry in self._resting.values() if not entry.called]
        if not before:
            return
        try:
            with anyio.fail_after(LOOK_TIMEOUT_SECONDS):
                living, routings = await self._runtime.living(), await self._router.observe_all()
        except Exception as error:  # noqa: BLE001 (a driver's defect, too, costs only the cheap look and not the engine)
            self._failed(error)
            await self._call(before)
            return
        self._problem = ""
        await self._call([entry for entry in before if not _unchanged(entry, living, routings)])

    def _failed(self, error: Exception) -> None:
        """Said once, not at every beat for as long as it lasts."""
        problem = str(error) or type(error).__name__
        if problem != self._problem:
            known = isinstance(error, TemporaryError | PermanentError | TimeoutError)
            log.warning("pulse_failed", problem=problem, exc_info=None if known else error)
        self._problem = problem

    def _drop_overdue(self) -> None:
        """Whose turn came without being ours was taken over by another engine on the same database."""
        now = self._clock.monotonic()
        for agent in [agent for agent, entry in self._resting.items() if entry.ends_at <= now]:
            del self._resting[agent]

    async def _call(self, entries: Collection[Resting]) -> None:
        """Make these due, once, unless their turn came meanwhile. Tried again at the next beat when the database is away."""
        called = [entry for entry in entries if self._rests(entry) and not entry.called]
        if not called:
            return
        for entry in called:
            entry.called = True
        try:
            await self._store.wake([entry.rest.agent for entry in called], self._clock.now())
        except TemporaryError as error:
            log.warning("not_woken", agents=len(called), problem=str(error))
            for entry in called:
                entry.called = False
        else:
            self._woke()

    def _rests(self, entry: Resting) -> bool:
        return self._resting.get(entry.rest.agent) is entry

    # --- health checks -------------------------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Every health check that is due now."""
        await self._probe(self._due_now())

    def _due_now(self) -> deque[tuple[Resting, Manifest, Process]]:
        now = self._clock.monotonic()
        due: deque[tuple[Resting, Manifest, Process]] = deque()
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)[2]
            if self._rests(entry) and not entry.called:
                entry.asked, entry.probe_at = len(entry.rest.instances), now + entry.probe_seconds
                due.extend((entry, manifest, process) for manifest, process in entry.rest.instances.values())
        return due

    async def _probe(self, due: deque[tuple[Resting, Manifest, Process]]) -> None:
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                """Takes the next as long as there are any. Another worker begins only when this one has to wait: most answer at once."""
                self._probing += 1
                begun = False
                try:
                    while due:
                        entry, manifest, process = due.popleft()
                        if due and not begun and self._probing < PROBES_AT_ONCE:
                            begun = True
                            tasks.start_soon(work)
                        await self._ask(entry, manifest, process)
                finally:
                    self._probing -= 1

            tasks.start_soon(work)

    async def _ask(self, entry: Resting, manifest: Manifest, process: Process) -> None:
        probe = await self._client.probe(manifest, process)
        entry.probes[process.instance] = probe
        entry.asked -= 1
        if not entry.asked:
            self._plan(entry, max(entry.probe_at, self._clock.monotonic()))
        if not probe.healthy:
            await self._call([entry])

    def _plan(self, entry: Resting, at: float) -> None:
        if entry.rest.instances:
            heapq.heappush(self._due, (at, next(self._numbers), entry))


def _unchanged(entry: Resting, living: Mapping[str, Mapping[str, int | None]], routings: Mapping[str, Routing]) -> bool:
    seen = routings.get(entry.rest.agent)
    if seen is not entry.routing:
        if seen is None or seen != entry.routing:
            return False
        entry.routing = seen  # most drivers give the same value again, which is compared for nothing
    return living.get(entry.rest.agent, {}) == entry.pids
