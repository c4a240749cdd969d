"""What changed between two looks at a deployment, as lines for people; and how it ended. Pure: JSON of the API in, sentences out.

`watch` prints the lines; following the view instead of single messages keeps them complete whether a WebSocket works or not.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.words import clock_time, duration, moment, number
from agent_servicing.core.status import TERMINAL, WAITING, DeploymentStatus

Json = dict[str, Any]

SIDES: Final = ("blue", "green")
"""Under these names the API shows the stable and the candidate version."""

_TOLD: Final = frozenset({"in_progress", "completed", "failed", "skipped"})


def is_terminal(view: Json) -> bool:
    """Whether nothing more will happen to it."""
    return view.get("status") in TERMINAL


def outcome(view: Json) -> ExitCode:
    """The exit code of whoever waited for this deployment to end."""
    match view.get("status"):
        case DeploymentStatus.COMPLETED:
            return ExitCode.DONE
        case DeploymentStatus.ROLLED_BACK:
            return ExitCode.ROLLED_BACK
        case _:
            return ExitCode.FAILED


def identity(view: Json) -> str:
    """The deployment's id, under whichever name the endpoint gives it."""
    return str(view.get("upgrade_id") or view.get("rollback_id") or "")


def headline(view: Json) -> str:
    """`WowMemory 1.2.5 → 1.3.0`."""
    steps = [v for v in (view.get("from_version"), view.get("to_version") or view.get("target_version")) if v]
    return f"{view.get('agent_id', '')} {' → '.join(map(str, steps))}".strip()


def lines(old: Json | None, new: Json, now: datetime) -> list[str]:
    """What happened since `old` (None: since the beginning), oldest first, each with its time of day."""
    before = old or {}
    found = [*_status(before, new), *_stages(before, new), *_traffic(before, new), *_verdict(before, new), *_trigger(before, new)]
    stamped = [(moment(at) or now, place, words) for place, (at, words) in enumerate(found)]
    return [f"{clock_time(at.isoformat())}  {words}" for at, _, words in sorted(stamped)]


def summary(view: Json) -> str:
    """One or two sentences about a deployment that has ended."""
    status = view.get("status")
    sentences = [f"{headline(view)}: {str(status).replace('_', ' ')}{_took(view)}{_why(view)}."]
    if status == DeploymentStatus.ROLLED_BACK and view.get("from_version"):
        sentences.append(f"{view['from_version']} serves again.")
    impact = view.get("impact")
    if isinstance(impact, dict) and status != DeploymentStatus.CANCELLED:
        sentences.append(_impact(impact))
    return " ".join(s for s in sentences if s)


def metrics_line(view: Json) -> str:
    """Both versions' figures on one line, "" while there are none."""
    shown = []
    for side in SIDES:
        figures = _side(view, side)
        if figures:
            parts = (
                number(figures.get("traffic_percent"), " % of traffic"),
                number(figures.get("error_rate"), " % errors", 2),
                number(figures.get("avg_latency_ms"), " ms"),
                number(figures.get("throughput"), " req/s"),
            )
            shown.append(f"{figures.get('version') or side}: {', '.join(p for p in parts if p)}")
    return " | ".join(shown)


def _stages(before: Json, new: Json) -> Iterator[tuple[object, str]]:
    known = {s.get("stage"): s.get("status") for s in before.get("stages") or ()}
    for stage in new.get("stages") or ():
        name, status = stage.get("stage"), stage.get("status")
        if status not in _TOLD or known.get(name) == status:
            continue
        if status == "in_progress":
            yield stage.get("started_at"), f"{name} started"
            continue
        took = duration(stage.get("duration_seconds"))
        note = f": {stage['note']}" if stage.get("note") else ""
        yield stage.get("completed_at"), f"{name} {status}{f' after {took}' if took else ''}{note}"


def _traffic(before: Json, new: Json) -> Iterator[tuple[object, str]]:
    shares = [(_side(new, side), _side(before, side)) for side in SIDES]
    if any((now.get("traffic_percent") or 0) != (then.get("traffic_percent") or 0) for now, then in shares):
        told = [f"{now.get('version')} {number(now.get('traffic_percent'), ' %')}" for now, _ in shares if now.get("version")]
        if told:
            yield None, f"traffic: {', '.join(told)}"


def _verdict(before: Json, new: Json) -> Iterator[tuple[object, str]]:
    then, now = before.get("judgement") or {}, new.get("judgement") or {}
    if now.get("verdict") and now.get("verdict") != then.get("verdict"):
        yield None, f"verdict {now['verdict'].replace('_', ' ')}: {now.get('sentence', '')}"


def _trigger(before: Json, new: Json) -> Iterator[tuple[object, str]]:
    trigger = new.get("rollback") or {}
    if trigger and not before.get("rollback"):
        by = "automatic rollback" if trigger.get("auto_triggered") else "rollback"
        yield trigger.get("triggered_at"), f"{by}: {trigger.get('reason', '')}"


def standing(view: Json) -> str:
    """Its status, and while it waits what for."""
    status, waits = str(view.get("status", "")).replace("_", " "), view.get("waiting_for")
    return f"{status}, waits for: {waits}" if waits else status


def _status(before: Json, new: Json) -> Iterator[tuple[object, str]]:
    status, waits = new.get("status"), new.get("message")
    if status in WAITING and waits and waits != before.get("message"):
        yield None, f"waits: {waits}"
    if status == before.get("status") or status in TERMINAL:
        return
    words = str(status).replace("_", " ")
    if status == DeploymentStatus.QUEUED and new.get("queue_position"):
        words += f" at position {new['queue_position']}"
    if status == DeploymentStatus.SCHEDULED and new.get("scheduled_at"):
        words += f" for {new['scheduled_at']}"
    yield None, words


def _side(view: Json, side: str) -> Json:
    figures = (view.get("metrics") or {}).get(side)
    return figures if isinstance(figures, dict) else {}


def _took(view: Json) -> str:
    started, finished = moment(view.get("started_at")), moment(view.get("finished_at") or view.get("completed_at"))
    if started is None or finished is None:
        return ""
    return f" after {duration((finished - started).total_seconds())}"


def _why(view: Json) -> str:
    reason = (view.get("rollback") or {}).get("reason") or view.get("message")
    return f" ({reason})" if reason and view.get("status") != DeploymentStatus.COMPLETED else ""


def _impact(impact: Json) -> str:
    parts = []
    requests, errors = impact.get("candidate_requests"), impact.get("candidate_errors")
    if requests:
        parts.append(f"{errors or 0} of {requests} requests to the new version failed")
    if impact.get("conversations_touched") is not None:
        parts.append(f"{impact['conversations_touched']} conversations touched")
    if impact.get("downtime_seconds") is not None:
        parts.append(f"downtime {duration(impact['downtime_seconds'])}")
    if impact.get("unserved"):
        parts.append(f"{impact['unserved']} requests unserved")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
