"""From an operator's numbers to a `DeploymentSpec`, and what is wrong with them; pure. Used by `planning`."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from math import isfinite
from typing import Final, TypeVar

from agent_servicing.core.analysis import Policy
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.services.requests import UpgradeRequest

_T = TypeVar("_T")

STEPS_MAX: Final = 20
"""Traffic steps of one deployment; more are no safer and nobody reads them."""

SPAN_SECONDS_MAX: Final = 7 * 24 * 3600.0
"""Longest watch, hold or warm time: a week."""

MIN_REQUESTS_MAX: Final = 1_000_000


def spec_of(request: UpgradeRequest, *, start: datetime, keep_warm_seconds: float) -> DeploymentSpec:
    """The complete spec; what the request leaves open takes its default. `start` is when the deployment is to begin."""
    default, limits = DeploymentSpec(strategy=request.strategy), request.auto_rollback
    policy = Policy(
        enabled=limits.enabled,
        error_rate_threshold=limits.error_rate_threshold,
        latency_threshold_ms=limits.latency_threshold_ms,
        min_requests=_or(request.min_requests, Policy().min_requests),
    )
    return DeploymentSpec(
        strategy=request.strategy,
        steps=request.steps if request.steps is not None else default.steps,
        monitor_seconds=_or(request.monitor_seconds, default.monitor_seconds),
        bake_seconds=_bake_seconds(request, start),
        keep_warm_seconds=_or(request.keep_warm_seconds, keep_warm_seconds),
        hold_seconds=_or(request.hold_seconds, default.hold_seconds),
        policy=policy,
    )


def problems(request: UpgradeRequest) -> Iterator[tuple[str, str]]:
    """What is wrong with the numbers: (path, what is allowed)."""
    yield from _steps(request.steps)
    for name in ("monitor_seconds", "bake_seconds", "hold_seconds", "keep_warm_seconds", "start_grace_seconds"):
        value: float | None = getattr(request, name)
        if value is not None and not (isfinite(value) and 0 <= value <= SPAN_SECONDS_MAX):
            yield name, f"must be from 0 to {SPAN_SECONDS_MAX:g} seconds"
    if request.bake_until is not None and request.bake_seconds is not None:
        yield "bake_until", "give either bake_until or bake_seconds"
    if request.bake_until is not None and request.bake_until.tzinfo is None:
        yield "bake_until", "needs a time zone: end it with Z or an offset"
    if request.min_requests is not None and not 1 <= request.min_requests <= MIN_REQUESTS_MAX:
        yield "min_requests", f"must be from 1 to {MIN_REQUESTS_MAX}"
    rate, latency_ms = request.auto_rollback.error_rate_threshold, request.auto_rollback.latency_threshold_ms
    if rate is not None and not 0 <= rate <= 100:
        yield "auto_rollback.error_rate_threshold", "must be from 0 to 100 percent"
    if latency_ms is not None and not (isfinite(latency_ms) and latency_ms > 0):
        yield "auto_rollback.latency_threshold_ms", "must be more than 0 ms"


def _steps(steps: tuple[float, ...] | None) -> Iterator[tuple[str, str]]:
    if steps is None:
        return
    rising = all(a < b for a, b in pairwise(steps))
    if not 1 <= len(steps) <= STEPS_MAX or not rising or not all(0 < s <= 100 for s in steps) or steps[-1] != 100:
        yield "steps", f"must be 1 to {STEPS_MAX} rising percentages above 0, the last of them 100, for example 25, 50, 100"


def _bake_seconds(request: UpgradeRequest, start: datetime) -> float:
    """`bake_until` counts from the start, so that the watch ends no earlier than asked."""
    if request.bake_until is not None and request.bake_until.tzinfo is not None:
        return min(SPAN_SECONDS_MAX, max(0.0, (request.bake_until - start).total_seconds()))
    return _or(request.bake_seconds, 0.0)


def _or(value: _T | None, default: _T) -> _T:
    return value if value is not None else default
