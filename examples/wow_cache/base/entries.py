"""The entries of one WowCache process: a table with an end for every entry, and room for so many."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    value: object
    ends_at: float


class Entries:
    """Holds at most `most` entries, each until its time is over; the oldest make room for new ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._table: dict[str, Entry] = {}

    def put(self, key: str, value: object, seconds: float) -> None:
        """Keep the value for so many seconds."""
        self._table.pop(key, None)
        while len(self._table) >= self._most:
            del self._table[next(iter(self._table))]
        self._table[key] = Entry(value, time.monotonic() + seconds)

    def get(self, key: str) -> tuple[object, float] | None:
        """The value and how many seconds it has left; None when there is none."""
        entry = self._table.get(key)
        if entry is None:
            return None
        return entry.value, max(0.0, entry.ends_at - time.monotonic())
