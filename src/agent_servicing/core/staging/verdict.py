"""From what the suites found to a recommendation with its reasons. Called by the reconciler when a run has ended, and by the gate."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from agent_servicing.core.schedule import Tried
from agent_servicing.core.staging.model import (
    START,
    CaseStatus,
    Recommendation,
    RunStatus,
    StagingGate,
    StagingRun,
    SuiteResult,
)

NAMED: Final = 3
"""Failed cases that a reason names; the report has all of them."""

NOTHING_CHECKED: Final = "No tests: nothing was checked."

FRESH_HOURS_MAX: Final = 24.0 * 90

_WORDS: Final[Mapping[str, str]] = {
    "start": "start",
    "smoke": "smoke tests",
    "integration": "integration tests",
    "recall": "golden requests",
    "performance": "performance comparison",
    "load": "load test",
}

_TITLES: Final[Mapping[str, str]] = {
    "smoke": "smoke_tests",
    "integration": "integration_tests",
    "recall": "recall_tests",
    "performance": "performance_tests",
    "load": "load_tests",
}


def recommend(suites: Sequence[SuiteResult]) -> tuple[Recommendation, tuple[str, ...]]:
    """Safe only when something was checked, nothing failed, and nothing that was asked for stayed without an answer."""
    bad = tuple(sentence for suite in suites for sentence in _against(suite))
    checked = [suite for suite in suites if suite.suite != START and suite.status is not CaseStatus.SKIPPED]
    if bad:
        return "issues_detected", bad
    if not checked:
        return "issues_detected", (NOTHING_CHECKED,)
    return "safe_to_deploy", tuple(_for(suite) for suite in checked)


def results_of(run: StagingRun) -> Mapping[str, str]:
    """What a version shows of its newest run: `{"smoke_tests": "5/5 passed"}`, and what that led to."""
    found = {}
    for suite in run.suites:
        if suite.suite == START or suite.status is CaseStatus.SKIPPED:
            continue
        passed, decided = suite.counts
        found[_TITLES[suite.suite]] = f"{passed}/{decided} passed" if decided else suite.status.value
    if run.recommendation is not None:
        found["recommendation"] = run.recommendation
        found["staging_run"] = run.run
    return found


def gate_refusal(gate: StagingGate, newest: StagingRun | None, *, agent: str, version: str, now: datetime | None) -> str | None:
    """Why the gate is shut for this version, None when it is open. `newest` is the version's newest run that ended; `now` None leaves its age out."""
    if not gate.required:
        return None
    if newest is None:
        return f"{agent} asks for a staging run before production, and {version} has none that has ended"
    if newest.status is not RunStatus.COMPLETED or newest.recommendation != "safe_to_deploy":
        said = "could not be carried out" if newest.recommendation is None else "found issues"
        return f"the newest staging run of {version}, {newest.run}, {said}"
    ended = newest.finished_at or newest.requested_at
    if now is not None and ended < now - timedelta(hours=gate.fresh_hours):
        return f"the newest staging run of {version}, {newest.run}, passed more than {gate.fresh_hours:g} hours ago"
    return None


def tried(gate: StagingGate, newest: StagingRun | None, *, agent: str, version: str) -> Tried:
    """The same for who looks at the time only later: what stands against it whenever that is, and until when a pass counts."""
    shut = gate_refusal(gate, newest, agent=agent, version=version, now=None)
    if shut is not None or newest is None:
        return Tried(shut=shut or "")
    return Tried(until=(newest.finished_at or newest.requested_at) + timedelta(hours=gate.fresh_hours))


def _against(suite: SuiteResult) -> Iterator[str]:
    words = _WORDS[suite.suite]
    if suite.status is CaseStatus.INCONCLUSIVE:
        yield f"The {words} came to no conclusion: {suite.message}."
    if suite.status is not CaseStatus.FAILED:
        return
    failed = [case for case in suite.cases if case.status is CaseStatus.FAILED]
    if not failed:
        yield f"The {words} failed: {suite.message}."
        return
    passed, decided = suite.counts
    names = "; ".join(f"{case.name}: {case.message}" if case.message else case.name for case in failed[:NAMED])
    more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    yield f"{words.capitalize()}: {passed} of {decided} passed. {names}{more}."


def _for(suite: SuiteResult) -> str:
    passed, decided = suite.counts
    counted = f"{passed} of {decided} passed" if decided else "passed"
    return f"{_WORDS[suite.suite].capitalize()}: {counted}{f' ({suite.message})' if suite.message else ''}."
