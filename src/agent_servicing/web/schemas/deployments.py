"""Bodies and answers of upgrades, rollbacks and their verbs. Field names are the story's; blue is the stable version, green the candidate."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from agent_servicing.services.specs import METRICS_MAX, MIN_REQUESTS_MAX, SPAN_SECONDS_MAX, STEPS_MAX
from agent_servicing.web.schemas.common import Body, Name, NextCursor, Reason, Text, Time, View, example

Percent = Annotated[float, Field(ge=0, le=100)]
Limit = Annotated[float, Field(gt=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=SPAN_SECONDS_MAX)]
BatchSize = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^\d{1,3}(\.\d{1,2})?\s?%$")]
Steps = Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(min_length=1, max_length=STEPS_MAX)]


class MetricBody(Body):
    """A metric that the agent reports itself: a value above `above` or below `below` is a bad one; their share is what is limited."""

    name: Name
    above: float | None = None
    below: float | None = None
    rollback_percent: float = Field(default=10.0, gt=0, lt=100, description="Roll back above so many percent bad values")
    promote_percent: float | None = Field(default=None, gt=0, lt=100, description="Fine below; 0.4 of the other unless given")


class AutoRollbackBody(Body):
    """Limits on the candidate's own requests; null switches one off."""

    enabled: bool = True
    error_rate_threshold: Limit | None = Field(default=5.0, description="Percent of the candidate's requests")
    latency_threshold_ms: float | None = Field(default=None, gt=0, description="Milliseconds at the latency quantile")
    latency_quantile: float | None = Field(default=None, description="Share of requests that must be faster, 0.95 unless given")
    promote_error_rate: Limit | None = Field(
        default=None, description="Percent; below it a version is promotable whatever the old one does"
    )
    promote_latency_ms: float | None = Field(default=None, gt=0, description="Milliseconds; the same for latency")
    min_requests: int | None = Field(default=None, ge=1, le=MIN_REQUESTS_MAX, description="Fewer requests are no verdict")
    regression: Literal["rollback", "hold"] = Field(default="rollback", description="hold: only the limits roll back, no comparison does")
    common_cause: Literal["hold", "rollback"] = Field(
        default="hold", description="rollback: the limits count although the old version fails too"
    )
    metrics: list[MetricBody] = Field(default=[], max_length=METRICS_MAX, description="Metrics that the agent reports itself")


class BlueGreenBody(Body):
    """How traffic moves to the candidate."""

    steps: Steps | None = Field(default=None, description="Shares in percent, growing, the last one 100")
    monitor_seconds: Seconds | None = Field(default=None, description="How long each share is watched")


class Conditions(Body):
    """Limits on error rate (percent) and latency (ms at the latency quantile); null or omitted leaves a limit as it is."""

    error_rate: Limit | None = None
    latency_ms: float | None = Field(default=None, gt=0)


class CanaryBody(Body):
    """A few instances first, watched, then the rest in batches."""

    percent: float | None = Field(default=None, gt=0, lt=100, description="Part of the instances and of new conversations, 10 unless given")
    monitor_seconds: Seconds | None = Field(default=None, description="How long the canary is watched, 900 unless given")
    promote_if: Conditions = Field(default=Conditions(), description="Promoted by itself once both are proved to be met")
    rollback_if: Conditions = Field(default=Conditions(), description="Rolled back once one is proved to be exceeded")
    batch_size: BatchSize | None = Field(default=None, description='Instances (3) or part of them ("25%") that follow at once')
    pause_seconds: Seconds | None = Field(default=None, description="Between the batches that follow")


class RollingBody(Body):
    """Instances are replaced in batches, each healthy before an old one leaves."""

    batch_size: BatchSize | None = Field(default=None, description='Instances (1) or part of them ("25%") at once')
    pause_seconds: Seconds | None = Field(default=None, description="Watch for so long between batches")


class UpgradeBody(Body):
    """What to upgrade to, how, and why."""

    model_config = ConfigDict(
        json_schema_extra=example(
            target_version="1.3.0",
            strategy="blue-green",
            schedule="2026-01-02T02:00:00Z",
            auto_rollback={"enabled": True, "error_rate_threshold": 5.0, "latency_threshold_ms": 300},
            blue_green={"steps": [25, 50, 100], "monitor_seconds": 180},
            reason="Upgrade for performance improvements",
        )
    )

    target_version: Name
    strategy: Name = "blue-green"
    reason: Reason
    schedule: Time | None = Field(default=None, description="When to start; omitted: now")
    auto_rollback: AutoRollbackBody = AutoRollbackBody()
    blue_green: BlueGreenBody = BlueGreenBody()
    canary: CanaryBody = CanaryBody()
    rolling: RollingBody = RollingBody()
    bake_seconds: Seconds | None = Field(default=None, description="Watch so long after 100 % and roll back if it turns bad")
    bake_until: Time | None = Field(default=None, description="The same as a moment; give one of the two")
    confirm_seconds: Seconds | None = Field(default=None, description="After 100 %, take it back unless somebody promotes it in this time")
    confirm_until: Time | None = Field(default=None, description="The same as a moment: back at six unless confirmed")
    control_percent: float | None = Field(default=None, ge=0, le=50, description="What stays with the old version through the bake")
    warmup_seconds: Seconds | None = Field(default=None, description="First seconds with traffic that only an all-out failure counts in")
    on_inconclusive: Literal["promote", "hold", "rollback"] | None = Field(
        default=None, description="After a watch that proved nothing either way: promote, but hold for a canary"
    )
    promote_early: bool | None = Field(default=None, description="Go on as soon as the verdict is passing")
    verify: bool = Field(default=True, description="Run the version's smoke tests and requests at its production address after 100 %")
    hold_seconds: Seconds | None = Field(default=None, description="How long a step waits for a verdict before it is taken back")
    keep_warm_seconds: Seconds | None = Field(default=None, description="How long the previous version stays running without traffic")
    acknowledge_breaking: bool = Field(default=False, description="Needed for a major version and for versions with breaking changes")
    when_busy: Literal["queue", "reject"] = "queue"
    dry_run: bool = Field(default=False, description="Answer with the plan and change nothing")


class RollbackBody(Body):
    model_config = ConfigDict(json_schema_extra=example(target_version="1.2.5", reason="Performance regression detected"))

    target_version: Name | None = Field(default=None, description="One of the rollback points; omitted: the previous version")
    reason: Reason
    state: Literal["keep", "restore"] = "keep"


class VerbBody(Body):
    """All optional. `if_state` and `if_version` make the verb conditional: 409 with the current view when they do not match."""

    model_config = ConfigDict(json_schema_extra=example(reason="Waiting for the team", if_version=7))

    reason: Text = ""
    if_state: Name | None = Field(default=None, description="The status the caller believes in")
    if_version: int | None = Field(default=None, ge=0, description="The `revision` the caller saw")


class PromoteBody(VerbBody):
    model_config = ConfigDict(json_schema_extra=example(full=True, reason="Looks good"))

    full: bool = Field(default=False, description="Go to 100 % at once instead of to the next step")


class StageView(View):
    stage: str
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    note: str


class SideView(View):
    """One version's readings of the last seconds; null means no data, never zero."""

    version: str | None
    traffic_percent: float
    error_rate: float | None
    avg_latency_ms: float | None
    p95_latency_ms: float | None
    throughput: float | None
    requests: int


class BothSidesView(View):
    blue: SideView | None = Field(description="The stable version; null for a first installation")
    green: SideView = Field(description="The candidate")


class PolicyView(View):
    enabled: bool
    error_rate_threshold: float | None
    latency_threshold_ms: float | None
    latency_quantile: float
    min_requests: int
    promote_error_rate: float | None = Field(validation_alias="error_promote_limit", description="In force, derived when not given")
    promote_latency_ms: float | None = Field(validation_alias="latency_promote_limit_ms")


class EvidenceView(View):
    """One line of the evidence: `odds` of `needed`, as in 63:1 of 400:1."""

    name: str
    odds: float
    needed: float


class JudgementView(View):
    verdict: str
    sentence: str
    metric: str | None
    value: float | None
    threshold: float | None
    requests: int
    window_seconds: float
    rule: str = Field(description="Which rule a failing verdict rests on")
    stable_value: float | None = Field(description="The same metric of the stable version")
    evidence: list[EvidenceView]
    missing_requests: int | None = Field(description="About so many more until a verdict, where that can be said")
    common_cause: bool = Field(description="The old version is failing too: nobody can say anything about the new one")


class RollbackCauseView(View):
    reason: str
    auto_triggered: bool
    operator: str
    triggered_at: datetime
    metric: str | None
    value: float | None
    threshold: float | None
    window_seconds: float | None
    requests: int | None
    stage: str | None


class ImpactView(View):
    """What users noticed, from the data plane's counters."""

    requests: int
    candidate_requests: int
    candidate_errors: int
    stable_errors: int
    unserved: int
    downtime_seconds: float


_STAGE = {"stage": "route_traffic_25", "status": "in_progress", "started_at": "2026-01-02T02:01:30Z", "completed_at": None}
_SIDE = {"error_rate": 0.5, "avg_latency_ms": 120, "p95_latency_ms": 200, "requests": 375}
_EXAMPLE = example(
    upgrade_id="upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    rollback_id=None,
    agent_id="WowOrchestrator",
    kind="upgrade",
    status="in_progress",
    strategy="blue-green",
    from_version="1.2.5",
    to_version="1.3.0",
    current_stage="route_traffic_25",
    stages=[{**_STAGE, "duration_seconds": None, "note": ""}],
    metrics={
        "blue": {"version": "1.2.5", "traffic_percent": 75, "throughput": 37.5, **_SIDE},
        "green": {"version": "1.3.0", "traffic_percent": 25, "throughput": 12.5, **_SIDE},
    },
    auto_rollback={
        "enabled": True,
        "error_rate_threshold": 5.0,
        "latency_threshold_ms": 300,
        "latency_quantile": 0.95,
        "min_requests": 50,
        "promote_error_rate": 2.0,
        "promote_latency_ms": 150,
    },
    judgement=None,
    rollback=None,
    impact={
        "requests": 1500,
        "candidate_requests": 375,
        "candidate_errors": 1,
        "stable_errors": 5,
        "unserved": 0,
        "downtime_seconds": 0,
    },
    revision=7,
    reason="Upgrade for performance improvements",
    operator="admin",
    message="",
    overridden_by=None,
    requested_at="2026-01-02T02:00:00Z",
    scheduled_at=None,
    started_at="2026-01-02T02:00:01Z",
    paused_at=None,
    finished_at=None,
    duration_seconds=90.0,
    estimated_duration_minutes=15,
    queue_position=None,
)


class DeploymentView(View):
    """One upgrade, rollback, first installation or restart; the answer of everything that starts, shows or steers one."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLE)

    upgrade_id: str
    rollback_id: str | None = Field(description="The same id when this is a rollback")
    agent_id: str
    kind: str
    status: str
    strategy: str
    from_version: str | None
    to_version: str
    current_stage: str | None
    stages: list[StageView]
    metrics: BothSidesView
    auto_rollback: PolicyView
    judgement: JudgementView | None
    rollback: RollbackCauseView | None = Field(description="Why traffic was taken back, in numbers where there are any")
    impact: ImpactView
    revision: int = Field(description="Counts every change; give it as `if_version`")
    reason: str
    operator: str
    message: str
    overridden_by: str | None = Field(description="Who took the decision from the analysis")
    requested_at: datetime
    scheduled_at: datetime | None
    started_at: datetime | None
    paused_at: datetime | None
    finished_at: datetime | None
    duration_seconds: float | None
    estimated_duration_minutes: float
    queue_position: int | None = Field(description="1 = next; null unless queued")


class DeploymentList(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{"upgrades": _EXAMPLE["examples"], "next_cursor": None}]})

    upgrades: list[DeploymentView]
    next_cursor: NextCursor


class PlannedStageView(View):
    stage: str
    sentence: str


class RefusalView(View):
    code: str
    message: str
    field: str
    hint: str


class PlanView(View):
    """What an upgrade would do. With any `refusals` the request itself would be refused with the first of them."""

    model_config = ConfigDict(
        json_schema_extra=example(
            dry_run=True,
            agent_id="WowOrchestrator",
            from_version="1.2.5",
            to_version="1.3.0",
            strategy="blue-green",
            stages=[{"stage": "deploy_green", "sentence": "Start 3 instances of 1.3.0"}],
            refusals=[],
            warnings=[],
            estimated_duration_minutes=15,
            scheduled_at=None,
            state_door="two_way",
        )
    )

    dry_run: Literal[True] = True
    agent_id: str
    from_version: str | None
    to_version: str
    strategy: str
    stages: list[PlannedStageView]
    refusals: list[RefusalView]
    warnings: list[str]
    estimated_duration_minutes: float
    scheduled_at: datetime | None
    state_door: str
