"""What the agent is busy with: requests, streams, conversations; and whether it is on its way out. Counted for the server, which waits for zero."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

GOODBYE = b"event: servicing-reconnect\nretry: 500\ndata: {}\n\n"
"""Told to a client whose stream has to end: come back, somebody else goes on."""

GOING_AWAY = 1012
"""The WebSocket's own code for a service that restarts."""

State = Literal["starting", "ready", "busy", "draining", "unavailable"]


class Work:
    """`drain` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._streams = 0
        self._open: dict[str, int] = {}
        self._draining: float | None = None
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.state: State = "starting"
        self.reason = ""

    @property
    def draining(self) -> bool:
        return self._draining is not None

    @property
    def deadline_seconds(self) -> float:
        """How long streams may still go on once it drains."""
        return self._draining if self._draining is not None else 0.0

    def load(self) -> dict[str, int]:
        with self._lock:
            return {"active_requests": self._requests, "active_streams": self._streams, "open_conversations": len(self._open)}

    def report(self) -> dict[str, Any]:
        return {"state": "draining" if self.draining else self.state, "load": self.load()}

    def drain(self, deadline_seconds: float) -> None:
        with self._lock:
            self._draining = deadline_seconds
            waiting = list(self._waiting)
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    def resume(self) -> None:
        with self._lock:
            self._draining = None

    @contextmanager
    def request(self) -> Iterator[None]:
        with self._counted("_requests"):
            yield

    @contextmanager
    def stream(self) -> "Iterator[Stream]":
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        if self.draining:
            event.set()
        with self._counted("_streams"):
            with self._lock:
                self._waiting.add((loop, event))
            try:
                yield Stream(self, event)
            finally:
                with self._lock:
                    self._waiting.discard((loop, event))

    @contextmanager
    def conversation(self, name: str) -> Iterator[bool]:
        """Yields whether it is the outermost one of this conversation."""
        with self._lock:
            self._open[name] = self._open.get(name, 0) + 1
            first = self._open[name] == 1
        try:
            yield first
        finally:
            with self._lock:
                self._open[name] -= 1
                if not self._open[name]:
                    del self._open[name]

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)
        try:
            yield
        finally:
            with self._lock:
                setattr(self, name, getattr(self, name) - 1)


class Stream:
    """One stream that is open. `draining` is set when it should come to an end within `work.deadline_seconds`."""

    def __init__(self, work: Work, draining: asyncio.Event) -> None:
        self._work, self.draining = work, draining

    async def until_goodbye(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of a stream of server-sent events; when time is up it ends with an event that tells the client to come back."""
        ending: asyncio.Task[None] | None = asyncio.ensure_future(self.time_is_up())
        following = chunks.__aiter__()
        try:
            while True:
                step = asyncio.ensure_future(anext(following, None))
                done, _ = await asyncio.wait({step, ending} if ending else {step}, return_when=asyncio.FIRST_COMPLETED)
                if step not in done:
                    step.cancel()
                    yield GOODBYE
                    return
                chunk = step.result()
                if chunk is None:
                    return
                yield chunk
        finally:
            if ending is not None:
                ending.cancel()

    async def time_is_up(self) -> None:
        """Returns when the drain began and its deadline has come."""
        await self.draining.wait()
        await asyncio.sleep(self._work.deadline_seconds)
