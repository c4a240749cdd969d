"""Reading the event log forward, for WebSocket replay, the CLI's watch and notifications."""

from collections.abc import Sequence

from agent_servicing.core.errors import Invalid
from agent_servicing.services.views import StoredEvent
from agent_servicing.store import event_log, queries
from agent_servicing.store.database import Database

EVENTS_PER_READ_MAX = 5_000
"""Bounds one answer; a reader that is further behind reads again."""


class EventLog:
    """Reads only; events are written in the transactions they tell of."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def since(self, seq: int, *, agent: str | None = None, deployment: str | None = None, limit: int = 500) -> Sequence[StoredEvent]:
        """Events after `seq`, oldest first, at most `limit` (1–5000). Live events older than the retention may be gone; audit entries never."""
        if not 1 <= limit <= EVENTS_PER_READ_MAX:
            raise Invalid(f"limit must be from 1 to {EVENTS_PER_READ_MAX}.", code="bad_limit")
        async with self._database.read() as connection:
            return await queries.events_after(connection, seq, agent=agent, deployment=deployment, limit=limit)

    async def last_seq(self) -> int:
        """The newest event's number, 0 when there is none."""
        async with self._database.read() as connection:
            return await event_log.last_seq(connection)
