"""An audit entry as a record of the Open Cybersecurity Schema Framework (1.3.0), class 6003 API Activity. Pure.

The mapping says no more than the entry does: an act of ours is an operation of our API on an agent, or on nothing in particular. What the class
has no place for stands unchanged under `unmapped`, the hashes too, so that the chain can be checked from these records as well.
"""

from collections.abc import Mapping
from typing import Final

from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.audit_text import shown

VERSION: Final = "1.3.0"
CLASS: Final = 6003
CATEGORY: Final = 6

CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
_BY_ENDING: Final = (
    (("_added", "_created", "_set", "_taken", "_put", "install"), CREATE),
    (("_exported", "_read", "backup"), READ),
    (("_removed", "_revoked", "_discarded", "_ended", "_deleted"), DELETE),
    (("upgrade", "rollback", "restart", "config_patch", "scaled", "_requested", "_changed", "_reverted", "_overridden", "paused", "resumed"), UPDATE),
)  # fmt: skip

SUCCESS, FAILURE, UNKNOWN = 1, 2, 0
_FAILED: Final = frozenset({"failed", "refused", "rolled_back", "reverted", "missed", "cancelled"})

INFORMATIONAL, MEDIUM = 1, 3


def ocsf(stored: StoredEvent, *, version: str) -> dict[str, object]:
    """The record. `version` is this program's."""
    event, fields = stored.event, shown(stored)
    activity, status = activity_of(event.type), _status(fields.get("status"))
    source = event.data.get("source")
    origin = source if isinstance(source, Mapping) else {}
    record: dict[str, object] = {
        "class_uid": CLASS,
        "class_name": "API Activity",
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "activity_id": activity,
        "type_uid": CLASS * 100 + activity,
        "time": int(event.at.timestamp() * 1000),
        "severity_id": MEDIUM if status == FAILURE else INFORMATIONAL,
        "status_id": status,
        "message": event.reason,
        "metadata": {
            "version": VERSION,
            "uid": stored.event_id,
            "product": {"name": "Agent Servicing", "vendor_name": "Agent Servicing", "version": version},
            **({"sequence": stored.link.entry} if stored.link is not None else {}),
        },
        "actor": {"user": {"name": event.actor}},
        "api": {"operation": event.type, "service": {"name": "agent-servicing"}, "request": {"uid": str(origin.get("request_id", ""))}},
        # The class asks for one; the engine's own decisions come from this machine.
        "src_endpoint": {"ip": origin["address"]} if origin.get("address") else {"name": "agent-servicing"},
        "unmapped": {**fields, "timestamp": event.at.isoformat()},
    }
    if fields.get("status") is not None:
        record["status"] = str(fields["status"])
    if event.agent is not None:
        record["resources"] = [{"type": "agent", "name": event.agent}]
    if isinstance(duration := event.data.get("duration_seconds"), int | float):
        record["duration"] = int(duration * 1000)
    return record


def activity_of(kind: str) -> int:
    """Create, read, update, delete or other, by the name of the entry's type."""
    return next((activity for endings, activity in _BY_ENDING if kind.endswith(endings)), OTHER)


def _status(status: object) -> int:
    if status in _FAILED:
        return FAILURE
    return SUCCESS if status in {"success", "requested"} else UNKNOWN
