"""What a child process is given: a small environment, a command with its placeholders filled in, and the program file that command means."""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv

from agent_servicing.core.errors import PermanentError

KEPT = frozenset(
    {"HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "SSH_AUTH_SOCK"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}
)
"""Variables of the server's own environment that agents and installations see. The rest, our tokens among it, stays with the server."""

KEPT_PREFIXES = ("LC_", "UV_", "PIP_")
"""Locale, and where packages come from: an index or a mirror that the operator has set up applies to agents too."""

DROPPED = frozenset({"UV_PROJECT_ENVIRONMENT", "PIP_TARGET", "PIP_PREFIX"})
"""These would move an agent's packages out of its release folder."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class CommandNotFound(PermanentError):
    """The program does not exist or cannot be run; `exit_code` is what a shell would say: 127 or 126."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def base_environment(outer: Mapping[str, str], release: Path) -> dict[str, str]:
    """The environment every child starts from. `PATH`: the release's own `.venv`, then our interpreter and uv, then the server's."""
    environment = {name: value for name, value in outer.items() if name not in DROPPED and (name in KEPT or name.startswith(KEPT_PREFIXES))}
    own = release / ".venv" / "bin"
    folders = [str(own)] if own.is_dir() else []
    folders += [str(Path(sys.executable).parent), *_uv_folder()]
    folders += outer.get("PATH", os.defpath).split(os.pathsep)
    environment["PATH"] = os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
    environment.setdefault("LANG", "C.UTF-8")
    environment["PYTHONUNBUFFERED"] = "1"  # or the last words of a crashed agent would be lost in its buffer
    return environment


def _uv_folder() -> list[str]:
    try:
        return [str(Path(uv.find_uv_bin()).parent)]
    except FileNotFoundError:
        return []  # installed in an unusual way; one on PATH does as well


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each known `{name}` replaced; unknown braces stay, because commands may hold JSON."""
    return _PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group(0)), text)


def resolve(command: Sequence[str], *, path: str, folder: Path) -> list[str]:
    """`command` with its program as an absolute path: looked up in `path`, or relative to `folder` when it holds a slash.

    Raises `CommandNotFound`, whose message names where it was looked for.
    """
    if not command:
        raise CommandNotFound("the command is empty", exit_code=127)
    name = command[0]
    wanted = str(folder / name) if "/" in name else name
    found = shutil.which(wanted, path=path)
    if found:
        return [found, *command[1:]]
    if "/" in name:
        if Path(wanted).exists():
            raise CommandNotFound(f"command cannot be executed: {name} ({wanted} is no executable file)", exit_code=126)
        raise CommandNotFound(f"command not found: {name} (there is no {wanted})", exit_code=127)
    raise CommandNotFound(f"command not found: {name} (looked in {path.replace(os.pathsep, ', ')})", exit_code=127)
