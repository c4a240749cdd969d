"""A whole database as files of JSON lines, one for each table, and back.

The files are the same for SQLite and PostgreSQL, so that either can be restored onto either. Called by `build` and `bootstrap.restore`, in a
thread. The rows are those of one moment: SQLite is first copied by its online backup, PostgreSQL is read in one REPEATABLE READ
transaction. Writers are not held up by either.
"""

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, NullPool, Table, create_engine, delete, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from agent_servicing.core.errors import PermanentError
from agent_servicing.store.database import async_url, opening
from agent_servicing.store.migrate import migrate
from agent_servicing.store.tables import metadata

REVISION_TABLE: Final = "alembic_version"

NOT_KEPT: Final = frozenset({"idempotency", REVISION_TABLE})
"""Answers to repeated requests are worth nothing after a day, and the revision stands in the description."""

ROWS_AT_ONCE: Final = 500
"""Bounds the memory, whatever the table's size."""

LINE_CHARACTERS_MAX: Final = 256 * 1024 * 1024
"""One row. Bodies are limited when they are written, to far less."""

COMPRESSION: Final = 5

_PATIENT: Final = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = '15min'",  # between two batches a slow disk is written to
)

Write = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDump:
    """`last` is the number that the column which counts by itself gave out last, so that no number is given out twice."""

    columns: tuple[str, ...]
    rows: int
    counting: str | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """What `export` wrote: `revision` is the schema's. `database` is where the rows came from, sqlite or postgresql."""

    revision: str
    database: str
    tables: Mapping[str, TableDump] = field(default_factory=dict)


def file_of(table: str) -> str:
    return f"{table}.jsonl.gz"


def revision_of(url: str) -> str | None:
    """The schema of a database, None for an empty one or none at all. Nothing is changed. Raises PermanentError when it cannot be read."""
    target = async_url(url)
    if target.get_backend_name() == "sqlite" and not Path(target.database or "").exists():
        return None
    engine = create_engine(target.set(drivername="sqlite") if target.get_backend_name() == "sqlite" else target, poolclass=NullPool)
    try:
        with opening(target), engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def export(url: str, folder: Path) -> Dump:
    """Write every table's rows into `folder`. Raises PermanentError when the database cannot be read, or holds nothing of ours."""
    target = async_url(url)
    with opening(target), _consistent(target, folder) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            raise PermanentError("the database holds nothing yet: no server has worked with it")
        tables = {table.name: _write_table(connection, table, folder) for table in _tables(connection)}
        return Dump(revision=revision, database=connection.dialect.name, tables=tables)


def load(connection: Connection, folder: Path, dump: Dump) -> None:
    """Fill an empty database: the schema of the dump's revision, its rows, then every newer migration.

    All in the caller's transaction. Raises PermanentError for rows that do not fit, and for a schema that this program does not know.
    """
    migrate(connection, dump.revision)
    known = {table.name: table for table in _tables(connection)}
    unknown = sorted(dump.tables.keys() - known.keys())
    if unknown:
        raise PermanentError(f"schema {dump.revision} has no table {', '.join(unknown)}")
    for table in reversed(known.values()):
        # What migrations put there; only where there is something, because a log that may only grow would refuse even that.
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            connection.execute(delete(table))
    for name, table in known.items():
        if name in dump.tables:
            _read_table(connection, table, folder, dump.tables[name])
    migrate(connection)


def _tables(connection: Connection) -> list[Table]:
    """Our tables as they are in this database, those that others refer to first. A PostgreSQL database may hold tables of others too."""
    found = MetaData()
    ours = None if connection.dialect.name == "sqlite" else (lambda name, _: name in metadata.tables)
    found.reflect(connection, only=ours)
    return [table for table in found.sorted_tables if table.name not in NOT_KEPT]


@contextmanager
def _consistent(target: URL, folder: Path) -> Iterator[Connection]:
    if target.get_backend_name() == "sqlite":
        copy = folder / "copy.db"
        _copy_sqlite(Path(target.database or ""), copy)
        engine = create_engine(f"sqlite:///{copy}", poolclass=NullPool)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
            copy.unlink(missing_ok=True)
        return
    engine = create_engine(target, poolclass=NullPool, isolation_level="REPEATABLE READ", connect_args={"connect_timeout": 5})
    try:
        with engine.connect().execution_options(postgresql_readonly=True) as connection:
            for statement in _PATIENT:
                connection.execute(text(statement))
            yield connection
    finally:
        engine.dispose()


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            new.execute("PRAGMA synchronous = OFF")
            old.backup(new, pages=-1)
            said = str(new.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise PermanentError(f"the database {source} cannot be copied: {error}") from error
    if said != "ok":
        raise PermanentError(f"the database {source} is damaged: {said}")


def _write_table(connection: Connection, table: Table, folder: Path) -> TableDump:
    query = select(table).order_by(*table.primary_key.columns)
    rows = 0
    with gzip.open(folder / file_of(table.name), "wt", compresslevel=COMPRESSION, encoding="utf-8") as file:
        for batch in connection.execution_options(stream_results=True).execute(query).partitions(ROWS_AT_ONCE):
            rows += len(batch)
            file.writelines(json.dumps([_encoded(value) for value in row], ensure_ascii=False) + "\n" for row in batch)
    counting, last = _counter(connection, table)
    return TableDump(columns=tuple(table.columns.keys()), rows=rows, counting=counting, last=last)


def _read_table(connection: Connection, table: Table, folder: Path, dump: TableDump) -> None:
    missing = sorted(set(dump.columns) - set(table.columns.keys()))
    if missing:
        raise PermanentError(f"the table {table.name} has no column {', '.join(missing)}")
    seen = 0
    try:
        for batch in _batches(folder / file_of(table.name)):
            seen += len(batch)
            connection.execute(
                insert(table), [dict(zip(dump.columns, (_decoded(connection, v) for v in row), strict=True)) for row in batch]
            )
    except (ValueError, TypeError, KeyError) as error:
        raise PermanentError(f"row {seen} or one shortly before it in {table.name} cannot be understood: {error}") from error
    except SQLAlchemyError as error:
        raise PermanentError(f"a row of {table.name} does not fit into the database: {getattr(error, 'orig', error)}") from error
    if seen != dump.rows:
        raise PermanentError(f"{table.name} should have {dump.rows} rows and has {seen}")
    if dump.counting is not None and dump.last is not None:
        _go_on_counting(connection, table.name, dump.counting, dump.last)


def _batches(path: Path) -> Iterator[list[list[Any]]]:
    batch: list[list[Any]] = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        while line := file.readline(LINE_CHARACTERS_MAX):
            batch.append(json.loads(line))
            if len(batch) == ROWS_AT_ONCE:
                yield batch
                batch = []
    if batch:
        yield batch


def _counter(connection: Connection, table: Table) -> tuple[str | None, int | None]:
    known = metadata.tables.get(table.name)
    column = known.autoincrement_column if known is not None else None
    if column is None or column.autoincrement is not True:
        return None, None
    if connection.dialect.name == "sqlite":
        last = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}).scalar()
        return column.name, last
    named = connection.execute(
        text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
    ).scalar()
    if named is None:
        return None, None
    last, called = connection.execute(text(f"SELECT last_value, is_called FROM {named}")).one()  # noqa: S608 (PostgreSQL's own name)
    return column.name, last if called else None


def _go_on_counting(connection: Connection, table: str, column: str, last: int) -> None:
    values = {"table": table, "column": column, "last": last}
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"), values)
    else:
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"), values)


def _encoded(value: object) -> object:
    """JSON for what a column can hold. What JSON has no word for is an object with one key, which no column holds as such."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return {"time": (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()}
        case bytes() | memoryview():
            return {"bytes": base64.b64encode(value).decode()}
        case dict() | list():
            return {"json": value}
        case _:
            raise TypeError(f"no column of ours holds a {type(value).__name__}")


def _decoded(connection: Connection, value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "time":
            at = datetime.fromisoformat(content)
            # SQLite has no time zones: its columns hold UTC without saying so.
            return at.replace(tzinfo=None) if connection.dialect.name == "sqlite" else at
        case "bytes":
            return base64.b64decode(content, validate=True)
        case "json":
            return content
        case _:
            raise ValueError(f"{kind} is no kind of value")
