"""What `web` hands over for an upgrade, before anything is known to be right about it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_servicing.core.analysis import CustomMetric
from agent_servicing.core.model import IfBusy, OnInconclusive
from agent_servicing.core.thresholds import Said


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoRollback:
    """The operator's limits. `thresholds`: those that were said; the others come from the agent's own, those for all, the built-in ones."""

    enabled: bool = True
    thresholds: Said = field(default_factory=dict)
    latency_quantile: float | None = None
    regression: Literal["rollback", "hold"] = "rollback"
    common_cause: Literal["hold", "rollback"] = "hold"
    metrics: tuple[CustomMetric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """What an operator asks for; None means the default of the strategy, `DeploymentSpec`, `Policy` or the settings.

    Times are aware, spans in seconds. `confirm_until`: taken back at that time unless somebody confirms it. `if_state` and
    `if_version` are the agent's status and running version as the operator saw them.
    """

    target_version: str
    strategy: str = "blue-green"
    reason: str = ""
    schedule: datetime | None = None
    auto_rollback: AutoRollback = field(default_factory=AutoRollback)
    steps: tuple[float, ...] | None = None
    percent: float | None = None
    batch_size: int | None = None
    batch_percent: float | None = None
    pause_seconds: float | None = None
    monitor_seconds: float | None = None
    bake_seconds: float | None = None
    bake_until: datetime | None = None
    confirm_seconds: float | None = None
    confirm_until: datetime | None = None
    control_percent: float | None = None
    warmup_seconds: float | None = None
    on_inconclusive: OnInconclusive | None = None
    promote_early: bool | None = None
    verify: bool = True
    snapshot: bool = True
    hold_seconds: float | None = None
    keep_warm_seconds: float | None = None
    acknowledge_breaking: bool = False
    when_busy: IfBusy = "queue"
    start_grace_seconds: float | None = None
    override_freeze: bool = False
    override_staging: bool = False
    if_state: str | None = None
    if_version: str | None = None
