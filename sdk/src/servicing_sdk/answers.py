"""Answers of server-sent events that the agent streams by itself: counted as streams, and told goodbye, without a word in the agent's code.

Used by the middleware for every HTTP answer; one that turns out to be anything else goes through as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import Any

from servicing_sdk.work import GOODBYE, Stream, Work

Message = MutableMapping[str, Any]

ENDED = "this stream was ended, because its instance is being replaced"


class Answer:
    """One answer on its way out; made by the task that serves the request. `over`: the client was told goodbye, and whatever the agent still
    sends finds nobody.
    """

    def __init__(self, work: Work, send: Callable[[Message], Awaitable[None]]) -> None:
        self._work, self._send = work, send
        self._open = ExitStack()
        self._ending: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()
        self._tail, self._due = b"\n\n", False
        self._task = asyncio.current_task()
        self.over = False

    async def until_over(self, serving: Awaitable[None]) -> None:
        """The agent's own code, to its end, or until there is nobody any more who would hear the rest of it."""
        try:
            await self._served(serving)
        except asyncio.CancelledError:
            if not self.over or self._task is None or self._task.uncancel() > 0:  # somebody else wants this task to end, too
                raise

    async def _served(self, serving: Awaitable[None]) -> None:
        try:
            await serving
        except Exception:
            if not self.over:
                raise
        if self.over and self._ending is not None:
            # The goodbye goes out whole, and the end of this task that follows it is taken in here and hits nobody else.
            await asyncio.wait({self._ending})
            await asyncio.sleep(0)

    async def send(self, message: Message) -> None:
        """In place of the server's own; raises OSError, as that does for a client that has left, once the stream is over."""
        if self.over:
            raise OSError(ENDED)
        if self._ending is None:
            await self._send(message)
            if message["type"] == "http.response.start" and _streams_events(message):
                stream = self._open.enter_context(self._work.stream())
                self._ending = asyncio.ensure_future(self._end_in_time(stream))
            return
        async with self._turn:
            if self.over:
                raise OSError(ENDED)
            await self._send(message)
            self._tail = (self._tail + message.get("body", b""))[-4:]
            if self._due and message.get("more_body"):
                await self._say_goodbye()

    def leave_to_agent(self) -> None:
        """The agent counts this stream and ends it in its own words."""
        self.close()

    def close(self) -> None:
        self._open.close()
        if self._ending is not None and not self.over:
            self._ending.cancel()

    async def _end_in_time(self, stream: Stream) -> None:
        await stream.time_is_up()
        async with self._turn:
            self._due = True
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Between two events, never within one."""
        if self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
            self.over = True
            self._open.close()
            with suppress(OSError):  # the client has left meanwhile
                await self._send({"type": "http.response.body", "body": GOODBYE, "more_body": False})
            if self._task is not None:
                self._task.cancel()


ANSWER: ContextVar[Answer | None] = ContextVar("servicing_answer", default=None)
"""What the code that runs now is answering."""


def _streams_events(start: Message) -> bool:
    """Compressed ones are left alone: a goodbye in between could not be read."""
    headers = {bytes(name).lower(): bytes(value).lower() for name, value in start.get("headers") or ()}
    return headers.get(b"content-type", b"").startswith(b"text/event-stream") and b"content-encoding" not in headers
