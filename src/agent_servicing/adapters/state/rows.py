"""What changed between two copies of one SQLite database, row by row. Called by `records` with files nobody else uses; blocking."""

import base64
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent_servicing.core.errors import PermanentError

ROWS_AT_ONCE: Final = 500

Change = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """`key` names the row within its table; `value` are its columns as they are now, None for a row that is gone."""

    table: str
    key: str
    change: Change
    value: dict[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """`keys` tell rows apart: the primary key where both copies have it, else the row's own number."""

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    shared: tuple[str, ...] | None


def changes(base: Path | None, now: Path, tables: Sequence[str] = ()) -> Iterator[RowChange]:
    """Rows that were added, changed or removed between the copies, in `tables` only where any are named; without a base all are added.

    Virtual tables and what they keep are left out: they are derived from others. Raises `PermanentError` for what is no database.
    """
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("ATTACH ? AS now", (str(now),))
            if base is not None:
                database.execute("ATTACH ? AS base", (str(base),))
            for table in _tables(database, tables, has_base=base is not None):
                yield from _of(database, table)
    except sqlite3.Error as error:
        raise PermanentError(f"the database {now.name} cannot be compared: {error}") from error


def _of(database: sqlite3.Connection, table: _Table) -> Iterator[RowChange]:
    """Names are quoted, and the files are copies of ours: an odd name of the agent's can do no harm."""
    now, base = f"now.{_quoted(table.name)} n", f"base.{_quoted(table.name)} b"
    here, gone = (", ".join(f"{side}.{key}" for key in table.keys) for side in "nb")
    if table.shared is None:
        yield from _rows(database, table, "added", f"SELECT {here}, n.* FROM {now}")  # noqa: S608
        return
    same = " AND ".join(f"b.{key} IS n.{key}" for key in table.keys)
    differs = " OR ".join(f"b.{column} IS NOT n.{column}" for column in map(_quoted, table.shared))
    yield from _rows(database, table, "added", f"SELECT {here}, n.* FROM {now} WHERE NOT EXISTS (SELECT 1 FROM {base} WHERE {same})")  # noqa: S608
    if differs:
        yield from _rows(database, table, "changed", f"SELECT {here}, n.* FROM {now} JOIN {base} ON {same} WHERE {differs}")  # noqa: S608
    yield from _rows(database, table, "removed", f"SELECT {gone} FROM {base} WHERE NOT EXISTS (SELECT 1 FROM {now} WHERE {same})")  # noqa: S608


def _rows(database: sqlite3.Connection, table: _Table, change: Change, query: str) -> Iterator[RowChange]:
    cursor, width = database.execute(query), len(table.keys)
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        for row in rows:
            key = "/".join(str(_plain(part)) for part in row[:width])
            value = None if change == "removed" else {c: _plain(v) for c, v in zip(table.columns, row[width:], strict=True)}
            yield RowChange(table=table.name, key=key, change=change, value=value)


def _tables(database: sqlite3.Connection, wanted: Sequence[str], *, has_base: bool) -> list[_Table]:
    before = {name: _columns(database, "base", name) for name in _names(database, "base")} if has_base else {}
    found = []
    for name in _names(database, "now"):
        if wanted and name not in wanted:
            continue
        columns = _columns(database, "now", name)
        then = before.get(name)
        keys = tuple(c for c, at in sorted(columns.items(), key=lambda each: each[1]) if at)
        usable = bool(keys) and (then is None or all(then.get(key) for key in keys))
        found.append(
            _Table(
                name=name,
                columns=tuple(columns),
                keys=tuple(map(_quoted, keys)) if usable else (_row_number(columns),),
                shared=None if then is None else tuple(c for c in columns if c in then),
            )
        )
    return found


def _names(database: sqlite3.Connection, schema: str) -> list[str]:
    rows = database.execute(f"PRAGMA {schema}.table_list").fetchall()
    return sorted(name for place, name, kind, *_ in rows if place == schema and kind == "table" and not name.startswith("sqlite_"))


def _columns(database: sqlite3.Connection, schema: str, table: str) -> dict[str, int]:
    """Each column, and its place in the primary key or 0."""
    return {row[1]: row[5] for row in database.execute(f"PRAGMA {schema}.table_info({_quoted(table)})")}


def _row_number(columns: dict[str, int]) -> str:
    taken = {column.lower() for column in columns}
    return next(name for name in ("rowid", "_rowid_", "oid") if name not in taken)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(value: object) -> object:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
