"""Bodies and answers of agents' state."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Reason, View, example

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


class UnpackedView(View):
    model_config = ConfigDict(json_schema_extra=example(folder="/var/lib/servicing/agents/WowMemory/snapshots/unpacked-upg-20260102-001"))

    folder: str = Field(description="On the server's machine; the agent does not use it, and nobody but you removes it")


class StoreView(View):
    kind: Literal["directory", "sqlite"]
    path: str


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
            stores=[],
            ways_back=[{"version": "1.2.5", "door": "two_way", "sentence": "both versions write state schema 2"}],
            snapshots=[_SNAPSHOT],
        )
    )

    agent_id: str
    version: str | None = Field(description="The version that serves")
    directory: str | None = Field(description="Null: it keeps no state")
    state_schema: int | None = Field(alias="schema", description="The state schema that this version writes")
    stores: list[StoreView] = Field(description="Empty: the whole directory")
    ways_back: list[WayBackView] = Field(description="To each rollback point")
    snapshots: list[SnapshotView] = Field(description="Newest first")
