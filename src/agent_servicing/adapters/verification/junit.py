"""Counts the cases of a JUnit XML file that an agent's tests wrote. The file is theirs: it may be missing, broken or of any size."""

from dataclasses import dataclass
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, TestCase

MAX_BYTES = 4 * 1024 * 1024
"""Larger reports are not read: some ten thousand cases fit, captured output included."""

FAILURES_KEPT = 5
"""Failed cases that are named; the counts have them all."""

REASON_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """`failures` are the first few, as `name` or `name: why`. Skipped cases count nowhere."""

    passed: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()


def read_results(path: Path) -> Results | None:
    """None when there is no file, or none that can be read: then only the exit code is known. Blocks; call it in a thread."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        found = JUnitXml.fromstring(path.read_bytes())
        return _results([case for suite in found for case in suite])  # a suite yields the cases of the suites in it too
    except (JUnitXmlError, OSError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, RecursionError):
        return None  # the library raises any of these at a file that is no report


def _results(cases: list[TestCase]) -> Results:
    bad = [case for case in cases if any(isinstance(one, Failure | Error) for one in case.result)]
    skipped = sum(case.is_skipped for case in cases)
    return Results(
        passed=len(cases) - len(bad) - skipped,
        failed=len(bad),
        failures=tuple(_named(case) for case in bad[:FAILURES_KEPT]),
    )


def _named(case: TestCase) -> str:
    why = next((one.message or one.text or "" for one in case.result if isinstance(one, Failure | Error)), "")
    first = " ".join(why.split())[:REASON_CHARS]
    return f"{case.name} failed: {first}" if first else f"{case.name} failed"
