"""Bodies and answers of reports, and of where they are opened as issues."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.services.issues import TITLE_CHARACTERS_MAX, WINDOW_SECONDS
from agent_servicing.web.schemas.common import Body, Name, NextCursor, Text, View, example
from agent_servicing.web.schemas.outward import SecretReference, SecretReferenceView

_ISSUE: dict[str, Any] = {
    "issue_id": "iss-01K8Y3J5M6Q2V7",
    "agent_id": "WowCache",
    "upgrade_id": "upg-01K8Y3J5M6Q2V7",
    "title": "WowCache: upgrade to 2.0.0 rolled back: Error rate threshold exceeded (8.2% > 5%)",
    "note": "Happens under load only",
    "reported_by": "ada",
    "at": "2026-01-02T02:10:00Z",
    "status": "opened",
    "url": "https://git.example.org/wow/cache/issues/7",
    "problem": "",
    "attempts": 1,
    "next_at": None,
    "bundle_bytes": 48211,
    "bundle": "/api/platform/agents/WowCache/issues/iss-01K8Y3J5M6Q2V7/bundle",
}
_TRACKER: dict[str, Any] = {
    "kind": "github",
    "base_url": "",
    "project": "wow/cache",
    "projects": {"WowMemory": "wow/memory"},
    "labels": ["servicing"],
    "token": {"$secret": "tracker-token"},
}


class ReportBody(Body):
    model_config = ConfigDict(json_schema_extra=example(upgrade_id="upg-01K8Y3J5M6Q2V7", note="Happens under load only"))

    upgrade_id: Name | None = Field(default=None, description="Omitted: the newest deployment that ended badly, else the newest")
    title: str = Field(default="", max_length=TITLE_CHARACTERS_MAX, description="Omitted: made from the deployment")
    note: Text = Field(default="", description="What you saw")
    window_seconds: float = Field(default=WINDOW_SECONDS, description="How far back events and readings go; 60 to 86400")


class IssueView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_ISSUE]})

    issue_id: str
    agent_id: str
    upgrade_id: str | None
    title: str
    note: str
    reported_by: str
    at: datetime
    status: Literal["kept", "sending", "opened", "failed"] = Field(description="kept: there is no tracker; sending: it is tried again")
    url: str = Field(description="Where it was opened; empty where nobody named an address")
    problem: str = Field(description="Why it could not be opened, at the last attempt")
    attempts: int
    next_at: datetime | None = Field(description="When it is tried again")
    bundle_bytes: int
    bundle: str = Field(description="Path of the zip")


class IssueList(View):
    model_config = ConfigDict(json_schema_extra=example(issues=[_ISSUE], next_cursor=None))

    issues: list[IssueView]
    next_cursor: NextCursor


class TrackerBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [_TRACKER]})

    kind: Literal["none", "github", "gitlab", "webhook"]
    base_url: str = Field(default="", max_length=500, description="Empty: the public GitHub or GitLab; of a webhook its address")
    project: str = Field(default="", max_length=255, description="OWNER/NAME at GitHub; path or number of a project at GitLab")
    projects: dict[Name, str] = Field(default_factory=dict, description="Other projects for some agents, by agent")
    labels: list[str] = Field(default_factory=list)
    token: SecretReference | None = Field(
        default=None, description="The shared secret that holds the access token, or signs what a webhook gets"
    )
    if_revision: int | None = Field(default=None, description="Only if the settings are still at this `revision`")


class TrackerView(View):
    model_config = ConfigDict(json_schema_extra=example(revision=2, **_TRACKER))

    revision: int
    kind: Literal["none", "github", "gitlab", "webhook"]
    base_url: str
    project: str
    projects: dict[str, str]
    labels: list[str]
    token: SecretReferenceView | None


class TrackerTestView(View):
    __test__ = False
    model_config = ConfigDict(json_schema_extra=example(kind="github", reached=True, problem="", duration_ms=182.4))

    kind: str
    reached: bool
    problem: str = Field(description="Why not; empty when it answered, took the token and has issues")
    duration_ms: float
