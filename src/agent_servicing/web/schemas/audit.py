"""Answers of the audit trail (story §5)."""

from datetime import datetime
from typing import Any, Final, Literal

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
    "chain": {"entry": 17, "seq": 204, "previous": "5f70bf18…", "hash": "9834876d…"},
}
_HASH: Final = "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"


class ChainView(View):
    """What its hash needs besides the entry itself; `GET /audit/verify` and `servicing audit verify --file` check it."""

    model_config = ConfigDict(extra="allow")

    entry: int = Field(description="Number of the audit entry; counts up by one")
    seq: int = Field(description="Number in the log that it shares with live events")
    previous: str = Field(description="Hash of the entry before")
    hash: str


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
    chain: ChainView | None = None


class AuditList(View):
    model_config = ConfigDict(json_schema_extra=example(events=[_EVENT], next_cursor=None))

    events: list[AuditEvent] = Field(description="Newest first")
    next_cursor: NextCursor


class VerificationView(View):
    """Whether the hash chain is whole."""

    model_config = ConfigDict(
        json_schema_extra=example(valid=True, entries=1234, archived=0, head=_HASH, broken_at=None, kind=None, message="")
    )

    valid: bool
    entries: int = Field(description="Entries that fit, before the first that does not")
    archived: int = Field(description="Older entries that lie in archive files; the check begins behind them")
    head: str = Field(description="Hash of the last entry that fits")
    broken_at: str | None = Field(description="Id of the first entry that does not fit")
    kind: Literal["changed", "deleted", "reordered", "inserted", "anchor"] | None = Field(description="What was done to the history there")
    message: str


class AnchorView(View):
    """Where the audit trail ends."""

    model_config = ConfigDict(json_schema_extra=example(entries=1234, head=_HASH, at="2026-01-02T02:15:00Z"))

    entries: int
    head: str = Field(description="Hash of the last of them")
    at: datetime = Field(description="When this was asked")


_SINK: dict[str, Any] = {
    "name": "archive",
    "target": "file:///var/log/servicing/audit.jsonl",
    "format": "servicing",
    "position": 1234,
    "behind": 0,
    "delivered_at": "2026-01-02T02:15:00Z",
    "failures": 0,
    "problem": "",
    "retry_at": None,
}


class SinkView(View):
    """One sink."""

    model_config = ConfigDict(from_attributes=True, frozen=True, json_schema_extra={"examples": [_SINK]})

    name: str
    target: str = Field(description="Where it leads, without passwords")
    format: Literal["servicing", "ocsf"]
    position: int = Field(description="Number of the last entry that was delivered")
    behind: int = Field(description="Entries not delivered yet")
    delivered_at: datetime | None
    failures: int = Field(description="Attempts since the last success")
    problem: str = Field(description="Why the last of them failed")
    retry_at: datetime | None = Field(description="When it is tried again")


class SinkList(View):
    model_config = ConfigDict(json_schema_extra=example(sinks=[_SINK]))

    sinks: list[SinkView]
