"""What the services answer with: plain values that `web` turns into the story's JSON and nobody else needs to know the tables for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_servicing.core import audit
from agent_servicing.core.analysis import Policy
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.standing import Hints, Standing, Urgency
from agent_servicing.core.state import Choice, Door, Written
from agent_servicing.core.thresholds import Name, Threshold
from agent_servicing.store.codec import Upload

StoredEvent = audit.StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableVersion:
    """A version newer than the running one. `type`: patch, minor, major or prerelease."""

    version: str
    type: str
    security: bool = False
    critical: bool = False
    deprecated: bool = False


HealthWord = Literal["healthy", "degraded", "down", "starting", "removing"]
AttentionWord = Literal["health", "went_wrong", "security_update", "withdrawn", "paused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSummary:
    """How many of the stable generation's instances are in which status.

    `status`: healthy (all wanted are ready), degraded (some are), down (none is), starting (none yet, first installation), removing.
    """

    status: HealthWord
    desired: int = 0
    ready: int = 0
    starting: int = 0
    draining: int = 0
    failed: int = 0
    stopped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One agent as the dashboard shows it. `available` is newest first, without withdrawn ones; `last_deployment` is the newest of any status.

    `standing` is that of the running version; `urgency` is the worst reason for an update there is, None when there is no update.
    """

    state: AgentState
    available: tuple[AvailableVersion, ...] = ()
    standing: Standing = Standing.AVAILABLE
    urgency: Urgency | None = None
    last_deployment: Deployment | None = None
    health: HealthSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTotals:
    """Totals for the dashboard. Deployment counts are of this moment; `updates_available` and those below it count agents, not versions."""

    agents: int = 0
    healthy: int = 0
    degraded: int = 0
    down: int = 0
    instances_ready: int = 0
    instances_desired: int = 0
    deployments_active: int = 0
    deployments_waiting: int = 0
    updates_available: int = 0
    security_updates: int = 0
    critical_updates: int = 0
    withdrawn_running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationMetrics:
    """What one generation answered in the window. Rates in percent, throughput in requests a second; None means no data, never zero."""

    generation: int
    version: str
    role: Literal["stable", "candidate", "other"]
    traffic_percent: float | None
    requests: int
    errors: int
    error_rate: float | None
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    throughput: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMetrics:
    """Of one instance since the data plane's counters began; `in_flight` is now."""

    instance: str
    generation: int | None
    version: str | None
    requests: int
    errors: int
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsView:
    """`window_seconds` is the span really measured (0: first reading, counts since the counters began and no rates)."""

    agent: str
    at: datetime
    window_seconds: float
    generations: tuple[GenerationMetrics, ...] = ()
    instances: tuple[InstanceMetrics, ...] = ()
    unserved: int = 0
    limited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    instance: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One known version. `type` is the step from the running version (patch, minor, major, downgrade, current …).

    `success_rate`: percent of finished deployments to it that completed, None without any. `compatibility` is a sentence; `upgradable`
    says whether an upgrade from the running version would be accepted (breaking changes may still need acknowledging). `moved`: the
    source now has another artifact under this name than the one known here. `config_problems`: what its schema has against the
    configuration in force. `standing_by`: who deprecated or withdrew it, "source" when its source did.
    `upload`: by whom, when, why and on which base it was uploaded, None for a version of the source.
    """

    version: str
    ref: str
    type: str
    release_date: datetime | None = None
    author: str = ""
    summary: str = ""
    security: bool = False
    critical: bool = False
    changelog: Mapping[str, list[str]] = field(default_factory=dict)
    breaking_changes: tuple[str, ...] = ()
    migration_notes: str = ""
    test_results: Mapping[str, str] = field(default_factory=dict)
    deployment_count: int = 0
    success_rate: float | None = None
    compatibility: str = ""
    upgradable: bool = False
    state_door: Door = "unknown"
    state_note: str = ""
    config_problems: tuple[str, ...] = ()
    standing: str = "available"
    standing_reason: str = ""
    standing_by: str = ""
    upload: Upload | None = None
    moved: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPoint:
    """`can_rollback` is False for one that is withdrawn or whose artifact is not known any more; `note` says why."""

    version: str
    deployed_at: datetime
    can_rollback: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsView:
    """Story §1. `available` (newer than the running one) and `versions` (all known) are newest first; `hints` say which to take."""

    agent: str
    current_version: str | None
    current_deployed_at: datetime | None
    current_standing: str = "available"
    current_standing_reason: str = ""
    hints: Hints = field(default_factory=Hints)
    available: tuple[VersionInfo, ...] = ()
    rollback_points: tuple[RollbackPoint, ...] = ()
    versions: tuple[VersionInfo, ...] = ()
    refreshed_at: datetime | None = None
    source_problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One dotted key whose value differs; None on a side means absent there."""

    key: str
    old: object
    new: object


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesView:
    """Everything between two versions, for the review step. `migration_notes` are (version, text), oldest first."""

    agent: str
    from_version: str
    to_version: str
    type: str
    changelog: Mapping[str, list[str]] = field(default_factory=dict)
    breaking_changes: tuple[str, ...] = ()
    migration_notes: tuple[tuple[str, str], ...] = ()
    config_schema: tuple[Difference, ...] = ()
    manifest: tuple[Difference, ...] = ()
    state_door: Door = "unknown"
    state_note: str = ""
    compatibility: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    stage: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request would be refused: the error it would raise, and the sentence. `field` is the input at fault, where it is one."""

    family: Literal["invalid", "conflict", "not_found", "denied"]
    code: str
    message: str
    field: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request would do; nothing was written. With any `refusals` the request itself would raise the first of them.

    `expected_start`: when the calendar lets it begin, None while nobody knows. `thresholds`: where each limit of `policy` comes from.
    """

    agent: str
    from_version: str | None
    to_version: str
    strategy: str
    stages: tuple[PlannedStage, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    estimated_duration_minutes: float = 0.0
    scheduled_at: datetime | None = None
    expected_start: datetime | None = None
    state_door: Door = "unknown"
    policy: Policy
    thresholds: Mapping[Name, Threshold]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlan:
    """What a rollback would do; nothing was written. `choices`: what becomes of the records written since `snapshot`, the default first."""

    agent: str
    from_version: str | None
    to_version: str
    stages: tuple[PlannedStage, ...]
    state_door: Door
    state_sentence: str
    choice_needed: bool
    snapshot: str | None
    written: Written | None
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPage:
    """Newest first. `next_cursor` is passed back as `cursor`, None at the end."""

    deployments: tuple[Deployment, ...] = ()
    next_cursor: str | None = None
