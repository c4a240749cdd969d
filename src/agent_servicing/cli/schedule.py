"""Commands on the line of all agents: `servicing schedule list|upcoming|freeze|window|remove|stop|resume|limit`. `main` registers them."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.completion import complete_agents
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import clean, facts, table
from agent_servicing.cli.session import Session
from agent_servicing.cli.when import upcoming as coming
from agent_servicing.cli.words import local

Name = Annotated[str, typer.Argument(metavar="NAME", help="What people call it")]
From = Annotated[str | None, typer.Option("--from", metavar="TIME", help="Once: from then; omitted: now")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Once: until then")]
Cron = Annotated[
    str | None, typer.Option("--cron", metavar="EXPRESSION", help='Again and again: minute hour day month weekday, such as "0 22 * * 1-5"')
]
Hours = Annotated[float | None, typer.Option("--hours", metavar="N", help="With --cron: how long each time, in real hours")]
Zone = Annotated[str, typer.Option("--zone", metavar="ZONE", help="With --cron: in which time zone, such as Europe/Berlin")]
Agents = Annotated[
    list[str] | None, typer.Option("--agent", metavar="AGENT", help="Only this agent; repeat for more", autocompletion=complete_agents)
]
Rule = Annotated[str, typer.Argument(metavar="ID", help="frz-… or win-…, from `servicing schedule`")]


def show(session: Session) -> None:
    """Freezes, maintenance windows, whether the line is stopped, and how many deployments may be under way."""
    view = session.api.schedule()
    _shown(session, view, view)


def upcoming(session: Session, days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="How far ahead")] = 7) -> None:
    """What is planned for the coming days, and what stands against it."""
    view = session.api.upcoming(days)
    planned, spans = view.get("deployments") or [], view.get("spans") or []
    rows = [
        (
            d.get("upgrade_id"),
            f"{d.get('agent_id')} → {d.get('to_version')}",
            local(d.get("scheduled_at")) or "now",
            local(d.get("expected_start")) or "not known",
            "; ".join(d.get("conflicts") or ()),
        )
        for d in planned
    ]
    held = [
        (s.get("kind"), s.get("name"), local(s.get("starts_at")), local(s.get("ends_at")), ", ".join(s.get("agents") or ()) or "all")
        for s in spans
    ]
    session.out.result(
        view,
        lambda: table(("deployment", "what", "asked for", "begins", "remarks"), rows) if rows else "Nothing is planned.",
        lambda: "",
        lambda: table(("rule", "name", "from", "until", "agents"), held) if held else "No freeze and no window in that time.",
    )


def freeze(
    session: Session,
    name: Name,
    reason: options.Reason,
    starts: From = None,
    until: Until = None,
    cron: Cron = None,
    hours: Hours = None,
    zone: Zone = "UTC",
    agents: Agents = None,
) -> None:
    """Let no upgrade and no restart begin for a time, once or again and again. Rollbacks pass."""
    _add(session, "freeze", name, reason, _times(session, starts, until, cron, hours, zone), agents)


def window(
    session: Session,
    name: Name,
    reason: options.Reason,
    starts: From = None,
    until: Until = None,
    cron: Cron = None,
    hours: Hours = None,
    zone: Zone = "UTC",
    agents: Agents = None,
) -> None:
    """Let upgrades and restarts begin only at these times; of several windows one that is open suffices."""
    _add(session, "window", name, reason, _times(session, starts, until, cron, hours, zone), agents)


def remove(session: Session, rule: Rule, reason: options.Reason = "") -> None:
    """Remove a freeze or window; what it held may begin at once."""
    view = session.api.remove_rule(rule, reason)
    session.out.result(view, lambda: f"{rule} is removed.")


def stop(
    session: Session,
    reason: options.Reason,
    pause_running: Annotated[bool, typer.Option("--pause-running", help="Also pause what is under way")] = False,
) -> None:
    """Stop the line: nothing begins any more, for any agent. Rollbacks pass."""
    view = session.api.stop_line({"reason": reason, "pause_running": pause_running})
    paused = ", ".join(view.get("paused") or ())
    session.out.result(view, lambda: f"The line is stopped.{f' Asked to pause: {paused}.' if paused else ''}")


def resume(session: Session, reason: options.Reason = "") -> None:
    """Let things begin again. What was paused stays paused."""
    view = session.api.resume_line({"reason": reason})
    session.out.result(view, lambda: "The line runs again.")


def limit(
    session: Session,
    number: Annotated[str, typer.Argument(metavar="N|default", help="0 is no limit")],
    reason: options.Reason = "",
) -> None:
    """Let at most N upgrades and restarts be under way at once, over all agents."""
    if number != "default" and not (number.isascii() and number.isdigit()):
        raise Usage(f"The limit is a number or default, not {number!r}.")
    view = session.api.set_limit({"max_concurrent_deployments": None if number == "default" else int(number), "reason": reason})
    session.out.result(view, lambda: _limit(view))


def _shown(session: Session, value: Json, view: Json) -> None:
    rules, stopped, places = view.get("rules") or [], view.get("stopped"), view.get("limit") or {}
    line = f"stopped by {stopped.get('operator')} since {local(stopped.get('since'))}: {stopped.get('reason')}" if stopped else "runs"
    session.out.result(
        value,
        lambda: facts((("line", line), ("deployments", _limit(places)))),
        lambda: "",
        lambda: _table(rules) if rules else "No freeze and no window: things begin at any time.",
    )


def _limit(places: Json) -> str:
    most = places.get("max_concurrent_deployments") or 0
    allowed = f"at most {most} at once" if most else "no limit"
    return f"{allowed}, {places.get('under_way', 0)} under way, {places.get('waiting', 0)} waiting"


def _table(rules: list[Json]) -> Any:
    return table(("id", "kind", "name", "when", "now", "next", "agents", "reason"), [_row(rule) for rule in rules])


def _row(rule: Json) -> tuple[object, ...]:
    now = f"until {local(rule.get('until'))}" if rule.get("active") else "over" if rule.get("over") else ""
    agents = ", ".join(rule.get("agents") or ()) or "all"
    return (
        rule.get("rule_id"),
        rule.get("kind"),
        rule.get("name"),
        _when(rule),
        now,
        local(rule.get("next_start")),
        agents,
        rule.get("reason"),
    )


def _when(rule: Json) -> str:
    if rule.get("cron"):
        return f"{rule['cron']} {rule.get('time_zone')}, {(rule.get('duration_seconds') or 0) / 3600:g} h"
    return f"{local(rule.get('starts_at'))} – {local(rule.get('ends_at'))}"


def _times(session: Session, starts: str | None, until: str | None, cron: str | None, hours: float | None, zone: str) -> Json:
    """The body's part that says when. Raises `Usage` for a mixture of both ways or for neither."""
    now = session.surroundings.clock.now()
    if cron is not None:
        if starts is not None or until is not None:
            raise Usage("Give either --from and --until, or --cron and --hours.")
        if hours is None:
            raise Usage("--cron needs --hours: how long it lasts each time.")
        return {"cron": cron, "duration_seconds": hours * 3600, "time_zone": zone}
    if until is None or hours is not None:
        raise Usage("Give --until (and --from), or --cron and --hours.")
    begins = coming(starts, now) if starts is not None else now
    return {"starts_at": _text(begins), "ends_at": _text(coming(until, now))}


def _add(session: Session, kind: str, name: str, reason: str, times: Json, agents: list[str] | None) -> None:
    view = session.api.add_rule({"kind": kind, "name": name, "reason": reason, "agents": list(agents or ()), **times})
    state = f"holds until {local(view.get('until'))}" if view.get("active") else f"begins {local(view.get('next_start'))}"
    session.out.result(
        view, lambda: facts(((kind, view.get("rule_id")), ("name", view.get("name")), ("when", _when(view)), ("now", state)))
    )
    for warning in view.get("warnings") or ():
        session.out.note(clean(f"Warning: {warning}"))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
