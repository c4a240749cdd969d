"""A version that lies in a folder: its files as members, its content as a hash, and a cheap sign that something changed. `PathSource` calls it."""

import hashlib
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent_servicing.adapters.sources.members import LEFT_OUT, MEMBERS_MAX, Member, read_chunks
from agent_servicing.core.errors import PermanentError


def folder_members(folder: Path) -> Iterator[Member]:
    """Everything below `folder`, in the order of its names, but for what is never part of a version."""
    for path, status in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if stat.S_ISDIR(status.st_mode):
            yield Member(path=name, kind="folder")
        elif stat.S_ISLNK(status.st_mode):
            yield Member(path=name, kind="link", target=str(path.readlink()))
        elif stat.S_ISREG(status.st_mode):
            yield Member(path=name, chunks=partial(read_chunks, path), executable=bool(status.st_mode & 0o100))
        else:
            raise PermanentError(f"{path} is neither file, folder nor link and cannot be part of a version")


def content_hash(folder: Path) -> str:
    """`sha256:…` over names, kinds, executable bits and contents. Each part goes in with its length, so that no two folders read alike."""
    digest = hashlib.sha256()
    for member in folder_members(folder):
        for part in (member.kind, member.path, member.target, str(member.executable)):
            data = os.fsencode(part)
            digest.update(len(data).to_bytes(8, "big") + data)
        content = hashlib.sha256()
        for chunk in member.chunks():
            content.update(chunk)
        digest.update(content.digest())
    return f"sha256:{digest.hexdigest()}"


def fingerprint(path: Path) -> object:
    """Equal as long as nobody touched the file, or anything in the folder: names, sizes, times and inodes, without reading contents."""
    if not path.is_dir():
        return _sign(path.stat())
    return [(str(inner), _sign(status)) for inner, status in _walk(path)]


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Depth first in the order of names; links are not followed."""
    waiting, seen = sorted(folder.iterdir(), reverse=True), 0
    while waiting:
        path = waiting.pop()
        if path.name in LEFT_OUT:
            continue
        seen += 1
        if seen > MEMBERS_MAX:
            raise PermanentError(f"{folder} holds more than {MEMBERS_MAX} files")
        status = path.lstat()
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            waiting += sorted(path.iterdir(), reverse=True)


def _sign(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode
