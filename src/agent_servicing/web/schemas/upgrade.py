"""The body of an upgrade: version, strategy with its options, limits, and what happens after 100 %. Field names are the story's."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from agent_servicing.services.specs import METRICS_MAX, SPAN_SECONDS_MAX, STEPS_MAX
from agent_servicing.web.schemas.common import Body, Name, Reason, SeenBody, Time, example
from agent_servicing.web.schemas.thresholds import Limit, LimitsBody

Seconds = Annotated[float, Field(ge=0, le=SPAN_SECONDS_MAX)]

_PART = re.compile(r"\d{1,3}(\.\d{1,2})?\s?%")


def _batch(size: int | str) -> int | str:
    if (isinstance(size, int) and size >= 1) or (isinstance(size, str) and _PART.fullmatch(size)):
        return size
    raise ValueError("must be a number of instances such as 2, or a part of them such as 25%")


BatchSize = Annotated[int | str, AfterValidator(_batch)]
Steps = Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(min_length=1, max_length=STEPS_MAX)]


class MetricBody(Body):
    """A metric that the agent reports itself: a value above `above` or below `below` is a bad one; their share is what is limited."""

    name: Name
    above: float | None = None
    below: float | None = None
    rollback_percent: float = Field(default=10.0, gt=0, lt=100, description="Roll back above so many percent bad values")
    promote_percent: float | None = Field(default=None, gt=0, lt=100, description="Fine below; 0.4 of the other unless given")


class AutoRollbackBody(LimitsBody):
    """Limits on the candidate's own requests. Left out: the default of the agent, or for all; null switches one off."""

    enabled: bool = True
    latency_quantile: float | None = Field(default=None, description="Share of requests that must be faster, 0.95 unless given")
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


class UpgradeBody(SeenBody):
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
    snapshot: bool = Field(default=True, description="Copy the state of the version that serves first, when it keeps any")
    hold_seconds: Seconds | None = Field(default=None, description="How long a step waits for a verdict before it is taken back")
    keep_warm_seconds: Seconds | None = Field(default=None, description="How long the previous version stays running without traffic")
    acknowledge_breaking: bool = Field(default=False, description="Needed for a major version and for versions with breaking changes")
    when_busy: Literal["queue", "reject", "take_over"] = Field(
        default="queue", description="When somebody else's is under way; take_over, for admins, takes it back and comes next"
    )
    start_grace_seconds: Seconds | None = Field(
        default=None, description="How late it may start when nobody looked at its time; omitted: the server's setting"
    )
    override_freeze: bool = Field(default=False, description="For admins: begin in spite of freezes, windows and a stopped line")
    override_staging: bool = Field(default=False, description="For admins: pass the agent's staging gate; the reason says why")
    dry_run: bool = Field(default=False, description="Answer with the plan and change nothing")
