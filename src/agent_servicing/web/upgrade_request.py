"""From the body of an upgrade to what the service takes: the options of the chosen strategy, the limits wherever they were written."""

from agent_servicing.core.analysis import CustomMetric
from agent_servicing.core.thresholds import Said
from agent_servicing.services.requests import AutoRollback, UpgradeRequest
from agent_servicing.web.schemas.thresholds import said
from agent_servicing.web.schemas.upgrade import (
    AutoRollbackBody,
    BlueGreenBody,
    CanaryBody,
    Conditions,
    MetricBody,
    RollingBody,
    UpgradeBody,
)

PROMOTE_PART = 0.4
"""What is fine of a metric's limit when nobody says: the same part as for errors."""


def upgrade_request(body: UpgradeBody) -> UpgradeRequest:
    """Options of strategies that were not chosen are left aside."""
    shapes: dict[str, BlueGreenBody | CanaryBody | RollingBody] = {"canary": body.canary, "rolling": body.rolling}
    shape = shapes.get(body.strategy, body.blue_green)
    canary = shape if isinstance(shape, CanaryBody) else CanaryBody()
    size = shape.batch_size if isinstance(shape, CanaryBody | RollingBody) else None
    return UpgradeRequest(
        target_version=body.target_version,
        strategy=body.strategy,
        reason=body.reason,
        schedule=body.schedule,
        auto_rollback=_limits(body.auto_rollback, canary.rollback_if, canary.promote_if),
        steps=tuple(shape.steps) if isinstance(shape, BlueGreenBody) and shape.steps is not None else None,
        percent=canary.percent,
        batch_size=size if isinstance(size, int) else None,
        batch_percent=float(size.rstrip("% ")) if isinstance(size, str) else None,
        pause_seconds=shape.pause_seconds if isinstance(shape, CanaryBody | RollingBody) else None,
        monitor_seconds=shape.monitor_seconds if isinstance(shape, BlueGreenBody | CanaryBody) else None,
        bake_seconds=body.bake_seconds,
        bake_until=body.bake_until,
        confirm_seconds=body.confirm_seconds,
        confirm_until=body.confirm_until,
        control_percent=body.control_percent,
        warmup_seconds=body.warmup_seconds,
        on_inconclusive=body.on_inconclusive,
        promote_early=body.promote_early,
        verify=body.verify,
        snapshot=body.snapshot,
        hold_seconds=body.hold_seconds,
        keep_warm_seconds=body.keep_warm_seconds,
        acknowledge_breaking=body.acknowledge_breaking,
        when_busy=body.when_busy,
        start_grace_seconds=body.start_grace_seconds,
        override_freeze=body.override_freeze,
        override_staging=body.override_staging,
        if_state=body.if_state,
        if_version=body.if_version,
    )


def _limits(limits: AutoRollbackBody, rollback_if: Conditions, promote_if: Conditions) -> AutoRollback:
    """A canary's own conditions win over the general ones."""
    conditions: Said = {
        "error_rate_threshold": rollback_if.error_rate,
        "latency_threshold_ms": rollback_if.latency_ms,
        "promote_error_rate": promote_if.error_rate,
        "promote_latency_ms": promote_if.latency_ms,
    }
    return AutoRollback(
        enabled=limits.enabled,
        thresholds={**said(limits), **{name: value for name, value in conditions.items() if value is not None}},
        latency_quantile=limits.latency_quantile,
        regression=limits.regression,
        common_cause=limits.common_cause,
        metrics=tuple(_metric(metric) for metric in limits.metrics),
    )


def _metric(body: MetricBody) -> CustomMetric:
    promote = body.promote_percent if body.promote_percent is not None else PROMOTE_PART * body.rollback_percent
    return CustomMetric(name=body.name, above=body.above, below=body.below, rollback_percent=body.rollback_percent, promote_percent=promote)
