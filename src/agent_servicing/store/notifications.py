"""Rows of notifications, who has read them, and how far the event log was looked at. Used by `services.notifications` in its transactions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.notices import Notice, Severity
from agent_servicing.store.event_log import stored_event
from agent_servicing.store.notification_tables import (
    notification_deliveries,
    notification_marks,
    notification_reads,
    notification_settings,
    notifications,
)
from agent_servicing.store.tables import events


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One thing people were told. `count`: how often it happened from `at` to `last_at`. `read`: by the one who asked."""

    number: int
    notification: str
    kind: str
    severity: Severity
    agent: str | None
    deployment: str | None
    title: str
    message: str
    link: str
    good: bool
    at: datetime
    last_at: datetime
    count: int
    read: bool = False


async def position(connection: AsyncConnection) -> int:
    """The last event that was looked at."""
    return int((await connection.execute(select(notification_settings.c.position))).scalar_one())


async def set_position(connection: AsyncConnection, seq: int) -> None:
    await connection.execute(update(notification_settings).values(position=seq))


async def events_of_types(connection: AsyncConnection, types: Collection[str], *, after: int, upto: int, limit: int) -> list[StoredEvent]:
    """Oldest first, numbers in (after, upto]."""
    wanted = (events.c.seq > after) & (events.c.seq <= upto) & events.c.type.in_(sorted(types))
    rows = (await connection.execute(select(events).where(wanted).order_by(events.c.seq).limit(limit))).all()
    return [stored_event(row) for row in rows]


async def newest_same(connection: AsyncConnection, same: str) -> Notification | None:
    """The newest notification of the same thing."""
    query = select(notifications).where(notifications.c.same == same).order_by(notifications.c.number.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    return _made(row) if row is not None else None


async def insert_notification(
    connection: AsyncConnection, name: str, notice: Notice, *, agent: str | None, deployment: str | None, at: datetime
) -> Notification:
    values = {
        "notification": name,
        "kind": notice.kind,
        "severity": notice.severity,
        "agent": agent,
        "deployment": deployment,
        "title": notice.title,
        "message": notice.message,
        "link": notice.link,
        "good": notice.good,
        "same": notice.same,
        "at": at,
        "last_at": at,
        "count": 1,
    }
    return _made((await connection.execute(insert(notifications).values(values).returning(notifications))).one())


async def count_again(connection: AsyncConnection, number: int, *, message: str, at: datetime) -> None:
    """It happened once more; the newest words count."""
    again = {"count": notifications.c.count + 1, "last_at": at, "message": message}
    await connection.execute(update(notifications).where(notifications.c.number == number).values(again))


async def anybody_read(connection: AsyncConnection, number: int) -> bool:
    """Whether at least one person has read it."""
    marked = select(notification_marks.c.principal).where(notification_marks.c.upto >= number).exists()
    one = select(notification_reads.c.principal).where(notification_reads.c.number == number).exists()
    return bool((await connection.execute(select(or_(marked, one)))).scalar_one())


async def put_on_top(connection: AsyncConnection, number: int) -> Notification:
    """As if it were new, and so read by nobody: it goes on under another number. What is still to be sent of it is sent."""
    columns = [column for column in notifications.c if column.name != "number"]
    row = (await connection.execute(select(*columns).where(notifications.c.number == number))).one()
    values = dict(row._mapping)  # noqa: SLF001  (public)
    # The name is unique, and the old row has to stay until nothing refers to it any more.
    await connection.execute(update(notifications).where(notifications.c.number == number).values(notification=f"{row.notification}-old"))
    fresh = _made((await connection.execute(insert(notifications).values(values).returning(notifications))).one())
    moved = notification_deliveries.c.notification == number
    await connection.execute(update(notification_deliveries).where(moved).values(notification=fresh.number))
    await connection.execute(delete(notifications).where(notifications.c.number == number))
    return fresh


async def prune(connection: AsyncConnection, *, keep: int) -> None:
    """The newest `keep` stay."""
    newest = (await connection.execute(select(func.max(notifications.c.number)))).scalar_one()
    if newest is not None and newest > keep:
        await connection.execute(delete(notifications).where(notifications.c.number <= newest - keep))


async def find(connection: AsyncConnection, name: str, principal: str) -> Notification | None:
    query = select(notifications, _read_by(principal).label("read")).where(notifications.c.notification == name)
    row = (await connection.execute(query)).one_or_none()
    return _made(row, read=bool(row.read)) if row is not None else None


async def page(
    connection: AsyncConnection, principal: str, conditions: Sequence[ColumnElement[bool]], *, unread: bool, limit: int
) -> list[Notification]:
    """Newest first; with `unread` only what this person has not read."""
    read = _read_by(principal)
    wanted = [*conditions, not_(read)] if unread else conditions
    query = select(notifications, read.label("read")).where(*wanted).order_by(notifications.c.number.desc()).limit(limit)
    return [_made(row, read=bool(row.read)) for row in (await connection.execute(query)).all()]


async def unread_count(connection: AsyncConnection, principal: str, conditions: Sequence[ColumnElement[bool]]) -> int:
    query = select(func.count()).select_from(notifications).where(*conditions, not_(_read_by(principal)))
    return int((await connection.execute(query)).scalar_one())


async def mark_read(connection: AsyncConnection, principal: str, numbers: Collection[int]) -> None:
    """Doing it twice is doing it once."""
    if numbers:
        rows = [{"principal": principal, "number": number} for number in sorted(numbers)]
        make: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        await connection.execute(make(notification_reads).on_conflict_do_nothing(), rows)


async def mark_all(connection: AsyncConnection, principal: str) -> None:
    """Everything there is now is read: one mark instead of a row for each."""
    newest = (await connection.execute(select(func.max(notifications.c.number)))).scalar_one() or 0
    await connection.execute(delete(notification_marks).where(notification_marks.c.principal == principal))
    await connection.execute(insert(notification_marks).values(principal=principal, upto=newest))
    below = and_(notification_reads.c.principal == principal, notification_reads.c.number <= newest)
    await connection.execute(delete(notification_reads).where(below))


def _read_by(principal: str) -> ColumnElement[bool]:
    upto = select(notification_marks.c.upto).where(notification_marks.c.principal == principal).scalar_subquery()
    one = select(notification_reads.c.number).where(
        notification_reads.c.principal == principal, notification_reads.c.number == notifications.c.number
    )
    return or_(notifications.c.number <= func.coalesce(upto, 0), one.exists())


def _made(row: Row[Any], *, read: bool = False) -> Notification:
    return Notification(
        number=row.number,
        notification=row.notification,
        kind=row.kind,
        severity=Severity(row.severity),
        agent=row.agent,
        deployment=row.deployment,
        title=row.title,
        message=row.message,
        link=row.link,
        good=row.good,
        at=row.at,
        last_at=row.last_at,
        count=row._mapping["count"],  # noqa: SLF001  (public; plain `count` is the tuple's own)
        read=read,
    )
