"""Reads the JUnit XML of a suite, case by case. The file is a stranger's: it may be missing, broken, endless or full of megabytes."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, TestCase

from agent_servicing.adapters.verification.output import printable
from agent_servicing.core.staging.model import (
    CASES_KEPT,
    LOG_CHARS,
    MESSAGE_CHARS,
    TRACE_CHARS,
    CaseResult,
    CaseStatus,
    Suite,
)

MAX_BYTES = 16 * 1024 * 1024
"""Larger reports are not read, and the suite fails: thousands of cases with their output fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`problem` says why there is no report that can be used; `missing`: there is no file at all. `left_out` failed, too."""

    cases: tuple[CaseResult, ...] = ()
    problem: str = ""
    missing: bool = False
    left_out: int = 0


def read_report(path: Path, suite: Suite) -> Report:
    """Blocks; call it in a thread."""
    try:
        if not path.is_file():
            return Report(missing=True, problem="the tests wrote no JUnit report")
        size = path.stat().st_size
        if size > MAX_BYTES:
            return Report(problem=f"the JUnit report has {size} bytes; at most {MAX_BYTES} are read")
        found = JUnitXml.fromstring(path.read_bytes())
        cases = [case for each in found for case in each]  # a suite yields the cases of the suites in it too
        read = [_case(case, suite, number) for number, case in enumerate(cases, 1)]
    except (JUnitXmlError, OSError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # The library raises any of these at a file that is no report.
        return Report(problem=f"the JUnit report cannot be read ({type(error).__name__})")
    beyond = read[CASES_KEPT:]
    return Report(cases=tuple(read[:CASES_KEPT]), left_out=sum(case.status is CaseStatus.FAILED for case in beyond))


# Texts are kept at twice their length: secrets are masked later, and one that the cut went through would not be recognised.
def _case(case: TestCase, suite: Suite, number: int) -> CaseResult:
    bad = next((one for one in case.result if isinstance(one, Failure | Error)), None)
    status = CaseStatus.FAILED if bad is not None else CaseStatus.SKIPPED if case.is_skipped else CaseStatus.PASSED
    seconds = float(case.time or 0.0)
    log = "\n".join(filter(None, (case.system_out, case.system_err)))
    return CaseResult(
        case=f"{suite}-{number}",
        suite=suite,
        name=_clean(f"{case.classname}::{case.name}" if case.classname else case.name or "unnamed", MESSAGE_CHARS),
        status=status,
        duration_seconds=seconds if isfinite(seconds) and seconds >= 0 else 0.0,
        message=_clean(" ".join((bad.message or bad.text or "failed").split()), MESSAGE_CHARS) if bad is not None else "",
        trace=_clean((bad.text or "")[-2 * TRACE_CHARS :], 2 * TRACE_CHARS) if bad is not None else "",
        log=_clean(log[-2 * LOG_CHARS :], 2 * LOG_CHARS) if log else "",
    )


def _clean(text: str, limit: int) -> str:
    """Line by line, so that line breaks stay and other control characters do not."""
    return "\n".join(printable(line) for line in text.splitlines())[:limit]
