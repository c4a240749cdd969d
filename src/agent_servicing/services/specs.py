"""From an operator's numbers to a `DeploymentSpec`, and what is wrong with them; pure. Used by `planning`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from math import isfinite
from typing import Final, TypeVar

from agent_servicing.core.analysis import CustomMetric, Policy
from agent_servicing.core.manifest import StateSpec, Tests
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.reports import METRIC_NAME
from agent_servicing.core.state import conversion
from agent_servicing.core.thresholds import PROMOTE_OF, Name, Threshold
from agent_servicing.services.requests import UpgradeRequest

_T = TypeVar("_T")

STEPS_MAX: Final = 20
"""Traffic steps of one deployment; more are no safer and nobody reads them."""

SPAN_SECONDS_MAX: Final = 7 * 24 * 3600.0
"""Longest watch, hold or warm time: a week."""

METRICS_MAX: Final = 5
"""Reported metrics of one deployment: each makes the evidence asked of all of them stronger, and slower."""

MIN_REQUESTS_MAX: Final = 1_000_000


MONITOR_SECONDS: Final = {"blue-green": 180.0, "canary": 900.0, "rolling": 0.0}
"""How long a step is watched when nobody says: rolling looks on while it replaces."""


def spec_of(
    request: UpgradeRequest,
    *,
    thresholds: Mapping[Name, Threshold],
    keep_warm_seconds: float,
    tests: Tests,
    before: StateSpec,
    after: StateSpec,
) -> DeploymentSpec:
    """The complete spec; what the request leaves open takes its default. `thresholds`: the limits in force.

    `tests` are the target version's own: without any there is nothing to verify. `before` and `after` say how the version that serves and
    the target keep their state: what there is to copy, and what has to be converted when it is taken back.
    """
    default = DeploymentSpec(strategy=request.strategy)
    monitor_seconds = _or(request.monitor_seconds, MONITOR_SECONDS.get(request.strategy, default.monitor_seconds))
    return DeploymentSpec(
        strategy=request.strategy,
        steps=request.steps if request.steps is not None else default.steps,
        percent=_or(request.percent, default.percent),
        batch_size=request.batch_size,
        batch_percent=request.batch_percent,
        pause_seconds=_or(request.pause_seconds, default.pause_seconds),
        monitor_seconds=monitor_seconds,
        bake_seconds=_or(request.bake_seconds, 0.0),
        bake_until=_aware(request.bake_until),
        confirm_seconds=request.confirm_seconds,
        confirm_until=_aware(request.confirm_until),
        control_percent=_or(request.control_percent, default.control_percent),
        warmup_seconds=request.warmup_seconds,
        on_inconclusive=_or(request.on_inconclusive, "hold" if request.strategy == "canary" else "promote"),
        promote_early=_or(request.promote_early, default.promote_early),
        keep_warm_seconds=_or(request.keep_warm_seconds, keep_warm_seconds),
        hold_seconds=_or(request.hold_seconds, default.hold_seconds),
        verify=request.verify and bool(tests.smoke or tests.requests),
        snapshot=request.snapshot and before.directory is not None,
        convert=conversion(before, after),
        policy=_policy(request, thresholds, monitor_seconds or _or(request.pause_seconds, default.pause_seconds)),
    )


def _policy(request: UpgradeRequest, thresholds: Mapping[Name, Threshold], monitor_seconds: float) -> Policy:
    limits, default = request.auto_rollback, Policy()
    return replace(
        with_thresholds(default, thresholds),
        enabled=limits.enabled,
        latency_quantile=_or(limits.latency_quantile, default.latency_quantile),
        regression=limits.regression,
        common_cause=limits.common_cause,
        custom=limits.metrics,
        dwell_seconds=min(default.dwell_seconds, monitor_seconds),
    )


def with_thresholds(policy: Policy, thresholds: Mapping[Name, Threshold]) -> Policy:
    """The policy with these limits."""
    return replace(policy, **{name: threshold.value for name, threshold in thresholds.items()})  # type: ignore[arg-type]


def problems(request: UpgradeRequest, policy: Policy) -> Iterator[tuple[str, str]]:
    """What is wrong with the numbers: (path, what is allowed). `policy` is what they come to with the defaults."""
    yield from _steps(request.steps)
    yield from _parts(request)
    yield from _spans(request)
    yield from ((f"auto_rollback.{path}", message) for path, message in limit_problems(policy))


def _parts(request: UpgradeRequest) -> Iterator[tuple[str, str]]:
    if request.percent is not None and not 0 < request.percent < 100:
        yield "percent", "must be above 0 and below 100: a canary is a part of the instances, 5 to 10 as a rule"
    if request.batch_size is not None and request.batch_size < 1:
        yield "batch_size", "must be at least 1 instance, or a percentage such as 25%"
    if request.batch_percent is not None and not 0 < request.batch_percent <= 100:
        yield "batch_size", "must be above 0 % and at most 100 %"
    if request.control_percent is not None and not 0 <= request.control_percent <= 50:
        yield "control_percent", "must be from 0 to 50: what stays with the old version through the bake"


def _spans(request: UpgradeRequest) -> Iterator[tuple[str, str]]:
    spans = (
        "monitor_seconds",
        "pause_seconds",
        "bake_seconds",
        "confirm_seconds",
        "warmup_seconds",
        "hold_seconds",
        "keep_warm_seconds",
        "start_grace_seconds",
    )
    for name in spans:
        value: float | None = getattr(request, name)
        if value is not None and not (isfinite(value) and 0 <= value <= SPAN_SECONDS_MAX):
            yield name, f"must be from 0 to {SPAN_SECONDS_MAX:g} seconds"
    for what in ("bake", "confirm"):
        until: datetime | None = getattr(request, f"{what}_until")
        if until is not None and getattr(request, f"{what}_seconds") is not None:
            yield f"{what}_until", f"give either {what}_until or {what}_seconds"
        if until is not None and until.tzinfo is None:
            yield f"{what}_until", "needs a time zone: end it with Z or an offset"


def limit_problems(policy: Policy) -> Iterator[tuple[str, str]]:
    """The operator's limits alone and against one another: what may be promoted must be better than what is rolled back."""
    for name in ("error_rate_threshold", "promote_error_rate"):
        rate: float | None = getattr(policy, name)
        if rate is not None and not 0 < rate <= 100:
            yield name, "must be above 0 and at most 100 percent; null switches it off"
    for name in ("latency_threshold_ms", "promote_latency_ms"):
        latency_ms: float | None = getattr(policy, name)
        if latency_ms is not None and not (isfinite(latency_ms) and latency_ms > 0):
            yield name, "must be more than 0 ms"
    if not 0.5 <= policy.latency_quantile <= 0.999:
        yield "latency_quantile", "must be from 0.5 to 0.999, for example 0.95"
    if not 1 <= policy.min_requests <= MIN_REQUESTS_MAX:
        yield "min_requests", f"must be from 1 to {MIN_REQUESTS_MAX}"
    yield from _custom(policy.custom)
    for promote, back in PROMOTE_OF.items():
        low, high = getattr(policy, promote), getattr(policy, back)
        if low is not None and high is not None and low > high:
            yield promote, f"{promote} contradicts {back}: {low:g} would be promoted, above {high:g} is rolled back"


def _custom(metrics: tuple[CustomMetric, ...]) -> Iterator[tuple[str, str]]:
    if len(metrics) > METRICS_MAX:
        yield "metrics", f"at most {METRICS_MAX} metrics"
    if len({m.name for m in metrics}) < len(metrics):
        yield "metrics", "names one metric twice"
    for place, metric in enumerate(metrics):
        path = f"metrics.{place}"
        if not METRIC_NAME.fullmatch(metric.name):
            yield f"{path}.name", "must be lower-case letters, digits and _, beginning with a letter"
        if metric.above is None and metric.below is None:
            yield path, "needs a limit: above or below"
        if not 0 < metric.promote_percent <= metric.rollback_percent < 100:
            yield path, "needs 0 < promote_percent <= rollback_percent < 100"


def _steps(steps: tuple[float, ...] | None) -> Iterator[tuple[str, str]]:
    if steps is None:
        return
    rising = all(a < b for a, b in pairwise(steps))
    if not 1 <= len(steps) <= STEPS_MAX or not rising or not all(0 < s <= 100 for s in steps) or steps[-1] != 100:
        yield "steps", f"must be 1 to {STEPS_MAX} rising percentages above 0, the last of them 100, for example 25, 50, 100"


def _aware(moment: datetime | None) -> datetime | None:
    """One without a time zone is refused elsewhere and means nothing here."""
    return moment if moment is not None and moment.tzinfo is not None else None


def _or(value: _T | None, default: _T) -> _T:
    return value if value is not None else default
