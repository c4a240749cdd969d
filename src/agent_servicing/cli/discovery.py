"""Finds the server to talk to and the token to use: options, then environment, then what a server on this machine left in its data directory.

`client` connects to the result; `doctor` shows how it was found.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent_servicing.cli.exits import ServerAbsent, Usage
from agent_servicing.core.errors import Denied

DEFAULT_DATA_DIRS = ("servicing-data", "demo-data")
"""Where `serve` and `demo` put their data unless told otherwise, in the order in which they are looked at."""

START_HINT = "Start one with `servicing serve` (or `servicing demo`), or name one with --server URL."

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})  # noqa: S104  compared, never bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The connection options as typed; None where nothing was."""

    server: str | None = None
    token: str | None = None
    data_dir: Path | None = None
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a server wrote into `data_dir/server.json` once it was ready. `local_url`: the way in on this machine when `api_url` is TLS."""

    data_dir: Path
    api_url: str
    router_url: str
    pid: int
    version: str
    local_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send requests. `found_by` says how we know; `token` None means none was found."""

    url: str
    token: str | None
    found_by: str
    data_dir: Path | None = None


def find(options: Options, environ: Mapping[str, str], folder: Path) -> Target:
    """The server to use, started from `folder`. Raises `ServerAbsent` naming every place tried, `Usage` for a malformed address."""
    named = options.server or environ.get("SERVICING_SERVER")
    token = options.token or environ.get("SERVICING_TOKEN")
    if named:
        url = _checked(named)
        by = "--server" if options.server else "SERVICING_SERVER"
        local = None if token else _local(url, options, environ, folder)
        return Target(url=url, token=token or _token_of(local), found_by=by, data_dir=local)
    tried: list[str] = []
    for data_dir in data_dirs(options, environ, folder):
        running = read_server_file(data_dir)
        if running is None:
            tried.append(f"{_shown(data_dir, folder)} (no server.json)")
        elif not alive(running.pid):
            tried.append(f"{_shown(data_dir, folder)} (its server, pid {running.pid}, has ended)")
        else:
            return Target(
                url=running.local_url or running.api_url,
                token=token or _token_of(data_dir),
                found_by=f"{_shown(data_dir, folder)}/server.json",
                data_dir=data_dir,
            )
    raise ServerAbsent(f"No server is running here. Looked in {', '.join(tried)}.", hint=START_HINT)


def data_dirs(options: Options, environ: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
    """Data directories to look at: the one that was named (option, environment, servicing.toml), else the default ones."""
    named = options.data_dir or environ.get("SERVICING_DATA_DIR") or _from_settings_file(folder)
    if named:
        return (folder / Path(named).expanduser(),)
    return tuple(folder / name for name in DEFAULT_DATA_DIRS)


def read_server_file(data_dir: Path) -> Running | None:
    """The contents of `server.json`, None when there is none or it is not one of ours."""
    try:
        found = json.loads((data_dir / "server.json").read_text(encoding="utf-8"))
        return Running(
            data_dir=data_dir,
            api_url=str(found["api_url"]).rstrip("/"),
            router_url=str(found.get("router_url") or "").rstrip("/"),
            pid=int(found["pid"]),
            version=str(found.get("version") or ""),
            local_url=str(found.get("local_url") or "").rstrip("/"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, unreadable or half a file: for the caller all of it means "no server here"


def alive(pid: int) -> bool:
    """Whether a process of that number exists."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    return True


def _from_settings_file(folder: Path) -> str | None:
    try:
        found = tomllib.loads((folder / "servicing.toml").read_text(encoding="utf-8")).get("data_dir")
    except (OSError, ValueError):
        return None  # `serve` reports a broken settings file; looking for a server is no reason to fail over it
    return found if isinstance(found, str) else None


def _local(url: str, options: Options, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The data directory of the server at `url` when it is on this machine: the admin token is never sent to another address."""
    for data_dir in data_dirs(options, environ, folder):
        running = read_server_file(data_dir)
        if running is not None and _address(url) in {_address(each) for each in (running.api_url, running.local_url) if each}:
            return data_dir
    return None


def _address(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return ("loopback" if host in _LOOPBACK else host, port)


def _token_of(data_dir: Path | None) -> str | None:
    if data_dir is None:
        return None
    path = data_dir / "admin.token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as e:
        raise Denied(
            f"Cannot read {path}: {e.strerror}.",
            hint="Run as the user who runs the server, or give a token with --token or SERVICING_TOKEN.",
        ) from e


def _checked(url: str) -> str:
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Usage(f"{url!r} is not a server address.", hint="It looks like http://127.0.0.1:8700.")
    return url.rstrip("/")


def _shown(data_dir: Path, folder: Path) -> str:
    return f"./{data_dir.relative_to(folder)}" if data_dir.is_relative_to(folder) else str(data_dir)
