"""A file of JSON lines, turned over when it is full."""

import os
from collections.abc import Sequence
from pathlib import Path

from anyio import to_thread

from agent_servicing.adapters.audit.forms import FORMS, line
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.errors import TemporaryError

MODE = 0o600
TAIL_BYTES = 1024 * 1024
"""Where the end of the last whole line is looked for; a line is far shorter."""


class FileSink:
    """Appends to `path`, for its owner only. At `max_mb` it becomes `path.1`, what was that `path.2`, up to `files`; the oldest then goes."""

    def __init__(self, *, name: str, path: Path, form: str, max_mb: int, files: int) -> None:
        self.name, self.target, self.form = name, f"file://{path}", form
        self._path, self._max_bytes, self._files = path, max_mb * 1024 * 1024, files

    async def deliver(self, entries: Sequence[StoredEvent]) -> None:
        try:
            await to_thread.run_sync(self._append, [line(FORMS[self.form](entry)) for entry in entries])
        except OSError as error:
            raise TemporaryError(f"{self._path} cannot be written: {error.strerror or error}", retry_after_seconds=5) from error

    def _append(self, lines: list[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
            self._turn()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, MODE)
        with os.fdopen(descriptor, "r+b") as file:
            file.seek(_whole(descriptor))
            # What a crash left of a line goes: that entry was not counted as delivered, and is among these.
            file.truncate()
            file.write("".join(f"{each}\n" for each in lines).encode())
            file.flush()
            os.fsync(descriptor)

    def _turn(self) -> None:
        for number in range(self._files, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1)) if number < self._files else older.unlink()
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _whole(descriptor: int) -> int:
    """Where the last whole line ends."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - TAIL_BYTES)
    tail = os.pread(descriptor, size - start, start)
    return start + tail.rfind(b"\n") + 1
