"""Takes old audit entries out of the database into archive files, when the setting `audit_retention_days` says so. `bootstrap` runs it.

A lot is written, read back and on the disk before one transaction moves the head, deletes the entries and writes that it was done. Whoever
dies in between leaves the entries where they were, and a file that the next attempt replaces.
"""

from datetime import timedelta
from typing import Final

import structlog

from agent_servicing.core.audit import Anchor, StoredEvent
from agent_servicing.core.errors import ServicingError, TemporaryError
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.audit import Archived, AuditArchive
from agent_servicing.services.audit_sinks import AuditSinks
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store import audit
from agent_servicing.store.database import Database

log = structlog.get_logger(__name__)

LOT: Final = 10_000
"""Entries in one archive file, and what one transaction deletes: others wait for it."""

PAUSE_SECONDS: Final = 3600.0
"""Between two looks."""


class AuditRetention:
    """`archive` None: nothing is ever taken out."""

    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, sinks: AuditSinks, archive: AuditArchive | None
    ) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._sinks, self._archive = sinks, archive

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self.archive_lot() is not None:
                    pass
            except (ServicingError, TemporaryError) as error:
                log.warning("audit_not_archived", problem=str(error))
            await self._clock.sleep(PAUSE_SECONDS)

    async def archive_lot(self) -> Archived | None:
        """The oldest entries that are old enough, one file of them; None when there are none. Raises TemporaryError, with nothing deleted."""
        days = self._settings.audit_retention_days
        if self._archive is None or days is None:
            return None
        async with self._database.read() as connection:
            after = (await audit.head(connection)).archived
            entries = await audit.entries_after(connection, after.entries, limit=LOT)
        lot = await self._old_enough(entries, days)
        if not lot:
            return None
        kept = await self._archive.write(lot, after)
        await self._take_out(kept, after)
        return kept

    async def _old_enough(self, entries: list[StoredEvent], days: float) -> list[StoredEvent]:
        """From the oldest on, without a gap, and only what every sink has: nothing is taken away from one that was down."""
        before = self._clock.now() - timedelta(days=days)
        statuses = await self._sinks.statuses()
        delivered = min((each.position for each in statuses), default=None)
        lot: list[StoredEvent] = []
        for entry in entries:
            number = entry.link.entry if entry.link is not None else 0
            if entry.event.at >= before or (delivered is not None and number > delivered):
                break
            lot.append(entry)
        return lot

    async def _take_out(self, kept: Archived, after: Anchor) -> None:
        data = {"status": "success", "file": kept.file, "sha256": kept.sha256, "first": kept.first, "last": kept.last, "head": kept.head}
        days = self._settings.audit_retention_days
        reason = f"older than {days:g} days" if days is not None else ""
        event = Event(type="audit_archived", at=self._clock.now(), actor=SYSTEM, reason=reason, audit=True, data=data)
        async with self._database.write() as connection:
            # Where another server did it meanwhile nothing is left to do.
            if await audit.take_out(connection, after, Anchor(entries=kept.last, head=kept.head)):
                await record(connection, self._ids, self._settings, event)
