"""Types every command of docs/guides/first-upgrade.md, in its order, as its reader would, in a folder that looks like a checkout."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_servicing.cli.discovery import read_server_file
from tests.e2e.harness import wait_for

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```sh ?(?P<kind>\S*)\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 120
OTHER = "other-terminal.out"
DATA_PLANE = "http://127.0.0.1:8800"
"""Where the guide's server has it; the test's has it elsewhere."""


def blocks() -> list[tuple[str, list[str]]]:
    """Kind (`server`, `traffic`, `exit=N`, …) and commands of every shell block."""
    text = (ROOT / "docs/guides/first-upgrade.md").read_text()
    return [(found["kind"], found["commands"].splitlines()) for found in BLOCK.finditer(text)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the commands are typed; whatever they leave running is ended."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    yield tmp_path
    subprocess.run(
        [tmp_path / ".venv/bin/servicing", "stop", "--all"], cwd=tmp_path, check=False, capture_output=True, timeout=COMMAND_SECONDS
    )


def started(command: str, folder: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A command of another terminal; what it prints goes to a file."""
    with (folder / OTHER).open("ab") as out:
        return subprocess.Popen(["sh", "-c", command], cwd=folder, env=environ, stdout=out, stderr=out, start_new_session=True)


def typed(command: str, folder: Path, environ: dict[str, str]) -> int:
    """Exit code of a command; what it printed is shown when the test fails."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    sys.stdout.write(f"$ {command}\n{done.stdout.decode(errors='replace')}\n")
    return done.returncode


def test_every_command_of_the_first_upgrade_does_what_the_guide_says(folder: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVICING_")}
    environ |= {"SERVICING_PORT": "0", "SERVICING_ROUTER_PORT": "0", "SERVICING_VERSION_REFRESH_SECONDS": "0"}
    router_url = DATA_PLANE
    background = []
    try:
        for kind, commands in blocks():
            if kind == "setup":
                continue
            for line in commands:
                command = line.replace(DATA_PLANE, router_url)
                if kind in ("server", "traffic"):
                    background.append(started(command, folder, environ))
                    running = wait_for("the server", lambda: read_server_file(folder / "servicing-data"))
                    router_url = running.router_url
                    continue
                assert typed(command, folder, environ) == int(kind.removeprefix("exit=") or 0), command
        assert not (folder / "servicing-data").exists()
    finally:
        sys.stdout.write((folder / OTHER).read_text(errors="replace")[-8000:])
        for process in background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)
