"""Event bus over NATS: many servers, on any database that they share, hear of one another's commits. Opened by `bootstrap` with the URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from agent_servicing.adapters.events.relay import RelayBus
from agent_servicing.core.errors import PermanentError

SUBJECT: Final = "agent_servicing"
"""Topics stand below this."""

RECONNECT_SECONDS: Final = 0.5
CONNECT_SECONDS: Final = 5

MISSING: Final = 'event_bus = "nats://…" needs the package nats-py; install it with: python -m pip install "agent-servicing[nats]"'


@asynccontextmanager
async def open_nats(url: str) -> AsyncIterator[RelayBus]:
    """A bus over the NATS server at `url` (`nats://…`, `tls://…`; user and password or a token may stand in it).

    A server that is away is waited for; until then hints stay in this process. Raises `PermanentError` when the client is not installed.
    """
    try:
        from nats.aio.client import Client  # noqa: PLC0415 (an extra)
    except ImportError:
        raise PermanentError(MISSING) from None
    bus, client = RelayBus("nats"), Client()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_run, bus, client, url)
        try:
            yield bus
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(CONNECT_SECONDS):
                await client.close()
            await bus.close()


async def _run(bus: RelayBus, client: Any, url: str) -> None:
    """The client connects again by itself, for ever; what it tells about that is told to the bus."""

    async def lost() -> None:
        bus.lost("disconnected")

    async def back() -> None:
        bus.connected()

    async def error(problem: Exception) -> None:
        if not client.is_connected:
            bus.lost(type(problem).__name__)

    async def heard(message: Any) -> None:
        bus.heard(message.subject.removeprefix(f"{SUBJECT}."))

    async def send(topic: str) -> None:
        if client.is_connected:  # what it would keep for later is of no use by then: everybody looks when it is back
            await client.publish(f"{SUBJECT}.{topic}", b"")

    await client.connect(
        servers=[url],
        name="agent-servicing",
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=RECONNECT_SECONDS,
        connect_timeout=CONNECT_SECONDS,
        disconnected_cb=lost,
        reconnected_cb=back,
        error_cb=error,
    )
    await client.subscribe(f"{SUBJECT}.*", cb=heard)
    await client.flush()
    bus.connected()
    await bus.send_all(send)
