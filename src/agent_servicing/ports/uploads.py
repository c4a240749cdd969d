"""What the services need to keep versions that people upload: archives, wheels, and diffs on a version that is there."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent_servicing.core.errors import FieldError, PermanentError
from agent_servicing.core.manifest import Manifest

UPLOAD_REF = "upload:"
"""How the `ref` of an uploaded version begins; what follows names its content."""


class UploadRefused(PermanentError):
    """It can be no version. `problems` name the place: a file of the archive, a hunk of the diff. `too_large`: sent again it would be no better."""

    def __init__(self, message: str, *, problems: Sequence[FieldError] = (), too_large: bool = False) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.too_large = too_large


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """What a diff did to one file; lines. `action`: added, changed, removed, renamed."""

    path: str
    action: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An upload that can be installed. `ref` names its content; `files` holds the text of the configuration's schema, by path."""

    ref: str
    kind: Literal["archive", "wheel", "diff"]
    size_bytes: int
    manifest_text: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[ChangedFile, ...] = ()


class Uploads(Protocol):
    """Takes files in, checks them by really unpacking or applying them, and keeps what they make under the hash of its content."""

    async def receive(self, chunks: AsyncIterator[bytes], *, bytes_max: int) -> str:
        """Write the file to disk as it arrives; returns a name for it. Raises `UploadRefused` when it is empty or larger than `bytes_max`."""
        ...

    async def keep(self, incoming: str, *, file_name: str, manifest: Manifest, base: tuple[str, str]) -> Kept:
        """Make a version of what was received: an archive or wheel as it is, a diff on the files of `base` (version and ref of `manifest`).

        Raises `UploadRefused`, and what fetching the base raises. Nothing is left behind then.
        """
        ...

    async def discard(self, incoming: str) -> None:
        """Drop what was received, in whatever state it is."""
        ...

    async def stored_bytes(self) -> int:
        """How much room the kept ones take."""
        ...

    async def keep_only(self, refs: Collection[str]) -> Sequence[str]:
        """Delete what no version needs any more, but for what has just been kept; returns the refs' hashes that went."""
        ...
