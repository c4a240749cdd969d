"""The file that describes one snapshot. Written last, so a snapshot without one does not exist. Used by the driver, `taking` and `restoring`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from pydantic import TypeAdapter, ValidationError

from agent_servicing.adapters.runtime.files import write_atomically
from agent_servicing.adapters.state.chunks import sync_folder
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.state import SavedState


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, folder or link. `mark` says whether a file is the one that was read before, so that it need not be read again.

    `export` is what the agent itself gave: no file of the state, and never put back as one.
    """

    path: str
    kind: Literal["file", "sqlite", "folder", "link", "export"]
    mode: int = 0o600
    size: int = 0
    modified_ns: int = 0
    mark: tuple[int, ...] = ()
    chunks: tuple[str, ...] = ()
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    saved: SavedState
    entries: tuple[Entry, ...]

    def chunks(self) -> Iterator[str]:
        for entry in self.entries:
            yield from entry.chunks


log = structlog.get_logger(__name__)

_description = TypeAdapter(Description)


def write(folder: Path, description: Description) -> None:
    write_atomically(folder / f"{description.saved.snapshot}.json", _description.dump_json(description).decode())
    sync_folder(folder)


def read(path: Path) -> Description:
    """Raises `FileNotFoundError`, and `PermanentError` for one that cannot be understood."""
    try:
        return _description.validate_json(path.read_bytes())
    except ValidationError as error:
        raise PermanentError(f"{path.name} does not describe a snapshot") from error


def read_all(folder: Path) -> list[Description]:
    """Every snapshot in a folder, newest first; one that cannot be understood is left out and left alone."""
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            found.append(read(path))
        except FileNotFoundError:
            continue  # somebody removed it meanwhile
        except PermanentError as error:
            log.warning("snapshot_unreadable", path=str(path), problem=str(error))
    return sorted(found, key=lambda each: each.saved.taken_at, reverse=True)
