"""Writes down that the audit was exported: whoever takes the history away is part of it. Called by `web` before the first line goes out."""

from agent_servicing.core.events import Event
from agent_servicing.ports import Clock, Ids
from agent_servicing.services.audit_logger import AuditFilters
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


class AuditExports:
    """One use case."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings

    async def begin(self, filters: AuditFilters, *, form: str, actor: str) -> None:
        """Who takes what; written before the export begins, so that one that is broken off is on record too."""
        chosen = {name: getattr(filters, name) for name in ("agent", "type", "operator", "status", "says")}
        times = {name: at.isoformat() for name, at in (("since", filters.since), ("until", filters.until)) if at is not None}
        data = {"status": "success", "format": form, "filters": {name: value for name, value in chosen.items() if value} | times}
        event = Event(type="audit_exported", at=self._clock.now(), actor=actor, audit=True, data=data)
        async with self._database.write() as connection:
            await record(connection, self._ids, self._settings, event)
