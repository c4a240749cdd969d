"""How PostgreSQL is connected to: engines for writers and readers, and what each transaction begins with. Used by `database` and `ownership`."""

from typing import Final, NamedTuple

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from agent_servicing.core.errors import PermanentError

CONNECTIONS: Final = 8
"""Connections kept; as many reconciles as run at once by default. Half as many more are opened for a moment when all are busy."""

CONNECT_SECONDS: Final = 5
"""A server that has not answered by then is down or behind a firewall that drops."""

STATEMENT_SECONDS: Final = 10
"""Also bounds waiting for another writer. Shorter than the transaction's own limit, so that the server ends it and we learn why."""

IDLE_IN_TRANSACTION_SECONDS: Final = 5
"""Our transactions never pause. A server process that was frozen in the middle of one stops holding up the others after this."""

WRITERS_LOCK: Final = 0x5E11CE01
SERVER_LOCK: Final = 0x5E11CE02
"""Keys of our advisory locks, any two numbers that nobody else uses in this database."""

_CONNECT: Final[dict[str, object]] = {
    "application_name": "agent-servicing",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""What libpq is told, unless the URL says otherwise."""

_SESSION: Final = (
    f"SET statement_timeout = '{STATEMENT_SECONDS}s'",
    f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_SECONDS}s'",
    # The database forgets a client whose machine is gone within 25 s instead of two hours, and with it the locks it held.
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)

_WRITE: Final = (f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})",)
"""Writers whose work is told of come one by one, as they do on SQLite: what a service read and decided on stays true until it commits.
Claims, releases and the like touch one agent's row each, do without, and run side by side. They wait for the disk all the same: a claim
that a crash of the database undid would leave one agent to two engines.
"""

_MIGRATE: Final = ("SET LOCAL statement_timeout = 0", *_WRITE)
"""Of two servers that start at once the second waits, however long it takes, and finds nothing left to do."""

MISSING: Final = (
    "a postgresql:// database needs the package psycopg, which is not installed; "
    "install it with: python -m pip install 'agent-servicing[postgres]'"
)


class Engines(NamedTuple):
    """What a database is used by; `glancer`: for looks by key. Over PostgreSQL they are views of one pool."""

    writer: AsyncEngine
    lazy_writer: AsyncEngine
    reader: AsyncEngine
    glancer: AsyncEngine
    migrator: AsyncEngine


def open_engines(url: URL, *, pool_seconds: float) -> Engines:
    """Nothing is connected yet. Raises PermanentError when the driver is not installed or knows no such option."""
    engine = _create(url, pool_size=CONNECTIONS, max_overflow=CONNECTIONS // 2, pool_timeout=pool_seconds, pool_pre_ping=True)
    event.listen(engine.sync_engine, "begin", _begin)
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(
        writer=engine.execution_options(first=_WRITE),
        lazy_writer=engine,
        reader=reader,
        glancer=reader,
        migrator=engine.execution_options(first=_MIGRATE),
    )


def open_single(url: URL, *, application_name: str) -> AsyncEngine:
    """For one connection that is held: no pool, no transactions. Raises PermanentError like `open_engines`."""
    return _create(url.update_query_dict({"application_name": application_name}), poolclass=NullPool, isolation_level="AUTOCOMMIT")


def _create(url: URL, **options: object) -> AsyncEngine:
    given = {name: value for name, value in _CONNECT.items() if name not in url.query}
    try:
        engine = create_async_engine(url, connect_args=given, **options)
    except ImportError as error:
        raise PermanentError(MISSING) from error
    event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:  # noqa: ARG001  (the event's signature)
    cursor = connection.cursor()
    for statement in _SESSION:
        cursor.execute(statement)
    cursor.close()
    connection.commit()


def _begin(connection: Connection) -> None:
    for statement in connection.get_execution_options().get("first", ()):
        connection.exec_driver_sql(statement)
