"""Bodies and answers of agents' state."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Reason, View, example
from agent_servicing.web.schemas.written import WrittenView

_SNAPSHOT: dict[str, Any] = {
    "snapshot": "upg-20260102-001",
    "version": "1.2.5",
    "schema": 2,
    "taken_at": "2026-01-02T02:00:00Z",
    "seconds": 1.4,
    "size_bytes": 104857600,
    "stored_bytes": 1048576,
    "files": 12,
    "pinned": False,
    "notes": [],
    "rehearsal": {"at": "2026-01-02T03:00:00Z", "seconds": 0.9, "passed": True, "detail": "12 files restored in 0.9 s"},
}


_SET_ASIDE: dict[str, Any] = {
    "epoch": 0,
    "deployment": "rbk-20260102-001",
    "version": "0.4.3",
    "snapshot": "upg-20260102-001",
    "at": "2026-01-02T03:00:00Z",
    "written": {
        "snapshot": "upg-20260102-001",
        "records": 214,
        "removed": 0,
        "places": [{"place": "memories.sqlite3/memories", "added": 214, "changed": 0, "removed": 0}],
        "notes": [],
    },
    "kept": 209,
    "refused": 5,
    "set_aside": 5,
    "complete": True,
    "detail": "214 records written since upg-20260102-001: 209 kept, 5 set aside",
}


class SnapshotBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Before the big import"))

    reason: Reason


class RehearsalView(View):
    at: datetime
    seconds: float = Field(description="How long the restore took: the honest estimate of a real one")
    passed: bool
    detail: str


class SnapshotView(View):
    """A usable copy: it was read back after it was written."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SNAPSHOT]})

    snapshot: str = Field(description="The upgrade it was taken for, or a name of its own")
    version: str
    state_schema: int | None = Field(alias="schema", description="The state schema that this version writes")
    taken_at: datetime
    seconds: float
    size_bytes: int = Field(description="What a restore would write")
    stored_bytes: int = Field(description="What keeping it added on the disk")
    files: int
    pinned: bool = Field(description="Asked for by somebody: stays until it is removed")
    notes: list[str] = Field(description="What was left out, and why")
    rehearsal: RehearsalView | None


class SnapshotBegunView(View):
    model_config = ConfigDict(json_schema_extra=example(snapshot="snp-20260102-001"))

    snapshot: str = Field(description="In the list of snapshots once it is usable")


class BroughtView(View):
    model_config = ConfigDict(json_schema_extra=example(taken=209, refused=5))

    taken: int
    refused: int


class UnpackedView(View):
    model_config = ConfigDict(json_schema_extra=example(folder="/var/lib/servicing/agents/WowMemory/snapshots/unpacked-upg-20260102-001"))

    folder: str = Field(description="On the server's machine; the agent does not use it, and nobody but you removes it")


class SetAsideView(View):
    """What became of the records that were written since the snapshot which a rollback put back."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SET_ASIDE]})

    epoch: int = Field(description="The state folder that was left; names this entry")
    deployment: str
    version: str = Field(description="That wrote them")
    snapshot: str
    at: datetime
    written: WrittenView
    kept: int = Field(description="Taken in by the version gone back to")
    refused: int = Field(description="Offered to it, and not taken")
    set_aside: int = Field(description="Kept here only")
    complete: bool = Field(description="False: instances were still ending when they were counted")
    detail: str


class DiscardBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Looked through, nothing of value"))

    reason: Reason


class StoreView(View):
    kind: Literal["directory", "sqlite", "http"]
    path: str
    records: list[str] = Field(description="Tables whose rows are counted as what the agent remembers; empty: all")


class WayBackView(View):
    version: str
    door: Literal["two_way", "two_way_by_migration", "one_way", "unknown"]
    sentence: str


class StateView(View):
    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            version="1.3.0",
            directory="state",
            schema=2,
            epoch=0,
            stores=[],
            set_aside=[_SET_ASIDE],
            ways_back=[{"version": "1.2.5", "door": "two_way", "sentence": "both versions write state schema 2"}],
            snapshots=[_SNAPSHOT],
        )
    )

    agent_id: str
    version: str | None = Field(description="The version that serves")
    directory: str | None = Field(description="Null: it keeps no state")
    state_schema: int | None = Field(alias="schema", description="The state schema that this version writes")
    epoch: int = Field(description="How often a snapshot was put back: the state folder in use")
    stores: list[StoreView] = Field(description="Empty: the whole directory")
    ways_back: list[WayBackView] = Field(description="To each rollback point")
    set_aside: list[SetAsideView] = Field(description="What rollbacks left behind, newest first")
    snapshots: list[SnapshotView] = Field(description="Newest first")
