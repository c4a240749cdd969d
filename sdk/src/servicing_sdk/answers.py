"""Answers of server-sent events that the agent streams without the SDK's help: counted as streams all the same. Used by the middleware.

The server lets streams go on longer than plain requests before an instance ends; what is not counted as one would be cut with those.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

from servicing_sdk.work import Work

Message = MutableMapping[str, Any]


class Answer:
    """One answer on its way out. `leave_to_agent`: the agent's own code counts this stream itself, and says goodbye in its own words."""

    def __init__(self, work: Work, send: Callable[[Message], Awaitable[None]]) -> None:
        self._work, self._send = work, send
        self._open = ExitStack()
        self._agents_own = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._agents_own and _streams_events(message):
            self._open.enter_context(self._work.stream())
        await self._send(message)

    def leave_to_agent(self) -> None:
        self._agents_own = True
        self._open.close()

    def close(self) -> None:
        self._open.close()


ANSWER: ContextVar[Answer | None] = ContextVar("servicing_answer", default=None)
"""What the code that runs now is answering."""


def _streams_events(start: Message) -> bool:
    headers = {bytes(name).lower(): bytes(value).lower() for name, value in start.get("headers") or ()}
    return headers.get(b"content-type", b"").startswith(b"text/event-stream")
