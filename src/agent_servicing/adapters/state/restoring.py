"""From a snapshot to files again, in a folder that did not exist before; every byte is checked on the way. Blocking; run in a thread."""

import os
from pathlib import Path, PurePosixPath

from agent_servicing.adapters.state import sqlite
from agent_servicing.adapters.state.chunks import Chunks
from agent_servicing.adapters.state.description import Description, Entry
from agent_servicing.core.errors import PermanentError


def restore(description: Description, chunks: Chunks, target: Path, *, exports: bool = False) -> None:
    """Write everything below `target`, what the agent had exported itself only with `exports`.

    Raises `OSError`, and `PermanentError` for a snapshot that is damaged.
    """
    target.mkdir(parents=True, mode=0o700)
    for entry in description.entries:
        if entry.kind == "folder":
            _inside(target, entry).mkdir(parents=True, exist_ok=True)
    for entry in description.entries:
        if entry.kind == "export" and not exports:
            continue
        path = _inside(target, entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind in ("file", "sqlite", "export"):
            _write(entry, chunks, path)
    # Links last, so that nothing is written through one; folders' modes after what is in them.
    for entry in reversed(description.entries):
        path = _inside(target, entry)
        if entry.kind == "link":
            path.symlink_to(entry.target)
        elif entry.kind == "folder":
            path.chmod(entry.mode)
            os.utime(path, ns=(entry.modified_ns, entry.modified_ns))


def problems(description: Description, target: Path) -> list[str]:
    """What SQLite says of the databases below `target`."""
    found = (sqlite.problem(_inside(target, entry)) for entry in description.entries if entry.kind == "sqlite")
    return [problem for problem in found if problem]


def _write(entry: Entry, chunks: Chunks, path: Path) -> None:
    size = 0
    with path.open("xb") as file:
        for name in entry.chunks:
            size += file.write(chunks.get(name))
        file.flush()
        os.fsync(file.fileno())
    if size != entry.size:
        raise PermanentError(f"{entry.path} has {size} bytes in the snapshot, not {entry.size}")
    path.chmod(entry.mode)
    if entry.kind != "export":
        os.utime(path, ns=(entry.modified_ns, entry.modified_ns))


def _inside(target: Path, entry: Entry) -> Path:
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts:
        raise PermanentError(f"{entry.path} of the snapshot leads out of the state directory")
    return target / path
