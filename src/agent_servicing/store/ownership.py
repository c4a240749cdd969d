"""Sees to it that one server at a time works on a PostgreSQL database. Used by `bootstrap`, before the database is opened.

Instances and data plane belong to one machine: a second server would start every agent again on its own. The claim is an advisory lock
on a connection of its own, which PostgreSQL takes back when that connection ends, so a killed server leaves nothing behind. For SQLite the
lock on the data directory does the same.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agent_servicing.core.errors import Conflict
from agent_servicing.store.database import StorageUnavailable, async_url, opening, place, translated
from agent_servicing.store.postgres import SERVER_LOCK, open_single

PATIENCE_SECONDS: Final = 3
"""How long a start waits for the lock: a server that was killed a moment ago may still be finishing its last statement there."""

CONFIRM_SECONDS: Final = 5.0
"""Limit for asking the connection whether it lives."""

NAME_BYTES_MAX: Final = 63
"""PostgreSQL cuts longer names of applications."""

_HOLDER: Final = text(
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.objid = :key"
).bindparams(key=SERVER_LOCK)


class Ownership:
    """The lock of this server. `confirm` before every piece of work."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = connection
        self._one_at_a_time = anyio.Lock()

    async def confirm(self) -> None:
        """Return while the lock is ours; take it again when the connection was lost and nobody else has it meanwhile.

        Raises StorageUnavailable otherwise: this server then leaves everything alone until it has the lock again.
        """
        with translated(), anyio.fail_after(CONFIRM_SECONDS, shield=True):
            async with self._one_at_a_time:
                if not await self._lives():
                    await self.drop()
                    await self._take_again()

    async def drop(self) -> None:
        """End the connection, and with it the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):  # it is gone already
                await connection.close()

    async def _lives(self) -> bool:
        # An invalidated connection would be opened anew without a word, and without the lock.
        if self._connection is None or self._connection.invalidated:
            return False
        try:
            await self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            return False
        return True

    async def _take_again(self) -> None:
        connection = await self._engine.connect()
        other = "unknown"
        try:
            if (await connection.execute(text(f"SELECT pg_try_advisory_lock({SERVER_LOCK})"))).scalar_one():
                self._connection = connection
                return
            other = await holder(connection) or other
        finally:
            if self._connection is not connection:
                await connection.close()
        raise StorageUnavailable(f"The database has been taken over by another server ({other}).", hint="Stop one of the two.")


@asynccontextmanager
async def sole_server(url: str) -> AsyncIterator[Ownership | None]:
    """Hold the database for this process; None for SQLite.

    Raises Conflict `database_in_use` naming the server that has it, PermanentError when the database cannot be reached.
    """
    target = async_url(url)
    if target.get_backend_name() == "sqlite":
        yield None
        return
    engine = open_single(target, application_name=_our_name())
    try:
        with opening(target):
            connection = await engine.connect()
        ownership = Ownership(engine, connection)
        try:
            await _take(connection, place(target))
            yield ownership
        finally:
            with anyio.CancelScope(shield=True):
                await ownership.drop()
    finally:
        with anyio.CancelScope(shield=True):
            await engine.dispose()


async def _take(connection: AsyncConnection, where: str) -> None:
    await connection.execute(text(f"SET lock_timeout = '{PATIENCE_SECONDS}s'"))
    try:
        await connection.execute(text(f"SELECT pg_advisory_lock({SERVER_LOCK})"))
    except OperationalError as error:
        raise Conflict(
            f"the database {where} is in use by another server ({await holder(connection) or 'unknown'})",
            hint="Agents run on the machine of their server: one database serves one server. Stop that one, or use another database.",
            code="database_in_use",
        ) from error


async def holder(connection: AsyncConnection) -> str | None:
    """The name of the server that has this connection's database, None when none has."""
    name: str | None = (await connection.execute(_HOLDER)).scalars().first()
    return name


def _our_name() -> str:
    return f"agent-servicing pid {os.getpid()} on {socket.gethostname()}"[:NAME_BYTES_MAX]
