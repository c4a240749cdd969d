"""What the command line needs of the machine, in one value, so that a test can run any command in surroundings of its own.

`command` puts the real ones together; nothing else in `cli` reads the environment, a clock or a random source.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent_servicing.ports import Clock, Ids

if TYPE_CHECKING:
    import httpx  # a third of a second at import: only for those who talk to a server


MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest WebSocket message; a snapshot with its deployment is some kilobytes."""


class Socket(Protocol):
    """The part of a WebSocket connection that following a deployment needs; `websockets.sync` connections have it."""

    def recv(self, timeout: float | None = None) -> str | bytes: ...
    def send(self, message: str) -> None: ...
    def close(self) -> None: ...


Connect = Callable[[str, Mapping[str, str]], Socket]
"""Opens a WebSocket: address and headers in. Raises OSError, TimeoutError or `websockets.WebSocketException`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`pause` waits for so many seconds and is interrupted by Ctrl-C; `transport` None means real sockets."""

    environ: Mapping[str, str]
    folder: Path
    clock: Clock
    ids: Ids
    pause: Callable[[float], None]
    connect: Connect
    transport: "httpx.BaseTransport | None" = field(default=None)


def real() -> Surroundings:
    """This process's own environment, working directory, clock and network."""
    from agent_servicing.adapters.system import RandomIds, SystemClock  # noqa: PLC0415  only when a command runs, --help stays quick

    clock = SystemClock()

    def pause(seconds: float) -> None:
        import anyio  # noqa: PLC0415  as above

        anyio.run(clock.sleep, seconds)

    return Surroundings(environ=os.environ, folder=Path.cwd(), clock=clock, ids=RandomIds(), pause=pause, connect=WebSocket)


class WebSocket:
    """An open connection; `websockets` wants it entered as a context, which outlives the function that opened it."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        from websockets.sync.client import connect  # noqa: PLC0415  only for --watch

        opening = connect(url, additional_headers=dict(headers), open_timeout=5, close_timeout=1, proxy=None, max_size=MESSAGE_BYTES_MAX)
        self._closing = ExitStack()
        self._connection = self._closing.enter_context(opening)

    def recv(self, timeout: float | None = None) -> str | bytes:
        return self._connection.recv(timeout=timeout)

    def send(self, message: str) -> None:
        self._connection.send(message)

    def close(self) -> None:
        self._closing.close()
