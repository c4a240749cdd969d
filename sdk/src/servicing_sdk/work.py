"""What the agent is busy with: requests, streams, conversations; and whether it is on its way out. Counted for the server, which waits for zero."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

GOODBYE = b"event: servicing-reconnect\nretry: 500\ndata: {}\n\n"
"""Told to a client whose stream has to end: come back, somebody else goes on."""

GOING_AWAY = 1012
"""The WebSocket's own code for a service that restarts."""

State = Literal["starting", "ready", "busy", "draining", "drained", "unavailable"]


class Work:
    """`drain` may be called from any thread. `on_idle` is called, by whoever was the last, when a drain has nothing left to wait for."""

    def __init__(self, on_idle: Callable[[], None] = lambda: None) -> None:
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._requests = self._streams = 0
        self._open: dict[str, int] = {}
        self._ends_at: float | None = None
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.state: State = "starting"
        self.reason = ""

    @property
    def draining(self) -> bool:
        return self._ends_at is not None

    @property
    def seconds_left(self) -> float | None:
        """How long streams may still go on; None when nothing ends."""
        ends_at = self._ends_at
        return None if ends_at is None else max(0.0, ends_at - time.monotonic())

    def load(self) -> dict[str, int]:
        with self._lock:
            return {"active_requests": self._requests, "active_streams": self._streams, "open_conversations": len(self._open)}

    def report(self) -> dict[str, Any]:
        load = self.load()
        leaving: State = "draining" if load["active_requests"] or load["active_streams"] else "drained"
        return {"state": leaving if self.draining else self.state, "load": load}

    def drain(self, deadline_seconds: float) -> None:
        with self._lock:
            self._ends_at = time.monotonic() + deadline_seconds
        self._tell(asyncio.Event.set)

    def resume(self) -> None:
        """Taken back into service: streams that were not told goodbye yet go on."""
        with self._lock:
            self._ends_at = None
        self._tell(asyncio.Event.clear)

    def _tell(self, act: Callable[[asyncio.Event], None]) -> None:
        with self._lock:
            waiting = list(self._waiting)
        for loop, event in waiting:
            with suppress(RuntimeError):  # its loop has ended, and the stream with it
                loop.call_soon_threadsafe(act, event)

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
                idle = self.draining and not self._requests and not self._streams
            if idle:
                self._on_idle()


class Stream:
    """One stream that is open. `draining` is set when it should come to an end within `seconds_left`."""

    def __init__(self, work: Work, draining: asyncio.Event) -> None:
        self._work, self.draining = work, draining

    async def until_goodbye(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of a stream of server-sent events; when time is up it ends with an event that tells the client to come back."""
        ending = asyncio.ensure_future(self.time_is_up())
        following = chunks.__aiter__()
        step: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(_next(following))
                await asyncio.wait({step, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    yield GOODBYE
                    return
                chunk = step.result()
                if chunk is None:
                    return
                yield chunk
                if ending.done():
                    yield GOODBYE
                    return
        finally:
            ending.cancel()
            if step is not None and not step.done():  # the agent's own code is told to end before anybody else goes on
                step.cancel()
                await asyncio.wait({step})

    async def time_is_up(self) -> None:
        """Returns when the drain began and its deadline has come."""
        while True:
            await self.draining.wait()
            left = self._work.seconds_left
            if left is not None and left <= 0:
                return
            await asyncio.sleep(min(left or 0.0, 1.0))  # looks again: it may be taken back into service


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
