"""What staging decides: what is to be done about its runs, what a run comes to, whether the gate is open, and what a report says."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_servicing.adapters.staging.commands import Job, judged
from agent_servicing.adapters.staging.report import MAX_BYTES, Report, read_report
from agent_servicing.adapters.verification.command import Ran
from agent_servicing.core.manifest import Manifest, Run, Source
from agent_servicing.core.model import Release
from agent_servicing.core.staging.lead import Begin, Cancel, GiveUp, Requeue, TryCase, steps
from agent_servicing.core.staging.model import (
    CaseResult,
    CaseStatus,
    RunStatus,
    StagingGate,
    StagingOptions,
    StagingRun,
    SuiteResult,
    Wish,
    WishKind,
)
from agent_servicing.core.staging.verdict import NOTHING_CHECKED, gate_refusal, recommend, results_of
from agent_servicing.testing.clock import START

PASSED, FAILED, SKIPPED, INCONCLUSIVE = CaseStatus.PASSED, CaseStatus.FAILED, CaseStatus.SKIPPED, CaseStatus.INCONCLUSIVE
MANIFEST = Manifest(agent="Tiny", source=Source(kind="path", location="."), run=Run(command=("true",)))
JOB = Job(
    release=Release(agent="Tiny", version="1.0.0", manifest=MANIFEST, ref="r"), suite="smoke", command=("pytest", "-q"), timeout_seconds=9
)


def a_run(name: str = "stg-1", status: RunStatus = RunStatus.QUEUED, *, attempts: int = 0, wishes: tuple[Wish, ...] = ()) -> StagingRun:
    return StagingRun(
        run=name,
        agent="Tiny",
        version="1.1.0",
        stable_version="1.0.0",
        options=StagingOptions(),
        actor="ada",
        reason="",
        requested_at=START,
        status=status,
        attempts=attempts,
        wishes=wishes,
    )


def a_wish(kind: WishKind) -> Wish:
    return Wish(wish="wsh-1", kind=kind, actor="bob", at=START, case="smoke-1")


def a_case(status: CaseStatus, number: int = 1, message: str = "") -> CaseResult:
    return CaseResult(case=f"smoke-{number}", suite="smoke", name=f"case {number}", status=status, message=message)


def a_suite(status: CaseStatus, *cases: CaseResult, message: str = "") -> SuiteResult:
    return SuiteResult(suite="smoke", status=status, cases=cases, message=message)


START_OK = SuiteResult(suite="start", status=PASSED)


def test_the_oldest_runs_begin_as_far_as_there_is_room() -> None:
    first, second, third = (a_run(f"stg-{n}") for n in range(3))
    assert steps([first, second, third], working=[], limit=2) == (Begin(run=first), Begin(run=second))
    assert steps([first, second], working=["stg-0"], limit=1) == ()


def test_a_run_that_nobody_works_at_is_begun_anew_once_and_then_given_up() -> None:
    cut_off = a_run(status=RunStatus.RUNNING, attempts=1)
    assert steps([cut_off], working=[], limit=1) == (Requeue(run=cut_off),)
    assert steps([cut_off], working=[cut_off.run], limit=1) == ()
    (given_up,) = steps([replace(cut_off, attempts=2)], working=[], limit=1)
    assert isinstance(given_up, GiveUp)
    assert "2 times" in given_up.message


def test_a_wish_to_cancel_comes_before_everything_and_needs_no_room() -> None:
    run = a_run(status=RunStatus.RUNNING, attempts=1, wishes=(a_wish("case"), a_wish("cancel")))
    assert steps([run], working=[run.run], limit=1) == (Cancel(run=run, wish=a_wish("cancel")),)


def test_a_case_by_hand_waits_for_room_like_a_run() -> None:
    done = a_run("stg-9", RunStatus.COMPLETED, wishes=(a_wish("case"),))
    assert steps([a_run("stg-1"), done], working=[], limit=1) == (Begin(run=a_run("stg-1")),)
    assert steps([done], working=[], limit=1) == (TryCase(run=done, wish=a_wish("case")),)


def test_only_what_was_checked_and_passed_is_safe() -> None:
    assert recommend([START_OK, a_suite(PASSED, a_case(PASSED))]) == ("safe_to_deploy", ("Smoke tests: 1 of 1 passed.",))


@pytest.mark.parametrize(
    ("suites", "reason"),
    [
        ([START_OK], NOTHING_CHECKED),
        ([START_OK, a_suite(SKIPPED)], NOTHING_CHECKED),
        ([START_OK, a_suite(FAILED, message="the tests took too long")], "The smoke tests failed: the tests took too long."),
        ([START_OK, a_suite(INCONCLUSIVE, message="no test was run")], "The smoke tests came to no conclusion: no test was run."),
        (
            [a_suite(FAILED, a_case(PASSED), a_case(FAILED, 2, "no such thing"))],
            "Smoke tests: 1 of 2 passed. case 2: no such thing.",
        ),
    ],
)
def test_what_failed_or_stayed_open_is_an_issue_and_says_so(suites: list[SuiteResult], reason: str) -> None:
    assert recommend(suites) == ("issues_detected", (reason,))


def test_many_failed_cases_are_counted_and_a_few_named() -> None:
    _, (reason,) = recommend([a_suite(FAILED, *(a_case(FAILED, n) for n in range(10)))])
    assert reason == "Smoke tests: 0 of 10 passed. case 0; case 1; case 2; and 7 more."


def test_a_version_shows_what_its_run_came_to() -> None:
    suite = a_suite(FAILED, *(a_case(PASSED, n) for n in range(4)), a_case(FAILED, 5), a_case(SKIPPED, 6))
    run = replace(a_run(status=RunStatus.COMPLETED), suites=(START_OK, suite), recommendation="issues_detected")
    assert results_of(run) == {"smoke_tests": "4/5 passed", "recommendation": "issues_detected", "staging_run": "stg-1"}


def refusal(run: StagingRun | None, *, required: bool = True) -> str | None:
    gate = StagingGate(required=required, fresh_hours=24)
    return gate_refusal(gate, run, agent="Tiny", version="1.1.0", now=START + timedelta(hours=30))


def test_the_gate_is_open_for_a_fresh_pass_alone() -> None:
    fresh = START + timedelta(hours=20)
    passed = replace(a_run(status=RunStatus.COMPLETED), recommendation="safe_to_deploy", finished_at=fresh)
    assert refusal(passed) is None
    assert "more than 24 hours ago" in str(refusal(replace(passed, finished_at=START)))
    assert "found issues" in str(refusal(replace(passed, recommendation="issues_detected")))
    assert "could not be carried out" in str(refusal(replace(passed, status=RunStatus.FAILED, recommendation=None)))
    assert "has none that has ended" in str(refusal(None))
    assert refusal(None, required=False) is None


# --- reports ---

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest">
<testcase classname="tests.smoke" name="test_good" time="0.25"><system-out>hello \x1f</system-out></testcase>
<testcase classname="tests.smoke" name="test_bad" time="nan"><failure message="assert 1 == 2">Traceback:
  line 7</failure></testcase>
<testcase classname="tests.smoke" name="test_odd" time="-3"><error message="boom"/></testcase>
<testcase name="test_later"><skipped/></testcase></testsuite></testsuites>"""


def report(folder: Path, text: str | bytes) -> Report:
    path = folder / "junit.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_report(path, "smoke")


def test_a_report_gives_every_case_with_its_message_and_trace(tmp_path: Path) -> None:
    good, bad, odd, later = report(tmp_path, REPORT.replace("\x1f", "")).cases
    assert (good.case, good.name, good.status, good.duration_seconds, good.log) == (
        "smoke-1",
        "tests.smoke::test_good",
        PASSED,
        0.25,
        "hello ",
    )
    assert (bad.status, bad.message, bad.trace, bad.duration_seconds) == (FAILED, "assert 1 == 2", "Traceback:\n  line 7", 0.0)
    assert (odd.status, odd.message, odd.duration_seconds) == (FAILED, "boom", 0.0)
    assert (later.status, later.name) == (SKIPPED, "test_later")


@pytest.mark.parametrize("text", ["", "<testsuite", "<html/>", b"\xff\xfe\x00", REPORT, "<testsuite><testcase time='x'/></testsuite>"])
def test_a_broken_report_is_a_problem_and_never_a_pass(tmp_path: Path, text: str | bytes) -> None:
    found = report(tmp_path, text)
    assert found.problem or found.cases == ()
    assert judged(JOB, Ran(exit_code=0), found).status is not PASSED


def test_a_report_without_end_is_not_read(tmp_path: Path) -> None:
    found = report(tmp_path, b"<testsuite>" + b" " * MAX_BYTES)
    assert "at most" in found.problem
    assert judged(JOB, Ran(exit_code=0), found).status is FAILED


@pytest.mark.parametrize(
    ("ran", "found", "status", "words"),
    [
        (Ran(exit_code=0), Report(cases=(a_case(PASSED),)), PASSED, ""),
        (Ran(exit_code=0), Report(missing=True, problem="none"), PASSED, "only the exit code is known"),
        (Ran(exit_code=1), Report(missing=True, problem="none"), FAILED, "exit code 1"),
        (Ran(exit_code=0), Report(cases=(a_case(FAILED),)), FAILED, ""),
        (Ran(exit_code=3), Report(cases=(a_case(PASSED),)), FAILED, "exit code 3"),
        (Ran(exit_code=None), Report(cases=(a_case(PASSED),)), FAILED, "longer than 9 s"),
        (Ran(problem="command not found: x"), Report(missing=True), FAILED, "could not be run: command not found: x"),
        (Ran(exit_code=0), Report(), INCONCLUSIVE, "no test was run"),
        (Ran(exit_code=0), Report(cases=(a_case(SKIPPED),)), INCONCLUSIVE, "no test was run"),
        (Ran(exit_code=0), Report(cases=(a_case(PASSED),), left_out=2), FAILED, "2 more cases failed"),
    ],
)
def test_a_suite_passes_only_when_command_and_report_agree(ran: Ran, found: Report, status: CaseStatus, words: str) -> None:
    result = judged(JOB, ran, found)
    assert (result.status, words in result.message) == (status, True), result
    assert recommend([START_OK, result])[0] == ("safe_to_deploy" if status is PASSED else "issues_detected")
