"""Reading the event log forward, for WebSocket replay, the CLI's watch and notifications."""

from agent_servicing.services.views import StoredEvent
from agent_servicing.store.database import Database


class EventLog:
    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def since(self, seq: int, *, agent: str | None = None, deployment: str | None = None, limit: int = 500) -> list[StoredEvent]:
        """Events after `seq`, oldest first, at most `limit` (1–5000). Metrics events may have been pruned; all others are kept longer."""
        raise NotImplementedError

    async def last_seq(self) -> int:
        """The newest event's number, 0 when there is none."""
        raise NotImplementedError
