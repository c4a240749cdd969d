"""From the state of a running agent to the entries and chunks of a snapshot. Blocking; the driver runs it in a thread of low priority."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent_servicing.adapters.state import sqlite
from agent_servicing.adapters.state.chunks import CHUNK_BYTES, Chunks
from agent_servicing.adapters.state.description import Entry
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import StateStore

READS_MAX: Final = 3
"""A file that changes while it is read is read again so often; then it is kept as it was read, and the snapshot says so."""

EXPORTED: Final = "export.ndjson"

FILES_MAX: Final = 1_000_000
NOTES_MAX: Final = 50


@dataclass(slots=True, kw_only=True)
class Taking:
    """One snapshot in the making. `known` are the entries of the one before; `check` raises when it is to stop."""

    root: Path
    stores: tuple[StateStore, ...]
    chunks: Chunks
    known: Mapping[str, Entry]
    scratch: Path
    check: Callable[[], None]
    notes: list[str] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Everything there is to keep. Raises `OSError`, and `PermanentError` for what must not be left out."""
        for count, path in enumerate(paths(self.root, self.stores, self.note)):
            if count >= FILES_MAX:
                raise PermanentError(f"the state has more than {FILES_MAX} files")
            self.check()
            try:
                entry = self._entry(path)
            except FileNotFoundError:
                self.note(f"{self._name(path)} vanished while the snapshot was taken")
                continue
            if entry is not None:
                yield entry

    def exported(self, file: Path) -> Iterator[Entry]:
        """What the agent exported itself, where it did."""
        if file.is_file():
            size, chunks = self._read(file)
            yield Entry(path=EXPORTED, kind="export", size=size, chunks=chunks)

    def note(self, text: str) -> None:
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)

    def _entry(self, path: Path) -> Entry | None:
        name, found = self._name(path), path.lstat()
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            return Entry(path=name, kind="link", target=str(path.readlink()))
        if stat.S_ISDIR(found.st_mode):
            return Entry(path=name, kind="folder", mode=mode, modified_ns=found.st_mtime_ns)
        if not stat.S_ISREG(found.st_mode):
            self.note(f"{name} is no file (a socket, pipe or device) and was left out")
            return None
        if name.endswith(sqlite.COMPANIONS) and belongs_to_database(path):
            return None
        mark = mark_of(path)
        before = self.known.get(name)
        if before is not None and before.mark == mark and all(self.chunks.has(chunk) for chunk in before.chunks):
            return before
        if sqlite.is_database(path):
            return self._database(path, name, mode, mark)
        return self._file(path, name, mode)

    def _database(self, path: Path, name: str, mode: int, mark: tuple[int, ...]) -> Entry:
        copy = self.scratch / "database"
        copy.unlink(missing_ok=True)
        try:
            sqlite.copy(path, copy)
            size, chunks = self._read(copy)
        finally:
            copy.unlink(missing_ok=True)
        unchanged = mark if mark_of(path) == mark else ()
        return Entry(path=name, kind="sqlite", mode=mode, size=size, modified_ns=mark[1], mark=unchanged, chunks=chunks)

    def _file(self, path: Path, name: str, mode: int) -> Entry:
        for _ in range(READS_MAX):
            mark = mark_of(path)
            size, chunks = self._read(path)
            if mark_of(path) == mark:
                return Entry(path=name, kind="file", mode=mode, size=size, modified_ns=mark[1], mark=mark, chunks=chunks)
        self.note(f"{name} changed while it was read")
        return Entry(path=name, kind="file", mode=mode, size=size, modified_ns=mark[1], chunks=chunks)

    def _read(self, path: Path) -> tuple[int, tuple[str, ...]]:
        size, chunks = 0, []
        with path.open("rb") as file:
            while content := file.read(CHUNK_BYTES):
                self.check()
                size += len(content)
                chunks.append(self.chunks.put(content))
        return size, tuple(chunks)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def paths(root: Path, stores: tuple[StateStore, ...], note: Callable[[str], None]) -> Iterator[Path]:
    """Everything below `root` that belongs to the state. Raises `PermanentError` for a store that leads out of it."""
    for part in stores or (StateStore(kind="directory"),):
        top = root / part.path
        if not top.exists():
            if stores:
                note(f"{part.path} does not exist")
        elif not top.resolve().is_relative_to(root.resolve()):
            raise PermanentError(f"{part.path} leads out of the state directory")
        elif part.kind == "http":
            continue
        elif part.kind == "sqlite":
            yield top
        else:
            yield from _below(top)


def _below(top: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, names, files in os.walk(top, onerror=fail):
        names.sort()
        yield from (Path(folder) / name for name in sorted((*names, *files)))


def mark_of(path: Path) -> tuple[int, ...]:
    """Equal for a file that was not written since: size, times and inode, and for a database those of the log beside it."""
    marks: list[int] = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            found = each.stat()
        except FileNotFoundError:
            if each is path:
                raise
            continue
        marks += [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    return tuple(marks)


def belongs_to_database(path: Path) -> bool:
    base = path.with_name(path.name.rpartition("-")[0])
    return base.is_file() and sqlite.is_database(base)
