"""What a backup takes from the data directory beside the database, and where a restore puts it. Implements `Kept`."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.state import description as descriptions
from agent_servicing.adapters.vault import KEY_FILE, VARIABLE
from agent_servicing.core.errors import Invalid
from agent_servicing.settings import Settings

ALWAYS: Final = ("uploads",)
"""Folders of the data directory whose files exist nowhere else. Releases and copies of repositories come from their sources again."""


class KeptFiles:
    """Files that never change are linked where the disk can: that costs no room, and one that is deleted meanwhile stays whole."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data_dir = settings.data_dir.resolve()

    def gather(self, folder: Path, *, key: bool, state: bool) -> None:
        if key:
            self._key(folder)
        for name in ALWAYS:
            for path in _files(self._data_dir / name):
                _take(path, folder / path.relative_to(self._data_dir))
        if state:
            for agent in _folders(self._data_dir / "agents"):
                self._state(agent.name, folder)

    def _key(self, folder: Path) -> None:
        if self._settings.secrets_key is not None:
            message = f"The key for secrets is given by {VARIABLE} or servicing.toml and is not in the data directory."
            raise Invalid(message, hint="Back up without it, and keep the key where you keep it now.", code="key_elsewhere")
        if (self._data_dir / KEY_FILE).exists():
            _copy(self._data_dir / KEY_FILE, folder / KEY_FILE)

    def _state(self, agent: str, folder: Path) -> None:
        folders = Folders(data_dir=self._data_dir)
        snapshots, aside = folders.snapshots(agent), folders.set_aside(agent)
        for description in descriptions.read_all(snapshots):
            chunks = [snapshots / "chunks" / name[:2] / name for name in dict.fromkeys(description.chunks())]
            about = snapshots / f"{description.saved.snapshot}.json"
            # The description last: one whose chunks are dropped meanwhile is left out, as it is where it came from.
            for path in (*chunks, about):
                if not _taken(path, folder / path.relative_to(self._data_dir)):
                    break
        for path in _files(aside):
            if path.suffix != ".part":
                _copy(path, folder / path.relative_to(self._data_dir))


def units(files: Path) -> Iterator[Path]:
    """What a restore moves as one, as paths below the data directory: the key, folders of uploads, of snapshots, of what was set aside."""
    if (files / KEY_FILE).exists():
        yield Path(KEY_FILE)
    for name in ALWAYS:
        if (files / name).is_dir():
            yield Path(name)
    for agent in _folders(files / "agents"):
        for folder in _folders(agent):
            yield folder.relative_to(files)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()) if parent.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) if folder.is_dir() else []


def _taken(path: Path, target: Path) -> bool:
    try:
        _take(path, target)
    except FileNotFoundError:
        return False
    return True


def _take(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if target.exists():
        return
    try:
        os.link(path, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one that knows no links
        _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    """For what is written to in place: a link would go on growing."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileNotFoundError):
        shutil.copyfile(path, target)
