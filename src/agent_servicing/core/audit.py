"""The hash chain over audit entries: the store writes it; the audit service, and anybody with an export or an archive, can check it. Pure.

Each entry has a number that counts up by one, and a hash over the hash before it and everything the entry says. No entry can be changed,
removed, moved or put in without a number or a hash being wrong; which of the four it was, `what_broke` tells.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from agent_servicing.core.events import Event

GENESIS: Final = "0" * 64
"""What the first entry is chained to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An entry's place in the chain: `entry` counts audit entries from 1, `previous` is the hash of the one before, `digest` its own."""

    entry: int
    previous: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its place in the log: `seq` counts up by one, `event_id` is public (`evt-…`), `link` is set for audit entries."""

    seq: int
    event_id: str
    event: Event
    link: Link | None = None


class Record(NamedTuple):
    """An entry as it lies in a table, an archive or an export, which may have been tampered with: nothing about it is certain.

    `at` is RFC 3339 in UTC with microseconds, `data` canonical JSON. The first ten are what the hash covers, in this order.
    """

    previous: str | None
    entry: int | None
    seq: int
    event_id: str
    type: str
    at: str
    agent: str | None
    deployment: str | None
    actor: str
    reason: str
    data: str
    digest: str | None

    @property
    def intact(self) -> bool:
        """Whether its own hash fits what it says."""
        return self.digest == digest(self)


def canonical(data: object) -> str:
    """JSON that is the same for the same values: sorted keys, no spaces. Raises TypeError or ValueError for what is no JSON value."""
    # Through JSON once before sorting: keys that are numbers become text first, and would sort differently as numbers.
    plain = json.loads(json.dumps(data, allow_nan=False))
    return json.dumps(plain, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def moment(at: datetime) -> str:
    """A time as the hash covers it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def digest(record: Record) -> str:
    """SHA-256 in hexadecimal over the JSON list of everything but the hash itself, in UTF-8."""
    return hashlib.sha256(_encode(record[:-1]).encode(errors="surrogatepass")).hexdigest()


def sealed(event: Event, *, previous: str, entry: int, seq: int, event_id: str) -> Record:
    """The event as the entry that follows `previous`."""
    record = Record(
        previous=previous,
        entry=entry,
        seq=seq,
        event_id=event_id,
        type=event.type,
        at=moment(event.at),
        agent=event.agent,
        deployment=event.deployment,
        actor=event.actor,
        reason=event.reason,
        data=canonical(dict(event.data)),
        digest=None,
    )
    return record._replace(digest=digest(record))


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A point of the chain that can be kept elsewhere: after `entries` entries its hash was `head`."""

    entries: int = 0
    head: str = GENESIS


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How far a check has come: feed it entries in order, batch by batch. `broken` is the first one that does not fit, `last` the one before.

    It begins at `GENESIS`, or at the anchor up to which older entries have been archived.
    """

    entries: int = 0
    head: str = GENESIS
    broken: Record | None = None
    last: Record | None = None

    def follow(self, batch: Iterable[Record]) -> "Chain":
        """The chain after these entries; once broken it stays as it is."""
        if self.broken is not None:
            return self
        entries, head, last = self.entries, self.head, self.last
        for record in batch:
            if record.entry != entries + 1 or record.previous != head or record.digest != digest(record):
                return Chain(entries=entries, head=head, broken=record, last=last)
            entries, head, last = entries + 1, record.digest, record
        return Chain(entries=entries, head=head, last=last)

    def ends_at(self, anchor: Anchor) -> bool:
        """Whether nothing is missing at the end, by what the store counted as it wrote."""
        return self.broken is None and self.entries == anchor.entries and self.head == anchor.head


class Break(StrEnum):
    """What was done to a history."""

    CHANGED = "changed"
    DELETED = "deleted"
    REORDERED = "reordered"
    INSERTED = "inserted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was done, to which entry, in a sentence. `event_id` is None when no entry is left to name."""

    kind: Break
    event_id: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around the entry at which a chain broke: the one that `follows` it, the one with the awaited number if it is `elsewhere`, another
    one with its own number (`twin`); and how many entries were `written` in all."""

    follows: Record | None
    elsewhere: Record | None
    twin: Record | None
    written: int


def what_broke(chain: Chain, around: Around) -> Finding:
    """What was done at the entry at which the chain broke."""
    broken = chain.broken
    if broken is None:
        raise AssertionError("a whole chain has no break")
    wanted = chain.entries + 1
    if broken.entry is None or not wanted <= broken.entry <= around.written or _stands_between(broken, chain, around):
        message = f"Entry {broken.event_id} was put in: it is not the number {wanted} that was written here."
        return Finding(kind=Break.INSERTED, event_id=broken.event_id, message=message)
    if broken.entry == wanted:
        return _changed(chain, broken)
    if around.elsewhere is not None:
        message = f"Entry {around.elsewhere.event_id} (number {wanted}) was moved: {broken.event_id} stands in its place."
        return Finding(kind=Break.REORDERED, event_id=broken.event_id, message=message)
    missing = f"number {wanted} is" if broken.entry == wanted + 1 else f"numbers {wanted} to {broken.entry - 1} are"
    return Finding(kind=Break.DELETED, event_id=broken.event_id, message=f"Before entry {broken.event_id} {missing} missing.")


def _stands_between(broken: Record, chain: Chain, around: Around) -> bool:
    """Whether the chain goes on behind it as if it were not there, and it has no place of its own further on."""
    follows = around.follows
    if follows is None or follows.entry != chain.entries + 1 or follows.previous != chain.head or not follows.intact:
        return False
    return around.twin is not None or not broken.intact


def what_is_missing(chain: Chain, anchor: Anchor) -> Finding:
    """The chain is whole as far as it goes, but does not end where the store says it does."""
    last = chain.last.event_id if chain.last else None
    if chain.entries < anchor.entries:
        message = f"{anchor.entries} entries were written, {chain.entries} are left: the newest were removed."
        return Finding(kind=Break.DELETED, event_id=last, message=message)
    if chain.entries > anchor.entries:
        message = f"{anchor.entries} entries were written, but there are {chain.entries}: the newest were put in."
        return Finding(kind=Break.INSERTED, event_id=last, message=message)
    return Finding(kind=Break.CHANGED, event_id=last, message=f"Entry {last} was replaced, with a hash made to fit.")


def _changed(chain: Chain, broken: Record) -> Finding:
    if broken.intact and broken.previous != chain.head and chain.last is not None:
        name = chain.last.event_id
        message = f"Entry {name} was changed and given a new hash: {broken.event_id}, which follows it, remembers another one."
        return Finding(kind=Break.CHANGED, event_id=name, message=message)
    message = f"Entry {broken.event_id} was changed: its hash does not fit what it says."
    return Finding(kind=Break.CHANGED, event_id=broken.event_id, message=message)
