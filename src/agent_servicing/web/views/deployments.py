"""Deployments as the API shows them: core values in, response models out; pure. Used by the routes, the live view and problem documents."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from agent_servicing.core import latency
from agent_servicing.core.analysis import Policy, Sample
from agent_servicing.core.metrics import Counts
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.queue import position, waiting_for
from agent_servicing.core.stages import Replace, SetTraffic, StageRecord
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, StageStatus
from agent_servicing.core.strategies import STRATEGIES
from agent_servicing.core.thresholds import Name, Threshold
from agent_servicing.services.specs import with_thresholds
from agent_servicing.services.stage_words import estimated_minutes
from agent_servicing.services.views import DeploymentPage, Plan, RollbackPlan
from agent_servicing.web.schemas.deployments import (
    BothSidesView,
    DeploymentList,
    DeploymentView,
    FiguresView,
    ImpactView,
    JudgementView,
    PlanView,
    PolicyView,
    RollbackCauseView,
    RollbackPlanView,
    SideView,
    StageView,
)
from agent_servicing.web.schemas.thresholds import ThresholdView
from agent_servicing.web.views.written import written_fields

READINGS_SECONDS = 10.0
"""What the two versions' metrics are averaged over: short enough to follow, long enough not to jump."""

_OF_STRATEGY = frozenset({"steps", "percent", "batch_size", "pause_seconds", "monitor_seconds"})

_REACHED = (StageStatus.IN_PROGRESS, StageStatus.COMPLETED)


def deployment_view(deployment: Deployment, *, now: datetime, state: AgentState | None = None) -> DeploymentView:
    """`state` is the agent as it is now; without it (removed, or not asked for) share and place in the queue are derived or left out."""
    rollback = deployment.kind is DeploymentKind.ROLLBACK
    return DeploymentView(
        upgrade_id=deployment.deployment,
        rollback_id=deployment.deployment if rollback else None,
        agent_id=deployment.agent,
        kind=deployment.kind,
        status=deployment.status,
        strategy=deployment.spec.strategy,
        from_version=deployment.from_version,
        to_version=deployment.to_version,
        current_stage=_current_stage(deployment.stages),
        stages=[_stage(record, now) for record in deployment.stages],
        metrics=_metrics(deployment, state),
        auto_rollback=policy_view(deployment.spec.policy),
        judgement=JudgementView.model_validate(deployment.judgement) if deployment.judgement else None,
        rollback=_cause(deployment),
        impact=ImpactView.model_validate(deployment.impact),
        revision=deployment.revision,
        reason=deployment.reason,
        operator=deployment.actor,
        message=deployment.message,
        overridden_by=deployment.overridden_by,
        approval_wanted=deployment.approval_wanted,
        approved_by=deployment.approved_by,
        approve_by=deployment.approve_by,
        waiting_for=waiting_for(deployment),
        requested_at=deployment.requested_at,
        scheduled_at=deployment.scheduled_at,
        start_grace_seconds=deployment.start_grace_seconds,
        override_freeze=deployment.override_freeze,
        started_at=deployment.started_at,
        paused_at=deployment.paused_at,
        finished_at=deployment.finished_at,
        duration_seconds=_duration(deployment, now),
        estimated_duration_minutes=_estimate(deployment, state.agent.instances if state else 1),
        queue_position=_queue_position(deployment, state),
    )


def deployment_list(page: DeploymentPage, *, now: datetime, state: AgentState | None) -> DeploymentList:
    views = [deployment_view(deployment, now=now, state=state) for deployment in page.deployments]
    return DeploymentList(upgrades=views, next_cursor=page.next_cursor)


def plan_view(plan: Plan) -> PlanView:
    fields = (
        "from_version",
        "to_version",
        "strategy",
        "warnings",
        "estimated_duration_minutes",
        "scheduled_at",
        "expected_start",
        "state_door",
    )
    return PlanView.model_validate(
        {
            "agent_id": plan.agent,
            "stages": list(plan.stages),
            "refusals": [replace(refusal, field=body_path(refusal.field, plan.strategy)) for refusal in plan.refusals],
            "auto_rollback": policy_view(plan.policy),
            "thresholds": thresholds_view(plan.thresholds),
            **{name: getattr(plan, name) for name in fields},
        }
    )


def rollback_plan_view(plan: RollbackPlan) -> RollbackPlanView:
    fields = ("from_version", "to_version", "state_door", "state_sentence", "choice_needed", "snapshot")
    return RollbackPlanView.model_validate(
        {
            "agent_id": plan.agent,
            "stages": list(plan.stages),
            "written": written_fields(plan.written),
            "choices": [asdict(choice) for choice in plan.choices],
            **{name: getattr(plan, name) for name in fields},
        }
    )


def body_path(field: str, strategy: str) -> str:
    """Where a field of the service's request stands in the body of ours."""
    return f"{strategy.replace('-', '_')}.{field}" if field in _OF_STRATEGY else field


def share_percent(deployment: Deployment, state: AgentState | None = None) -> float:
    """The candidate's share in percent: what is wanted of the router now, else what the stages and the outcome say."""
    if state is not None and deployment.active and deployment.candidate is not None and state.agent.candidate == deployment.candidate:
        return state.agent.share
    if deployment.status is DeploymentStatus.COMPLETED:
        return 100.0
    if deployment.terminal or deployment.status is DeploymentStatus.ROLLING_BACK:
        return 0.0
    reached = [r.stage.percent for r in deployment.stages if isinstance(r.stage, SetTraffic | Replace) and r.status in _REACHED]
    return reached[-1] if reached else 0.0


def _estimate(deployment: Deployment, instances: int) -> float:
    """In minutes; before the engine has compiled the stages, those its strategy will compile to."""
    spec = deployment.spec
    compiled = STRATEGIES[spec.strategy](spec, instances) if spec.strategy in STRATEGIES else ()
    return estimated_minutes([record.stage for record in deployment.stages] or compiled)


def policy_view(policy: Policy) -> PolicyView:
    """With the promote limits that are in force, given or derived."""
    return PolicyView(
        enabled=policy.enabled,
        error_rate_threshold=policy.error_rate_threshold,
        latency_threshold_ms=policy.latency_threshold_ms,
        latency_quantile=policy.latency_quantile,
        min_requests=policy.min_requests,
        promote_error_rate=policy.error_promote_limit,
        promote_latency_ms=policy.latency_promote_limit_ms,
    )


def thresholds_view(found: Mapping[Name, Threshold]) -> dict[Name, ThresholdView]:
    """Each limit in force with where it comes from, derived ones with the value that follows."""
    policy = with_thresholds(Policy(), found)
    derived: Mapping[Name, float | None] = {
        "promote_error_rate": policy.error_promote_limit,
        "promote_latency_ms": policy.latency_promote_limit_ms,
    }
    return {name: ThresholdView(value=derived.get(name, each.value), origin=each.origin) for name, each in found.items()}


def _current_stage(stages: Sequence[StageRecord]) -> str | None:
    """The stage under way, else the last one that began."""
    begun = [record for record in stages if record.started_at is not None or record.status is StageStatus.IN_PROGRESS]
    running = [record for record in begun if record.status is StageStatus.IN_PROGRESS]
    chosen = running or begun
    return chosen[-1].stage.name if chosen else None


def _stage(record: StageRecord, now: datetime) -> StageView:
    return StageView(
        stage=record.stage.name,
        status=record.status,
        started_at=record.started_at,
        completed_at=record.completed_at,
        duration_seconds=record.duration_seconds,
        seconds_left=_rounded(record.watch_seconds_left(now)),
        note=record.note,
    )


def _metrics(deployment: Deployment, state: AgentState | None) -> BothSidesView:
    share = share_percent(deployment, state)
    recent, seconds = _recent(deployment.samples)
    stable = sum((sample.stable for sample in recent), Counts())
    candidate = sum((sample.candidate for sample in recent), Counts())
    blue = _side(deployment.from_version, 100.0 - share, stable, seconds) if deployment.from_version else None
    return BothSidesView(blue=blue, green=_side(deployment.to_version, share, candidate, seconds))


def _recent(samples: Sequence[Sample]) -> tuple[list[Sample], float]:
    chosen: list[Sample] = []
    seconds = 0.0
    for sample in reversed(samples):
        if seconds >= READINGS_SECONDS:
            break
        chosen.append(sample)
        seconds += sample.seconds
    return chosen, seconds


def _side(version: str | None, share: float, counts: Counts, seconds: float) -> SideView:
    figures = figures_view(counts, seconds)
    return SideView(version=version, traffic_percent=share, **dict(figures))


def figures_view(counts: Counts, seconds: float) -> FiguresView:
    """What was counted within `seconds`."""
    return FiguresView(
        error_rate=_rounded(counts.error_rate),
        avg_latency_ms=_rounded(latency.mean_ms(counts.histogram)),
        p95_latency_ms=_rounded(latency.quantile_ms(counts.histogram, 0.95)),
        throughput=_rounded(counts.answered / seconds) if seconds else None,
        requests=counts.answered,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _cause(deployment: Deployment) -> RollbackCauseView | None:
    trigger = deployment.trigger
    if trigger is None:
        return None
    return RollbackCauseView(
        reason=trigger.reason,
        auto_triggered=trigger.auto,
        operator=trigger.actor,
        triggered_at=trigger.at,
        metric=trigger.metric,
        value=trigger.value,
        threshold=trigger.threshold,
        window_seconds=trigger.window_seconds,
        requests=trigger.requests,
        stage=trigger.stage,
    )


def _duration(deployment: Deployment, now: datetime) -> float | None:
    if deployment.started_at is None:
        return None
    return round(max(0.0, ((deployment.finished_at or now) - deployment.started_at).total_seconds()), 3)


def _queue_position(deployment: Deployment, state: AgentState | None) -> int | None:
    return position(deployment, state.deployments) if state is not None else None
