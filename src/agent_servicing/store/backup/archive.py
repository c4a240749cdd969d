"""The file of a backup: a tar whose first member describes it and names every other with its size and SHA-256.

Written and read by `services.backups` and `bootstrap.restore`, in a thread. The members are compressed one by one, so the tar itself is not.
"""

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter, ValidationError

from agent_servicing.core.errors import Invalid, Unavailable
from agent_servicing.store.backup.dump import Dump

FORMAT: Final = 1
"""Counted up when an older program could not read the file any more."""

DESCRIPTION: Final = "backup.json"
PRODUCT: Final = "agent-servicing"
OWNER_ONLY: Final = 0o600

DESCRIPTION_BYTES_MAX: Final = 64 * 1024 * 1024
"""A line for each member; a hundred thousand chunks of agents' states are some megabytes."""

MEMBERS_MAX: Final = 500_000
SPARE_BYTES: Final = 64 * 1024 * 1024
"""Left free on the disk beside what is unpacked."""

_PIECE: Final = 1024 * 1024
_SAFE_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,199}")
_ANOTHER: Final = "Use another backup; `servicing backup` checks each as it is written."


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a backup says of itself. `key`: the key for secrets is in it. `state`: copies of agents' states are in it."""

    product: str = PRODUCT
    format: int = FORMAT
    version: str
    created_at: datetime
    dump: Dump
    key: bool = False
    state: bool = False
    members: Mapping[str, Member] = field(default_factory=dict)


_about: Final = TypeAdapter(About)
_head: Final = TypeAdapter(dict[str, object])


def members_of(folder: Path) -> dict[str, Member]:
    """Every file below `folder` as it would stand in the description."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): Member(bytes=path.stat().st_size, sha256=_hash(path)) for path in files}


def pack(folder: Path, about: About, target: Path) -> None:
    """Write `about` and the members it names, which lie in `folder`, to `target` (mode 600): whole or not at all.

    Raises `OSError`.
    """
    aside = target.with_name(f".{target.name}.part")
    description = folder / f".{DESCRIPTION}"
    description.write_bytes(_about.dump_json(about, indent=1))
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name, path in ((DESCRIPTION, description), *((name, folder / name) for name in about.members)):
                    with path.open("rb") as content:
                        tar.addfile(_entry(name, path.stat().st_size, about.created_at), content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def read_about(file: Path) -> About:
    """The description alone, for whoever wants to know what a file is. Raises Invalid like `unpack`."""
    with _opened(file) as tar:
        return _description(file, tar)


def unpack(file: Path, folder: Path | None) -> About:
    """Check every byte of `file` and put its members below `folder`, which is empty; None only checks.

    Raises Invalid `no_backup`, `backup_too_new`, `backup_damaged`; Unavailable `disk_full`, `backup_unreadable`.
    """
    with _opened(file) as tar:
        about = _description(file, tar)
        if folder is not None:
            _require_room(folder, about)
        left = dict(about.members)
        for entry in tar:
            if entry.name == DESCRIPTION:
                continue
            member = left.pop(entry.name, None)
            if member is None or not entry.isreg() or entry.size != member.bytes:
                raise damaged(file, f"{entry.name} is not what its description says")
            content = tar.extractfile(entry)
            if content is None or _copy(content, folder / entry.name if folder else None) != member.sha256:
                raise damaged(file, f"{entry.name} has changed since it was written")
        if left:
            raise damaged(file, f"it is cut off: {next(iter(left))} is missing")
        return about


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with file.open("rb") as raw:
            try:
                tar = tarfile.open(fileobj=raw, mode="r:")  # noqa: SIM115 (its errors mean something else than those of reading on)
            except (tarfile.TarError, EOFError) as error:
                raise _no_backup(file, error) from error
            with tar:
                yield tar
    except (tarfile.TarError, EOFError) as error:
        raise damaged(file, f"it is cut off or damaged: {error}") from error
    except OSError as error:
        raise _unreadable(file, error) from error


def damaged(file: Path, what: str) -> Invalid:
    return Invalid(f"The backup {file} cannot be used: {what}.", hint=_ANOTHER, code="backup_damaged")


def _description(file: Path, tar: tarfile.TarFile) -> About:
    first = tar.next()
    if first is None or first.name != DESCRIPTION or not first.isreg() or first.size > DESCRIPTION_BYTES_MAX:
        raise _no_backup(file, f"it does not begin with {DESCRIPTION}")
    content = tar.extractfile(first)
    text = content.read() if content is not None else b""
    try:
        head = _head.validate_json(text)
    except ValidationError as error:
        raise damaged(file, f"{DESCRIPTION} cannot be understood") from error
    if head.get("product") != PRODUCT:
        raise _no_backup(file, "another program wrote it")
    found = head.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise Invalid(
            f"The backup {file} has format {found}; this version reads formats up to {FORMAT}.",
            hint=f"Restore it with Agent Servicing {head.get('version')} or newer.",
            code="backup_too_new",
        )
    try:
        about = _about.validate_json(text)
    except ValidationError as error:
        raise damaged(file, f"{DESCRIPTION} cannot be understood") from error
    if len(about.members) > MEMBERS_MAX or not all(_safe(name) for name in about.members):
        raise damaged(file, "it names members that no backup has")
    return about


def _safe(name: str) -> bool:
    return all(_SAFE_PART.fullmatch(part) for part in name.split("/"))


def _require_room(folder: Path, about: About) -> None:
    needed = sum(member.bytes for member in about.members.values()) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Unavailable(
            f"The disk of {folder} has {free // 2**20} MB free, the backup needs {needed // 2**20} MB; nothing was changed.",
            hint="Free some space, then try again.",
            code="disk_full",
        )


def _copy(content: IO[bytes], target: Path | None) -> str:
    digest = hashlib.sha256()
    if target is None:
        while piece := content.read(_PIECE):
            digest.update(piece)
        return digest.hexdigest()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY)
    with os.fdopen(handle, "wb") as file:
        while piece := content.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _entry(name: str, size: int, at: datetime) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(at.timestamp()), OWNER_ONLY
    return entry


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_backup(file: Path, why: object) -> Invalid:
    return Invalid(f"{file} is no backup of Agent Servicing: {why}.", hint="`servicing backup FILE` makes one.", code="no_backup")


def _unreadable(file: Path, error: OSError) -> Unavailable:
    return Unavailable(f"{error.filename or file} cannot be read or written: {error.strerror}.", code="backup_unreadable")
