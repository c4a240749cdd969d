"""The engine's store over SQL: claims with leases, loads, and guarded commits. Implements `ports.Store`."""

from collections.abc import Sequence
from datetime import datetime

from agent_servicing.core.model import AgentState
from agent_servicing.ports import Clock, Commit, Ids, Lease
from agent_servicing.store.database import Database


class SqlStore:
    def __init__(self, *, database: Database, ids: Ids, clock: Clock, event_retention_count: int) -> None:
        self._database, self._ids, self._clock, self._retention = database, ids, clock, event_retention_count

    async def claim(self, now: datetime, *, lease_seconds: float, limit: int) -> Sequence[Lease]:
        raise NotImplementedError

    async def load(self, agent: str) -> AgentState:
        raise NotImplementedError

    async def commit(self, lease: Lease, commit: Commit, now: datetime) -> bool:
        raise NotImplementedError

    async def release(self, lease: Lease, *, next_at: datetime) -> None:
        raise NotImplementedError

    async def next_due(self) -> datetime | None:
        raise NotImplementedError

    async def drop_leases(self) -> int:
        """Take every lease back: for the start of the only server on this database, whose predecessor may have been killed."""
        raise NotImplementedError
