"""Commands on who may do what with one agent, and in which order: `servicing lock|unlock|queue|move|reschedule`. `main` registers them."""

from datetime import UTC
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import find
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import facts, table
from agent_servicing.cli.progress import headline, identity
from agent_servicing.cli.session import Session
from agent_servicing.cli.when import length, upcoming
from agent_servicing.cli.words import local, moment, with_zone


def lock(
    session: Session,
    agent: options.Agent,
    reason: options.Reason,
    lasting: Annotated[str | None, typer.Option("--for", metavar="SPAN", help="30min, 2h, 1d; omitted: 4 hours")] = None,
    take_over_from: Annotated[
        str | None, typer.Option("--take-over-from", metavar="HOLDER", help="End HOLDER's lock and hold it instead, for admins")
    ] = None,
) -> None:
    """Keep other operators from beginning or steering anything with AGENT for a while. Rollbacks pass; your own lock is renewed."""
    body: Json = {"reason": reason}
    if lasting is not None:
        body["expires_in_seconds"] = length(lasting).total_seconds()
    if take_over_from is not None:
        body["take_over_from"] = take_over_from
    view = session.api.lock(agent, body)
    session.out.result(view, lambda: f"{agent} is yours until {local(view.get('expires_at'))}.")


def unlock(session: Session, agent: options.Agent, reason: options.Reason = "") -> None:
    """End your lock on AGENT; an admin may end anybody's."""
    view = session.api.unlock(agent, reason)
    session.out.result(view, lambda: f"{agent} is free again; {view.get('holder')} had locked it.")


def queue(session: Session, agent: options.Agent) -> None:
    """Who has AGENT, what comes next and what it waits for."""
    view = session.api.queue(agent)
    waiting = [(str(n), d) for n, d in enumerate(view.get("queue") or (), start=1)]
    waiting += [(local(d.get("scheduled_at")), d) for d in view.get("scheduled") or ()]
    rows = [
        (place, identity(d), headline(d).removeprefix(agent).strip(), d.get("operator"), d.get("message"), d.get("reason"))
        for place, d in waiting
    ]
    session.out.result(
        view,
        lambda: facts(_facts(view)),
        lambda: "",
        lambda: table(("turn", "deployment", "versions", "operator", "waits for", "reason"), rows) if rows else "Nothing waits.",
    )


def move(
    session: Session,
    deployment: options.Deployment,
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="1 is next")],
    reason: options.Reason = "",
) -> None:
    """Give a queued deployment another place. Withdraw one with `servicing cancel`."""
    view = session.api.verb(_agent(session, deployment), deployment, "move", {"position": position, "reason": reason})
    session.out.result(view, lambda: f"{deployment} is at position {view.get('queue_position')}.")


def reschedule(
    session: Session,
    deployment: options.Deployment,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help='The new start: RFC 3339, 02:00, "tomorrow 02:00"')] = None,
    now: Annotated[bool, typer.Option("--now", help="Begin as soon as possible")] = False,
    reason: options.Reason = "",
) -> None:
    """Give a waiting deployment another start."""
    if (at is None) is not now:
        raise Usage("Give either --at TIME or --now.")
    start = upcoming(at, session.surroundings.clock.now()).astimezone(UTC) if at is not None else None
    body: Json = {"schedule": start.isoformat().replace("+00:00", "Z") if start else None, "reason": reason}
    view = session.api.verb(_agent(session, deployment), deployment, "reschedule", body)
    scheduled = moment(view.get("scheduled_at"))
    session.out.result(view, lambda: f"{deployment} starts {with_zone(scheduled) if scheduled else 'as soon as possible'}.")


def _agent(session: Session, deployment: str) -> str:
    return str(find(session.api, deployment).get("agent_id", ""))


def _facts(view: Json) -> list[tuple[str, Any]]:
    holder, held, gate = view.get("holder") or {}, view.get("lock") or {}, view.get("gate") or {}
    since = local(holder.get("started_at"))
    return [
        ("agent", view.get("agent_id")),
        ("under way", f"{headline(holder)} by {holder.get('operator')} since {since}: {holder.get('reason')}" if holder else "nothing"),
        ("locked", f"by {held.get('holder')} until {local(held.get('expires_at'))}: {held.get('reason')}" if held else None),
        ("may begin", "yes" if gate.get("open") else f"no: {gate.get('reason')}"),
    ]
