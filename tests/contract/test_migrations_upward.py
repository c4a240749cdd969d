"""Databases of every schema there ever was, with data in them, on SQLite and PostgreSQL: brought to the newest, nothing is lost and all works."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, NullPool, create_engine, func, insert, select, text

from agent_servicing.core.errors import PermanentError
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.store.database import Database, async_url
from agent_servicing.store.migrate import migrate, revisions
from agent_servicing.store.tables import metadata
from agent_servicing.testing.clock import START
from tests.backup_builders import fill
from tests.postgres_server import PostgresServer
from tests.store_builders import open_store

pytestmark = pytest.mark.anyio

KINDS = ("sqlite", "postgresql")


@pytest.fixture
def urls(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """A new database of a kind."""

    def make(name: str, kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / name}.db"
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())

    return make


def engine_of(url: str) -> Engine:
    target = async_url(url)
    return create_engine(target.set(drivername="sqlite") if target.get_backend_name() == "sqlite" else target, poolclass=NullPool)


def reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def rows_of(connection: Connection, only: dict[str, list[str]] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Every row by table; `only`: these tables and columns."""
    found = {}
    for table in reflected(connection).sorted_tables:
        if table.name == "alembic_version" or (only is not None and table.name not in only):
            continue
        columns = [c for c in table.columns if only is None or c.name in only[table.name]]
        found[table.name] = [dict(row) for row in connection.execute(select(*columns).order_by(*table.primary_key.columns)).mappings()]
    return found


def put_into(connection: Connection, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Those of the rows for which this schema has tables and columns; which these are."""
    there = reflected(connection)
    for table in reversed(there.sorted_tables):
        if table.name in rows:
            connection.execute(table.delete())
    kept: dict[str, list[str]] = {}
    for table in there.sorted_tables:
        if table.name in rows:
            kept[table.name] = [c.name for c in table.columns]
            for row in rows[table.name]:
                connection.execute(insert(table).values({name: value for name, value in row.items() if name in kept[table.name]}))
    return kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("revision", revisions())
async def test_from_every_schema_there_was_nothing_is_lost_and_the_store_works(
    revision: str, kind: str, urls: Callable[[str, str], str]
) -> None:
    newest, url = urls("newest", kind), urls("old", kind)
    await fill(newest)
    engine = engine_of(newest)
    with engine.connect() as connection:
        rows = rows_of(connection)
    old = engine_of(url)
    with old.begin() as connection:
        migrate(connection, revision)
        kept = put_into(connection, rows)
        before = rows_of(connection, kept)
    assert sum(len(found) for found in before.values()) > 40
    async with open_store(url) as (database, store):
        assert (await store.load("WowMemory")).agent.agent == "WowMemory"
        assert {lease.agent for lease in await store.claim(START, lease_seconds=30, limit=10)} == {"WowMemory", "WowCache"}
        checked = await AuditLogger(database=database).verify()
        assert (checked.valid, checked.entries) == (True, 20)
        # Numbers go on, and so do events.
        async with database.write() as connection:
            assert (await connection.execute(select(func.count()).select_from(metadata.tables["events"]))).scalar_one() == 40
    with old.connect() as connection:
        after = rows_of(connection, kept)
        for name in ("agents", "log_head"):  # what the claim above has written
            before.pop(name), after.pop(name)
        assert after == before
        if kind == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_migration_that_dies_leaves_the_old_schema_whole_and_the_next_one_finishes(
    kind: str, urls: Callable[[str, str], str], tmp_path: Path
) -> None:
    """The process ends after the last statement and before the commit: the latest moment there is."""
    url, first = urls("dying", kind), revisions()[0]
    engine = engine_of(url)
    with engine.begin() as connection:
        migrate(connection, first)
    program = (
        "import os, sys\nfrom sqlalchemy import create_engine, event\nfrom agent_servicing.store.migrate import migrate\n"
        "engine = create_engine(sys.argv[1])\n"
        "if engine.dialect.name == 'sqlite':\n"
        "    event.listen(engine, 'connect', lambda raw, _: setattr(raw, 'isolation_level', None))\n"
        "    event.listen(engine, 'begin', lambda c: c.exec_driver_sql('BEGIN IMMEDIATE'))\n"
        "connection = engine.connect()\nconnection.begin()\nmigrate(connection)\nos._exit(9)\n"
    )
    plain = url if kind == "sqlite" else url.replace("postgresql://", "postgresql+psycopg://")
    died = await anyio.run_process([sys.executable, "-c", program, plain], check=False)
    assert died.returncode == 9, died.stderr.decode()
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == first
    async with Database.open(url) as database, database.read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == revisions()[-1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_newer_schema_is_refused_and_left_as_it_is(kind: str, urls: Callable[[str, str], str]) -> None:
    url = urls("future", kind)
    engine = engine_of(url)
    with engine.begin() as connection:
        migrate(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PermanentError, match="newer version of Agent Servicing \\(schema 9999\\)"):
        async with Database.open(url):
            pass
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_the_revisions_are_one_chain() -> None:
    assert len(set(revisions())) == len(revisions())
    assert revisions()[0] == "0001"
