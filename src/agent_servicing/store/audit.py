"""Reads audit entries: pages by filter, and the chain in its order; takes out what is archived. Called by the audit services, inside their
transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, String, TextClause, delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from agent_servicing.core.audit import Anchor, Record, StoredEvent
from agent_servicing.store.event_log import stored_event
from agent_servicing.store.tables import events, log_head

_IS_AUDIT: Final = text("events.audit")
"""As the indexes say it: SQLite does not see that `audit = 1`, as a column is written there, means the same."""

_NEWEST_FIRST: Final = (events.c.at.desc(), events.c.seq.desc())


class _moment(FunctionElement[str]):  # noqa: N801 (SQL functions are named so)
    """A time as the hash covers it, made by the database: for a million entries that is far quicker, and it reads what no time could be too."""

    type = String()
    inherit_cache = True


@compiles(_moment, "sqlite")
def _moment_sqlite(element: _moment, compiler: SQLCompiler, **options: Any) -> str:
    at = compiler.process(element.clauses, **options)
    return f"substr({at}, 1, 10) || 'T' || substr({at}, 12) || '+00:00'"


@compiles(_moment, "postgresql")
def _moment_postgresql(element: _moment, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"


_FIELDS: Final = tuple(
    _moment(events.c.at).label("moment") if name == "at" else events.c[name]
    for name in ("previous", "entry", "seq", "event_id", "type", "at", "agent", "deployment", "actor", "reason", "data", "digest")
)
"""The columns of a `Record`, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page ended: at this entry, in the order of time, then of the log."""

    at: datetime
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the store counted as it wrote, and up to where entries have been archived and removed."""

    written: Anchor
    archived: Anchor
    last_seq: int


def matching(
    *, agent: str | None, kind: str | None, actor: str | None, status: str | None, since: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    """The filters as conditions, which the indexes `audit_by_…` answer by themselves."""
    equal = ((events.c.agent, agent), (events.c.type, kind), (events.c.actor, actor), (events.c.status, status))
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if since is not None:
        conditions.append(events.c.at >= since)
    if until is not None:
        conditions.append(events.c.at < until)
    return conditions


async def page(
    connection: AsyncConnection, conditions: Sequence[ColumnElement[bool]], *, before: Place | None, limit: int
) -> list[StoredEvent]:
    """Entries that meet all conditions, newest first, from behind `before`."""
    # The index finds the few numbers; only their rows are read.
    found = _newest(conditions, before=before, limit=limit).subquery()
    query = select(events).join(found, events.c.seq == found.c.seq).order_by(*_NEWEST_FIRST)
    return [stored_event(row) for row in (await connection.execute(query)).all()]


async def page_saying(
    connection: AsyncConnection, conditions: Sequence[ColumnElement[bool]], words: str, *, before: Place | None, limit: int, scan: int
) -> tuple[list[StoredEvent], Place | None]:
    """Those of the next `scan` entries whose reason holds `words`, at most `limit`; and how far it looked when there may be more.

    No index finds a word in the middle of a text, so what one answer looks at is bounded, not how long it may take.
    """
    seen = _newest(conditions, before=before, limit=scan).subquery()
    said = events.c.reason.icontains(words, autoescape=True)
    query = select(events).join(seen, events.c.seq == seen.c.seq).where(said).order_by(*_NEWEST_FIRST).limit(limit)
    found = [stored_event(row) for row in (await connection.execute(query)).all()]
    if len(found) == limit:
        return found, Place(at=found[-1].event.at, seq=found[-1].seq)
    if (await connection.execute(select(func.count()).select_from(seen))).scalar_one() < scan:
        return found, None
    last = (await connection.execute(select(seen.c.at, seen.c.seq).order_by(seen.c.at, seen.c.seq).limit(1))).one()
    return found, Place(at=last.at, seq=last.seq)


def _newest(conditions: Sequence[ColumnElement[bool]], *, before: Place | None, limit: int) -> Select[Any]:
    where: list[ColumnElement[bool] | TextClause] = [_IS_AUDIT, *conditions]
    if before is not None:
        where.append(tuple_(events.c.at, events.c.seq) < tuple_(before.at, before.seq))
    return select(events.c.at, events.c.seq).where(*where).order_by(*_NEWEST_FIRST).limit(limit)


async def export_page(
    connection: AsyncConnection, conditions: Sequence[ColumnElement[bool]], *, says: str | None, before: int | None, limit: int
) -> list[StoredEvent]:
    """Entries in the order of the chain, newest first: what an export needs to be checked as it is read."""
    where: list[ColumnElement[bool] | TextClause] = [_IS_AUDIT, *conditions]
    if says:
        where.append(events.c.reason.icontains(says, autoescape=True))
    if before is not None:
        where.append(events.c.seq < before)
    query = select(events).where(*where).order_by(events.c.seq.desc()).limit(limit)
    return [stored_event(row) for row in (await connection.execute(query)).all()]


async def entries_after(connection: AsyncConnection, entry: int, *, limit: int) -> list[StoredEvent]:
    """Entries after one by its number, oldest first."""
    query = select(events).where(_IS_AUDIT, events.c.entry > entry).order_by(events.c.entry).limit(limit)
    return [stored_event(row) for row in (await connection.execute(query)).all()]


async def records_after(connection: AsyncConnection, seq: int, *, limit: int) -> list[Record]:
    """The chain after a number, oldest first, as it lies there."""
    query = select(*_FIELDS).where(_IS_AUDIT, events.c.seq > seq).order_by(events.c.seq).limit(limit)
    return [Record._make(row) for row in (await connection.execute(query)).all()]


async def record_numbered(connection: AsyncConnection, entry: int, *, besides: int = -1) -> Record | None:
    """An entry by its number, other than the one at `besides` in the log."""
    query = select(*_FIELDS).where(_IS_AUDIT, events.c.entry == entry, events.c.seq != besides).order_by(events.c.seq).limit(1)
    row = (await connection.execute(query)).first()
    return Record._make(row) if row is not None else None


async def head(connection: AsyncConnection) -> Head:
    row = (await connection.execute(select(log_head))).one()
    return Head(
        written=Anchor(entries=int(row.audit_entries), head=str(row.audit_head)),
        archived=Anchor(entries=int(row.archived_entries), head=str(row.archived_head)),
        last_seq=int(row.last_seq),
    )


async def take_out(connection: AsyncConnection, after: Anchor, upto: Anchor) -> bool:
    """Remove entries up to `upto`, which lie in an archive; False when the head is not at `after` any more. The triggers let those go
    that the head has passed, and no others."""
    moved = (
        update(log_head)
        .where(log_head.c.archived_entries == after.entries, log_head.c.archived_head == after.head)
        .values(archived_entries=upto.entries, archived_head=upto.head)
    )
    if (await connection.execute(moved)).rowcount != 1:
        return False
    gone = delete(events).where(_IS_AUDIT, events.c.entry > after.entries, events.c.entry <= upto.entries)
    removed = (await connection.execute(gone)).rowcount
    if removed != upto.entries - after.entries:
        raise AssertionError(f"{removed} entries went, {upto.entries - after.entries} are archived")
    return True
