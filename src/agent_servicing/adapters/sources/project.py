"""The install step worked out from a version's files, for sources that hand over a folder (git, path). Pure but for looking at the folder."""

import sys
from collections.abc import Sequence
from pathlib import Path

INSTALLER = "agent_servicing.adapters.sources.install"
"""The module that runs the steps of an installation one after the other, because an install step is one command and no shell."""

PROJECT_FILES = ("uv.lock", "requirements.txt", "pyproject.toml", "setup.py")


def install_command(folder: Path) -> Sequence[str] | None:
    """The command that makes `.venv` for the project in `folder`; None when nothing there asks for an installation."""
    if not any((folder / name).is_file() for name in PROJECT_FILES):
        return None
    return installer("project")


def installer(*arguments: str) -> Sequence[str]:
    """Our installer, run by our interpreter in the release folder. `-P` keeps the agent's own modules from standing in for the library's."""
    return (sys.executable, "-P", "-m", INSTALLER, *arguments)
