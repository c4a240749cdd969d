"""From what the smoke tests and the requests did to one `Verification` with its sentences. Pure."""

from collections.abc import Sequence
from datetime import datetime

from agent_servicing.adapters.verification.asking import FAILURES_SHOWN, Answers
from agent_servicing.adapters.verification.command import Ran
from agent_servicing.core.model import Verification
from agent_servicing.core.status import VerificationStatus

DETAIL_CHARS = 6_000
"""Longest `detail`: it is stored with the deployment and shown on screens."""

NOTHING = "nothing to verify"


def verdict(ran: Ran | None, answers: Answers | None, *, smoke_timeout_seconds: float, at: datetime) -> Verification:
    """Anything that failed fails it. Tests that could not be run, or only answers of another version, are no evidence: `unavailable`.

    `ran` and `answers` are None for what the manifest does not have, `answers` also for requests not sent after failed tests.
    """
    if ran is None and answers is None:
        return Verification(status=VerificationStatus.PASSED, detail=NOTHING, at=at)
    tests_failed = ran is not None and not ran.problem and ran.exit_code != 0
    results = ran.results if ran else None
    sentences = [*([_of_tests(ran, smoke_timeout_seconds)] if ran else ()), *([_of_requests(answers)] if answers else ())]
    lines = ran.lines if ran and (tests_failed or ran.problem) else ()
    return Verification(
        status=_status(ran, answers, tests_failed=tests_failed),
        detail=_detail(sentences, lines),
        passed=(results.passed if results else 0) + (answers.passed if answers else 0),
        failed=(results.failed if results else 0) + (len(answers.failures) if answers else 0),
        at=at,
    )


def _status(ran: Ran | None, answers: Answers | None, *, tests_failed: bool) -> VerificationStatus:
    if tests_failed or (answers is not None and answers.failures):
        return VerificationStatus.FAILED
    if ran is not None and ran.problem:
        return VerificationStatus.UNAVAILABLE
    if ran is None and answers is not None and not answers.passed:
        return VerificationStatus.UNAVAILABLE
    return VerificationStatus.PASSED


def _of_tests(ran: Ran, smoke_timeout_seconds: float) -> str:
    results = ran.results
    if ran.problem:
        return f"smoke tests could not be run: {ran.problem}"
    if ran.exit_code is None:
        return f"smoke tests took longer than {smoke_timeout_seconds:g} s and were ended"
    total = results.passed + results.failed if results else 0
    if results is None or (ran.exit_code and not results.failed):
        return "smoke tests passed" if ran.exit_code == 0 else f"smoke tests failed with exit code {ran.exit_code}"
    sentence = f"smoke tests: {results.passed} of {total} passed"
    return "; ".join([sentence, *results.failures])


def _of_requests(answers: Answers) -> str:
    sent = answers.passed + len(answers.failures)
    parts = [f"requests: {answers.passed} of {sent} answered as expected", *answers.failures[:FAILURES_SHOWN]]
    if len(answers.failures) > FAILURES_SHOWN:
        parts.append(f"{len(answers.failures) - FAILURES_SHOWN} more")
    if answers.elsewhere:
        parts.append(f"{answers.elsewhere} answered by another version")
    if answers.left_out:
        parts.append(f"{answers.left_out} not sent")
    return "; ".join(parts)


def _detail(sentences: Sequence[str], lines: Sequence[str]) -> str:
    """The sentences whole, then as many of the last lines as fit."""
    said = ". ".join(sentences)[:DETAIL_CHARS]
    tail = "\n".join(lines)[-max(0, DETAIL_CHARS - len(said) - 1) :] if lines else ""
    return f"{said}\n{tail}" if tail and len(said) < DETAIL_CHARS - 1 else said
