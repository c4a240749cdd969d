"""Runs the suites that are commands, and turns how they went into cases. `ProcessSuites` is its only caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyio import to_thread

from agent_servicing.adapters.staging.report import Report, read_report
from agent_servicing.adapters.verification.command import Place, Ran, run_smoke
from agent_servicing.core.model import Release
from agent_servicing.core.staging.model import LOG_CHARS, MESSAGE_CHARS, CaseResult, CaseStatus, Suite, SuiteResult

CASE = "SERVICING_CASE"
"""Tells a test runner that only this case is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One suite's command; `case`: only that one is wanted."""

    release: Release
    suite: Suite
    command: Sequence[str]
    timeout_seconds: float
    case: CaseResult | None = None


async def run_suite(job: Job, place: Place) -> SuiteResult:
    """Run it to its end. Cancelling ends the command and all that it started."""
    wanted = replace(place, extra={**place.extra, **_selection(job.case)})
    ran = await run_smoke(job.release, job.command, wanted, timeout_seconds=job.timeout_seconds)
    report = await to_thread.run_sync(read_report, wanted.report, job.suite)
    result = judged(job, ran, report)
    return result if job.case is None else _only(result, job.case)


def judged(job: Job, ran: Ran, report: Report) -> SuiteResult:
    """Passed only when the command says so and its report, where there is one, does not say otherwise."""
    log = "\n".join(ran.lines)[-LOG_CHARS:]
    problem = _problem(job, ran, report)
    failed = any(case.status is CaseStatus.FAILED for case in report.cases)
    if problem or failed:
        cases = report.cases if failed else (*report.cases, _whole(job, CaseStatus.FAILED, problem, log))
        return SuiteResult(suite=job.suite, status=CaseStatus.FAILED, cases=cases, message=problem, log=log)
    if report.missing:
        message = "no JUnit report, so only the exit code is known"
        return SuiteResult(
            suite=job.suite, status=CaseStatus.PASSED, cases=(_whole(job, CaseStatus.PASSED, "", log),), message=message, log=log
        )
    if not any(case.status is CaseStatus.PASSED for case in report.cases):
        message = "the command ended well, and no test was run"
        return SuiteResult(suite=job.suite, status=CaseStatus.INCONCLUSIVE, cases=report.cases, message=message, log=log)
    return SuiteResult(suite=job.suite, status=CaseStatus.PASSED, cases=report.cases, log=log)


def _problem(job: Job, ran: Ran, report: Report) -> str:
    """What is wrong besides failed cases, empty when nothing is."""
    if ran.problem:
        return f"the tests could not be run: {ran.problem}"[:MESSAGE_CHARS]
    if ran.exit_code is None:
        return f"the tests took longer than {job.timeout_seconds:g} s and were ended with everything they had started"
    if report.left_out:
        return f"{report.left_out} more cases failed than are kept"
    if report.problem and not report.missing:
        return f"{report.problem}; the command ended with {ran.exit_code}"
    if ran.exit_code:
        return f"the command ended with exit code {ran.exit_code}"
    return ""


def _whole(job: Job, status: CaseStatus, message: str, log: str) -> CaseResult:
    """Stands for the command as such, where no case of its report does."""
    name = " ".join(job.command)[:MESSAGE_CHARS]
    return CaseResult(case=f"{job.suite}-0", suite=job.suite, name=name, status=status, message=message, log=log)


def _selection(case: CaseResult | None) -> Mapping[str, str]:
    """For pytest, whatever starts it, as an option; for others as a name. A runner that heeds neither runs all, and the one is picked out."""
    if case is None or case.case.endswith("-0"):
        return {}
    name = case.name.rpartition("::")[2]
    function = name.partition("[")[0]
    return {CASE: case.name, "PYTEST_ADDOPTS": f"-k {function}"} if function.isidentifier() else {CASE: case.name}


def _only(result: SuiteResult, case: CaseResult) -> SuiteResult:
    found = next((each for each in result.cases if each.name == case.name), None)
    if found is None:
        failed = next((each for each in result.cases if each.case.endswith("-0")), None)
        message = (failed.message if failed is not None else "") or "the tests do not have this case any more"
        found = replace(case, status=CaseStatus.FAILED, message=message, trace="", log=result.log, duration_seconds=0.0)
    kept = replace(found, case=case.case)
    return replace(result, status=kept.status, cases=(kept,))
