"""The connection to the database: one short transaction at a time for writers, a pool for readers. Used by the store and the services."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import anyio
from anyio import to_thread
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Invalid, PermanentError, TemporaryError, Unavailable
from agent_servicing.store import postgres, sqlite
from agent_servicing.store.migrate import migrate
from agent_servicing.store.postgres import Engines

TRANSACTION_TIMEOUT_SECONDS = 15.0
"""No transaction does anything but talk to the database, so a longer one is stuck."""

_PASSING_STATES = frozenset({"25006", "25P03"})
"""Read-only after a failover, idle for too long after this process was frozen: passing, although PostgreSQL's driver files them under bugs."""


class StorageUnavailable(Unavailable, TemporaryError):
    """The database cannot be used now. For services it is an `Unavailable`, for the engine a `TemporaryError`: both come back later."""

    code = "storage_unavailable"

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float = 5.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class Database:
    """Open with `Database.open(url)`; everything is closed at the end of the block."""

    def __init__(self, engines: Engines, url: str) -> None:
        self.url = url
        self._writer, self._lazy_writer = engines.writer, engines.lazy_writer
        self._reader, self._glancer = engines.reader, engines.glancer
        self._alone, self._written = async_url(url).get_backend_name() == "sqlite", 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Database"]:
        """Connect to `sqlite:///path` or `postgresql://…` and bring the schema up to date.

        Raises PermanentError when the URL is wrong, the database was written by a newer version of this program, or it cannot be
        opened at all.
        """
        target = async_url(url)
        if target.get_backend_name() == "sqlite":
            await to_thread.run_sync(_try_file, target)
            engines = sqlite.open_engines(target, pool_seconds=TRANSACTION_TIMEOUT_SECONDS)
        else:
            engines = postgres.open_engines(target, pool_seconds=TRANSACTION_TIMEOUT_SECONDS)
        try:
            with opening(target):
                async with engines.migrator.begin() as connection:
                    await connection.run_sync(migrate)
            yield cls(engines, url)
        finally:
            with anyio.CancelScope(shield=True):
                await engines.glancer.dispose()
                await engines.reader.dispose()
                await engines.writer.dispose()

    @property
    def mark(self) -> int | None:
        """Equal ones: in between nothing was written that anybody is shown. None where another process may write, too."""
        return self._written if self._alone else None

    @asynccontextmanager
    async def write(self, *, durable: bool = True, shown: bool = True) -> AsyncIterator[AsyncConnection]:
        """One writing transaction: committed at the end of the block, rolled back when it raises. Not cancelled half-way.

        Durable ones come one at a time, so what was read at the beginning is true at the end. `durable` False is for leases and the like,
        which nobody was told about: on PostgreSQL they do not stand in that line, on SQLite they do not wait for the disk, and may be
        missing after a power cut, never half there. `shown` False is for those alone: whatever was read before is as true afterwards.
        Raises StorageUnavailable, Invalid for values that no column can hold.
        """
        try:
            with translated(), anyio.fail_after(TRANSACTION_TIMEOUT_SECONDS, shield=True):
                async with (self._writer if durable else self._lazy_writer).begin() as connection:
                    yield connection
        finally:
            self._written += shown  # also where it is not known whether it came to be written

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent view for any number of reads. Raises StorageUnavailable."""
        with translated(), anyio.fail_after(TRANSACTION_TIMEOUT_SECONDS, shield=True):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[AsyncConnection]:
        """Like `read`, for what an index finds at once and is small: one agent, one page. On SQLite nothing else goes on meanwhile, which is
        quicker for everybody than waking a thread; what reads many rows would make everybody wait."""
        with translated(), anyio.fail_after(TRANSACTION_TIMEOUT_SECONDS, shield=True):
            async with self._glancer.connect() as connection:
                yield connection


def async_url(url: str) -> URL:
    """The URL with its asynchronous driver. Raises PermanentError, in which no part of the URL is repeated: it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise PermanentError("the database URL cannot be read; allowed are sqlite:///path and postgresql://…") from None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.get_backend_name()
    if backend not in drivers:
        raise PermanentError(f"{backend} is no database we support; allowed are sqlite:///path and postgresql://…")
    return parsed.set(drivername=drivers[backend])


def _try_file(url: URL) -> None:
    """Open the file once the plain way: the asynchronous driver leaves a thread behind when it cannot."""
    try:
        with closing(sqlite3.connect(url.database or "", timeout=sqlite.BUSY_TIMEOUT_MS / 1000)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise _cannot_open(url, error) from error


@contextmanager
def translated() -> Iterator[None]:
    """Errors that will pass become StorageUnavailable, values that do not fit Invalid; everything else is a bug of ours and stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _unavailable(error) from error
    except InternalError as error:
        if _state(error) not in _PASSING_STATES:
            raise
        raise _unavailable(error) from error
    except DataError as error:
        raise Invalid(f"The database cannot hold that: {_cause(error)}.") from error
    except TimeoutError as error:
        raise StorageUnavailable(f"The database did not answer within {TRANSACTION_TIMEOUT_SECONDS:g} s.") from error


def _unavailable(error: Exception) -> StorageUnavailable:
    cause = _cause(error)
    if "disk is full" in cause or "No space left" in cause:
        return StorageUnavailable(
            "The disk that holds the database is full; nothing was changed.", hint="Free some space where the database is, then try again."
        )
    if "readonly" in cause or "read-only" in cause:
        return StorageUnavailable(
            "The database cannot be written; nothing was changed.", hint="Check the permissions and mount of the database, or its failover."
        )
    if "database is locked" in cause or "busy" in cause:
        return StorageUnavailable("The database is locked by another program; nothing was changed.", hint="Try again in a moment.")
    return StorageUnavailable(f"The database failed: {cause}.", hint="Run `servicing doctor` on the machine of the server.")


@contextmanager
def opening(url: URL) -> Iterator[None]:
    """At the start there is nobody to try again: what cannot be opened is reported once, with the place."""
    try:
        yield
    except DBAPIError as error:
        raise _cannot_open(url, error) from error


def _cannot_open(url: URL, cause: Exception) -> PermanentError:
    return PermanentError(f"the database {place(url)} cannot be opened: {_cause(cause)}")


def place(url: URL) -> str:
    """Which database, for people: without options and password."""
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def _cause(error: Exception) -> str:
    """The driver's own words in one line."""
    words = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return " ".join(words.split()).rstrip(".")


def _state(error: DBAPIError) -> str | None:
    """PostgreSQL's five characters for what happened."""
    found: str | None = getattr(error.orig, "sqlstate", None)
    return found
