"""The entries of one WowCache process, spread over shards so that busy keys do not slow down the others."""

import time
from dataclasses import dataclass, field
from zlib import crc32

SHARDS = 4
COMPACT_AFTER_USES = 100
"""How many reads and writes pass before the busiest shard is packed anew."""


@dataclass(frozen=True, slots=True)
class Entry:
    value: object
    ends_at: float


@dataclass(slots=True)
class Shard:
    table: dict[str, Entry] = field(default_factory=dict)
    uses: int = 0


class Entries:
    """Holds at most `most` entries, each until its time is over; the oldest of a shard make room for new ones."""

    def __init__(self, most: int) -> None:
        self._most_per_shard = max(1, most // SHARDS)
        self._shards = {number: Shard() for number in range(SHARDS)}
        self._uses = 0

    def put(self, key: str, value: object, seconds: float) -> None:
        """Keep the value for so many seconds."""
        table = self._table(key)
        table.pop(key, None)
        while len(table) >= self._most_per_shard:
            del table[next(iter(table))]
        table[key] = Entry(value, time.monotonic() + seconds)

    def get(self, key: str) -> tuple[object, float] | None:
        """The value and how many seconds it has left; None when there is none."""
        table = self._table(key)
        entry = table.get(key)
        now = time.monotonic()
        if entry is None or entry.ends_at <= now:
            table.pop(key, None)
            return None
        return entry.value, entry.ends_at - now

    def _table(self, key: str) -> dict[str, Entry]:
        shard = self._shards[crc32(key.encode()) % SHARDS]
        shard.uses += 1
        self._uses += 1
        if self._uses == COMPACT_AFTER_USES:
            self._compact()
        return shard.table

    def _compact(self) -> None:
        """Take the busiest shard out, drop what is over, and put it back."""
        busiest = max(self._shards, key=lambda number: self._shards[number].uses)
        shard = self._shards.pop(busiest)
        now = time.monotonic()
        for key in [key for key, entry in shard.table.items() if entry.ends_at <= now]:
            del shard.table[key]
