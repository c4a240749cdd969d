"""Event bus inside one server process: whoever commits publishes a topic, the engine and every WebSocket subscribe and then read what is new.

The buses between processes hand on to one of these what they hear.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self
from weakref import WeakSet

import anyio


class LocalEventBus:
    """`EventBus` without a broker. A subscriber holds at most one hint: many publishes before it looks are one."""

    def __init__(self) -> None:
        self._topics: dict[str, WeakSet[Subscription]] = {}

    @property
    def problem(self) -> str | None:
        """Nothing can be wrong with it."""
        return None

    async def publish(self, topic: str) -> None:
        """Hint every present subscriber of `topic`; never waits for a slow one."""
        self.hint(topic)

    def hint(self, topic: str | None) -> None:
        """Hint the subscribers of this topic, of all topics when None."""
        for name in list(self._topics) if topic is None else [topic]:
            for subscription in list(self._topics.get(name, ())):
                subscription.hint()

    def subscribe(self, topic: str) -> AsyncIterator[None]:
        """Hints from this call on, not only from the first `anext`. Ends when dropped: only the subscriber holds it."""
        self._topics = {name: subscribers for name, subscribers in self._topics.items() if subscribers}
        subscription = Subscription()
        self._topics.setdefault(topic, WeakSet()).add(subscription)
        return subscription


@asynccontextmanager
async def open_local(url: str) -> AsyncIterator[LocalEventBus]:  # noqa: ARG001 (what every bus is opened with)
    yield LocalEventBus()


class Subscription(AsyncIterator[None]):
    """One subscriber's side: yields once per hint, hints in between coalesce."""

    def __init__(self) -> None:
        self._hinted = anyio.Event()

    def hint(self) -> None:
        self._hinted.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        await self._hinted.wait()
        # Replaced before the subscriber reads the store, so that a commit during that reading hints again.
        self._hinted = anyio.Event()
