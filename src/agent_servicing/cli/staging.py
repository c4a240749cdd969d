"""Commands on staging: `servicing test` asks for a run, `servicing staging list|show|case|cancel|gate` is about those there are."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import PREFIX
from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.output import clean, facts, table
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import clock_time, duration, local

if TYPE_CHECKING:
    from rich.console import RenderableType

POLL_SECONDS: Final = 0.5
TRACE_LINES: Final = 12
"""Shown of a stack trace: its end. The whole is in `--json`."""

SAFE: Final = "safe_to_deploy"
WORDS: Final = {"safe_to_deploy": "✅ Safe to deploy", "issues_detected": "❌ Issues detected"}

Run = Annotated[str, typer.Argument(metavar="RUN", help="A staging run's id (stg-…)")]
Suites = Annotated[list[str] | None, typer.Option("--suite", metavar="SUITE", help="Only this suite; may be given several times")]
State = Annotated[str, typer.Option("--state", metavar="copy|empty", help="Begin with a copy of the live state, or with none")]
Keep = Annotated[float, typer.Option("--keep-seconds", metavar="S", help="Keep the instances so long for cases by hand")]
Rps = Annotated[float | None, typer.Option("--load-target-rps", metavar="N", help="Requests a second that it must hold [default: 50]")]
Tolerance = Annotated[float | None, typer.Option("--tolerance-percent", metavar="%", help="How much slower it may be [default: 10]")]
Performance = Annotated[
    float | None, typer.Option("--performance-seconds", metavar="S", help="Longest time of the comparison [default: 15]")
]
Timeout = Annotated[float | None, typer.Option("--suite-timeout-seconds", metavar="S", help="Longest time of one suite [default: 300]")]


def try_version(
    session: Session,
    agent: options.Agent,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    suite: Suites = None,
    state: State = "copy",
    keep_seconds: Keep = 0.0,
    load_target_rps: Rps = None,
    tolerance_percent: Tolerance = None,
    performance_seconds: Performance = None,
    suite_timeout_seconds: Timeout = None,
    reason: options.Reason = "",
    watch: options.Watch = False,
) -> None:
    """Try a version in staging: instances of its own, a copy of the state, no traffic. With --watch ends with 0 only when it is safe."""
    given = {
        "suites": suite,
        "load_target_rps": load_target_rps,
        "tolerance_percent": tolerance_percent,
        "performance_seconds": performance_seconds,
        "suite_timeout_seconds": suite_timeout_seconds,
    }
    body = {"version": version, "state": state, "keep_seconds": keep_seconds, "reason": reason}
    view = session.api.send("POST", _path(agent), {**body, **{name: value for name, value in given.items() if value is not None}})
    run = str(view.get("run_id"))
    if not watch:
        session.out.result(view, lambda: f"{run} is {view.get('status')}; servicing staging show {agent} {run} has the report.")
        return
    final = _follow(session, agent, run)
    session.out.result(final, *(lambda part=part: part for part in _report(final)))
    raise typer.Exit(ExitCode.DONE if final.get("recommendation") == SAFE else ExitCode.FAILED)


def list_runs(session: Session, agent: options.Agent) -> None:
    """Staging runs of AGENT, newest first."""
    runs = session.api.get(_path(agent), {"limit": "50"}).get("runs") or []
    rows = [
        (r.get("run_id"), r.get("version"), r.get("status"), local(r.get("requested_at")), r.get("operator"), _word(r), _counts(r))
        for r in runs
    ]
    columns = ("run", "version", "status", "asked for", "by", "recommendation", "tests")
    session.out.result({"runs": runs}, lambda: table(columns, rows) if rows else f"{agent} has had no staging run yet.")


def show(session: Session, agent: options.Agent, run: Run) -> None:
    """The report of a staging run: every suite, what failed and why, and the recommendation."""
    view = session.api.get(_path(agent, run))
    session.out.result(view, *(lambda part=part: part for part in _report(view)))


def case(
    session: Session,
    agent: options.Agent,
    run: Run,
    case: Annotated[str, typer.Argument(metavar="CASE", help="As in the report, smoke-1")],
    reason: options.Reason = "",
) -> None:
    """Run one case of a finished run again, by itself, and wait for it; ends with 1 unless it passes."""
    view = session.api.send("POST", f"{_path(agent, run)}/cases/{quote(case, safe='')}", {"reason": reason})
    before = len(view.get("hand") or ())
    while view.get("waiting"):
        session.surroundings.pause(POLL_SECONDS)
        view = session.api.get(_path(agent, run))
    done = [each for each in (view.get("hand") or ())[before:] if each.get("case") == case] or (view.get("hand") or ())[-1:]
    result: Json = done[-1] if done else {"case": case, "status": "inconclusive", "message": "it was not run"}
    session.out.result(result, lambda: "\n".join(_case_lines(result, indent="")))
    raise typer.Exit(ExitCode.DONE if result.get("status") == "passed" else ExitCode.FAILED)


def cancel(session: Session, agent: options.Agent, run: Run, reason: options.Reason = "") -> None:
    """End a staging run with everything it started, or let go of the instances that it keeps."""
    view = session.api.send("DELETE", _path(agent, run), params={"reason": reason} if reason else None)
    session.out.result(view, lambda: f"{run} is being ended.")


def gate(
    session: Session,
    agent: options.Agent,
    required: Annotated[bool | None, typer.Option("--required/--not-required", help="Ask for a passed run before an upgrade")] = None,
    fresh_hours: Annotated[float, typer.Option("--fresh-hours", metavar="H", help="How old that run may be")] = 24.0,
    reason: options.Reason = "",
) -> None:
    """Show whether AGENT needs a passed staging run before an upgrade, or change it."""
    path = f"{_path(agent)}/gate"
    if required is None:
        view = session.api.get(path)
    else:
        view = session.api.send("PUT", path, {"required": required, "fresh_hours": fresh_hours, "reason": reason})
    shut = f"a staging run that passed within {view.get('fresh_hours'):g} hours is needed before an upgrade"
    session.out.result(view, lambda: f"{agent}: {shut if view.get('required') else 'no staging run is needed before an upgrade'}.")


def _follow(session: Session, agent: str, run: str) -> Json:
    """One line for each step until it has ended; its last view. Ctrl-C leaves it running."""
    write = session.out.note if session.out.machine else session.out.line
    told: set[str] = set()
    try:
        while True:
            view = session.api.get(_path(agent, run))
            for key, line in _news(view):
                if key not in told:
                    told.add(key)
                    write(clean(f"{clock_time(session.surroundings.clock.now().isoformat())}  {line}"))
            if view.get("status") in ("completed", "failed"):
                return view
            session.surroundings.pause(POLL_SECONDS)
    except KeyboardInterrupt:
        session.out.note(f"\nStopped watching; {run} goes on. `servicing staging cancel {agent} {run}` ends it.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _news(view: Json) -> Iterator[tuple[str, str]]:
    yield str(view.get("status")), f"{view.get('run_id')} is {view.get('status')}"
    if view.get("phase"):
        yield f"{view.get('attempts')} {view['phase']}", str(view["phase"])
    for suite in view.get("suites") or ():
        yield f"{view.get('attempts')} {suite.get('suite')} ended", _suite_line(suite)


def _suite_line(suite: Json) -> str:
    mark = {"passed": "✅", "failed": "❌", "skipped": "–", "inconclusive": "?"}.get(str(suite.get("status")), "?")
    counted = f" ({suite.get('passed')}/{suite.get('decided')})" if suite.get("decided") else ""
    said = f": {suite['message']}" if suite.get("message") else ""
    return f"{mark} {suite.get('suite')} {suite.get('status')}{counted} in {duration(suite.get('duration_seconds'))}{said}"


def _report(view: Json) -> "Iterator[RenderableType]":
    yield facts(
        (
            ("run", view.get("run_id")),
            ("version", f"{view.get('version')} beside {view.get('stable_version') or 'nothing'}"),
            ("status", view.get("status")),
            ("doing", view.get("phase")),
            ("because", view.get("message")),
            ("took", duration(view.get("duration_seconds"))),
            ("instances kept until", local(view.get("kept_until"))),
        )
    )
    for suite in view.get("suites") or ():
        yield clean(_suite_line(suite))
        for each in suite.get("cases") or ():
            if each.get("status") in ("failed", "inconclusive"):
                yield "\n".join(_case_lines(each, indent="  "))
    yield from _figures(view)
    yield from (clean(f"Note: {note}") for note in view.get("notes") or ())
    if view.get("recommendation"):
        yield _word(view)
        yield from (clean(f"  {reason}") for reason in view.get("reasons") or ())


def _figures(view: Json) -> "Iterator[RenderableType]":
    comparison, load = view.get("comparison") or {}, view.get("load") or {}
    compared = [found for found in (comparison.get("overall"), *(comparison.get("requests") or ())) if found]
    if compared:
        columns = ("latency", "pairs", "p50 before", "now", "p95 before", "now", "change", "between")
        yield table(columns, [_compared(found) for found in compared])
    if load.get("steps"):
        heads = ("requests/s", "answered", "sent", "wrong", "p50", "p95", "p99")
        yield table(heads, [_step(step) for step in load["steps"]])


def _compared(found: Json) -> tuple[object, ...]:
    times = [f"{found.get(name, 0):.2f} ms" for name in ("old_p50_ms", "new_p50_ms", "old_p95_ms", "new_p95_ms")]
    change, low, high = (f"{100 * (found.get(name, 1) - 1):+.1f} %" for name in ("ratio", "low", "high"))
    return found.get("name"), found.get("pairs"), *times, change, f"{low} and {high}"


def _step(step: Json) -> tuple[object, ...]:
    times = [f"{step.get(name, 0):.1f} ms" for name in ("p50_ms", "p95_ms", "p99_ms")]
    return f"{step.get('target_rps', 0):g}", f"{step.get('achieved_rps', 0):.1f}", step.get("sent"), step.get("errors"), *times


def _case_lines(found: Json, *, indent: str) -> Iterator[str]:
    said = f": {found['message']}" if found.get("message") else ""
    yield clean(f"{indent}{found.get('case')} {found.get('name') or ''} {found.get('status')}{said}")
    text = str(found.get("trace") or found.get("log") or "")
    yield from (clean(f"{indent}    {line}") for line in text.splitlines()[-TRACE_LINES:])


def _word(view: Json) -> str:
    return WORDS.get(str(view.get("recommendation")), "")


def _counts(view: Json) -> str:
    results: dict[str, Any] = view.get("test_results") or {}
    return ", ".join(f"{name.removesuffix('_tests')} {said}" for name, said in results.items() if name.endswith("_tests"))


def _path(agent: str, *run: str) -> str:
    return "/".join((f"{PREFIX}/agents", quote(agent, safe=""), "staging", *(quote(part, safe="") for part in run)))
