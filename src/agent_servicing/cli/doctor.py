"""`servicing doctor`: is everything here that the product needs, and does what runs run well. `main` registers it."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from agent_servicing.cli import checks, doctor_data, doctor_edge, doctor_fleet
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
    listed = [{"subject": f.subject, "level": f.level, "detail": f.detail, "why": f.why, "fix": f.fix} for f in found]
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
    if settings is not None:
        yield from _settings(session, settings)
    yield checks.haproxy(settings.haproxy if settings else None)
    yield from checks.haproxy_lua(settings.haproxy if settings else None)
    yield checks.limitable(directory)
    yield doctor_data.open_files()
    yield checks.tool("git", level="fail", needed_for="versions from git repositories")
    yield checks.tool("uv", level="fail", needed_for="installing versions of Python agents")
    reach, server_date = _server(session)
    running = reach.level == "ok"
    where = session.target.data_dir or directory if running else directory
    if settings is not None:
        yield from doctor_edge.ports(settings, where)
        yield from doctor_edge.certificate(settings, where, session.surroundings.clock.now())
    yield from checks.data_dir(where)
    if settings is not None:
        yield from _kept(settings, where, running=running)
    yield checks.clock(session.surroundings.clock.now(), directory, server_date)
    yield reach
    if running:
        yield from _agents(session)
        yield from _asked(session, where)


def _settings(session: Session, settings: "Settings") -> Iterator[Finding]:
    from_file: dict[str, object] = {}
    with suppress(OSError, ValueError):  # settings that cannot be read were told of before this
        from_file = tomllib.loads((session.surroundings.folder / "servicing.toml").read_text(encoding="utf-8"))
    yield from doctor_data.settings_used(session.surroundings.environ, sorted(type(settings).model_fields), from_file)


def _kept(settings: "Settings", data_dir: Path, *, running: bool) -> Iterator[Finding]:
    """What lies in the data directory and its database."""
    yield from doctor_data.rights(data_dir)
    yield from doctor_data.leftovers(data_dir, running=running)
    yield from doctor_data.version(data_dir)
    yield from doctor_data.disk_used(data_dir)
    if settings.database_url is not None:
        yield from checks.database(settings.database_url)
        return
    file = data_dir / "servicing.db"
    yield from doctor_data.sqlite_file(file)
    yield from doctor_data.secrets_open(settings.model_copy(update={"data_dir": data_dir}), file)
    if file.exists() and not running:
        yield from doctor_data.history_of(file)


def _asked(session: Session, data_dir: Path) -> Iterator[Finding]:
    """What a running server knows; the parts that it cannot tell are left out, its agents having said so."""
    api, now = session.api, session.surroundings.clock.now()
    looks: list[Callable[[], Iterator[Finding]]] = [
        lambda: doctor_fleet.event_bus(api.ready()[1]),
        lambda: doctor_fleet.audit(api),
        lambda: doctor_fleet.each_agent(api, now),
    ]
    if session.target.data_dir is not None:
        looks.append(lambda: doctor_fleet.strays(api, data_dir))
    for look in looks:
        with suppress(ServicingError):
            yield from look()


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
    if finding.why:
        session.out.line(clean(f"{'':4}  {'':{WIDTH}} {finding.why}"))
    if finding.fix:
        session.out.line(clean(f"{'':4}  {'':{WIDTH}} → {finding.fix}"))
