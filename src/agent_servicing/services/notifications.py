"""Notifications: made from the one event log, listed for each person with what that person has read. Called by `web`, and by a loop of the server.

The log is read forward from a position that is a row; notifications and the new position are written in one transaction, so none is lost and
none comes twice, whenever the server ends. What is sent outward is queued in the same transaction (`services.outward`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.errors import FieldError, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.notices import KINDS, NOTIFICATION, Notice, notice, told_types
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.transaction import TOPIC, record
from agent_servicing.settings import Settings
from agent_servicing.store import event_log
from agent_servicing.store import notifications as rows
from agent_servicing.store.database import Database
from agent_servicing.store.notification_tables import notifications
from agent_servicing.store.notifications import Notification

NOTIFICATIONS_KEPT: Final = 5_000
"""Older ones go; the audit keeps what they told of."""

PAGE_MAX: Final = 200

SAME_FOR: Final = timedelta(minutes=5)
"""For how long the same thing is told once and counted, unless the settings say otherwise."""

EVENTS_AT_ONCE: Final = 200
"""Events made into notifications in one transaction."""

IDLE_EVENTS: Final = 2_000
"""The position is written this seldom while nothing happens that anybody is told of: readings come each second."""


log = structlog.get_logger(__name__)


class Outward(Protocol):
    """Who sends notifications on. Called inside the transaction that makes one."""

    async def enqueue(self, connection: AsyncConnection, made: Notification) -> None: ...

    async def same_for(self, connection: AsyncConnection) -> timedelta:
        """For how long the same thing is told once and counted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFilters:
    """`agents` None: all, and what belongs to none. `limit` 1–200."""

    agents: Collection[str] | None = None
    agent: str | None = None
    kind: str | None = None
    unread: bool = False
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPage:
    """Newest first. `unread` counts all that this person may see and has not read, whatever the filters."""

    notifications: tuple[Notification, ...]
    unread: int
    next_cursor: str | None = None


class Notifications:
    """`outward` is told of each new one."""

    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings, outward: Outward | None = None
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._outward = outward

    async def follow(self) -> int:
        """Make notifications of what happened since the last time; how many are new. Called again at once when there is more to read."""
        made = 0
        while True:
            found, more = await self._follow()
            made += found
            if not more:
                break
        if made:
            await self._bus.publish(TOPIC)
        return made

    async def list(self, principal: str, filters: NotificationFilters) -> NotificationPage:
        """Raises Invalid `bad_limit`, `bad_cursor`, `unknown_kind`."""
        if not 1 <= filters.limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        visible = _visible(filters.agents)
        conditions = [*visible, *_filtered(filters)]
        async with self._database.read() as connection:
            found = await rows.page(connection, principal, conditions, unread=filters.unread, limit=filters.limit + 1)
            unread = await rows.unread_count(connection, principal, visible)
        page = found[: filters.limit]
        cursor = str(page[-1].number) if len(found) > filters.limit else None
        return NotificationPage(notifications=tuple(page), unread=unread, next_cursor=cursor)

    async def read(self, principal: str, name: str, *, agents: Collection[str] | None = None) -> Notification:
        """This person has read it. Raises NotFound `unknown_notification`, also for one that the person may not see."""
        async with self._database.write() as connection:
            found = await rows.find(connection, name, principal)
            if found is None or not (agents is None or found.agent in agents):
                raise NotFound(f"There is no notification {name}.", hint="Old ones are dropped.", code="unknown_notification")
            if not found.read:
                await rows.mark_read(connection, principal, [found.number])
        return replace(found, read=True)

    async def read_all(self, principal: str, *, agents: Collection[str] | None = None) -> int:
        """This person has read all that it may see; how many were unread."""
        async with self._database.write() as connection:
            visible = _visible(agents)
            unread = await rows.unread_count(connection, principal, visible)
            if agents is None:
                await rows.mark_all(connection, principal)
            else:
                some = await rows.page(connection, principal, visible, unread=True, limit=NOTIFICATIONS_KEPT)
                await rows.mark_read(connection, principal, [one.number for one in some])
        return unread

    async def _follow(self) -> tuple[int, bool]:
        """How many were made, and whether there is more to read."""
        async with self._database.read() as connection:
            position, newest = await rows.position(connection), await event_log.last_seq(connection)
            found = await rows.events_of_types(connection, told_types(), after=position, upto=newest, limit=EVENTS_AT_ONCE)
        if not found and newest - position < IDLE_EVENTS:
            return 0, False
        more = len(found) == EVENTS_AT_ONCE
        async with self._database.write() as connection:
            if await rows.position(connection) != position:
                return 0, True  # somebody else was here; begin again from there
            made = 0
            for stored in found:
                made += await self._tell(connection, stored)
            await rows.set_position(connection, found[-1].seq if more else newest)
            if made:
                await rows.prune(connection, keep=NOTIFICATIONS_KEPT)
        return made, more

    async def _tell(self, connection: AsyncConnection, stored: StoredEvent) -> bool:
        """Whether there is something new to read; the same thing within a while is counted on what nobody has read yet."""
        event = stored.event
        try:
            told = notice(event)
        except Exception:  # a fault of ours with one event must not keep all later ones from being told
            log.exception("notification_not_made", event_id=stored.event_id, type=event.type)
            return False
        if told is None:
            return False
        before = await rows.newest_same(connection, told.same)
        window = await self._outward.same_for(connection) if self._outward is not None else SAME_FOR
        if before is not None and event.at - before.at < window:
            await rows.count_again(connection, before.number, message=told.message, at=max(event.at, before.last_at))
            if not await rows.anybody_read(connection, before.number):
                return False
            # Counted on what somebody has read already it would be seen by nobody. It is not sent on again.
            again = await rows.put_on_top(connection, before.number)
            await record(connection, self._ids, self._settings, _live(again, told, at=event.at))
            return True
        if before is not None and before.count > 1 and event.at - before.last_at < window:
            told = replace(told, message=f"{told.message} It happened {before.count} times before, since {before.at:%H:%M:%S} UTC.")
        made = await rows.insert_notification(
            connection, self._ids.new("ntf"), told, agent=event.agent, deployment=event.deployment, at=event.at
        )
        if self._outward is not None:
            await self._outward.enqueue(connection, made)
        await record(connection, self._ids, self._settings, _live(made, told))
        return True


def _live(made: Notification, told: Notice, *, at: datetime | None = None) -> Event:
    """For the live view: the notification as the list has it."""
    data = {
        "notification_id": made.notification,
        "kind": told.kind,
        "severity": told.severity.value,
        "title": told.title,
        "message": told.message,
        "link": told.link,
    }
    return Event(type=NOTIFICATION, at=at or made.at, agent=made.agent, deployment=made.deployment, data=data)


def _visible(agents: Collection[str] | None) -> Sequence[ColumnElement[bool]]:
    return [] if agents is None else [notifications.c.agent.in_(sorted(agents))]


def _filtered(filters: NotificationFilters) -> "list[ColumnElement[bool]]":
    if filters.kind is not None and filters.kind not in KINDS:
        error = FieldError(path="kind", message=f"one of {', '.join(KINDS)}")
        raise Invalid(f"There are no notifications of the kind {filters.kind}.", errors=(error,), code="unknown_kind")
    conditions: list[ColumnElement[bool]] = []
    if filters.agent is not None:
        conditions.append(notifications.c.agent == filters.agent)
    if filters.kind is not None:
        conditions.append(notifications.c.kind == filters.kind)
    if filters.cursor is not None:
        conditions.append(notifications.c.number < number_of(filters.cursor))
    return conditions
