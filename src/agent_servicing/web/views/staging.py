"""From a staging run to what the API shows of it; pure."""

from dataclasses import asdict
from datetime import datetime

from agent_servicing.core.staging.model import StagingRun, SuiteResult
from agent_servicing.core.staging.verdict import results_of
from agent_servicing.services.staging import StagingPage
from agent_servicing.web.schemas.staging import StagingList, StagingRunView

_SAME = (
    "version",
    "stable_version",
    "phase",
    "message",
    "reason",
    "attempts",
    "requested_at",
    "started_at",
    "finished_at",
    "kept_until",
    "recommendation",
    "log",
)


def run_view(run: StagingRun, *, now: datetime) -> StagingRunView:
    until = run.finished_at or now
    return StagingRunView.model_validate(
        {
            **{name: getattr(run, name) for name in _SAME},
            "run_id": run.run,
            "agent_id": run.agent,
            "status": run.status.value,
            "operator": run.actor,
            "options": asdict(run.options),
            "duration_seconds": round((until - run.started_at).total_seconds(), 3) if run.started_at else None,
            "reasons": list(run.reasons),
            "notes": list(run.notes),
            "test_results": results_of(run),
            "suites": [_suite(suite) for suite in run.suites],
            "comparison": asdict(run.comparison) if run.comparison is not None else None,
            "load": asdict(run.load) if run.load is not None else None,
            "hand": [{**asdict(each), "operator": each.actor} for each in run.hand],
            "waiting": [{"kind": w.kind, "case": w.case, "operator": w.actor, "at": w.at} for w in run.wishes],
        }
    )


def run_list(page: StagingPage, *, now: datetime) -> StagingList:
    """Without the cases: fifty whole reports in one answer would be megabytes."""
    return StagingList(runs=[_short(run_view(run, now=now)) for run in page.runs], next_cursor=page.next_cursor)


def _short(view: StagingRunView) -> StagingRunView:
    return view.model_copy(update={"suites": [suite.model_copy(update={"cases": [], "log": ""}) for suite in view.suites], "log": ""})


def _suite(suite: SuiteResult) -> dict[str, object]:
    passed, decided = suite.counts
    return {**asdict(suite), "passed": passed, "decided": decided}
