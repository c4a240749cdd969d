"""Output files of instances: their last lines, their rotation, and how many of ended instances are kept.

An instance appends to its `output.log` through a descriptor it inherited, so the file is copied and cut to nothing, never renamed.
"""

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from agent_servicing.adapters.runtime.files import last_lines
from agent_servicing.adapters.runtime.folders import Folders

ENDED_LOGS_KEPT = 20
"""Instances of one agent that were forgotten and whose logs can still be read; at ten crashes an upgrade that is two bad ones."""

MAX_LOG_LINES = 10_000
"""Most lines one request for logs gets."""

COPY_CHUNK_BYTES = 1024 * 1024

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def read_logs(folders: Folders, agent: str, instance: str | None, recorded: Collection[str], lines: int) -> list[tuple[str, str]]:
    """The last lines as (instance, line): of one instance, or of all, instance after instance, the one that wrote last at the end.

    Without one named, every recorded instance gets an equal part of `lines`; forgotten ones fill what is left over, newest first.
    """
    lines = min(lines, MAX_LOG_LINES)
    if instance is not None:
        return [(instance, line) for line in _tail(folders.output(agent, instance), lines)]
    names = _by_last_written(folders, agent)
    present = [name for name in names if name in recorded]
    share = max(1, lines // len(present)) if present else 0
    tails = {name: _tail(folders.output(agent, name), share) for name in present}
    for name in reversed([name for name in names if name not in recorded]):
        left = lines - sum(len(tail) for tail in tails.values())
        tails[name] = _tail(folders.output(agent, name), left)
    return [(name, line) for name in names for line in tails[name]][-lines:] if lines > 0 else []


def rotate(path: Path, *, max_bytes: int, keep: int) -> bool:
    """Move the content of a log that has outgrown `max_bytes` to `.1`, `.1` to `.2` and so on up to `keep`. True when it did.

    On a full disk the old parts are deleted, or the content dropped when there are none: the agents need the space more. Raises `OSError`.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    copy = path.with_name(f"{path.name}.copy")
    try:
        _copy(path, copy, limit_bytes=4 * max_bytes)
    except OSError as error:
        with suppress(OSError):  # the copy's own error is the one that counts
            copy.unlink(missing_ok=True)
        if error.errno in _NO_SPACE:
            _make_room(path, keep)
        raise
    for number in range(keep - 1, 0, -1):
        with suppress(FileNotFoundError):
            _part(path, number).replace(_part(path, number + 1))
    copy.replace(_part(path, 1))
    os.truncate(path, 0)
    return True


def prune_logs(folders: Folders, agent: str, recorded: Collection[str]) -> None:
    """Delete the folders of all but the newest forgotten instances. Raises `OSError`."""
    forgotten = [name for name in _by_last_written(folders, agent) if name not in recorded]
    for name in forgotten[:-ENDED_LOGS_KEPT]:
        shutil.rmtree(folders.instance(agent, name))


def _tail(path: Path, count: int) -> list[str]:
    """The last lines of a log, going on in the part rotated last when it was just cut."""
    lines = last_lines(path, count)
    return last_lines(_part(path, 1), count - len(lines)) + lines if len(lines) < count else lines


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _copy(path: Path, copy: Path, *, limit_bytes: int) -> None:
    """Copies what is there and what is being added meanwhile; bounded, should an agent write faster than we read."""
    with path.open("rb") as source, copy.open("wb") as target:
        copied = 0
        while copied < limit_bytes and (piece := source.read(COPY_CHUNK_BYTES)):
            copied += target.write(piece)


def _make_room(path: Path, keep: int) -> None:
    parts = [part for number in range(1, keep + 1) if (part := _part(path, number)).exists()]
    for part in parts:
        part.unlink()
    if not parts:
        os.truncate(path, 0)


def _by_last_written(folders: Folders, agent: str) -> list[str]:
    """Names of all instances with an output file, the one that wrote last at the end."""
    written = []
    for path in folders.instances(agent).glob("*/output.log"):
        with suppress(FileNotFoundError):  # pruned at this moment
            written.append((path.stat().st_mtime_ns, path.parent.name))
    return [name for _, name in sorted(written)]
