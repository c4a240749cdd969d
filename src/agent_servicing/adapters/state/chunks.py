"""Content-addressed chunks of one agent's snapshots: equal pieces of any file in any snapshot are kept once. Used by `taking` and `restoring`."""

import hashlib
import os
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent_servicing.core.errors import PermanentError

CHUNK_BYTES: Final = 64 * 1024
"""A multiple of every SQLite page size, so that a changed page changes one chunk; small enough that scattered changes stay cheap."""

COMPRESSION_LEVEL: Final = 1
"""The snapshot stands before an upgrade; level 1 is several times as fast as the default and nearly as small."""


@dataclass(slots=True, kw_only=True)
class Chunks:
    """Chunks below `folder`, named by the hash of their content. Only added and swept; one that was damaged is written anew.

    Made for one snapshot: `sound` are those that were read back for it.
    """

    folder: Path
    added: dict[str, int] = field(default_factory=dict)
    sound: set[str] = field(default_factory=set)

    def put(self, content: bytes) -> str:
        """Keep `content`; its name. What is new is on the disk for good only after `settle`."""
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if name in self.added or self.has(name):
            return name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        packed = zlib.compress(content, COMPRESSION_LEVEL)
        scratch = path.with_suffix(".part")
        scratch.write_bytes(packed)
        scratch.replace(path)
        self.added[name] = len(packed)
        return name

    def get(self, name: str) -> bytes:
        """Raises `PermanentError` for a chunk that is gone or not what it was."""
        try:
            content = zlib.decompress(self._path(name).read_bytes())
        except FileNotFoundError as error:
            raise PermanentError(f"chunk {name[:12]} of the snapshot is gone") from error
        except zlib.error as error:
            raise PermanentError(f"chunk {name[:12]} of the snapshot is damaged") from error
        if hashlib.sha256(content).hexdigest() != name:
            raise PermanentError(f"chunk {name[:12]} of the snapshot is damaged")
        return content

    def has(self, name: str) -> bool:
        """Whether it is there and what it was: a snapshot that rests on a damaged chunk of an earlier one would be none."""
        if name not in self.sound:
            try:
                self.get(name)
            except PermanentError:
                return False
            self.sound.add(name)
        return True

    def settle(self) -> None:
        """Everything added is on the disk, and reads back as what it was."""
        for name in self.added:
            with self._path(name).open("rb") as file:
                os.fsync(file.fileno())
            self.get(name)
        for folder in {self._path(name).parent for name in self.added}:
            sync_folder(folder)

    def sweep(self, keep: Collection[str]) -> None:
        """Delete every chunk that is not in `keep`, and what a crash left half-written."""
        if self.folder.is_dir():
            for path in self.folder.glob("*/*"):
                if path.name not in keep:
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name


def sync_folder(folder: Path) -> None:
    """Names in a folder are on the disk for good."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
