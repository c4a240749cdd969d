"""What is kept on disk of configurations: the one being tried, the last good one, and who ended while using which. The crash guard lives here.

All instances of an agent share the folder, so everything happens under a lock, and files are replaced whole. A full or missing disk costs the
guard, never the agent.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from servicing_sdk.documents import Document, NoDocument, parse

if sys.platform != "win32":
    import fcntl

GUARD_SECONDS = 60.0
"""Two instances that end within this time after a configuration was committed, and it is not used at the next start."""

EXITS_MAX = 2

TRIED, GOOD, LOCK = "tried.json", "last-good.json", "lock"


class Kept:
    """Every process has a mark of its own, also the workers of one `instance`. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None, instance: str) -> None:
        self._folder, self._mark = folder, f"running-{_plain(instance)}-{os.getpid()}.json"

    def begin(self) -> None:
        """At the start: who ended since without saying so is counted."""
        with self._locked() as folder:
            if folder is None:
                return
            for mark in folder.glob("running-*.json"):
                found = _read(mark)
                if found is None or _alive(found):
                    continue
                self._count_exit(folder, found)
                mark.unlink(missing_ok=True)

    def use(self, document: Document) -> None:
        """This process uses it from now on. Renewed now and then, so that the time of an exit is known."""
        with self._locked() as folder:
            if folder is not None:
                _write(
                    folder / self._mark, {"pid": os.getpid(), "started": _started(os.getpid()), "hash": document.hash, "at": time.time()}
                )

    def end(self) -> None:
        """This process ends as it should."""
        with self._locked() as folder:
            if folder is not None:
                (folder / self._mark).unlink(missing_ok=True)

    def try_out(self, document: Document) -> None:
        """Written down before it is used: whoever dies of it is counted against it."""
        with self._locked() as folder:
            if folder is None:
                return
            before = _read(folder / TRIED)
            if before is None or before.get("hash") != document.hash:
                kept = {"revision": document.revision, "hash": document.hash, "text": document.text, "at": time.time(), "exits": 0}
                _write(folder / TRIED, kept)

    def prove(self, document: Document) -> None:
        """It was used for long enough: the last good one from now on."""
        with self._locked() as folder:
            if folder is not None:
                _write(folder / GOOD, {"revision": document.revision, "hash": document.hash, "text": document.text})

    def good(self) -> Document | None:
        with self._locked() as folder:
            found = _read(folder / GOOD) if folder is not None else None
        try:
            return parse(str(found["revision"]), str(found["text"])) if found else None
        except (KeyError, NoDocument):
            return None

    def barred(self, document: Document) -> bool:
        """Whether instances kept ending of it right after it was committed."""
        with self._locked() as folder:
            tried = _read(folder / TRIED) if folder is not None else None
        return bool(tried) and tried is not None and tried.get("hash") == document.hash and int(tried.get("exits", 0)) >= EXITS_MAX

    def settled(self, document: Document, seconds: float = GUARD_SECONDS) -> bool:
        """Whether the time in which exits count against it is over; a clock that was set back counts as over."""
        with self._locked() as folder:
            tried = _read(folder / TRIED) if folder is not None else None
        if not tried or tried.get("hash") != document.hash:
            return True
        return not 0 <= time.time() - float(tried.get("at", 0)) < seconds

    def _count_exit(self, folder: Path, mark: dict[str, Any]) -> None:
        tried = _read(folder / TRIED)
        if tried and mark.get("hash") == tried.get("hash") and 0 <= float(mark.get("at", 0)) - float(tried["at"]) < GUARD_SECONDS:
            _write(folder / TRIED, {**tried, "exits": int(tried.get("exits", 0)) + 1})

    @contextmanager
    def _locked(self) -> Iterator[Path | None]:
        """The folder, or None when it cannot be used."""
        lock = None
        with suppress(OSError):
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if sys.platform != "win32":
                    fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with suppress(OSError):
                yield self._folder if lock is not None else None
        finally:
            if lock is not None:
                os.close(lock)


def _alive(mark: dict[str, Any]) -> bool:
    """The very process that made the mark, not another one with its number."""
    started = mark.get("started")
    return started is not None and _started(int(mark.get("pid", 0))) == started


def _plain(instance: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in instance)[:100] or "agent"


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all: the old file stays when the disk is full or the machine stops."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
