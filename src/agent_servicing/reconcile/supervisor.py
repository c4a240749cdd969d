"""Runs the engine for ever: takes the agents that are due, a bounded number at once, and is woken early by whoever wrote an intent.

Runs in the server's task group; stops when that is cancelled. Whatever is missed by a wake-up is found by polling.
"""

from dataclasses import dataclass, field

import anyio
import structlog

from agent_servicing.core.errors import TemporaryError
from agent_servicing.ports import Clock, EventBus, Lease, Store
from agent_servicing.ports.abilities import TellsOfAnswers
from agent_servicing.reconcile.engine import Engine

log = structlog.get_logger(__name__)

WAKE_TOPIC = "agent"
"""Published by services after an intent was committed."""

COMMITTED_TOPIC = "events"
"""Published after a turn, for live views."""

LONGEST_WAIT_SECONDS = 1.0
"""A wake-up that was lost costs at most this."""

CLOCK_SET_SECONDS = 0.5
"""Wall and monotonic clock drift apart by less between two rounds unless somebody sets the one."""

SHORTEST_WAIT_SECONDS = 0.01
"""An agent that is always due cannot take the whole processor. What people and instances do is looked at without this wait."""


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The loop. The counters and `last_turn_at` (monotonic seconds) tell `/readyz` and `/metrics` that it lives."""

    engine: Engine
    store: Store
    bus: EventBus
    clock: Clock
    lease_seconds: float
    concurrency: int
    turns: int = 0
    failures: int = 0
    seconds_in_turns: float = 0.0
    last_turn_at: float = field(default=0.0)
    _woken: anyio.Event = field(default_factory=anyio.Event)
    _called: anyio.Event = field(default_factory=anyio.Event)
    _running: set[str] = field(default_factory=set)
    _answered: set[str] = field(default_factory=set)
    _offset: float | None = None

    async def run(self) -> None:
        await self._make_all_due()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            if isinstance(self.engine.channel, TellsOfAnswers):
                tasks.start_soon(self._hear, self.engine.channel)
            if self.engine.pulse is not None:
                tasks.start_soon(self.engine.pulse.run, self._wake)
            while True:
                self.last_turn_at = self.clock.monotonic()
                await self._look_at_the_clock()
                for lease in await self._claim():
                    self._running.add(lease.agent)
                    tasks.start_soon(self._turn, lease)
                await self._wait()

    async def _make_all_due(self) -> None:
        """What the world did while nobody looked is not known: agents that another engine let rest are looked at now."""
        try:
            await self.store.wake(None, self.clock.now())
        except TemporaryError as error:
            log.warning("found_by_time_only", problem=str(error))

    async def _look_at_the_clock(self) -> None:
        """Times at which agents are due again mean nothing once the wall clock was set: all of them are looked at now."""
        offset = self.clock.now().timestamp() - self.clock.monotonic()
        if self._offset is not None and abs(offset - self._offset) > CLOCK_SET_SECONDS:
            log.warning("clock_was_set", seconds=round(offset - self._offset, 1))
            await self._make_all_due()
        self._offset = offset

    async def _claim(self) -> list[Lease]:
        free = self.concurrency - len(self._running)
        if free <= 0:
            return []
        called = self._answered
        self._answered = called & self._running  # whose turn may have looked before the answer came: once more, afterwards
        try:
            return list(await self.store.claim(self.clock.now(), lease_seconds=self.lease_seconds, limit=free, called=called))
        except TemporaryError as error:
            log.warning("claim_postponed", problem=str(error))
            await self.clock.sleep(error.retry_after_seconds)
            return []

    async def _turn(self, lease: Lease) -> None:
        began = self.clock.monotonic()
        try:
            self.failures += not await self.engine.turn(lease)
        finally:
            self.seconds_in_turns += self.clock.monotonic() - began
            self._running.discard(lease.agent)
            self.turns += 1
            self._call() if lease.agent in self._answered else self._wake()
        await self.bus.publish(COMMITTED_TOPIC)

    async def _listen(self) -> None:
        async for _ in self.bus.subscribe(WAKE_TOPIC):
            self._call()

    async def _hear(self, channel: TellsOfAnswers) -> None:
        """Instances that were asked something have answered: their agents are looked at now, not when the next look is due."""
        while True:
            self._answered |= set(await channel.answered())
            self._call()

    def _wake(self) -> None:
        self._woken.set()

    def _call(self) -> None:
        self._called.set()
        self._woken.set()

    async def _wait(self) -> None:
        """Until somebody is due, a turn ended, or a wake-up came; shorter than the shortest wait only where somebody called."""
        with anyio.move_on_after(SHORTEST_WAIT_SECONDS):
            await self._called.wait()
        if not self._woken.is_set():
            with anyio.move_on_after(await self._until_due()):
                await self._woken.wait()
        self._woken, self._called = anyio.Event(), anyio.Event()

    async def _until_due(self) -> float:
        if len(self._running) >= self.concurrency:
            return LONGEST_WAIT_SECONDS
        try:
            due = await self.store.next_due()
        except TemporaryError:
            return LONGEST_WAIT_SECONDS
        if due is None:
            return LONGEST_WAIT_SECONDS
        return min(LONGEST_WAIT_SECONDS, max(0.0, (due - self.clock.now()).total_seconds()))
