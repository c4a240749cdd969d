"""Event bus over PostgreSQL's LISTEN and NOTIFY: several servers on one database need no broker. Opened by `bootstrap` with the database's URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from agent_servicing.adapters.events.relay import RelayBus
from agent_servicing.core.errors import PermanentError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CHANNEL: Final = "agent_servicing"

RECONNECT_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Between attempts, the last one for ever. There are as many listeners as servers: too few for a stampede."""

CONNECT_SECONDS: Final = 5

MISSING: Final = 'event_bus = "postgres" needs the package psycopg; install it with: python -m pip install "agent-servicing[postgres]"'


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[RelayBus]:
    """A bus over the database at `url` (`postgresql://…`, also with the driver's name). A database that is away is waited for; until then hints
    stay in this process.

    Raises `PermanentError` when the URL is none of PostgreSQL, or its driver is not installed.
    """
    scheme, colon, rest = url.partition("://")
    if scheme == "postgresql+psycopg":
        url = f"postgresql{colon}{rest}"
    elif scheme not in ("postgresql", "postgres"):
        raise PermanentError('event_bus = "postgres" needs a postgresql:// database; with SQLite there is one server, and "local" is right')
    try:
        import psycopg  # noqa: F401, PLC0415 (an extra)
    except ImportError:
        raise PermanentError(MISSING) from None
    bus = RelayBus("postgres")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run, bus, url)
        try:
            yield bus
        finally:
            tasks.cancel_scope.cancel()
            await bus.close()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["AsyncConnection"]:
    """Closed whatever happens: the connection's own `async with` asks the server to roll back first, and leaves it open when that is cancelled."""
    import psycopg  # noqa: PLC0415 (an extra)

    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        await connection.close()


async def _run(bus: RelayBus, url: str) -> None:
    """Two connections, because one that listens is blocked by it."""
    import psycopg  # noqa: PLC0415 (an extra)

    failures = 0
    while True:
        try:
            async with _connected(url) as listener, _connected(url) as speaker:
                await listener.execute(f"LISTEN {CHANNEL}")
                failures = 0
                bus.connected()
                await _relay(bus, listener, speaker)
        except* (psycopg.Error, OSError) as group:
            # No part of the URL is repeated: it may hold a password.
            bus.lost(type(group.exceptions[0]).__name__)
        await anyio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])  # noqa: TID251 (a real broker, in real time)
        failures += 1


async def _relay(bus: RelayBus, listener: "AsyncConnection", speaker: "AsyncConnection") -> None:
    async def listen() -> None:
        async for notification in listener.notifies():
            bus.heard(notification.payload)

    async def send(topic: str) -> None:
        await speaker.execute("SELECT pg_notify(%s, %s)", (CHANNEL, topic))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        tasks.start_soon(bus.send_all, send)
