"""The suites that measure: the comparison of two versions and the ramp of load. `Trial` runs them between the others."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from anyio import to_thread

from agent_servicing.core.model import Release
from agent_servicing.core.staging.compare import compare
from agent_servicing.core.staging.load import judge, knee, ramp
from agent_servicing.core.staging.model import CaseStatus, Comparison, LoadReport, StagingRun, Suite, SuiteResult
from agent_servicing.ports.staging import SuiteRunner
from agent_servicing.reconcile.staging.bench import Bench

NO_REQUESTS: Final = "the manifest has no [[tests.requests]]"
NO_OTHER: Final = "no version serves that it could be compared with"


@dataclass(slots=True, kw_only=True)
class Measurements:
    """One suite's figures are here once it has run."""

    suites: SuiteRunner
    run: StagingRun
    release: Release
    comparison: Comparison | None = None
    load: LoadReport | None = None

    async def compare(self, bench: Bench) -> SuiteResult:
        """Raises `PermanentError`."""
        requests, options = self.release.manifest.tests.requests, self.run.options
        if bench.new is None or bench.old is None or not requests:
            return _left_out("performance", NO_REQUESTS if not requests else NO_OTHER)
        found = await self.suites.compare(bench.old, bench.new, requests, key=self.run.run, budget_seconds=options.performance_seconds)
        old = bench.stable.version if bench.stable is not None else ""
        judging = partial(compare, found, old=old, new=self.run.version, tolerance_percent=options.tolerance_percent)
        suite, self.comparison = await to_thread.run_sync(judging)
        return suite

    async def ramp(self, bench: Bench) -> SuiteResult:
        """The old version is asked only when the new one does not hold the target. Raises `PermanentError`."""
        requests, target = self.release.manifest.tests.requests, self.run.options.load_target_rps
        if bench.new is None or not requests:
            return _left_out("load", NO_REQUESTS)
        steps = await self.suites.load(bench.new, requests, key=self.run.run, rates=ramp(target))
        report = LoadReport(target_rps=target, steps=tuple(steps), knee_rps=knee(steps))
        if (report.knee_rps is None or report.knee_rps < target) and bench.old is not None:
            before = await self.suites.load(bench.old, requests, key=self.run.run, rates=ramp(target)[:4])
            report = LoadReport(
                target_rps=target, steps=report.steps, knee_rps=report.knee_rps, old_steps=tuple(before), old_knee_rps=knee(before)
            )
        self.load = report
        return judge(report)


def _left_out(suite: Suite, why: str) -> SuiteResult:
    return SuiteResult(suite=suite, status=CaseStatus.SKIPPED, message=why)
