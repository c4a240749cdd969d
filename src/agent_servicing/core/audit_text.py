"""An audit entry as it is shown by the API, in exports, archives and to compliance systems, and back to what its hash covers. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from agent_servicing.core.audit import Record, StoredEvent, canonical, moment

FIXED: Final = ("event_id", "type", "timestamp", "operator", "agent_id", "upgrade_id", "status", "reason", "chain")
"""Fields of every entry; what an entry carries beside them stands next to them under its own name."""


def shown(stored: StoredEvent) -> dict[str, object]:
    """The story's shape: event_id, type, timestamp, operator, agent_id, upgrade_id, status, reason, then everything in the event's data.

    `chain` is what its hash needs besides: `entry`, `seq`, `previous`, `hash`, and under `hidden` what the data has under a fixed name.
    """
    event, link = stored.event, stored.link
    fields: dict[str, object] = {
        "event_id": stored.event_id,
        "type": event.type,
        "timestamp": event.at,
        "operator": event.actor,
        "agent_id": event.agent,
        "upgrade_id": event.deployment,
        "status": event.data.get("status"),
        "reason": event.reason,
    }
    # What an entry carries never hides who did what and when.
    fields |= {key: value for key, value in event.data.items() if key not in FIXED}
    if link is not None:
        chain: dict[str, object] = {"entry": link.entry, "seq": stored.seq, "previous": link.previous, "hash": link.digest}
        hidden = {key: value for key, value in event.data.items() if key in FIXED and (key, value is None) != ("status", False)}
        fields["chain"] = chain | ({"hidden": hidden} if hidden else {})
    return fields


def record_of(fields: Mapping[str, object]) -> Record:
    """The entry that `shown` made, as its hash covers it, from parsed JSON. Raises ValueError for what is no such entry."""
    chain = fields.get("chain")
    if not isinstance(chain, Mapping):
        raise ValueError("it has no chain: only entries of exports, archives and the API can be checked")  # noqa: TRY004 (one kind of error)
    data = {key: value for key, value in fields.items() if key not in FIXED}
    if fields.get("status") is not None:
        data["status"] = fields["status"]
    hidden = chain.get("hidden", {})
    data |= hidden if isinstance(hidden, Mapping) else {}
    return Record(
        previous=_text(chain, "previous"),
        entry=_number(chain, "entry"),
        seq=_number(chain, "seq"),
        event_id=_text(fields, "event_id"),
        type=_text(fields, "type"),
        at=moment(datetime.fromisoformat(_text(fields, "timestamp"))),
        agent=_text_or_none(fields, "agent_id"),
        deployment=_text_or_none(fields, "upgrade_id"),
        actor=_text(fields, "operator"),
        reason=_text(fields, "reason"),
        data=canonical(data),
        digest=_text(chain, "hash"),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"its {name} is missing or no text")  # noqa: TRY004 (one kind of error)
    return value


def _text_or_none(fields: Mapping[str, object], name: str) -> str | None:
    return None if fields.get(name) is None else _text(fields, name)


def _number(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"its {name} is missing or no number")  # noqa: TRY004 (one kind of error)
    return value
