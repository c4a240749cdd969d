"""The audit trail as people and compliance read it: filtered, paged, verified. Called by `web`; entries are written by whoever acts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement

from agent_servicing.core.audit import Chain
from agent_servicing.core.errors import Invalid
from agent_servicing.services.views import StoredEvent
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.tables import events

PAGE_MAX = 1_000
"""Bounds one page; an export reads page after page."""

VERIFY_BATCH = 500
"""Entries hashed between two reads, so that a long history neither fills the memory nor holds the server up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilters:
    """All are optional and combine with AND. `since` is included, `until` is not; `limit` 1–1000."""

    agent: str | None = None
    type: str | None = None
    operator: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Newest first. `next_cursor` is passed back as `cursor`, None at the end."""

    events: tuple[StoredEvent, ...] = ()
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`entries` were checked; `broken_at` is the id of the first entry that does not fit, `message` says what is wrong with it."""

    valid: bool
    entries: int
    broken_at: str | None = None
    message: str = ""


class AuditLogger:
    """Reads only; entries are written in the transactions they tell of."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def list(self, filters: AuditFilters) -> AuditPage:
        """One page. Raises Invalid `bad_cursor` and `bad_limit`."""
        if not 1 <= filters.limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        async with self._database.read() as connection:
            # One more than asked for tells whether there is a next page.
            found = await queries.audit_page(connection, _conditions(filters), limit=filters.limit + 1)
        page = found[: filters.limit]
        return AuditPage(events=tuple(page), next_cursor=str(page[-1].seq) if len(found) > filters.limit else None)

    async def verify(self) -> Verification:
        """Recompute the whole chain, from the first entry to what the store says is the last."""
        chain, after = Chain(), 0
        async with self._database.read() as connection:
            entries, head = await queries.audit_head(connection)
        while chain.broken_at is None and chain.entries < entries:
            async with self._database.read() as connection:
                batch = await queries.audit_after(connection, after, limit=min(VERIFY_BATCH, entries - chain.entries))
            if not batch:
                break
            after = batch[-1].seq
            chain = chain.follow(batch)
        return _verdict(chain, entries=entries, head=head)


def render(stored: StoredEvent) -> dict[str, object]:
    """The story's shape: event_id, type, timestamp, operator, agent_id, upgrade_id, status, reason, then everything in the event's data."""
    event = stored.event
    shown: dict[str, object] = {
        "event_id": stored.event_id,
        "type": event.type,
        "timestamp": event.at,
        "operator": event.actor,
        "agent_id": event.agent,
        "upgrade_id": event.deployment,
        "status": event.data.get("status"),
        "reason": event.reason,
    }
    # What an entry carries never hides who did what and when.
    return shown | {key: value for key, value in event.data.items() if key not in shown}


def _conditions(filters: AuditFilters) -> "list[ColumnElement[bool]]":
    equal = (
        (events.c.agent, filters.agent),
        (events.c.type, filters.type),
        (events.c.actor, filters.operator),
        (events.c.status, filters.status),
    )
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if filters.since is not None:
        conditions.append(events.c.at >= filters.since)
    if filters.until is not None:
        conditions.append(events.c.at < filters.until)
    if filters.cursor is not None:
        conditions.append(events.c.seq < number_of(filters.cursor))
    return conditions


def number_of(cursor: str) -> int:
    """The place a cursor stands for. Raises Invalid `bad_cursor` for one that no page gave out."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Invalid("This cursor was not given out by a page.", hint="Start again without a cursor.", code="bad_cursor")
    return int(cursor)


def _verdict(chain: Chain, *, entries: int, head: str) -> Verification:
    if chain.ends_at(entries=entries, head=head):
        return Verification(valid=True, entries=chain.entries)
    if chain.broken_at is not None:
        message = f"Entry {chain.broken_at} was changed, or entries before it were removed or put in."
        return Verification(valid=False, entries=chain.entries, broken_at=chain.broken_at, message=message)
    message = f"{entries} entries were written, {chain.entries} are left: the newest were removed or replaced."
    return Verification(valid=False, entries=chain.entries, broken_at=chain.last or "the first entry", message=message)
