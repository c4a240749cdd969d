"""One staging run from its first step to its report: instances up, one suite after the other, instances gone. The reconciler starts it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_servicing.core import events
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Release
from agent_servicing.core.staging.model import (
    LOG_CHARS,
    MESSAGE_CHARS,
    START,
    TEXTS_KEPT,
    TRACE_CHARS,
    CaseResult,
    CaseStatus,
    RunStatus,
    StagingRun,
    Suite,
    SuiteResult,
)
from agent_servicing.core.staging.verdict import recommend
from agent_servicing.ports import Clock
from agent_servicing.ports.staging import StagingRuns, SuiteRunner
from agent_servicing.reconcile.staging.bench import Bench, Broken, Impossible, Means, compares
from agent_servicing.reconcile.staging.measuring import Measurements

EVENT_CASES: Final = 50
"""Cases of one suite that are told live; the rest stand in the report."""

NOT_REACHED: Final = "not run, because the version did not stay up"


@dataclass(slots=True, kw_only=True)
class Trial:
    """`go` leaves the run completed or failed, with its bench closed unless it is to be kept; cancelling it leaves that to the caller."""

    means: Means
    suites: SuiteRunner
    runs: StagingRuns
    run: StagingRun
    state: AgentState
    release: Release
    mask: Callable[[str], str] = str

    @property
    def clock(self) -> Clock:
        return self.means.clock

    def bench(self) -> Bench:
        with_old = compares(self.run, self.release)
        return Bench(means=self.means, run=self.run, state=self.state, release=self.release, with_old=with_old, notes=list(self.run.notes))

    async def go(self, bench: Bench) -> None:
        """Raises `Impossible`."""
        try:
            await self._open(bench)
            for suite in self.run.options.suites:
                await self._suite(bench, suite)
                await bench.check()
        except Broken as error:
            await self._broke(error)
        await self._complete(bench)

    async def one(self, bench: Bench, case: CaseResult) -> SuiteResult:
        """That case alone, on instances that are up or are started for it. Raises `Impossible`."""
        if bench.new is None:
            try:
                await bench.open(self._quiet)
            except Broken as error:
                return SuiteResult(suite=case.suite, status=CaseStatus.FAILED, message=error.message, log=error.log)
        measured = Measurements(suites=self.suites, run=self.run, release=self.release)
        return self._masked(await self._run(bench, case.suite, measured, case))

    async def _open(self, bench: Bench) -> None:
        began = self.clock.monotonic()
        await bench.open(self._phase)
        seconds = round(self.clock.monotonic() - began, 3)
        cases = tuple(
            CaseResult(case=f"start-{number}", suite="start", name=name, status=CaseStatus.PASSED)
            for number, name in enumerate(("installs", "starts"), 1)
        )
        suite = SuiteResult(suite="start", status=CaseStatus.PASSED, cases=cases, duration_seconds=seconds)
        self.run = replace(self.run, suites=(suite,), notes=tuple(bench.notes))
        await self._save(*self._told(suite))

    async def _suite(self, bench: Bench, suite: Suite) -> None:
        await self._phase(suite)
        began = self.clock.monotonic()
        measured = Measurements(suites=self.suites, run=self.run, release=self.release)
        result = self._masked(await self._run(bench, suite, measured))
        result = replace(result, duration_seconds=round(self.clock.monotonic() - began, 3))
        self.run = replace(
            self.run,
            suites=(*self.run.suites, result),
            comparison=measured.comparison or self.run.comparison,
            load=measured.load or self.run.load,
        )
        await self._save(*self._told(result))

    async def _run(self, bench: Bench, suite: Suite, measured: Measurements, case: CaseResult | None = None) -> SuiteResult:
        if bench.new is None:
            raise AssertionError("suites are run on instances that are up")
        url, key, seconds = bench.new.url, self.run.run, self.run.options.suite_timeout_seconds
        try:
            match suite:
                case "recall":
                    return await self.suites.recall(self.release, url=url, key=key, case=case)
                case "performance":
                    return await measured.compare(bench)
                case "load":
                    return await measured.ramp(bench)
                case _:
                    return await self.suites.commands(self.release, suite, url=url, key=key, timeout_seconds=seconds, case=case)
        except PermanentError as error:
            return SuiteResult(suite=suite, status=CaseStatus.INCONCLUSIVE, message=str(error))

    async def _broke(self, error: Broken) -> None:
        """The case that it did not pass, and the suites that were not reached."""
        names = ["installs", "starts", "stays up"]
        cases = tuple(self._case_of_start(number, name, error) for number, name in enumerate(names[: names.index(error.case) + 1], 1))
        start = self._masked(SuiteResult(suite="start", status=CaseStatus.FAILED, cases=cases, message=error.message, log=error.log))
        before = [suite for suite in self.run.suites if suite.suite != START]
        done = {suite.suite for suite in before}
        left = [
            SuiteResult(suite=suite, status=CaseStatus.SKIPPED, message=NOT_REACHED)
            for suite in self.run.options.suites
            if suite not in done
        ]
        self.run = replace(self.run, suites=(start, *before, *left))
        await self._save(*self._told(start))

    def _case_of_start(self, number: int, name: str, error: Broken) -> CaseResult:
        bad = name == error.case
        return CaseResult(
            case=f"start-{number}",
            suite="start",
            name=name,
            status=CaseStatus.FAILED if bad else CaseStatus.PASSED,
            message=error.message if bad else "",
            log=error.log[-LOG_CHARS:] if bad else "",
        )

    async def _complete(self, bench: Bench) -> None:
        recommendation, reasons = recommend(self.run.suites)
        log = self.mask(await bench.log())[-LOG_CHARS:]
        self.run = replace(
            self.run,
            status=RunStatus.COMPLETED,
            phase="",
            recommendation=recommendation,
            reasons=reasons,
            notes=tuple(bench.notes),
            log=log,
            finished_at=self.clock.now(),
        )

    # --- telling -------------------------------------------------------------------------------------------------------------------

    async def _phase(self, phase: str) -> None:
        self.run = replace(self.run, phase=phase)
        await self._save()

    async def _quiet(self, phase: str) -> None:
        """The report of a run that is over does not change any more."""

    async def _save(self, *news: Event) -> None:
        await self.runs.save(self.run, news)

    def _told(self, suite: SuiteResult) -> Sequence[Event]:
        shown = sorted(suite.cases, key=lambda case: case.status is not CaseStatus.FAILED)[:EVENT_CASES]
        cases = [event(self.run, events.STAGING_CASE, self.clock, **case_data(case)) for case in shown]
        passed, decided = suite.counts
        data = {"suite": suite.suite, "status": suite.status.value, "passed": passed, "decided": decided, "message": suite.message}
        return [*cases, event(self.run, events.STAGING_SUITE, self.clock, **data, duration_seconds=suite.duration_seconds)]

    def _masked(self, suite: SuiteResult) -> SuiteResult:
        failed_first = sorted(suite.cases, key=lambda case: case.status is not CaseStatus.FAILED)
        whole = {case.case for case in failed_first[:TEXTS_KEPT]}
        cases = tuple(
            replace(
                case,
                message=self.mask(case.message)[:MESSAGE_CHARS],
                trace=self.mask(case.trace)[-TRACE_CHARS:] if case.case in whole else "",
                log=self.mask(case.log)[-LOG_CHARS:] if case.case in whole else "",
            )
            for case in suite.cases
        )
        return replace(suite, cases=cases, message=self.mask(suite.message)[:MESSAGE_CHARS], log=self.mask(suite.log)[-LOG_CHARS:])


def case_data(case: CaseResult) -> dict[str, object]:
    return {
        "case": case.case,
        "suite": case.suite,
        "name": case.name,
        "status": case.status.value,
        "duration_seconds": case.duration_seconds,
        "message": case.message,
    }


def event(run: StagingRun, kind: str, clock: Clock, **data: object) -> Event:
    """A live event of this run."""
    return Event(type=kind, at=clock.now(), agent=run.agent, actor=run.actor, data={"run_id": run.run, "version": run.version, **data})


__all__ = ["Bench", "Impossible", "Trial", "case_data", "event"]
