"""The audit trail as people and compliance read it: filtered, paged, verified. Called by `web`; entries are written by whoever acts."""

from dataclasses import dataclass
from datetime import datetime

from agent_servicing.services.views import StoredEvent
from agent_servicing.store.database import Database


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
    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def list(self, filters: AuditFilters) -> AuditPage:
        """One page. Raises Invalid `bad_cursor` and `bad_limit`."""
        raise NotImplementedError

    async def verify(self) -> Verification:
        """Recompute the whole chain."""
        raise NotImplementedError


def render(stored: StoredEvent) -> dict[str, object]:
    """The story's shape: event_id, type, timestamp, operator, agent_id, upgrade_id, status, reason, then everything in the event's data."""
    raise NotImplementedError
