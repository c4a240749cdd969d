"""The connection to the database: one short transaction at a time for writers, a pool for readers. Used by the store and the services."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import anyio
from anyio import to_thread
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from agent_servicing.core.errors import PermanentError, TemporaryError, Unavailable
from agent_servicing.store.migrate import migrate

READERS = 4
"""Reading connections kept; reads are short, more would only wait for the same disk."""

TRANSACTION_TIMEOUT_SECONDS = 15.0
"""No transaction does anything but talk to the database, so a longer one is stuck."""

BUSY_TIMEOUT_MS = 5_000
"""How long SQLite waits for another process's lock, a backup for instance."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""The write-ahead log is cut back to this after a checkpoint."""

_SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = NORMAL",
)


class StorageUnavailable(Unavailable, TemporaryError):
    """The database cannot be used now. For services it is an `Unavailable`, for the engine a `TemporaryError`: both come back later."""

    code = "storage_unavailable"

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class Database:
    """Open with `Database.open(url)`; everything is closed at the end of the block."""

    def __init__(self, *, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer, self._lazy_writer, self._reader = writer, writer.execution_options(durable=False), reader

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Database"]:
        """Connect to `sqlite:///path` or `postgresql://…` and bring the schema up to date.

        Raises PermanentError when the URL is wrong, the database was written by a newer version of this program, or it cannot be
        opened at all.
        """
        target = _async_url(url)
        if target.get_backend_name() == "sqlite":
            await to_thread.run_sync(_try_file, target)
        writer, reader = _engines(target)
        try:
            with _opening(target):
                async with writer.begin() as connection:
                    await connection.run_sync(migrate)
            yield cls(writer=writer, reader=reader)
        finally:
            with anyio.CancelScope(shield=True):
                await reader.dispose()
                await writer.dispose()

    @asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncIterator[AsyncConnection]:
        """One writing transaction: committed at the end of the block, rolled back when it raises. Not cancelled half-way.

        `durable` False skips the wait for the disk: after a power cut the transaction may be missing, never half there. For leases
        and the like, which nobody was told about. Raises StorageUnavailable.
        """
        with _translated(), anyio.fail_after(TRANSACTION_TIMEOUT_SECONDS, shield=True):
            async with (self._writer if durable else self._lazy_writer).begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view for any number of reads. Raises StorageUnavailable."""
        with _translated(), anyio.fail_after(TRANSACTION_TIMEOUT_SECONDS, shield=True):
            async with self._reader.connect() as connection:
                yield connection


def _async_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise PermanentError("the database URL cannot be read; allowed are sqlite:///path and postgresql://…") from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    backend = parsed.get_backend_name()
    if backend not in drivers:
        raise PermanentError(f"{backend} is no database we support; allowed are sqlite:///path and postgresql://…")
    return parsed.set(drivername=drivers[backend])


def _try_file(url: URL) -> None:
    """Open the file once the plain way: the asynchronous driver leaves a thread behind when it cannot."""
    try:
        with closing(sqlite3.connect(url.database or "", timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise _cannot_open(url, error) from error


def _engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    """The writer's and the readers' engine; one pool for both where the database itself orders writers."""
    timeout = TRANSACTION_TIMEOUT_SECONDS
    if url.get_backend_name() != "sqlite":
        engine = create_async_engine(url, pool_size=READERS + 4, max_overflow=4, pool_timeout=timeout, pool_pre_ping=True)
        event.listen(engine.sync_engine, "begin", _begin_postgres)
        return engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    writer = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=timeout)
    reader = create_async_engine(url, pool_size=READERS, max_overflow=0, pool_timeout=timeout)
    for engine, read_only in ((writer, False), (reader, True)):
        event.listen(engine.sync_engine, "connect", _sqlite_connect(read_only=read_only))
        event.listen(engine.sync_engine, "begin", _begin_reading if read_only else _begin_writing)
    return writer, reader


def _sqlite_connect(*, read_only: bool) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    def prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        # The driver must not begin transactions by itself: it would do so too late, after reading.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(pragma)
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()
        record.info["durable"] = False

    return prepare


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    durable = bool(connection.get_execution_options().get("durable", True))
    if connection.info["durable"] != durable:
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.info["durable"] = durable
    # Taking the write lock at once instead of at the first write: a transaction that read something can then always finish.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgres(connection: Connection) -> None:
    if not connection.get_execution_options().get("durable", True):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


@contextmanager
def _translated() -> Iterator[None]:
    """Errors that will pass become StorageUnavailable; everything else is a bug of ours and stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _unavailable(error) from error
    except TimeoutError as error:
        raise StorageUnavailable(f"The database did not answer within {TRANSACTION_TIMEOUT_SECONDS:g} s.") from error


def _unavailable(error: Exception) -> StorageUnavailable:
    cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    if "disk is full" in cause or "No space left" in cause:
        return StorageUnavailable(
            "The disk that holds the database is full; nothing was changed.", hint="Free some space in the data directory, then try again."
        )
    if "readonly" in cause or "read-only" in cause:
        return StorageUnavailable(
            "The database cannot be written; nothing was changed.", hint="Check the permissions and mount of the data directory."
        )
    if "locked" in cause or "busy" in cause:
        return StorageUnavailable("The database is locked by another program; nothing was changed.", hint="Try again in a moment.")
    return StorageUnavailable(f"The database failed: {cause}", hint="Run `servicing doctor` on the machine of the server.")


@contextmanager
def _opening(url: URL) -> Iterator[None]:
    """At the start there is nobody to try again: what cannot be opened is reported once, with the place."""
    try:
        yield
    except DBAPIError as error:
        raise _cannot_open(url, error.orig or error) from error


def _cannot_open(url: URL, cause: BaseException) -> PermanentError:
    return PermanentError(f"the database {url.render_as_string(hide_password=True)} cannot be opened: {cause}")
