"""`python -P -m agent_servicing.adapters.sources.install project|package …`: makes `.venv` in the current folder with uv, in a few steps.

The runtime starts it as a version's install step and keeps what it prints; its exit code is that of the first step that failed.
Use: `project` installs what the folder's files ask for, `package NAME==VERSION` one package.
"""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from uv import find_uv_bin

STEP_TIMEOUT_SECONDS = 3600.0
"""Limit for one step; the runtime's own limit for the whole is usually shorter."""

USAGE_ERROR = 2


def main(arguments: Sequence[str]) -> int:
    """Run the steps; the exit code is the first bad one, else 0."""
    steps = plan(arguments, Path.cwd())
    if steps is None:
        print("usage: install project | install package NAME==VERSION", file=sys.stderr)  # noqa: T201
        return USAGE_ERROR
    uv = find_uv_bin()
    for step in steps:
        print("$ uv " + " ".join(step), flush=True)  # noqa: T201
        code = subprocess.run([uv, *step], check=False, timeout=STEP_TIMEOUT_SECONDS).returncode
        if code:
            return code
    return 0


def plan(arguments: Sequence[str], folder: Path) -> list[list[str]] | None:
    """The arguments of uv, step by step; None when `arguments` are not ours."""
    match arguments:
        case ["package", requirement]:
            return [_make_environment(), [*_into_environment(), requirement]]
        case ["project"]:
            return _project(folder)
        case _:
            return None


def _project(folder: Path) -> list[list[str]]:
    """A lock file decides alone; else requirements, and the project itself when it can be built, its dependencies when it cannot."""
    declared = _declared(folder)
    if (folder / "uv.lock").is_file() and "project" in declared:
        return [["sync", "--frozen", "--no-dev", "--no-editable"]]
    wanted: list[str] = []
    if (folder / "requirements.txt").is_file():
        wanted += ["-r", "requirements.txt"]
    if "build-system" in declared or (folder / "setup.py").is_file():
        wanted += ["."]
    elif "project" in declared:
        wanted += ["-r", "pyproject.toml"]
    return [_make_environment(), [*_into_environment(), *wanted]] if wanted else []


def _declared(folder: Path) -> dict[str, object]:
    file = folder / "pyproject.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _make_environment() -> list[str]:
    return ["venv", "--clear", "--no-project", "--python", sys.executable, ".venv"]


def _into_environment() -> list[str]:
    return ["pip", "install", "--python", ".venv/bin/python"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
