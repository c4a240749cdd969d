"""Bodies and answers of staging runs."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.core.staging.model import SUITES, Offered, Recommendation, StateChoice
from agent_servicing.core.staging.verdict import FRESH_HOURS_MAX
from agent_servicing.services.staging import KEEP_SECONDS_MAX, LOAD_RPS_MAX, PERFORMANCE_SECONDS_MAX, SUITE_SECONDS_MAX
from agent_servicing.web.schemas.common import Body, Name, NextCursor, Text, View, example

_CASE: dict[str, Any] = {
    "case": "smoke-1",
    "suite": "smoke",
    "name": "tests.smoke.test_smoke::test_it_answers",
    "status": "passed",
    "duration_seconds": 0.04,
    "message": "",
    "trace": "",
    "log": "",
}
_SUITE: dict[str, Any] = {
    "suite": "smoke",
    "status": "passed",
    "passed": 1,
    "decided": 1,
    "message": "",
    "duration_seconds": 0.9,
    "cases": [_CASE],
    "log": "1 passed in 0.31s",
}
_COMPARED: dict[str, Any] = {
    "name": "all requests",
    "pairs": 600,
    "old_p50_ms": 4.1,
    "new_p50_ms": 4.2,
    "old_p95_ms": 9.8,
    "new_p95_ms": 9.9,
    "ratio": 1.02,
    "low": 0.99,
    "high": 1.05,
}
_COMPARISON: dict[str, Any] = {
    "old_version": "1.2.5",
    "new_version": "1.3.0",
    "tolerance_percent": 10,
    "overall": _COMPARED,
    "requests": [],
    "sent": 600,
    "old_errors": 0,
    "new_errors": 0,
}
_STEP: dict[str, Any] = {
    "target_rps": 50,
    "achieved_rps": 50,
    "sent": 100,
    "errors": 0,
    "p50_ms": 4.2,
    "p95_ms": 10.4,
    "p99_ms": 14.0,
}
_LOAD: dict[str, Any] = {"target_rps": 50, "steps": [_STEP], "knee_rps": 50, "old_steps": [], "old_knee_rps": None}
_RUN: dict[str, Any] = {
    "run_id": "stg-01JGQ5V5T4Y8Q6Z1N2M3K4H5J6",
    "agent_id": "WowOrchestrator",
    "version": "1.3.0",
    "stable_version": "1.2.5",
    "status": "completed",
    "phase": "",
    "message": "",
    "operator": "ada",
    "reason": "before tonight's upgrade",
    "options": {
        "suites": ["smoke"],
        "state": "copy",
        "keep_seconds": 0,
        "load_target_rps": 50,
        "tolerance_percent": 10,
        "performance_seconds": 15,
        "suite_timeout_seconds": 300,
    },
    "attempts": 1,
    "requested_at": "2026-01-02T01:40:00Z",
    "started_at": "2026-01-02T01:40:00Z",
    "finished_at": "2026-01-02T01:40:06Z",
    "kept_until": None,
    "duration_seconds": 6.2,
    "recommendation": "safe_to_deploy",
    "reasons": ["Smoke tests: 1 of 1 passed."],
    "notes": [],
    "test_results": {"smoke_tests": "1/1 passed"},
    "suites": [_SUITE],
    "comparison": _COMPARISON,
    "load": _LOAD,
    "log": "",
    "hand": [],
    "waiting": [],
}
_OPTIONS_NOTE = "Suites that the manifest has nothing for are left out and said to be"

StatusWord = Literal["passed", "failed", "skipped", "inconclusive"]


class StagingBody(Body):
    """What to try, and how."""

    model_config = ConfigDict(json_schema_extra=example(version="1.3.0", suites=["smoke", "integration"], state="copy"))

    version: Name
    suites: list[Offered] = Field(default=list(SUITES), min_length=1, max_length=len(SUITES), description=_OPTIONS_NOTE)
    state: StateChoice = Field(default="copy", description="copy: of the live state as it is now; empty: none")
    keep_seconds: float = Field(default=0, ge=0, le=KEEP_SECONDS_MAX, description="How long the instances stay for tests by hand")
    load_target_rps: float = Field(default=50, ge=1, le=LOAD_RPS_MAX, description="Requests a second that it must hold")
    tolerance_percent: float = Field(default=10, ge=1, le=1000, description="How much slower it may be than the version that serves")
    performance_seconds: float = Field(default=15, ge=1, le=PERFORMANCE_SECONDS_MAX, description="Longest time of the comparison")
    suite_timeout_seconds: float = Field(default=300, ge=1, le=SUITE_SECONDS_MAX, description="Longest time of one suite's command")
    reason: Text = ""


class CaseBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="it failed once"))

    reason: Text = ""


class StagingOptionsView(View):
    suites: list[str]
    state: StateChoice
    keep_seconds: float
    load_target_rps: float
    tolerance_percent: float
    performance_seconds: float
    suite_timeout_seconds: float


class CaseView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_CASE]})

    case: str
    suite: str
    name: str
    status: StatusWord
    duration_seconds: float
    message: str
    trace: str = Field(description="The stack trace, where the tests gave one")
    log: str = Field(description="The end of what the case printed")


class SuiteView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_SUITE]})

    suite: str
    status: StatusWord
    passed: int
    decided: int = Field(description="Passed and failed ones; skipped and undecided ones count nowhere")
    message: str
    duration_seconds: float
    cases: list[CaseView]
    log: str = Field(description="The end of what the suite's command printed")


class RequestComparisonView(View):
    """New against old. `ratio` is the typical new latency over the old one, between `low` and `high` with 98 % confidence."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COMPARED]})

    name: str
    pairs: int
    old_p50_ms: float
    new_p50_ms: float
    old_p95_ms: float
    new_p95_ms: float
    ratio: float
    low: float
    high: float


class ComparisonView(View):
    """What the performance suite measured. `sent` requests went to each version."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COMPARISON]})

    old_version: str
    new_version: str
    tolerance_percent: float
    overall: RequestComparisonView | None
    requests: list[RequestComparisonView] = Field(description="Each request by itself, where there are several")
    sent: int
    old_errors: int
    new_errors: int


class LoadStepView(View):
    """One step of the ramp. Latency counts from when each request was due."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STEP]})

    target_rps: float
    achieved_rps: float
    sent: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class LoadView(View):
    """The ramp. `knee_rps` is the highest rate that was held; null: not even the first. The old version's is measured when it is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LOAD]})

    target_rps: float
    steps: list[LoadStepView]
    knee_rps: float | None
    old_steps: list[LoadStepView]
    old_knee_rps: float | None


class HandView(View):
    """One case that somebody ran by itself, afterwards."""

    case: str
    operator: str
    at: datetime
    status: StatusWord
    duration_seconds: float
    message: str
    trace: str
    log: str


class WaitingView(View):
    """What somebody wants of the run and nobody has done yet."""

    kind: Literal["cancel", "case"]
    case: str
    operator: str
    at: datetime


class StagingRunView(View):
    """A run and its report. `recommendation` is null until it is completed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    run_id: str
    agent_id: str
    version: str
    stable_version: str | None = Field(description="The version that served when it was asked for")
    status: Literal["queued", "running", "completed", "failed"]
    phase: str = Field(description="What is done at this moment")
    message: str = Field(description="Why it failed, where it did")
    operator: str
    reason: str
    options: StagingOptionsView
    attempts: int
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    kept_until: datetime | None = Field(description="Until when its instances stay for tests by hand")
    duration_seconds: float | None
    recommendation: Recommendation | None
    reasons: list[str]
    notes: list[str]
    test_results: dict[str, str]
    suites: list[SuiteView]
    comparison: ComparisonView | None = Field(description="Of the performance suite")
    load: LoadView | None = Field(description="Of the load suite")
    log: str = Field(description="The end of what the instance under test printed")
    hand: list[HandView]
    waiting: list[WaitingView]


class StagingList(View):
    """Newest first."""

    model_config = ConfigDict(json_schema_extra=example(runs=[_RUN], next_cursor=None))

    runs: list[StagingRunView]
    next_cursor: NextCursor


class GateBody(Body):
    model_config = ConfigDict(json_schema_extra=example(required=True, fresh_hours=24, reason="nothing untried"))

    required: bool
    fresh_hours: float = Field(default=24, gt=0, le=FRESH_HOURS_MAX, description="How old a passed run may be")
    reason: Text = ""


class GateView(View):
    """Whether an upgrade needs a version whose newest staging run passed, and not too long ago."""

    model_config = ConfigDict(json_schema_extra=example(agent_id="WowOrchestrator", required=True, fresh_hours=24))

    agent_id: str
    required: bool
    fresh_hours: float
