"""The hash chain over audit entries: the store writes it, the audit service and anybody with an export can check it. Pure.

Each entry's hash covers the hash before it and everything the entry says, so that no entry can be changed, removed or put in between
without every later hash being wrong.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from agent_servicing.core.events import Event

GENESIS: Final = "0" * 64
"""What the first entry is chained to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its place in the log: `seq` counts up by one, `event_id` is public (`evt-…`), `digest` is set for audit entries."""

    seq: int
    event_id: str
    event: Event
    digest: str | None = None


def canonical(data: object) -> str:
    """JSON that is the same for the same values: sorted keys, no spaces. Raises TypeError or ValueError for what is no JSON value."""
    # Through JSON once before sorting: keys that are numbers become text first, and would sort differently as numbers.
    plain = json.loads(json.dumps(data, allow_nan=False))
    return json.dumps(plain, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(previous: str, *, seq: int, event_id: str, event: Event) -> str:
    """The hash of one entry that follows `previous`: SHA-256 in hexadecimal over the canonical JSON of all of it."""
    content = {
        "previous": previous,
        "seq": seq,
        "event_id": event_id,
        "type": event.type,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "agent": event.agent,
        "deployment": event.deployment,
        "actor": event.actor,
        "reason": event.reason,
        "data": dict(event.data),
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How far a check has come: feed it entries in order, batch by batch. `broken_at` is the first entry that does not fit."""

    entries: int = 0
    head: str = GENESIS
    broken_at: str | None = None
    last: str | None = None

    def follow(self, batch: Iterable[StoredEvent]) -> "Chain":
        """The chain after these entries; once broken it stays as it is."""
        chain = self
        for entry in batch:
            if chain.broken_at is not None:
                return chain
            expected = digest(chain.head, seq=entry.seq, event_id=entry.event_id, event=entry.event)
            broken_at = None if expected == entry.digest else entry.event_id
            chain = Chain(entries=chain.entries + 1, head=expected, broken_at=broken_at, last=entry.event_id)
        return chain

    def ends_at(self, *, entries: int, head: str) -> bool:
        """Whether nothing is missing at the end, by what the store counted as it wrote."""
        return self.broken_at is None and self.entries == entries and self.head == head
