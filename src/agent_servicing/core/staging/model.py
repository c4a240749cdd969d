"""The nouns of a staging run: what was asked for, what was tried, and what came of it. Stored as they are; shown by the API."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

Offered = Literal["smoke", "integration", "recall", "performance", "load"]
Suite = Literal["start", "smoke", "integration", "recall", "performance", "load"]
StateChoice = Literal["copy", "empty"]
Recommendation = Literal["safe_to_deploy", "issues_detected"]
WishKind = Literal["cancel", "case"]

START: Final = "start"
"""Before every suite: is the version installed, and does it become healthy?"""

SUITES: Final[tuple[Offered, ...]] = ("smoke", "integration", "recall", "performance", "load")
"""In the order in which they are run: what fails early costs least."""

ATTEMPTS_MAX: Final = 2
"""A run that the server's death cut off is begun anew; one that is cut off again is likely to be what kills the server."""

CASES_KEPT: Final = 1_000
"""Of one suite; further ones are counted and, when they failed, said to be left out."""

TEXTS_KEPT: Final = 100
"""Cases of one suite that keep their trace and output, failed ones first: a thousand of each would be megabytes in every report."""

TRACE_CHARS: Final = 4_000
LOG_CHARS: Final = 4_000
"""Of one case. The end is kept: that is where tests say what went wrong."""

MESSAGE_CHARS: Final = 500

HAND_KEPT: Final = 50
"""Cases that were run by hand, of one run; the oldest go."""


class RunStatus(StrEnum):
    """`completed` has a recommendation; `failed` could not be carried out, or was cancelled, and says why."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


OPEN: Final = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})


class CaseStatus(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingOptions:
    """What the operator asked for. `load_target_rps`: requests a second that the version must hold. Times in seconds, tolerance in percent."""

    suites: tuple[Suite, ...] = SUITES
    state: StateChoice = "copy"
    keep_seconds: float = 0.0
    load_target_rps: float = 50.0
    tolerance_percent: float = 10.0
    performance_seconds: float = 15.0
    suite_timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One test. `case` names it in the run (`smoke-3`); `name` is what the tests call it."""

    case: str
    suite: Suite
    name: str
    status: CaseStatus
    duration_seconds: float = 0.0
    message: str = ""
    trace: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """One suite. `checked` False: there was nothing to run, and `message` says so; that is never a pass."""

    suite: Suite
    status: CaseStatus
    cases: tuple[CaseResult, ...] = ()
    message: str = ""
    log: str = ""
    duration_seconds: float = 0.0

    @property
    def counts(self) -> tuple[int, int]:
        """How many passed, of how many that were decided."""
        passed = sum(case.status is CaseStatus.PASSED for case in self.cases)
        decided = sum(case.status in (CaseStatus.PASSED, CaseStatus.FAILED) for case in self.cases)
        return passed, decided


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestComparison:
    """The new version against the old one: `ratio` is new over old, `low` and `high` the ends of its confidence interval. Times in ms."""

    name: str
    pairs: int
    old_p50_ms: float
    new_p50_ms: float
    old_p95_ms: float
    new_p95_ms: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the performance suite measured: everything together first, then each request by itself. Errors are counts of answers."""

    old_version: str
    new_version: str
    tolerance_percent: float
    overall: RequestComparison | None = None
    requests: tuple[RequestComparison, ...] = ()
    sent: int = 0
    old_errors: int = 0
    new_errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStep:
    """One step of the ramp: what was asked for and what came back. Latency counts from when a request was due, not from when it was sent."""

    target_rps: float
    achieved_rps: float
    sent: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """The ramp of each side and the last rate that it held (its knee; None: not even the first)."""

    target_rps: float
    steps: tuple[LoadStep, ...] = ()
    knee_rps: float | None = None
    old_steps: tuple[LoadStep, ...] = ()
    old_knee_rps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandResult:
    """One case that somebody ran by hand, afterwards. It changes nothing about the recommendation."""

    case: str
    actor: str
    at: datetime
    status: CaseStatus
    duration_seconds: float = 0.0
    message: str = ""
    trace: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator wants of a run that is there already. Written by the service, taken in by the reconciler."""

    wish: str
    kind: WishKind
    actor: str
    at: datetime
    case: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingRun:
    """One run from the request to its report. `number` counts up and gives its instances state folders that nobody else has.

    `stable_version` is the version it is compared with, None where none serves. `phase` says what is done at this moment.
    """

    run: str
    agent: str
    version: str
    stable_version: str | None
    options: StagingOptions
    actor: str
    reason: str
    requested_at: datetime
    number: int = 0
    status: RunStatus = RunStatus.QUEUED
    attempts: int = 0
    phase: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    kept_until: datetime | None = None
    notes: tuple[str, ...] = ()
    suites: tuple[SuiteResult, ...] = ()
    comparison: Comparison | None = None
    load: LoadReport | None = None
    log: str = ""
    recommendation: Recommendation | None = None
    reasons: tuple[str, ...] = ()
    hand: tuple[HandResult, ...] = ()
    wishes: tuple[Wish, ...] = field(default_factory=tuple)

    @property
    def open(self) -> bool:
        return self.status in OPEN

    def case(self, case: str) -> CaseResult | None:
        return next((found for suite in self.suites for found in suite.cases if found.case == case), None)

    def suite(self, suite: str) -> SuiteResult | None:
        return next((found for found in self.suites if found.suite == suite), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingGate:
    """Whether production asks for a fresh pass first, and how old one may be. Kept per agent."""

    required: bool = False
    fresh_hours: float = 24.0
