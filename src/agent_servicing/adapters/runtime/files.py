"""Small file operations the process runtime shares: atomic writes, last lines, and what an `OSError` means to an operator."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from agent_servicing.core.errors import TemporaryError

TAIL_BYTES = 1024 * 1024
"""How far back the last lines of a file are looked for."""

FIRST_PIECE_BYTES = 16 * 1024
"""Read first; enough for a screen of ordinary lines."""

LINE_CHARS = 4_000
"""Longest line shown; the file keeps the rest."""

STORAGE_RETRY_SECONDS = 5.0
"""When to come back to a full or unwritable disk: soon enough to notice that somebody made room."""

_SENTENCES = {
    errno.ENOSPC: "the disk of the data directory is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the disk is mounted read-only",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files on this machine",
    errno.EAGAIN: "the limit of processes is reached",
    errno.ENOMEM: "out of memory",
}


def sentence(error: OSError) -> str:
    """What went wrong, in words, with the file where there is one."""
    what = _SENTENCES.get(error.errno or 0) or error.strerror or str(error)
    return f"{what} ({error.filename})" if error.filename else what


def storage_error(doing: str, error: OSError) -> TemporaryError:
    """The driver's error for trouble with the disk or the kernel's limits: somebody can make room, so it is worth coming back."""
    return TemporaryError(f"cannot {doing}: {sentence(error)}", retry_after_seconds=STORAGE_RETRY_SECONDS)


def write_atomically(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Put `content` at `path` so that a reader, or a crash at any moment, sees the old file or the new one. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # the first error is the one worth reporting
            temporary.unlink(missing_ok=True)
        raise


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a text file, oldest first; nothing when it is missing. Bytes that are no UTF-8 are replaced."""
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            lines = _read_back(file, count)
    except FileNotFoundError:
        return []
    return [line[: LINE_CHARS * 4].decode("utf-8", "replace").rstrip("\r")[:LINE_CHARS] for line in lines]


def _read_back(file: BinaryIO, count: int) -> list[bytes]:
    """Reads ever larger pieces from the end until they hold `count` whole lines."""
    size = file.seek(0, os.SEEK_END)
    piece_bytes = FIRST_PIECE_BYTES
    while True:
        start = max(0, size - piece_bytes)
        file.seek(start)
        lines = file.read(size - start).removesuffix(b"\n").split(b"\n") if size else []
        if start == 0 or piece_bytes >= TAIL_BYTES or len(lines) > count:
            return lines[-count:]
        piece_bytes *= 4
