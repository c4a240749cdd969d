"""Can a version be taken back without losing what it wrote? The door between two versions' state schemas, and what is known of snapshots.

Pure; asked before an upgrade and a rollback.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from agent_servicing.core.manifest import StateSpec

Door = Literal["two_way", "two_way_by_migration", "one_way", "unknown"]


def door(old: StateSpec, new: StateSpec) -> tuple[Door, str]:
    """Whether both versions can use what the other writes, and a sentence that says why.

    two_way: one can go and come back. two_way_by_migration: the old version cannot read what the new one writes, but the new one can
    convert it first. one_way: neither (or the new version cannot read what is there). unknown: a manifest says too little. A version
    without a state directory neither reads nor writes what the other keeps.
    """
    if old.directory is None or new.directory is None:
        return "two_way", _stateless(old, new)
    if old.writes is None or new.writes is None:
        return "unknown", "a manifest does not say which state schema its version writes"
    if not _reads(new, old.writes):
        return "one_way", f"the new version cannot read state schema {old.writes}, which the old one writes"
    if not _reads(old, new.writes):
        target = next((schema for schema in new.converts if _reads(old, schema)), None)
        if target is not None:
            return (
                "two_way_by_migration",
                f"the new version can convert its state schema {new.writes} back to {target}, which the old one reads",
            )
        return "one_way", f"the old version cannot read state schema {new.writes}, which the new one writes"
    if old.writes == new.writes:
        return "two_way", f"both versions write state schema {new.writes}"
    return "two_way", f"each version reads what the other writes (schemas {old.writes} and {new.writes})"


def _stateless(old: StateSpec, new: StateSpec) -> str:
    if old.directory is None and new.directory is None:
        return "neither version keeps state"
    return f"the {'old' if old.directory is None else 'new'} version keeps no state and leaves the other's alone"


def _reads(spec: StateSpec, schema: int) -> bool:
    """A version reads what it writes, listed or not."""
    return schema == spec.writes or schema in spec.reads


class SavingStatus(StrEnum):
    """How far a snapshot is. `absent`: never begun, or what began it is gone; it can be begun anew."""

    ABSENT = "absent"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """A snapshot being taken; `detail` is a sentence for people."""

    status: SavingStatus
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What restoring a snapshot into a scratch folder showed; `seconds` is the honest estimate of a restore."""

    at: datetime
    seconds: float
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCount:
    """What was written in one place: a file, or a table of a database (`memories.sqlite3/memories`)."""

    place: str
    added: int = 0
    changed: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written since a snapshot. A record is a row of a database, a line of a JSON-lines file, or a file."""

    snapshot: str
    places: tuple[PlaceCount, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Those that are not in the snapshot as they are now. One that was removed since would come back, and is no loss."""
        return sum(place.added + place.changed for place in self.places)

    @property
    def removed(self) -> int:
        return sum(place.removed for place in self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideState:
    """What became of the records written since the snapshot that a rollback put back: `kept` by the version gone back to, or not.

    `refused` of them it was offered and would not have. `complete`: nobody wrote there any more when they were counted.
    """

    epoch: int
    deployment: str
    version: str
    snapshot: str
    at: datetime
    written: Written
    kept: int = 0
    refused: int = 0
    complete: bool = True
    detail: str = ""

    @property
    def set_aside(self) -> int:
        """Records that lie in the folder that was left, and nowhere else."""
        return self.written.records - self.kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a rollback would do with the records written since the snapshot. `possible` False: `sentence` says why."""

    state: Literal["keep", "convert", "restore"]
    possible: bool
    kept: int | None
    converted: int | None
    set_aside: int | None
    sentence: str


def conversion(old: StateSpec, new: StateSpec) -> int | None:
    """The schema to which the new version has to convert what it wrote before the old one can read it; None when it need not or cannot."""
    verdict, _ = door(old, new)
    return next((schema for schema in new.converts if _reads(old, schema)), None) if verdict == "two_way_by_migration" else None


def readable(spec: StateSpec, schema: int | None) -> bool:
    """Whether this version can use a snapshot of that schema; where nobody says a schema, nobody can say no."""
    return schema is None or spec.writes is None or _reads(spec, schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """One usable snapshot: it was read back after it was written.

    `size_bytes` is what a restore would write, `stored_bytes` what keeping it added; `notes` name what was left out and why.
    """

    snapshot: str
    version: str
    schema: int | None
    taken_at: datetime
    seconds: float
    size_bytes: int
    stored_bytes: int
    files: int
    pinned: bool
    notes: tuple[str, ...] = ()
    rehearsal: Rehearsal | None = None
