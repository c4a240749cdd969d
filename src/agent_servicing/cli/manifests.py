"""Finds the manifest that `servicing agent add` is pointed at: a file, a folder, or a git repository here or elsewhere."""

import json
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent_servicing.core.errors import Invalid, NotFound, Unavailable

NAME: Final = "agent.toml"
GIT_TIMEOUT_SECONDS: Final = 120.0
"""For fetching the newest commit of a remote repository."""

MAX_BYTES: Final = 256 * 1024
"""Largest manifest; ours are some kilobytes, and whatever is larger is another file."""

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://.+|[\w.-]+@[\w.-]+:.+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The manifest's text and where it lies on this machine: relative sources in it are resolved against the folder of `path`."""

    text: str
    path: str | None = None


def find_manifest(source: str, folder: Path) -> Found:
    """The manifest at `source`, a path relative to `folder` or a git address. Raises NotFound, Invalid or Unavailable with what to do."""
    if _REMOTE.fullmatch(source):
        return _remote(source)
    path = (folder / Path(source).expanduser()).resolve()
    if path.is_file():
        return Found(text=_read(path), path=str(path))
    if not path.is_dir():
        raise NotFound(f"There is no file or folder {source}.", hint=f"Name an {NAME}, a folder that has one, or a git repository.")
    repository = _is_repository(path)
    if (path / NAME).is_file():
        text = _read(path / NAME)
        return Found(text=with_source(text, str(path)) if repository else text, path=str(path / NAME))
    if repository:
        return Found(text=with_source(_show(path, source), str(path)), path=str(path / NAME))
    raise NotFound(f"The folder {source} has no {NAME} and is no git repository.", hint="docs/guides/manifest.md says what goes into one.")


def with_source(text: str, location: str) -> str:
    """The manifest with the repository it lies in as its source, unless it names one: a repository need not know its own address."""
    try:
        named = "source" in tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return text  # the server says what is wrong with it, and where
    return text if named else f"{text.rstrip()}\n\n[source]\ngit = {json.dumps(location)}\n"


def _remote(address: str) -> Found:
    with tempfile.TemporaryDirectory(prefix="servicing-") as temporary:
        copy = Path(temporary) / "copy.git"
        _git("clone", "--quiet", "--bare", "--depth", "1", "--", address, str(copy), failed=f"Cannot read the repository {address}")
        return Found(text=with_source(_show(copy, address), address))


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())


def _show(repository: Path, source: str) -> str:
    failed = f"The default branch of {source} has no {NAME} (or no commit yet)"
    return _git("-C", str(repository), "show", f"HEAD:{NAME}", failed=failed)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Invalid(f"{path} is larger than {MAX_BYTES // 1024} KB; that is no manifest.")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8 text.") from None
    except OSError as e:
        raise Invalid(f"Cannot read {path}: {e.strerror}.") from e


def _git(*arguments: str, failed: str) -> str:
    """Output of git, which never asks for a password here. Raises Invalid with its last line."""
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    }
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, env=environment, timeout=GIT_TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise Unavailable("git is not installed.", hint="Install git, or point to an agent.toml.") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{failed}: no answer within {GIT_TIMEOUT_SECONDS:g} s.") from None
    if done.returncode:
        raise Invalid(f"{failed}: {last_line(done.stderr.decode(errors='replace').splitlines())}.")
    return done.stdout[:MAX_BYTES].decode(errors="replace")


def last_line(lines: Sequence[str]) -> str:
    """The last line that says something, without git's `fatal:`."""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("fatal: ").rstrip(".") if said else "git gave no reason"
