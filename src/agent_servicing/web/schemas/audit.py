"""Answers of the audit trail (story §5)."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import NextCursor, View, example

_EVENT: dict[str, Any] = {
    "event_id": "evt-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "type": "upgrade",
    "timestamp": "2026-01-02T02:15:00Z",
    "operator": "admin",
    "agent_id": "WowOrchestrator",
    "upgrade_id": "upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "from_version": "1.2.5",
    "to_version": "1.3.0",
    "strategy": "blue-green",
    "status": "success",
    "duration_seconds": 900,
    "reason": "Upgrade for performance improvements",
}


class AuditEvent(View):
    """One entry. Every type adds fields of its own, such as versions, strategy, duration or what a rollback measured."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_EVENT]})

    event_id: str
    type: str
    timestamp: datetime
    operator: str
    agent_id: str | None = None
    upgrade_id: str | None = None
    status: str | None = None
    reason: str = ""


class AuditList(View):
    model_config = ConfigDict(json_schema_extra=example(events=[_EVENT], next_cursor=None))

    events: list[AuditEvent] = Field(description="Newest first")
    next_cursor: NextCursor


class VerificationView(View):
    """Whether the hash chain is whole."""

    model_config = ConfigDict(json_schema_extra=example(valid=True, entries=1234, broken_at=None, message=""))

    valid: bool
    entries: int
    broken_at: str | None = Field(description="Id of the first entry that does not fit")
    message: str
