"""The audit trail as people and compliance read it: filtered, paged, verified. Called by `web`; entries are written by whoever acts."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import Anchor, Around, Chain, Finding, what_broke, what_is_missing
from agent_servicing.core.errors import Invalid
from agent_servicing.services.views import StoredEvent
from agent_servicing.store import audit
from agent_servicing.store.database import Database

PAGE_MAX = 1_000
"""Bounds one page; an export reads page after page."""

VERIFY_BATCH = 2_000
"""Entries hashed between two reads, so that a long history neither fills the memory nor holds the server up."""

EXPORT_BATCH = 500
"""Entries read at once for an export: what it holds in memory, however long it is and however slowly it is taken."""

SCAN_MAX = 5_000
"""Entries of which one page reads the reasons when it looks for words in them; the page then ends, with a cursor to go on."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilters:
    """All are optional and combine with AND. `since` is included, `until` is not; `says` is looked for in the reason; `limit` 1–1000."""

    agent: str | None = None
    type: str | None = None
    operator: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    says: str | None = None
    limit: int = 50
    cursor: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        chosen = (self.agent, self.type, self.operator, self.since, self.until, self.status, self.says)
        return all(value is None for value in chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Newest first. `next_cursor` is passed back as `cursor`, None at the end; with `says` a page may be short and still have one."""

    events: tuple[StoredEvent, ...] = ()
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """`entries` fit, after `archived` that lie in archive files; `head` is the hash of the last. `broken_at` is the id of the first entry that
    does not fit, `kind` what was done there (changed, deleted, reordered, inserted, or `anchor`), `message` says it."""

    valid: bool
    entries: int
    archived: int = 0
    head: str = ""
    broken_at: str | None = None
    kind: str | None = None
    message: str = ""


class AuditLogger:
    """Reads only; entries are written in the transactions they tell of."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._one_check = anyio.Lock()

    async def list(self, filters: AuditFilters) -> AuditPage:
        """One page. Raises Invalid `bad_cursor` and `bad_limit`."""
        if not 1 <= filters.limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        before = _place(filters.cursor) if filters.cursor is not None else None
        async with self._database.read() as connection:
            if filters.says:
                found, more = await audit.page_saying(
                    connection, _conditions(filters), filters.says, before=before, limit=filters.limit, scan=SCAN_MAX
                )
                return AuditPage(events=tuple(found), next_cursor=_cursor(more) if more else None)
            # One more than asked for tells whether there is a next page.
            found = await audit.page(connection, _conditions(filters), before=before, limit=filters.limit + 1)
        page = found[: filters.limit]
        last = audit.Place(at=page[-1].event.at, seq=page[-1].seq) if len(found) > filters.limit else None
        return AuditPage(events=tuple(page), next_cursor=_cursor(last) if last else None)

    async def export(self, filters: AuditFilters, *, upto: int | None = None) -> AsyncIterator[Sequence[StoredEvent]]:
        """Everything up to number `upto` that meets the filters, newest first in the order of the chain, batch by batch as it is taken."""
        before = upto + 1 if upto is not None else None
        while True:
            async with self._database.read() as connection:
                batch = await audit.export_page(connection, _conditions(filters), says=filters.says, before=before, limit=EXPORT_BATCH)
            if batch:
                yield batch
            if len(batch) < EXPORT_BATCH:
                return
            before = batch[-1].seq

    async def head(self) -> audit.Head:
        """The end of the chain now: kept elsewhere, it shows later whether what was there then is still there."""
        async with self._database.read() as connection:
            return await audit.head(connection)

    async def verify(self, anchor: Anchor | None = None) -> Verification:
        """Recompute the whole chain, from the first entry that is not archived to what the store says is the last, and look for the anchor."""
        # One at a time: each reads everything there is.
        async with self._one_check:
            chain: Chain | None = None
            while True:
                async with self._database.read() as connection:
                    head = await audit.head(connection)
                    chain = chain or Chain(entries=head.archived.entries, head=head.archived.head)
                    batch = await audit.records_after(connection, chain.last.seq if chain.last else 0, limit=VERIFY_BATCH)
                chain = await to_thread.run_sync(chain.follow, batch)
                # A short batch and the head were read in one view, so nothing was written in between.
                if chain.broken is not None or len(batch) < VERIFY_BATCH:
                    break
        async with self._database.read() as connection:
            found = await self._found(connection, chain, head)
            if found is None and anchor is not None:
                return await self._held(connection, anchor, chain, head)
        return _verdict(chain, head, found)

    async def _found(self, connection: AsyncConnection, chain: Chain, head: audit.Head) -> Finding | None:
        if chain.broken is None:
            return None if chain.ends_at(head.written) else what_is_missing(chain, head.written)
        broken, following = chain.broken, await audit.records_after(connection, chain.broken.seq, limit=1)
        around = Around(
            follows=following[0] if following else None,
            elsewhere=await audit.record_numbered(connection, chain.entries + 1, besides=broken.seq),
            twin=await audit.record_numbered(connection, broken.entry, besides=broken.seq) if broken.entry is not None else None,
            written=head.written.entries,
        )
        return what_broke(chain, around)

    async def _held(self, connection: AsyncConnection, anchor: Anchor, chain: Chain, head: audit.Head) -> Verification:
        """Whether the chain, whole by itself, is the one of which the anchor was taken."""
        sound = _verdict(chain, head, None)
        if anchor.entries < head.archived.entries:
            message = (
                f"The chain is whole, but entry {anchor.entries} is archived: check the archive file that holds it against the anchor."
            )
            return replace(sound, message=message)
        if anchor == head.archived:
            return sound
        record = await audit.record_numbered(connection, anchor.entries)
        if record is not None and record.digest == anchor.head:
            return sound
        if record is not None or anchor.entries == head.archived.entries:
            message = f"Entry number {anchor.entries} is not the one the anchor was taken of: the history was written anew."
        else:
            message = (
                f"When the anchor was taken there were {anchor.entries} entries; now there are {chain.entries}: the newest were removed."
            )
        name = record or chain.last
        return replace(sound, valid=False, broken_at=name.event_id if name else "the first entry", kind="anchor", message=message)


def _conditions(filters: AuditFilters) -> "list[ColumnElement[bool]]":
    return audit.matching(
        agent=filters.agent,
        kind=filters.type,
        actor=filters.operator,
        status=filters.status,
        since=filters.since,
        until=filters.until,
    )


def _cursor(place: audit.Place) -> str:
    return f"{(place.at - EPOCH) // _MICROSECOND}-{place.seq}"


def _place(cursor: str) -> audit.Place:
    """Where a page ended. Raises Invalid `bad_cursor` for what no page gave out."""
    microseconds, _, seq = cursor.partition("-")
    try:
        return audit.Place(at=EPOCH + timedelta(microseconds=number_of(microseconds)), seq=number_of(seq))
    except OverflowError:
        raise bad_cursor() from None


def number_of(cursor: str) -> int:
    """The place a cursor stands for. Raises Invalid `bad_cursor` for one that no page gave out."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise bad_cursor()
    return int(cursor)


def bad_cursor() -> Invalid:
    return Invalid("This cursor was not given out by a page.", hint="Start again without a cursor.", code="bad_cursor")


def _verdict(chain: Chain, head: audit.Head, found: Finding | None) -> Verification:
    archived = head.archived.entries
    entries = chain.entries - archived
    if found is None:
        return Verification(valid=True, entries=entries, archived=archived, head=chain.head)
    name = found.event_id or "the first entry"
    return Verification(
        valid=False, entries=entries, archived=archived, head=chain.head, broken_at=name, kind=found.kind.value, message=found.message
    )
