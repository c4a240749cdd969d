"""Bodies of rollbacks and verbs, and the answers of everything that is a deployment. Blue is the stable version, green the candidate."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from agent_servicing.core.status import WaitingFor
from agent_servicing.core.thresholds import Name as ThresholdName
from agent_servicing.web.schemas.common import Body, Name, NextCursor, SeenBody, Text, View, example
from agent_servicing.web.schemas.thresholds import ThresholdView
from agent_servicing.web.schemas.written import WrittenView


class RollbackBody(SeenBody):
    """With `if_version`, asking twice never goes back twice."""

    model_config = ConfigDict(json_schema_extra=example(target_version="1.2.5", reason="Performance regression detected"))

    target_version: Name | None = Field(default=None, description="One of the rollback points; omitted: the previous version")
    reason: Text = Field(default="", description="Why; needed unless it is only a dry run")
    state: Literal["keep", "restore"] | None = Field(
        default=None,
        description="keep: the state as it is, converted where the version that leaves can do that; restore: the snapshot from before; "
        "omitted: keep, unless the version gone back to cannot read it",
    )
    snapshot: Name | None = Field(default=None, description="The snapshot to restore; omitted: the newest that the version left")
    config: Literal["keep", "restore"] = Field(
        default="restore", description="restore: the configuration that the version had; keep: the one in force"
    )
    override_withdrawn: bool = Field(
        default=False, description="In an emergency: bring back a version that is withdrawn; kept in the audit"
    )
    dry_run: bool = Field(default=False, description="Only tell what would be done, and what would become of what was written since")


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
    seconds_left: float | None = Field(
        description="Of a watch under way; 0: over, and only a verdict is missing. null of everything else, a confirmation too"
    )
    note: str


class FiguresView(View):
    """What one version did within some seconds; null means no data, never zero."""

    error_rate: float | None
    avg_latency_ms: float | None
    p95_latency_ms: float | None
    throughput: float | None
    requests: int


class SideView(FiguresView):
    """One version's readings of the last seconds; null means no data, never zero."""

    version: str | None
    traffic_percent: float


class BothSidesView(View):
    blue: SideView | None = Field(description="The stable version; null for a first installation")
    green: SideView = Field(description="The candidate")


class PolicyView(View):
    enabled: bool
    error_rate_threshold: float | None
    latency_threshold_ms: float | None
    latency_quantile: float
    min_requests: int
    promote_error_rate: float | None = Field(description="In force, derived when not given")
    promote_latency_ms: float | None


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
    exposed_seconds: float
    conversations_touched: int | None = Field(
        description="Conversations that began with the new version or were moved to it, also when they were moved back; null without a key for them"
    )


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
    stages=[{**_STAGE, "duration_seconds": None, "seconds_left": None, "note": ""}],
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
        "exposed_seconds": 15.0,
        "conversations_touched": 42,
    },
    revision=7,
    reason="Upgrade for performance improvements",
    operator="admin",
    message="",
    overridden_by=None,
    approval_wanted=False,
    approved_by=None,
    approve_by=None,
    waiting_for=None,
    requested_at="2026-01-02T02:00:00Z",
    scheduled_at=None,
    start_grace_seconds=900,
    override_freeze=False,
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
    message: str = Field(description="What it waits for, or what happened")
    overridden_by: str | None = Field(description="Who took the decision from the analysis")
    approval_wanted: bool = Field(description="It does not begin before a second person has approved it")
    approved_by: str | None
    approve_by: datetime | None = Field(description="Cancelled when nobody has approved it by then; null: it waits for as long as it takes")
    waiting_for: WaitingFor | None = Field(description="What lets it begin; null once it has begun or ended. `message` says it in words")
    requested_at: datetime
    scheduled_at: datetime | None
    start_grace_seconds: float = Field(description="How late a scheduled start may be when nobody looked at its time")
    override_freeze: bool = Field(description="An admin let it begin in spite of freezes")
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


class OpenCounts(View):
    """How many deployments of all pages are open. Those that are over only grow, and are not counted."""

    open: int
    upcoming: int
    waiting: int
    running: int


class AllDeployments(DeploymentList):
    model_config = ConfigDict(
        json_schema_extra=example(
            upgrades=_EXAMPLE["examples"], next_cursor=None, counts={"open": 1, "upcoming": 0, "waiting": 0, "running": 1}
        )
    )

    counts: OpenCounts


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
            expected_start="2026-01-02T02:00:00Z",
            state_door="two_way",
            auto_rollback=_EXAMPLE["examples"][0]["auto_rollback"],
            thresholds={"error_rate_threshold": {"value": 5.0, "origin": "built_in"}},
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
    expected_start: datetime | None = Field(description="When the calendar lets it begin; null when nobody knows")
    state_door: str
    auto_rollback: PolicyView = Field(description="The limits that will be in force")
    thresholds: dict[ThresholdName, ThresholdView] = Field(description="Where each of them comes from")


class StateChoiceView(View):
    """What a rollback would do with what was written since the snapshot. Null: nobody can count it."""

    state: Literal["keep", "convert", "restore"]
    possible: bool
    kept: int | None
    converted: int | None
    set_aside: int | None = Field(description="Not in the state afterwards, but kept: offered to the version gone back to, and exportable")
    sentence: str


class RollbackPlanView(View):
    """What a rollback would do. Nothing was changed."""

    model_config = ConfigDict(
        json_schema_extra=example(
            dry_run=True,
            agent_id="WowMemory",
            from_version="0.4.3",
            to_version="0.4.2",
            stages=[{"stage": "deploy_target", "sentence": "Start 3 instances of 0.4.2"}],
            state_door="one_way",
            state_sentence="the old version cannot read state schema 2, which the new one writes",
            choice_needed=True,
            snapshot="upg-20260102-001",
            written={"snapshot": "upg-20260102-001", "records": 214, "removed": 0, "places": [], "notes": []},
            choices=[
                {
                    "state": "restore",
                    "possible": True,
                    "kept": 0,
                    "converted": 0,
                    "set_aside": 214,
                    "sentence": "upg-20260102-001 is put back",
                }
            ],
        )
    )

    dry_run: Literal[True] = True
    agent_id: str
    from_version: str | None
    to_version: str
    stages: list[PlannedStageView]
    state_door: str
    state_sentence: str
    choice_needed: bool = Field(description="The request needs `state`, or is answered 409 state_choice_needed")
    snapshot: str | None = Field(description="What a restore would put back; null: there is none that could be")
    written: WrittenView | None = Field(description="Since that snapshot; null: nobody can count it")
    choices: list[StateChoiceView] = Field(description="The one that is taken when nobody says comes first; empty: no state is kept")
