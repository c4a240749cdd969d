"""The conversations' pins on disk, so that a HAProxy that was killed, or reloaded, still knows them. Used by the plane.

A conversation without a pin is assigned by the hash of its key, so it lands where it was unless the share has changed since. Writing the
table after each change of a split (and once in a while, for conversations that had to move because a generation was down) is therefore enough.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import anyio

from agent_servicing.adapters.haproxy_reading import read_map, read_table
from agent_servicing.adapters.haproxy_rows import Plan
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.adapters.router.haproxy_book import Book
from agent_servicing.adapters.router.haproxy_config import PINS_MAX, SAVED_PINS
from agent_servicing.adapters.router.haproxy_state import write_atomically

EVERY_SECONDS = 60.0
"""Time between two copies while no split changes."""


class SavedPins:
    """Writes `saved-pins.map`, at most `PINS_MAX` lines, and only while an agent with a conversation key has more than one generation."""

    def __init__(self, *, folder: Path, link: HaproxySocket) -> None:
        self._file, self._link = folder / SAVED_PINS, link
        self._due, self._saved_at = False, float("-inf")
        self._lock = anyio.Lock()

    async def count(self, tallies: Collection[int]) -> Mapping[int, int]:
        """How many conversations HAProxy keeps, by tally: those in its table, and those it was started with that were silent since."""
        (loaded,) = await self._link.ask(f"show map {SAVED_PINS}")
        if not loaded.strip():  # this HAProxy was started with none: what its table holds is all there are, and counting lines is quick
            texts = await self._link.ask(*(f"show table pins data.gpt0 eq {tally}" for tally in tallies))
            return {tally: text.count(" gpt0=") for tally, text in zip(tallies, texts, strict=True)}
        (table,) = await self._link.ask("show table pins")
        found = await anyio.to_thread.run_sync(_counted, loaded, table)
        return {tally: found[tally] for tally in tallies}

    def note(self, before: Plan | None, after: Plan) -> None:
        """A routing was applied: when it moved the split, the pins made until now cannot be worked out again from the hash."""
        old, new = before.routing if before else None, after.routing
        if new.conversation_key is None or old is None:
            return
        if (old.stable, old.candidate, old.share, old.redirects) != (new.stable, new.candidate, new.share, new.redirects):
            self._due = True

    async def save_if_due(self, book: Book, now: float) -> None:
        """`now` is monotonic. Raises `TemporaryError` when HAProxy does not answer, OSError when the disk refuses."""
        matter = any(plan.routing.conversation_key and len(plan.places) > 1 for plan in book.agents.values())
        if matter and (self._due or now - self._saved_at > EVERY_SECONDS):
            self._due, self._saved_at = False, now
            await self.save()

    async def save(self) -> None:
        async with self._lock:
            (text,) = await self._link.ask("show table pins")
            await anyio.to_thread.run_sync(self._merge, text)

    def _merge(self, table: str) -> None:
        """What the table knows wins; conversations that were silent since the last restart are still only in the file."""
        pins = {key: entry["gpt0"] for key, entry in read_table(table).items() if entry.get("gpt0")}
        for line in self._file.read_text().splitlines() if self._file.exists() else ():
            key, _, tally = line.partition(" ")
            if len(pins) >= PINS_MAX:
                break
            pins.setdefault(key, int(tally))
        write_atomically(self._file, "".join(f"{key} {tally}\n" for key, tally in pins.items()))


def _counted(loaded: str, table: str) -> Counter[int]:
    """By tally; what the table knows of a conversation wins over what HAProxy was started with."""
    pins = {key: int(tally) for key, tally in read_map(loaded).items()}
    pins |= {key: entry["gpt0"] for key, entry in read_table(table).items() if entry.get("gpt0")}
    return Counter(pins.values())
