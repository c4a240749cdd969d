"""Event bus over NATS: many servers, on any database that they share, hear of one another's commits. Opened by `bootstrap` with the URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from agent_servicing.adapters.events.relay import RelayBus
from agent_servicing.core.errors import PermanentError

SUBJECT: Final = "agent_servicing"
"""Topics stand below this."""

RECONNECT_SECONDS: Final = 1
CONNECT_SECONDS: Final = 5

PING_SECONDS: Final = 10
"""A broker that has not answered two of these is gone, even if its connection is not."""

MISSING: Final = 'event_bus = "nats://…" needs the package nats-py; install it with: python -m pip install "agent-servicing[nats]"'


@asynccontextmanager
async def open_nats(url: str) -> AsyncIterator[RelayBus]:
    """A bus over the NATS server at `url` (`nats://…`, `tls://…`; user and password or a token may stand in it).

    A server that is away is waited for; until then hints stay in this process. Raises `PermanentError` when the client is not installed.
    """
    try:
        import nats  # noqa: F401, PLC0415 (an extra)
    except ImportError:
        raise PermanentError(MISSING) from None
    bus = RelayBus("nats")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run, bus, url)
        try:
            yield bus
        finally:
            tasks.cancel_scope.cancel()
            await bus.close()


async def _run(bus: RelayBus, url: str) -> None:
    """The client connects again by itself; where it gives up, on a refused password for one, a fresh one takes its place."""
    from nats.errors import Error  # noqa: PLC0415 (an extra)

    while True:
        try:
            await _connected(bus, url)
        except* (Error, OSError, TimeoutError, ValueError) as group:
            # No part of the URL is repeated: it may hold a password.
            bus.lost(type(group.exceptions[0]).__name__)
        await anyio.sleep(RECONNECT_SECONDS)  # noqa: TID251 (a real broker, in real time)


async def _connected(bus: RelayBus, url: str) -> None:
    """Until the client has given up."""
    from nats.aio.client import Client  # noqa: PLC0415 (an extra)

    client, closed = Client(), anyio.Event()

    async def lost() -> None:
        bus.lost("disconnected")

    async def back() -> None:
        bus.connected()

    async def ended() -> None:
        closed.set()

    async def error(problem: Exception) -> None:
        if not client.is_connected:
            bus.lost(type(problem).__name__)

    async def heard(message: Any) -> None:
        bus.heard(message.subject.removeprefix(f"{SUBJECT}."))

    async def send(topic: str) -> None:
        if client.is_connected:  # what it would keep for later is of no use by then: everybody looks when it is back
            await client.publish(f"{SUBJECT}.{topic}", b"")

    try:
        await client.connect(
            servers=[url],
            name="agent-servicing",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,
            connect_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            disconnected_cb=lost,
            reconnected_cb=back,
            closed_cb=ended,
            error_cb=error,
        )
        await client.subscribe(f"{SUBJECT}.*", cb=heard)
        await client.flush()
        bus.connected()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.send_all, send)
            await closed.wait()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CONNECT_SECONDS):
            if client.is_connected or client.is_reconnecting:  # one that never was has nothing to close
                await client.close()
