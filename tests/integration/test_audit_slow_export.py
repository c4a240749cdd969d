"""An export that somebody takes slowly, or stops taking, costs the server no more memory than one that is taken at once."""

import socket
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
import uvicorn

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.audit import StoredEvent
from agent_servicing.services.audit_logger import EXPORT_BATCH, AuditFilters, AuditLogger
from agent_servicing.store.event_log import append
from agent_servicing.web.app import PREFIX, create_app
from agent_servicing.web.server import uvicorn_config
from tests.integration.api_world import ApiWorld
from tests.store_builders import an_event

pytestmark = pytest.mark.anyio

ENTRIES = 20_000
BYTES = 2_000
"""Of each entry; all of them are 45 MB."""

MEMORY_BYTES = 16 * 1024 * 1024
STILL = 100
"""Looks in a row, 10 ms apart, at which nothing more was read: the server waits."""


class Counting(AuditLogger):
    """Counts what an export has read so far."""

    batches = 0

    async def export(self, filters: AuditFilters, *, upto: int | None = None) -> AsyncIterator[Sequence[StoredEvent]]:
        async for batch in super().export(filters, upto=upto):
            self.batches += 1
            yield batch


@asynccontextmanager
async def serving(world: ApiWorld, audit: AuditLogger) -> AsyncIterator[int]:
    context = world.app.state.context
    services = replace(world.services, audit=audit)
    app = create_app(services, settings=context.settings, clock=world.clock, ids=context.ids, bus=world.bus)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        while not server.started:
            await anyio.lowlevel.checkpoint()
        yield listener.getsockname()[1]
        server.should_exit = True


async def standing(audit: Counting) -> int:
    """How many batches were read when no more are."""
    seen, still = audit.batches, 0
    with anyio.fail_after(60):
        while still < STILL or not seen:
            await SystemClock().sleep(0.01)
            seen, still = audit.batches, still + 1 if audit.batches == seen else 0
    return seen


@pytest.mark.timeout(300)
async def test_an_export_waits_for_a_client_that_stops_reading_and_stays_small(api_world: ApiWorld) -> None:
    for _ in range(ENTRIES // 1_000):
        async with api_world.database.write(durable=False) as connection:
            await append(connection, RandomIds(), [an_event("upgrade", audit=True, reason="x" * BYTES)] * 1_000, keep=100_000)
    audit = Counting(database=api_world.database)
    async with serving(api_world, audit) as port:
        with socket.socket() as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            link.setblocking(False)
            await connected(link, port)
            request = f"GET {PREFIX}/audit/export?format=json HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
            link.send(f"{request}Authorization: Bearer {api_world.admin_token}\r\n\r\n".encode())
            tracemalloc.start()
            read_ahead = await standing(audit)
            size = await taken(link)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert read_ahead * EXPORT_BATCH < ENTRIES / 2, "it read on although nobody took what there was"
    assert size > ENTRIES * BYTES, "everything came in the end"
    assert audit.batches >= ENTRIES / EXPORT_BATCH
    assert peak < MEMORY_BYTES


async def connected(link: socket.socket, port: int) -> None:
    if link.connect_ex(("127.0.0.1", port)):
        await anyio.wait_writable(link)


async def taken(link: socket.socket) -> int:
    size = 0
    with anyio.fail_after(200):
        while True:
            await anyio.wait_readable(link)
            piece = link.recv(65_536)
            if not piece:
                return size
            size += len(piece)
