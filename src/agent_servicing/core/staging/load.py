"""How much load a version holds: the steps of the ramp, where it bends, and what that says. Pure; the reconciler asks before and after."""

from collections.abc import Sequence
from typing import Final

from agent_servicing.core.staging.model import CaseResult, CaseStatus, LoadReport, LoadStep, SuiteResult

UP_TO_TARGET: Final = (0.25, 0.5, 0.75, 1.0)
BEYOND: Final = (1.5, 2.0, 3.0)
"""Parts of the target, one step each. What lies beyond tells how far away the knee is."""

RATE_MAX: Final = 1000.0
"""Requests a second at which our own sender becomes what is measured."""

ACHIEVED_MIN: Final = 0.95
ERRORS_MAX: Final = 0.01
LATE_FACTOR: Final = 5.0
LATE_MS: Final = 500.0
"""At p95, so many times the typical latency of the lowest step and so much more: from there on answers queue up."""

AS_GOOD: Final = 0.8
"""Where neither version holds the target, the new one is to hold so much of what the old one does."""


def ramp(target_rps: float) -> tuple[float, ...]:
    """The rates to try, lowest first."""
    rates = [part * target_rps for part in (*UP_TO_TARGET, *BEYOND)]
    return tuple(rate for rate in rates if rate <= max(RATE_MAX, target_rps))


def held(step: LoadStep, first: LoadStep) -> bool:
    """Nearly everything was answered, rightly, and not late; `first` is the lowest step."""
    answered = step.achieved_rps >= ACHIEVED_MIN * step.target_rps
    good = step.errors <= ERRORS_MAX * max(1, step.sent)
    return answered and good and step.p95_ms <= LATE_FACTOR * first.p50_ms + LATE_MS


def knee(steps: Sequence[LoadStep]) -> float | None:
    """The highest rate that it held, before the first that it did not; None when it did not hold even that."""
    found = None
    for step in steps:
        if not held(step, steps[0]):
            return found
        found = step.target_rps
    return found


def judge(report: LoadReport) -> SuiteResult:
    """Whether it holds the target; where it does not, and the old one does not either, whether it is about as good."""
    target, new, old = report.target_rps, report.knee_rps, report.old_knee_rps
    last = next((step for step in reversed(report.steps) if step.target_rps == new), None)
    if new is not None and new >= target and last is not None:
        beyond = "" if new < report.steps[-1].target_rps else " or more"
        at = next(step for step in report.steps if step.target_rps >= target)
        message = f"holds {target:g} requests/s with p95 {at.p95_ms:.1f} ms; its knee is at {new:g}{beyond}"
        return _suite(CaseStatus.PASSED, message)
    said = f"holds {new:g} of {target:g} requests/s" if new is not None else f"does not hold even {report.steps[0].target_rps:g} requests/s"
    why = _why(report.steps)
    if old is None and not report.old_steps:
        return _suite(CaseStatus.FAILED, f"{said}: {why}")
    before = f"the version that serves holds {old:g}" if old is not None else "the version that serves does not hold even the first step"
    as_good = old is None or (new is not None and new >= AS_GOOD * old)
    neither = as_good and (old is None or old < target)
    return _suite(CaseStatus.PASSED if neither else CaseStatus.FAILED, f"{said}: {why}; {before}")


def _why(steps: Sequence[LoadStep]) -> str:
    bad = next((step for step in steps if not held(step, steps[0])), None)
    if bad is None:
        return "the ramp was cut short"
    return f"at {bad.target_rps:g}/s {bad.achieved_rps:.0f}/s were answered, {bad.errors} of {bad.sent} wrongly, p95 {bad.p95_ms:.0f} ms"


def _suite(status: CaseStatus, message: str) -> SuiteResult:
    case = CaseResult(case="load-1", suite="load", name="holds the target", status=status, message=message)
    return SuiteResult(suite="load", status=status, cases=(case,), message=message)
