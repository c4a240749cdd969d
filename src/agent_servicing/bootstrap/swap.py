"""Puts what was prepared into place, all of it or nothing, whenever the process dies. Called by `restore`, and by `serve` for one that died.

The moves are written to `restore.json` first. Before that file is there nothing was moved; once it is, whoever comes next finishes them:
each move looks whether it was made already.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_servicing.adapters.runtime.files import write_atomically
from agent_servicing.adapters.state.chunks import sync_folder
from agent_servicing.core.errors import Unavailable

JOURNAL: Final = "restore.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From and to as paths below the data directory. `optional`: there may be nothing to move."""

    source: str
    target: str


def swap(data_dir: Path, moves: Sequence[Move]) -> None:
    """Make all moves, in this order. Raises Unavailable `restore_unfinished` when one cannot be made; it is tried again the next time."""
    content = [{"source": move.source, "target": move.target} for move in moves]
    write_atomically(data_dir / JOURNAL, json.dumps(content, indent=1))
    sync_folder(data_dir)
    finish(data_dir)


def finish(data_dir: Path) -> bool:
    """Make what is left of a swap that began; False when none did."""
    journal = data_dir / JOURNAL
    try:
        moves = [Move(source=str(each["source"]), target=str(each["target"])) for each in json.loads(journal.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{journal} cannot be read: {error}", code="restore_unfinished") from error
    try:
        for move in moves:
            _make(data_dir / move.source, data_dir / move.target)
        sync_folder(data_dir)
        journal.unlink()
    except OSError as error:
        message = f"A restore began and cannot be finished: {error.filename}: {error.strerror}."
        raise Unavailable(message, hint="Put that right, then start the server or restore again.", code="restore_unfinished") from error
    return True


def _make(source: Path, target: Path) -> None:
    """Where the target is there already, this move was made before: sources of moves are never made anew."""
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    source.rename(target)
    for folder in {source.parent, target.parent}:
        with suppress(FileNotFoundError):
            sync_folder(folder)


def fsync_tree(folder: Path) -> None:
    """Everything below is on the disk for good."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
