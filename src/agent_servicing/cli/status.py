"""`servicing status`: the fleet, one agent, or one deployment; with `--watch` live. `main` registers it."""

from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn

import typer

from agent_servicing.cli.agents import NO_AGENTS, agent_facts, agents_table
from agent_servicing.cli.answers import Json
from agent_servicing.cli.completion import complete_agents
from agent_servicing.cli.deployments import find
from agent_servicing.cli.exits import ExitCode, Usage
from agent_servicing.cli.generations import generations_table
from agent_servicing.cli.output import clean, facts, table
from agent_servicing.cli.progress import headline, is_terminal, standing, summary
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import watch as follow
from agent_servicing.cli.words import count, local
from agent_servicing.core.errors import NotFound

DEPLOYMENTS_SHOWN: Final = 10
REFRESH_SECONDS: Final = 1.0

What = Annotated[
    str | None, typer.Argument(metavar="[AGENT|ID]", help="An agent or a deployment; omitted: everything", autocompletion=complete_agents)
]


def status(
    session: Session,
    what: What = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep showing it: a deployment until it has ended, else until Ctrl-C")
    ] = False,
) -> None:
    """How everything is, or one agent, or how far a deployment is."""
    if what is None:
        _show(session, lambda: _fleet(session), watch=watch)
        return
    deployment = _deployment(session, what)
    if deployment is not None:
        _one_deployment(session, deployment, watch=watch)
        return
    under_way = _under_way(session, what) if watch else None
    if under_way is not None:
        follow(session, under_way)
    _show(session, lambda: _agent(session, what), watch=watch)


Shown = tuple[object, tuple[Callable[[], Any], ...]]
"""A result for machines and what makes it for people."""


def _show(session: Session, make: Callable[[], Shown], *, watch: bool) -> None:
    if watch:
        _refresh(session, make)
    value, shown = make()
    session.out.result(value, *shown)


def _refresh(session: Session, make: Callable[[], Shown]) -> NoReturn:
    """Redraw until Ctrl-C; only a terminal can be redrawn."""
    if not session.out.terminal:
        raise Usage(
            "Only a deployment can be watched without a terminal or with --json.", hint="Ask again for a new look, or name an upg-… id."
        )
    from rich.console import Group  # noqa: PLC0415  a tenth of a second at import
    from rich.live import Live  # noqa: PLC0415

    try:
        with Live(console=session.out.console(), auto_refresh=False) as live:
            while True:
                live.update(Group(*(part() for part in make()[1])), refresh=True)
                session.surroundings.pause(REFRESH_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _fleet(session: Session) -> Shown:
    totals, agents = session.api.fleet(), session.api.agents()
    shown = (lambda: _totals(totals), lambda: "", lambda: agents_table(agents)) if agents else (lambda: NO_AGENTS,)
    return {"fleet": totals, "agents": agents}, shown


def _totals(totals: Json) -> str:
    def of(key: str) -> int:
        return int(totals.get(key) or 0)

    parts = (
        f"{count(of('agents'), 'agent')}: {of('healthy')} healthy, {of('degraded')} degraded, {of('down')} down",
        f"{of('instances_ready')} of {count(of('instances_desired'), 'instance')} ready",
        f"{count(of('deployments_active'), 'deployment')} under way, {of('deployments_waiting')} waiting",
        f"{of('updates_available')} with an update",
    )
    return "; ".join(parts) + "."


def _agent(session: Session, agent: str) -> Shown:
    view = session.api.agent(agent)
    recent = session.api.deployments(agent, DEPLOYMENTS_SHOWN)
    rows = [
        (d.get("upgrade_id"), headline(d).removeprefix(agent).strip(), standing(d), local(d.get("started_at")), d.get("reason"))
        for d in recent
    ]
    generations = _generations(session, agent)
    return {**view, "upgrades": recent, "work": generations}, (
        lambda: facts(agent_facts(view)),
        lambda: "",
        *((lambda: generations_table(generations), lambda: "") if generations else ()),
        lambda: table(("deployment", "versions", "status", "started", "reason"), rows),
    )


def _deployment(session: Session, what: str) -> Json | None:
    """The deployment called `what`, None when that is an agent. An agent may be called `upg-1`, so the id decides only when it exists."""
    if not what.startswith(("upg-", "rbk-")):
        return None
    try:
        return find(session.api, what)
    except NotFound as missing:
        try:
            session.api.agent(what)
        except NotFound:
            raise missing from None
        return None


def _under_way(session: Session, agent: str) -> Json | None:
    """The agent's deployment that can be followed: the newest one that has not ended."""
    return next((d for d in session.api.deployments(agent, DEPLOYMENTS_SHOWN) if not is_terminal(d)), None)


def _generations(session: Session, agent: str) -> list[Json]:
    """None of an agent that is gone, whose deployments can still be asked for."""
    try:
        return session.api.generations(agent)
    except NotFound:
        return []


def _one_deployment(session: Session, view: Json, *, watch: bool) -> None:
    if watch:
        follow(session, view)
    if session.out.machine:
        session.out.json(view)
        return
    from agent_servicing.cli.live_view import Frame, draw  # noqa: PLC0415  brings rich

    session.out.console().print(draw(Frame(view=view, now=session.surroundings.clock.now())))
    generations = _generations(session, str(view.get("agent_id")))
    if generations and (not is_terminal(view) or any(each.get("phase") == "draining" for each in generations)):
        session.out.line("")
        session.out.console().print(generations_table(generations))
    if is_terminal(view):
        session.out.line(clean(summary(view)))
