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
