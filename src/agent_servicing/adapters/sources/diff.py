"""Applies a unified diff to a folder, exactly or not at all: every hunk of every file is tried in memory before the first byte is written.

`uploads` calls it on a scratch copy of the base. `unidiff` reads the diff and counts its lines; what may be touched is decided here: paths inside
the folder, plain files, nothing through a link. A hunk may have moved, its lines must be there to the letter.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from unidiff.constants import LINE_TYPE_ADDED, LINE_TYPE_NO_NEWLINE, LINE_TYPE_REMOVED
from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from agent_servicing.adapters.sources.members import checked
from agent_servicing.core.errors import FieldError, PermanentError
from agent_servicing.ports.uploads import ChangedFile, UploadRefused

DIFF_BYTES_MAX: Final = 4 * 1024**2
"""Largest diff; whoever changes more uploads an archive."""

FILE_BYTES_MAX: Final = 16 * 1024**2
"""Largest file that is patched: it is read into memory."""

FILES_MAX: Final = 2_000
HUNKS_MAX: Final = 20_000

OFFSET_LINES_MAX: Final = 1_000
"""How far a hunk may have moved; further away the same lines are more likely to be others."""

PROBLEMS_MAX: Final = 20
"""Problems that are told of one diff."""

SHOWN_CHARS: Final = 80

DEV_NULL: Final = "/dev/null"
_LINK, _SUBMODULE = "120000", "160000"
_EXECUTABLE = "100755"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One file of the diff: where from, where to (None: it is new, it goes), and whether it can be executed afterwards (None: as before)."""

    file: PatchedFile
    source: str | None
    target: str | None
    executable: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What one file becomes; `content` None: nothing is left of it."""

    step: _Step
    content: bytes | None
    executable: bool


def apply_diff(data: bytes, folder: Path) -> tuple[ChangedFile, ...]:
    """Change `folder` as the diff says; returns what was done. Raises `UploadRefused` naming every file and hunk at fault, nothing changed."""
    files = _read(data)
    stripped = _strip_level(files, folder)
    problems: list[FieldError] = []
    results: list[_Result] = []
    taken: set[str] = set()
    for file in files:
        try:
            step = _step(file, stripped)
            _claim(step, taken)
            results.append(_tried(step, folder))
        except UploadRefused as error:
            problems += error.problems or (FieldError(path=_shown(file), message=str(error)),)
        if len(problems) >= PROBLEMS_MAX:
            break
    if problems:
        first = problems[0]
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UploadRefused(f"the diff does not apply: {first.path} {first.message}{more}", problems=problems)
    for result in results:
        _write(result, folder)
    return tuple(_told(result) for result in results)


def _read(data: bytes) -> list[PatchedFile]:
    if len(data) > DIFF_BYTES_MAX:
        raise UploadRefused(f"a diff has at most {DIFF_BYTES_MAX // 1024**2} MiB; upload an archive instead", too_large=True)
    # Any bytes survive this and come out again as they were.
    text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n")
    try:
        files = list(PatchSet(text))
    except (UnidiffParseError, ValueError, RecursionError) as error:
        raise UploadRefused(f"it is no unified diff: {_line(str(error))}; make one with git diff or diff -u") from None
    if not files:
        raise UploadRefused("it is neither an archive (.tar.gz, .zip, .whl) nor a unified diff (git diff, diff -u)")
    if len(files) > FILES_MAX or sum(len(file) for file in files) > HUNKS_MAX:
        raise UploadRefused(f"a diff has at most {FILES_MAX} files and {HUNKS_MAX} hunks; upload an archive instead", too_large=True)
    return files


def _strip_level(files: Sequence[PatchedFile], folder: Path) -> int:
    """How many leading folders its paths have too many: one for `a/` and `b/`, else as many as make its old files exist."""
    old = [file.source_file for file in files if file.source_file != DEV_NULL]
    prefixed = all(path.startswith("a/") for path in old) and all(
        file.target_file.startswith("b/") for file in files if file.target_file != DEV_NULL
    )
    for level in (1, 0) if prefixed else (0, 1):
        if old and all(_exists(path, level, folder) for path in old):
            return level
    return 1 if prefixed else 0


def _exists(path: str, level: int, folder: Path) -> bool:
    try:
        parts = checked("/".join(path.split("/")[level:]))
    except PermanentError:
        return False
    return bool(parts) and folder.joinpath(*parts).is_file()


def _step(file: PatchedFile, level: int) -> _Step:
    source, target = (_path(path, level) for path in (file.source_file, file.target_file))
    modes = {file.source_mode, file.target_mode}
    if file.is_binary_file:
        raise UploadRefused("is binary, which a diff cannot change; upload an archive")
    if _SUBMODULE in modes:
        raise UploadRefused("is a submodule, which a diff cannot change")
    if _LINK in modes:
        raise UploadRefused("is a symbolic link, which a diff may not make or change; upload an archive")
    if re.search(r"^copy from ", str(file.patch_info or ""), re.MULTILINE):
        raise UploadRefused("is a copy; make the diff without copy detection")
    if source is None and target is None:
        raise UploadRefused("has no name")
    executable = None if file.target_mode is None else file.target_mode == _EXECUTABLE
    return _Step(file=file, source=source, target=target, executable=executable)


def _path(path: str, level: int) -> str | None:
    if path == DEV_NULL:
        return None
    if path.startswith('"'):
        raise UploadRefused("has a quoted name; make the diff with: git -c core.quotePath=false diff")
    try:
        parts = checked(path)[level:]
    except PermanentError:
        raise UploadRefused("leads out of the version's folder") from None
    if not parts:
        raise UploadRefused("has no name below its first folder")
    return "/".join(parts)


def _claim(step: _Step, taken: set[str]) -> None:
    """One file is changed once, so that what was tried is what is written."""
    names = {name for name in (step.source, step.target) if name is not None}
    if names & taken:
        raise UploadRefused("is changed twice by the diff; make one diff of both changes")
    below = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    if below & taken or any(other.startswith(f"{name}/") for name in names for other in taken):
        raise UploadRefused("is a file and a folder in the same diff")
    taken |= names


def _tried(step: _Step, folder: Path) -> _Result:
    """The file as it becomes. Raises `UploadRefused`."""
    before, executable = b"", False
    if step.source is not None:
        path = _plain(step.source, folder)
        if not path.is_file():
            raise UploadRefused("is not in the base version")
        if path.stat().st_size > FILE_BYTES_MAX:
            raise UploadRefused(f"has more than {FILE_BYTES_MAX // 1024**2} MiB; upload an archive")
        before, executable = path.read_bytes(), bool(path.stat().st_mode & 0o100)
    if step.target is not None and step.target != step.source:
        path = _plain(step.target, folder)
        if path.exists() or path.is_symlink():
            raise UploadRefused(f"makes {step.target}, which is in the base version already")
    after = _patched(step.file, before)
    if step.target is None and after:
        raise UploadRefused("is removed by the diff, but the base version has more in it")
    content = None if step.target is None else after
    return _Result(step=step, content=content, executable=executable if step.executable is None else step.executable)


def _plain(name: str, folder: Path) -> Path:
    """Where it is. Nothing on the way may be a link: it could lead out, and what it leads to is not what the diff names."""
    here = folder
    for part in name.split("/"):
        here = here / part
        if here.is_symlink():
            raise UploadRefused("is a symbolic link in the base version, or lies behind one")
    parents = here.relative_to(folder).parents
    if any((folder / parent).exists() and not (folder / parent).is_dir() for parent in parents):
        raise UploadRefused("lies below something that is no folder")
    if here.is_dir():
        raise UploadRefused("is a folder in the base version")
    return here


def _patched(file: PatchedFile, before: bytes) -> bytes:
    lines = _lines(before.decode("utf-8", "surrogateescape"))
    done: list[str] = []
    read, moved = 0, 0
    for number, hunk in enumerate(file, 1):
        old, new = _sides(hunk)
        wanted = hunk.source_start - (1 if hunk.source_length else 0) + moved
        at = next(
            (place for place in _places(wanted, read, len(lines) - len(old), fixed=not old) if lines[place : place + len(old)] == old), None
        )
        if at is None:
            raise UploadRefused("", problems=(FieldError(path=_shown(file), message=_misfit(number, len(file), hunk, lines, old, wanted)),))
        done += lines[read:at] + new
        read, moved = at + len(old), at - wanted + moved
    return "".join([*done, *lines[read:]]).encode("utf-8", "surrogateescape")


def _places(wanted: int, first: int, last: int, *, fixed: bool) -> Iterator[int]:
    """Where a hunk may begin, the nearest first; one without old lines only where it says, because it would fit anywhere."""
    if first <= wanted <= last:
        yield wanted
    if fixed:
        return
    for distance in range(1, OFFSET_LINES_MAX + 1):
        for place in (wanted - distance, wanted + distance):
            if first <= place <= last:
                yield place


def _sides(hunk: Hunk) -> tuple[list[str], list[str]]:
    """The lines it expects and those it puts there, each with its end."""
    old: list[str] = []
    new: list[str] = []
    last: list[list[str]] = []
    for line in hunk:
        if line.line_type == LINE_TYPE_NO_NEWLINE:
            for side in last:
                side[-1] = side[-1].removesuffix("\n")
            continue
        last = [side for side, other in ((old, LINE_TYPE_ADDED), (new, LINE_TYPE_REMOVED)) if line.line_type != other]
        for side in last:
            side.append(line.value if line.value.endswith("\n") else line.value + "\n")
    return old, new


def _lines(text: str) -> list[str]:
    """At line feeds only: other characters that end lines in Python do not in a diff."""
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _misfit(number: int, count: int, hunk: Hunk, lines: Sequence[str], old: Sequence[str], wanted: int) -> str:
    """Which hunk, and the first line that is another one where the hunk says it belongs."""
    where = f"@@ -{hunk.source_start},{hunk.source_length} +{hunk.target_start},{hunk.target_length} @@"
    text = f"hunk {number} of {count} ({where}) does not fit"
    for place, expected in enumerate(old, max(wanted, 0)):
        found = lines[place] if place < len(lines) else None
        if found != expected:
            is_there = "the file ends before" if found is None else f"is {_quoted(found)}"
            return f"{text}: line {place + 1} {is_there}, expected {_quoted(expected)}"
    return f"{text}: it overlaps the one before" if old else f"{text}: the file has no line {hunk.source_start}"


def _write(result: _Result, folder: Path) -> None:
    step = result.step
    if step.source is not None and step.source != step.target:
        folder.joinpath(step.source).unlink()
    if step.target is None or result.content is None:
        return
    path = folder / step.target
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(result.content)
    path.chmod(0o755 if result.executable else 0o644)


def _told(result: _Result) -> ChangedFile:
    step = result.step
    action = "changed"
    if step.source is None:
        action = "added"
    elif step.target is None:
        action = "removed"
    elif step.source != step.target:
        action = "renamed"
    return ChangedFile(path=_line(step.target or step.source or ""), action=action, added=step.file.added, removed=step.file.removed)


def _shown(file: PatchedFile) -> str:
    return _line(file.path)


def _quoted(line: str) -> str:
    """A line so that what cannot be seen in it is seen: blanks at its end, a carriage return."""
    shown = repr(line.removesuffix("\n").encode("utf-8", "replace").decode())
    return shown if len(shown) <= SHOWN_CHARS else shown[: SHOWN_CHARS - 1] + "…"


def _line(text: str) -> str:
    """A text from outside as part of a sentence."""
    plain = text.encode("utf-8", "replace").decode("utf-8", "replace").strip()
    plain = "".join(character if character.isprintable() else "?" for character in plain)
    return plain if len(plain) <= SHOWN_CHARS else plain[: SHOWN_CHARS - 1] + "…"
