"""What was written to a state folder since a snapshot, record by record. Called by `epochs` in a thread of low priority; blocking."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent_servicing.adapters.state import sqlite
from agent_servicing.adapters.state.chunks import CHUNK_BYTES, Chunks
from agent_servicing.adapters.state.description import Description, Entry
from agent_servicing.adapters.state.rows import Change, changes
from agent_servicing.adapters.state.taking import belongs_to_database, mark_of, paths
from agent_servicing.core.manifest import StateStore

LINES: Final = (".jsonl", ".ndjson")
"""Files whose lines are records of their own."""

LINES_BYTES_MAX: Final = 64 * 1024 * 1024
"""Files of lines above this are counted as one record."""

INLINE_BYTES_MAX: Final = 1024 * 1024
"""Files above this are named in a record, not put into it; they lie in the folder that was left."""

NOTES_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`place` is the file or the table; `key` tells the records of one place apart. `value` None: it is gone, or too large to put here."""

    place: str
    key: str
    change: Change
    value: object = None

    @property
    def id(self) -> str:
        """The same however often it is counted."""
        return f"{self.place}/{self.key}" if self.key else self.place


@dataclass(slots=True, kw_only=True)
class Comparing:
    """One comparison of a folder that may be in use with a snapshot. `check` raises when it is to stop."""

    root: Path
    stores: tuple[StateStore, ...]
    base: Description
    chunks: Chunks
    scratch: Path
    check: Callable[[], None]
    notes: list[str] = field(default_factory=list)

    def records(self) -> Iterator[Record]:
        """Everything that is different. Raises `OSError`, and `PermanentError` for what cannot be compared."""
        before = {entry.path: entry for entry in self.base.entries if entry.kind in ("file", "sqlite")}
        seen = set[str]()
        for path in paths(self.root, self.stores, self.note):
            self.check()
            name = path.relative_to(self.root).as_posix()
            try:
                if path.is_symlink() or not path.is_file() or (name.endswith(sqlite.COMPANIONS) and belongs_to_database(path)):
                    continue
                seen.add(name)
                yield from self._file(path, name, before.get(name))
            except FileNotFoundError:
                self.note(f"{name} vanished while it was compared")
        for name in sorted(before.keys() - seen):
            yield Record(place=name, key="", change="removed")

    def note(self, text: str) -> None:
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)

    def _file(self, path: Path, name: str, base: Entry | None) -> Iterator[Record]:
        if base is not None and base.mark == mark_of(path):
            return
        if sqlite.is_database(path):
            yield from self._database(path, name, base if base is not None and base.kind == "sqlite" else None)
        elif base is None or tuple(self._hashes(path)) != base.chunks:
            yield from self._lines(path, name, base) if self._has_lines(path) else self._whole(path, name, base)

    def _database(self, path: Path, name: str, base: Entry | None) -> Iterator[Record]:
        """Copied first: the agent goes on writing, and must not wait for us."""
        now, then = self.scratch / "now", self.scratch / "then"
        try:
            sqlite.copy(path, now)
            if base is not None:
                self._unpack(base, then)
            for row in changes(then if base is not None else None, now, self._tables(name)):
                self.check()
                yield Record(place=f"{name}/{row.table}", key=row.key, change=row.change, value=row.value)
        finally:
            for file in (now, then):
                file.unlink(missing_ok=True)

    def _tables(self, name: str) -> tuple[str, ...]:
        return next((store.records for store in self.stores if store.kind == "sqlite" and store.path == name), ())

    def _has_lines(self, path: Path) -> bool:
        return path.suffix in LINES and path.stat().st_size <= LINES_BYTES_MAX

    def _lines(self, path: Path, name: str, base: Entry | None) -> Iterator[Record]:
        """Lines that are there more often than before, and how many are there less often."""
        old = b"".join(self.chunks.get(chunk) for chunk in base.chunks) if base is not None and base.size <= LINES_BYTES_MAX else b""
        left = Counter(old.splitlines())
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if left[line] > 0:
                left[line] -= 1
            elif line.strip():
                yield Record(place=name, key=str(number), change="added", value=_text(line))
        for number in range(sum(left.values())):
            yield Record(place=name, key=f"removed-{number}", change="removed")

    def _whole(self, path: Path, name: str, base: Entry | None) -> Iterator[Record]:
        value = _text(path.read_bytes()) if path.stat().st_size <= INLINE_BYTES_MAX else None
        yield Record(place=name, key="", change="added" if base is None else "changed", value=value)

    def _hashes(self, path: Path) -> Iterator[str]:
        with path.open("rb") as file:
            while content := file.read(CHUNK_BYTES):
                self.check()
                yield hashlib.sha256(content).hexdigest()

    def _unpack(self, entry: Entry, target: Path) -> None:
        with target.open("wb") as file:
            for chunk in entry.chunks:
                self.check()
                file.write(self.chunks.get(chunk))


def as_line(record: Record, schema: int | None) -> Mapping[str, object]:
    """As it is exported, and offered to an agent."""
    return {"id": record.id, "schema": schema, "place": record.place, "change": record.change, "value": record.value}


def _text(content: bytes) -> object:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
