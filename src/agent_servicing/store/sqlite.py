"""How SQLite is connected to: engines for one writer and a few readers, and a driver that crosses threads once for a statement. Used by `database`.

SQLite works in a thread of its connection. The asynchronous driver crosses over for each small step: making a cursor, executing, fetching,
closing, beginning, ending. Here a statement is all of that in one crossing, and what begins a transaction travels with its first statement.
Looking a few rows up by their keys takes less time than one crossing, so that is done where one stands.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Self, cast

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from agent_servicing.store.postgres import Engines

READERS: Final = 4
"""Reading connections kept; reads are short, more would only wait for the same disk."""

BUSY_TIMEOUT_MS: Final = 5_000
"""How long SQLite waits for another process's lock, a backup for instance."""

BUSY_AT_HAND_MS: Final = 50
"""The same where the whole program waits with it. Readers meet no lock but that of somebody who repairs the write-ahead log."""

WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The write-ahead log is cut back to this after a checkpoint."""

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = NORMAL",
)


def open_engines(url: URL, *, pool_seconds: float) -> Engines:
    """Nothing is connected yet."""
    path = url.database or ""
    writer = create_async_engine(url, async_creator=partial(OneCrossing, path), pool_size=1, max_overflow=0, pool_timeout=pool_seconds)
    reading = partial(OneCrossing, path, read_only=True)
    reader = create_async_engine(url, async_creator=reading, pool_size=READERS, max_overflow=0, pool_timeout=pool_seconds)
    looking = partial(AtHand, path, read_only=True)
    glancer = create_async_engine(url, async_creator=looking, pool_size=READERS, max_overflow=0, pool_timeout=pool_seconds)
    for engine, begin in ((writer, _begin_writing), (reader, _begin_reading), (glancer, _begin_reading)):
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", begin)
    lazy_writer = writer.execution_options(durable=False)
    return Engines(writer=writer, lazy_writer=lazy_writer, reader=reader, glancer=glancer, migrator=writer)


class Outcome(NamedTuple):
    """What a statement left behind; its cursor is closed."""

    description: Sequence[Any] | None = None
    rows: Sequence[Any] = ()
    rowcount: int = -1
    lastrowid: int | None = None


class OneCrossing(aiosqlite.Connection):
    """The driver's connection, with cursors that cross once. `first` goes before the next statement, in the same crossing."""

    busy_timeout_ms = BUSY_TIMEOUT_MS

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(partial(sqlite3.connect, path, check_same_thread=False), iter_chunk_size=1)
        self._thread.daemon = True
        self._read_only, self._first = read_only, list[str]()

    def cursor(self) -> "Cursor":  # type: ignore[override]  # SQLAlchemy needs no more of the driver's cursor than ours has
        return Cursor(self)

    def begin(self, *statements: str) -> None:
        """They are carried out together with whatever comes next."""
        self._first.extend(statements)

    async def run(self, work: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> Outcome:
        outcome: Outcome = await self._execute(self._run, self._taken(), work)  # type: ignore[no-untyped-call]  # of the driver
        return outcome

    async def commit(self) -> None:
        if not self._taken():
            await super().commit()

    async def rollback(self) -> None:
        if self._taken():
            return
        if self._read_only:
            # Nobody needs to wait for the end of a look: what comes next on this connection comes after it.
            self._tx.put_nowait((None, self._conn.rollback))
        else:
            await super().rollback()

    def _taken(self) -> Sequence[str]:
        """What was still to come first. Where a transaction ends with it, that never began, and nothing is to be ended."""
        first, self._first = self._first, []
        return first

    def _run(self, first: Sequence[str], work: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> Outcome:
        for statement in first:
            self._conn.execute(statement)
        cursor = work(self._conn)
        rows = cursor.fetchall() if cursor.description else []
        outcome = Outcome(cursor.description, rows, cursor.rowcount, cursor.lastrowid)
        cursor.close()
        return outcome


class AtHand(OneCrossing):
    """For looks by key: statements are carried out in the caller's thread, and nobody else does anything until they are over."""

    busy_timeout_ms = BUSY_AT_HAND_MS

    async def run(self, work: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> Outcome:
        return self._run(self._taken(), work)

    async def rollback(self) -> None:
        if not self._taken():
            self._conn.rollback()


class Cursor:
    """As much of the asynchronous driver's cursor as SQLAlchemy uses; all rows are there once it executed."""

    arraysize = 1

    def __init__(self, connection: OneCrossing) -> None:
        self._connection, self._outcome = connection, Outcome()

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._outcome = await self._connection.run(lambda connection: connection.execute(sql, parameters))

    async def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._outcome = await self._connection.run(lambda connection: connection.executemany(sql, parameters))

    async def fetchall(self) -> Sequence[Any]:
        return self._outcome.rows

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def description(self) -> Sequence[Any] | None:
        return self._outcome.description

    @property
    def rowcount(self) -> int:
        return self._outcome.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._outcome.lastrowid


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:  # noqa: ARG001  (the event's signature)
    # The driver must not begin transactions by itself: it would do so too late, after reading.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {cast('OneCrossing', connection.driver_connection).busy_timeout_ms}")
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_reading(connection: Connection) -> None:
    _driver(connection).begin("PRAGMA query_only = ON", "BEGIN")


def _begin_writing(connection: Connection) -> None:
    durable = connection.get_execution_options().get("durable", True)
    # Taking the write lock at once instead of at the first write: a transaction that read something can then always finish.
    _driver(connection).begin(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}", "BEGIN IMMEDIATE")


def _driver(connection: Connection) -> OneCrossing:
    return cast("OneCrossing", connection.connection.driver_connection)
