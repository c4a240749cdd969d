"""What the buses between processes share: publishers never wait for a broker, and what was missed while it was away is a hint for everybody."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from agent_servicing.adapters.events.local import LocalEventBus

QUEUED_MAX: Final = 1_000
"""Topics waiting to be sent. They are hints: what does not fit is left out, and found by polling."""

log = structlog.get_logger(__name__)


class RelayBus:
    """`EventBus` whose hints also go to other processes. `send` is the driver's; it may wait and may fail.

    Subscribers here are hinted at once, and again when the broker echoes; a hint too many only costs a look.
    """

    def __init__(self, name: str) -> None:
        self._name, self._local = name, LocalEventBus()
        streams: tuple[MemoryObjectSendStream[str], MemoryObjectReceiveStream[str]] = anyio.create_memory_object_stream(QUEUED_MAX)
        self._outgoing, self._queue = streams
        self._problem: str | None = "not connected yet"

    @property
    def problem(self) -> str | None:
        """Why other processes are not heard now; None while they are."""
        return self._problem

    async def publish(self, topic: str) -> None:
        self._local.hint(topic)
        with suppress(anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._outgoing.send_nowait(topic)

    def subscribe(self, topic: str) -> AsyncIterator[None]:
        return self._local.subscribe(topic)

    def heard(self, topic: str) -> None:
        self._local.hint(topic)

    def connected(self) -> None:
        """Something may have been missed: everybody looks."""
        if self._problem is not None:
            log.info("event_bus_connected", bus=self._name)
        self._problem = None
        self._local.hint(None)

    def lost(self, problem: str) -> None:
        if self._problem is None:
            log.warning("event_bus_lost", bus=self._name, problem=problem)
        self._problem = problem

    async def send_all(self, send: Callable[[str], Awaitable[None]]) -> None:
        """Runs for ever; raises what `send` raises, the topic is then lost."""
        async for topic in self._queue:
            await send(topic)

    async def close(self) -> None:
        await self._outgoing.aclose()
        await self._queue.aclose()
