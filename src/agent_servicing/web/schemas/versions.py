"""Answers of version management (story §1) and of the comparison of two versions."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Reason, View, example

_VERSION: dict[str, Any] = {
    "version": "1.3.0",
    "release_date": "2025-12-28T00:00:00Z",
    "type": "minor",
    "security_patch": False,
    "critical": False,
    "changelog": {
        "fixed": ["Workflow timeout handling"],
        "improved": ["Parallel execution performance"],
        "added": ["Retry with exponential backoff"],
    },
    "breaking_changes": [],
    "migration_notes": "",
    "test_results": {"smoke_tests": "5/5 passed"},
    "author": "Release team",
    "summary": "Retries",
    "deployment_count": 3,
    "success_rate": 100.0,
    "compatibility": "Can be upgraded to from 1.2.5.",
    "upgradable": True,
    "state_door": "two_way",
    "state_note": "Both versions read and write state schema 3.",
    "config_problems": [],
    "standing": "available",
    "standing_reason": "",
    "standing_by": "",
    "ref": "9f2c1d0",
    "moved": False,
    "problem": "",
}


class VersionView(View):
    """One version. `changelog` groups lines by kind: breaking, security, added, improved, fixed, other."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERSION]})

    version: str
    release_date: datetime | None
    type: str = Field(description="The step from the running version")
    security_patch: bool
    critical: bool
    changelog: dict[str, list[str]]
    breaking_changes: list[str]
    migration_notes: str
    test_results: dict[str, str]
    author: str
    summary: str
    deployment_count: int
    success_rate: float | None = Field(description="Percent of finished deployments to it that completed")
    compatibility: str
    upgradable: bool = Field(description="An upgrade from the running version would be accepted, breaking changes acknowledged")
    state_door: str = Field(description="From the running version: two_way, two_way_by_migration, one_way or unknown")
    state_note: str
    config_problems: list[str] = Field(
        description="What its schema has against the configuration in force; empty: that goes along unchanged"
    )
    standing: str = Field(description="available, deprecated (choose another) or withdrawn (cannot be deployed)")
    standing_reason: str
    standing_by: str = Field(description="Who said so; `source` when the source itself did")
    ref: str = Field(description="What names the artifact in its source, such as a commit")
    moved: bool = Field(description="The source now has another artifact under this name")
    problem: str


class RollbackPointView(View):
    version: str
    deployed_at: datetime
    can_rollback: bool
    note: str = Field(description="Why not")


class RecommendationView(View):
    """The version to go to next: what closes holes first, else the newest that breaks nothing; always the smallest step that does it."""

    version: str
    type: str
    urgency: str = Field(description="critical, security, withdrawn (the running version is) or normal")
    reason: str


class StandingBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="loses memories above 5 GB"))

    reason: Reason


class StandingView(View):
    """What became of a word on a version. What is `under_way` goes on: cancel it, if it should not."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            version="1.3.0",
            standing="withdrawn",
            reason="loses memories above 5 GB",
            by="admin",
            at="2026-01-02T02:00:00Z",
            running=False,
            cancelled=["upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF"],
            under_way=[],
        )
    )

    agent_id: str
    version: str
    standing: str
    reason: str
    by: str
    at: datetime
    running: bool = Field(description="It serves at this moment, and goes on doing so")
    cancelled: list[str] = Field(description="Upgrades to it that waited, and were cancelled")
    under_way: list[str] = Field(description="Deployments that bring it at this moment")


_HINTS: dict[str, Any] = {
    "recommended": {"version": "1.3.0", "type": "minor", "urgency": "normal", "reason": "is the newest that breaks nothing"},
    "newest": {"patch": None, "minor": "1.3.0", "major": None},
}


class VersionList(View):
    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowOrchestrator",
            current_version="1.2.5",
            current_deployed_at="2025-12-15T10:00:00Z",
            current_standing="available",
            current_standing_reason="",
            **_HINTS,
            available_versions=[_VERSION],
            rollback_points=[{"version": "1.2.4", "deployed_at": "2025-12-01T08:00:00Z", "can_rollback": True, "note": ""}],
            versions=[_VERSION],
            refreshed_at="2026-01-02T01:55:00Z",
            source_problem="",
        )
    )

    agent_id: str
    current_version: str | None
    current_deployed_at: datetime | None
    current_standing: str
    current_standing_reason: str
    recommended: RecommendationView | None = Field(description="Null when nothing should be done now")
    newest: dict[str, str | None] = Field(description="The newest version of each step (patch, minor, major) that may be chosen")
    available_versions: list[VersionView] = Field(description="Newer than the running one and not withdrawn, newest first")
    rollback_points: list[RollbackPointView]
    versions: list[VersionView] = Field(description="All known ones, newest first")
    refreshed_at: datetime | None
    source_problem: str = Field(description="Why the source could not be read last time; empty when it could")


class Refreshed(VersionList):
    """The list after asking the source, and what is new in it."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowOrchestrator",
            new_versions=["1.3.0"],
            current_version="1.2.5",
            current_deployed_at="2025-12-15T10:00:00Z",
            current_standing="available",
            current_standing_reason="",
            **_HINTS,
            available_versions=[_VERSION],
            rollback_points=[],
            versions=[_VERSION],
            refreshed_at="2026-01-02T01:55:00Z",
            source_problem="",
        )
    )

    new_versions: list[str]


class DifferenceView(View):
    """One dotted key; null on a side means absent there."""

    key: str
    old: Any
    new: Any


class MigrationNote(View):
    version: str
    text: str


class Changes(View):
    """Everything that differs between two versions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent_id": "WowOrchestrator",
                    "from": "1.2.5",
                    "to": "1.3.0",
                    "type": "minor",
                    "changelog": {"fixed": ["Workflow timeout handling"]},
                    "breaking_changes": [],
                    "migration_notes": [],
                    "config_schema": [{"key": "properties.retries", "old": None, "new": {"type": "integer"}}],
                    "manifest": [{"key": "run.instances", "old": 3, "new": 4}],
                    "state_door": "two_way",
                    "state_note": "Both versions read and write state schema 3.",
                    "compatibility": "Can be upgraded to from 1.2.5.",
                }
            ]
        },
        serialize_by_alias=True,
        populate_by_name=True,
    )

    agent_id: str
    from_: str = Field(alias="from")
    to: str
    type: str
    changelog: dict[str, list[str]]
    breaking_changes: list[str]
    migration_notes: list[MigrationNote]
    config_schema: list[DifferenceView]
    manifest: list[DifferenceView]
    state_door: str = Field(description="two_way, two_way_by_migration, one_way or unknown: whether going back keeps the state readable")
    state_note: str
    compatibility: str
