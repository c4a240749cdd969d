"""Checks a file of audit entries without a server: an export, an archive, or what a file sink wrote. Called by `cli.audit`.

One entry stands on each line, so that a million of them are read one after the other; what is kept of each is its number and where it begins.
"""

import gzip
import json
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent_servicing.cli.exits import Usage
from agent_servicing.core.audit import GENESIS, Anchor, Around, Break, Chain, Finding, Record, what_broke, what_is_missing
from agent_servicing.core.audit_text import record_of
from agent_servicing.core.errors import Invalid

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest line that is read. The largest entries are some tens of kilobytes."""

BATCH: Final = 1_000
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What the file shows. `filtered`: entries are missing on purpose, so each is checked by itself and with those it touches."""

    valid: bool
    entries: int
    first: int | None = None
    last: int | None = None
    head: str | None = None
    filtered: bool = False
    broken_at: str | None = None
    kind: str | None = None
    message: str = ""


def check_file(path: Path, anchor: Anchor | None) -> FileCheck:
    """Read the whole file. Raises Usage when it cannot be opened, Invalid when it holds no entries or not the one of the anchor."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if not packed:
                return _checked(_Entries(file, path), anchor)
            with tempfile.TemporaryFile() as plain, gzip.open(file) as stream:
                shutil.copyfileobj(stream, plain)
                plain.seek(0)
                return _checked(_Entries(plain, path), anchor)
    except (OSError, EOFError) as error:
        raise Usage(f"{path} cannot be read: {error}.") from error


def read_anchor(path: Path) -> Anchor:
    """What `servicing audit anchor` wrote. Raises Usage."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries, head = found["entries"], found["head"]
        fine = isinstance(entries, int) and isinstance(head, str) and len(head) == len(GENESIS)
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError):
        fine = False
    if not fine:
        raise Usage(f"{path} is no anchor.", hint="An anchor is what `servicing audit anchor --to FILE` writes.")
    return Anchor(entries=entries, head=head)


class _Entries:
    """The entries of an open file, by where each begins and its number; oldest first, whichever way the file has them."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self.places, self.numbers = array("q"), array("q")
        self.head: dict[str, object] = {}
        while True:
            place = file.tell()
            line = file.readline(LINE_BYTES_MAX)
            if not line:
                break
            self._take(line, place)
        if len(self.numbers) > 1 and self.numbers[0] > self.numbers[-1]:
            self.places.reverse()
            self.numbers.reverse()

    def __getitem__(self, index: int) -> Record:
        self._file.seek(self.places[index])
        return record_of(self._parsed(self._file.readline(LINE_BYTES_MAX)))

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self.numbers)))

    def numbered(self, number: int | None, *, besides: int) -> Record | None:
        found = (index for index, each in enumerate(self.numbers) if each == number and index != besides)
        index = next(found, None)
        return self[index] if index is not None else None

    def _take(self, line: bytes, place: int) -> None:
        if line.strip() in {b"", b"]}"}:
            return
        fields = self._parsed(line)
        if "event_id" not in fields:
            head = fields.get("chain")
            self.head = head if isinstance(head, dict) else {}
            return
        try:
            self.numbers.append(record_of(fields).entry or 0)
        except ValueError as error:
            raise Invalid(f"{self._path}: entry {fields.get('event_id')} cannot be checked: {error}.") from error
        self.places.append(place)

    def _parsed(self, line: bytes) -> dict[str, object]:
        text = line.strip().removesuffix(b",")
        if text.endswith(b'"events": ['):
            text += b"]}"
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Invalid(
                f"{self._path} is no file of audit entries, or was reformatted: {text[:40]!r} is no entry.",
                hint="Take it as `servicing audit export` or a file sink wrote it: one entry on each line.",
            )
        return found


def _checked(entries: _Entries, anchor: Anchor | None) -> FileCheck:
    if not entries.numbers:
        raise Invalid("The file holds no entries: there is nothing to check.")
    if entries.head.get("filtered") is True:
        if anchor is not None:
            raise Invalid("A filtered export cannot be checked against an anchor.", hint="Export everything, without filters.")
        return _filtered(entries)
    return _whole(entries, anchor)


def _whole(entries: _Entries, anchor: Anchor | None) -> FileCheck:
    first = entries[0]
    begins = entries.head.get("archived", 0) if entries.head else (first.entry or 1) - 1
    # An export says from where on it is; other files begin where they begin, which only an anchor can show to be right.
    known = begins if isinstance(begins, int) else 0
    chain = Chain(entries=known, head=GENESIS if known == 0 else first.previous or "")
    wanted = entries.head.get("entries")
    written = wanted if isinstance(wanted, int) else max(entries.numbers)
    batch: list[Record] = []
    for record in entries:
        batch.append(record)
        if len(batch) == BATCH:
            chain, batch = chain.follow(batch), []
    chain = chain.follow(batch)
    count = chain.entries - known
    # Those that fit stand one after the other from the beginning, so the one that does not is the next.
    found = _found(entries, chain, count, Anchor(entries=written, head=str(entries.head.get("head", chain.head))))
    shown = FileCheck(valid=found is None, entries=count, first=known + 1, last=chain.entries, head=chain.head)
    if found is not None:
        return _named(shown, found)
    return shown if anchor is None else _held(entries, shown, anchor, first)


def _found(entries: _Entries, chain: Chain, at: int, end: Anchor) -> Finding | None:
    if chain.broken is None:
        return None if chain.ends_at(end) else what_is_missing(chain, end)
    follows = entries[at + 1] if at + 1 < len(entries.numbers) else None
    around = Around(
        follows=follows,
        elsewhere=entries.numbered(chain.entries + 1, besides=at),
        twin=entries.numbered(chain.broken.entry, besides=at),
        written=end.entries,
    )
    return what_broke(chain, around)


def _held(entries: _Entries, shown: FileCheck, anchor: Anchor, first: Record) -> FileCheck:
    if anchor.entries == (shown.first or 1) - 1:
        same: bool | None = anchor.head == (first.previous or GENESIS)
    elif anchor.entries < (shown.first or 1):
        raise Invalid(f"The anchor is of entry {anchor.entries}; the file begins with {shown.first}, so it cannot be compared.")
    else:
        record = entries.numbered(anchor.entries, besides=-1)
        same = None if record is None else record.digest == anchor.head
    if same:
        return shown
    if same is None:
        message = f"When the anchor was taken there were {anchor.entries} entries; the file ends with {shown.last}: the newest are missing."
    else:
        message = f"Entry number {anchor.entries} is not the one the anchor was taken of: the history was written anew."
    return _named(shown, Finding(kind=Break.CHANGED, event_id=entries[len(entries.numbers) - 1].event_id, message=message), kind="anchor")


def _filtered(entries: _Entries) -> FileCheck:
    shown = FileCheck(valid=True, entries=len(entries.numbers), filtered=True)
    before: Record | None = None
    for record in entries:
        step = 1 if before is None else (record.entry or 0) - (before.entry or 0)
        if not record.intact:
            message = f"Entry {record.event_id} was changed: its hash does not fit what it says."
            return _named(shown, Finding(kind=Break.CHANGED, event_id=record.event_id, message=message))
        if step < 1:
            kind = Break.INSERTED if step == 0 else Break.REORDERED
            message = f"Entry {record.event_id} does not stand where it was written."
            return _named(shown, Finding(kind=kind, event_id=record.event_id, message=message))
        if before is not None and step == 1 and record.previous != before.digest:
            message = f"Entry {before.event_id} was changed and given a new hash: {record.event_id} remembers another one."
            return _named(shown, Finding(kind=Break.CHANGED, event_id=before.event_id, message=message))
        before = record
    return shown


def _named(shown: FileCheck, found: Finding, kind: str | None = None) -> FileCheck:
    return FileCheck(
        valid=False,
        entries=shown.entries,
        first=shown.first,
        last=shown.last,
        head=shown.head,
        filtered=shown.filtered,
        broken_at=found.event_id or "the first entry",
        kind=kind or found.kind.value,
        message=found.message,
    )
