"""The files of one version, wherever they come from: git trees, archives and folders are read as `Member`s, and `unpack` writes them.

This is the only place that writes what strangers named, so everything hostile is stopped here: absolute paths, `..`, names written twice,
links that lead out of the folder (links are made last, so that nothing is ever written through one), devices, and sheer size. It also
works on Python 3.11.2, which has no tarfile filters yet.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from agent_servicing.core.errors import PermanentError

MEMBERS_MAX = 100_000
"""Files and folders of one version."""

BYTES_MAX = 4 * 1024**3
"""Size of one version, unpacked."""

NAME_BYTES_MAX, PATH_BYTES_MAX = 255, 2_000
"""What file systems take, with room for the folder that it comes into."""

TEXT_BYTES_MAX = 1024**2
"""Size of a text file that is read as a whole: manifest, schema."""

CHUNK_BYTES = 1024**2

LEFT_OUT = frozenset({".git", ".venv", "__pycache__"})
"""Never part of a version: made where it was developed, of no use elsewhere, and different every time one looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file, folder, symbolic link (`target` as it stands) or hard link (`target` a path of an earlier member). `path` uses slashes."""

    path: str
    kind: Literal["file", "folder", "link", "hard_link"] = "file"
    chunks: Callable[[], Iterator[bytes]] = lambda: iter(())
    executable: bool = False
    target: str = ""


def unpack(members: Iterable[Member], folder: Path, *, bytes_max: int = BYTES_MAX, same_case: bool = True) -> None:
    """Write them all into the empty `folder`. Raises `PermanentError` naming the first member that may not be written.

    `same_case` False also refuses names that differ in nothing but case: on other file systems one of them would be lost.
    """
    links: list[Member] = []
    budget = _Budget(bytes_max)
    folded: dict[str, str] = {}
    for member in members:
        budget.count()
        parts = checked(member.path)
        if not parts:
            continue
        if not same_case:
            _distinct(parts, folded)
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(member, path, folder, budget)
        except (FileExistsError, NotADirectoryError):
            raise _refused(member.path, "is there twice, or is a file where another has its folder") from None
        if member.kind == "link":
            links.append(replace(member, path="/".join(parts)))
    _link(links, folder)


def _distinct(parts: tuple[str, ...], folded: dict[str, str]) -> None:
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise _refused(name, f"differs from {other!r} in nothing but case")


def checked(path: str) -> tuple[str, ...]:
    """The parts of a member's path below its folder, empty for the folder itself. Raises `PermanentError` when it leads elsewhere."""
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise _refused(path, "leads out of the folder")
    if _too_long(path):
        raise _refused(path, "has a name that is too long")
    if any(part.lower() == ".git" for part in parts):
        raise _refused(path, "has the name of git's own folder")
    return parts


def _too_long(path: str) -> bool:
    return len(os.fsencode(path)) > PATH_BYTES_MAX or any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in path.split("/"))


def without_leftovers(members: Iterable[Member]) -> Iterator[Member]:
    """All but what is never part of a version."""
    return (member for member in members if LEFT_OUT.isdisjoint(member.path.split("/")))


def below(root: str, members: Iterable[Member]) -> Iterator[Member]:
    """The members inside the top folder `root`, with paths from there; all of them for an empty `root`."""
    for member in members:
        if not root:
            yield member
        elif "/" in member.path.strip("/"):
            target = _stripped(member.target) if member.kind == "hard_link" else member.target
            yield replace(member, path=_stripped(member.path), target=target)


def single_root(members: Iterable[Member]) -> str:
    """The name of the folder that holds everything, as most archives have it; empty when there is none."""
    root = ""
    for member in members:
        parts = checked(member.path)
        if not parts:
            continue
        if (len(parts) == 1 and member.kind != "folder") or (root and parts[0] != root):
            return ""
        root = parts[0]
    return root


def text(members: Iterable[Member], path: str) -> str | None:
    """The text file at `path`, None when there is none. Longer ones are cut, which their own reader then refuses."""
    wanted = PurePosixPath(path)
    for member in members:
        if member.kind == "file" and PurePosixPath(member.path) == wanted:
            return _first_bytes(member.chunks()).decode(errors="replace")
    return None


def _write(member: Member, path: Path, folder: Path, budget: "_Budget") -> None:
    match member.kind:
        case "folder":
            path.mkdir(exist_ok=True)
        case "file":
            _fill(path, member.chunks(), member.executable, budget)
        case "hard_link":
            original = folder.joinpath(*checked(member.target))
            if not original.is_file():
                raise _refused(member.path, f"is a hard link to {member.target}, which does not come before it")
            _fill(path, read_chunks(original), member.executable, budget)
        case "link" if os.path.isabs(member.target) or not member.target or "\0" in member.target:  # noqa: PTH117 (a link's text, not a path of ours)
            raise _refused(member.path, f"links to {member.target[:200]!r}, outside of the folder")
        case "link" if _too_long(member.target):  # whoever only asks whether it is a file would get an error of the disk
            raise _refused(member.path, "links to a name that is too long")
        case "link":
            pass


def _fill(path: Path, chunks: Iterable[bytes], executable: bool, budget: "_Budget") -> None:
    with ExitStack() as stack, path.open("xb") as file:
        if isinstance(chunks, Generator):
            stack.enter_context(closing(chunks))  # else the archive stays open when what it holds is refused
        for chunk in chunks:
            budget.add(len(chunk))
            file.write(chunk)
    path.chmod(0o755 if executable else 0o644)


def _link(links: Iterable[Member], folder: Path) -> None:
    """Make the links, then follow each to its end: a chain of harmless ones can still lead out."""
    home, made = folder.resolve(), []
    for member in links:
        path = folder / member.path
        try:
            path.symlink_to(member.target)
        except FileExistsError:
            raise _refused(member.path, "is there twice") from None
        made.append((member, path))
    for member, path in made:
        try:
            end = path.resolve()
        except (RuntimeError, OSError):  # a loop, or a name too long
            raise _refused(member.path, f"links to {member.target!r}, which leads nowhere") from None
        if not end.is_relative_to(home):
            raise _refused(member.path, f"links to {member.target!r}, outside of the folder")


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a file on disk."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


class _Budget:
    """Counts what is written and refuses more than the limits."""

    def __init__(self, bytes_max: int) -> None:
        self._members = 0
        self._bytes = 0
        self._bytes_max = bytes_max

    def count(self) -> None:
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise PermanentError(f"a version of more than {MEMBERS_MAX} files cannot be installed")

    def add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._bytes_max:
            limit = f"{self._bytes_max // 1024**3} GiB" if self._bytes_max >= 1024**3 else f"{self._bytes_max} bytes"
            raise PermanentError(f"a version of more than {limit} cannot be installed")


def _first_bytes(chunks: Iterable[bytes]) -> bytes:
    found = b""
    for chunk in chunks:
        found += chunk
        if len(found) >= TEXT_BYTES_MAX:
            return found[:TEXT_BYTES_MAX]
    return found


def _stripped(path: str) -> str:
    return "/".join(checked(path)[1:])


def _refused(path: str, why: str) -> PermanentError:
    return PermanentError(f"{path[:200]!r} cannot be unpacked: it {why}")
