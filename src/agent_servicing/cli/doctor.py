"""`servicing doctor`: is everything here that the product needs, and does what runs run well. `main` registers it."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import typer

from agent_servicing.cli import checks
from agent_servicing.cli.checks import Finding
from agent_servicing.cli.discovery import data_dirs
from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.output import clean
from agent_servicing.cli.server import settings_from
from agent_servicing.cli.session import Session
from agent_servicing.core.errors import ServicingError

if TYPE_CHECKING:
    from agent_servicing.settings import Settings

WIDTH: Final = 18


def doctor(session: Session) -> None:
    """Check this machine, this installation and, when it runs, the server with its agents. Exit code 1 when something must be fixed."""
    found: list[Finding] = []
    for finding in examine(session):
        found.append(finding)
        if not session.out.machine:
            _print(session, finding)
    failed = any(f.level == "fail" for f in found)
    warned = any(f.level == "warn" for f in found)
    words = "Something must be fixed." if failed else "It will work, with the warnings above." if warned else "Everything is in order."
    listed = [{"subject": f.subject, "level": f.level, "detail": f.detail, "fix": f.fix} for f in found]
    session.out.result({"ok": not failed, "checks": listed}, lambda: words)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def examine(session: Session) -> Iterator[Finding]:
    """Every finding, as soon as it is known."""
    yield checks.python_version(tuple(sys.version_info[:3]))
    directory = data_dirs(session.options, session.surroundings.environ, session.surroundings.folder)[0]
    try:
        settings = settings_from(data_dir=directory)
    except ServicingError as e:
        details = "; ".join(f"{x.path}: {x.message}" for x in e.errors)
        yield Finding(subject="settings", level="fail", detail=details or e.message, fix=e.hint)
        settings = None
    yield checks.haproxy(settings.haproxy if settings else None)
    yield from checks.haproxy_lua(settings.haproxy if settings else None)
    yield checks.limitable(directory)
    yield checks.tool("git", level="fail", needed_for="versions from git repositories")
    yield checks.tool("uv", level="fail", needed_for="installing versions of Python agents")
    reach, server_date = _server(session)
    running = reach.level == "ok"
    if settings is not None:
        yield from _ports(settings, running=running, session=session)
    yield from checks.data_dir(session.target.data_dir or directory if running else directory)
    if settings is not None and settings.database_url is not None:
        yield from checks.database(settings.database_url)
    yield checks.clock(session.surroundings.clock.now(), directory, server_date)
    yield reach
    if running:
        yield from _agents(session)


def _ports(settings: "Settings", *, running: bool, session: Session) -> Iterator[Finding]:
    """A running server was given its ports already; what else listens there is the data plane, which outlives the server."""
    local = running and session.target.data_dir is not None
    for name, host, number in (("port", settings.host, settings.port), (checks.ROUTER_PORT, settings.router_host, settings.router_port)):
        if number:
            yield checks.port(name, host, number, ours=local)


def _server(session: Session) -> tuple[Finding, str | None]:
    try:
        ready, said, date = session.api.ready()
    except ServicingError as e:
        return Finding(subject="server", level="warn", detail=e.message, fix=e.hint), None
    where = f"{session.target.url} (from {session.target.found_by})"
    if ready:
        return Finding(subject="server", level="ok", detail=f"ready at {where}"), date
    return Finding(subject="server", level="fail", detail=f"not ready at {where}: {said}", fix="Its log says why."), date


def _agents(session: Session) -> Iterator[Finding]:
    try:
        yield from checks.agents(session.api)
    except ServicingError as e:
        yield Finding(subject="agents", level="fail", detail=e.message, fix=e.hint)


def _print(session: Session, finding: Finding) -> None:
    session.out.line(clean(f"{finding.level:4}  {finding.subject:{WIDTH}} {finding.detail}"))
    if finding.fix:
        session.out.line(clean(f"{'':4}  {'':{WIDTH}} → {finding.fix}"))
