"""`servicing demo` for real, in a process of its own, as a visitor starts it: both acts, the commands it proposes, kill -9, the end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent_servicing.cli.discovery import read_server_file
from tests.e2e.harness import wait_for

COMMAND_SECONDS = 120
PLAYED_SECONDS = 280
"""For both acts and what happens beside them, on a machine that is busy with other tests."""

DATA = "demo-data"
TYPED = ("curl", "upgrade", "rollback", "audit")
"""Which of the proposed commands a test can type: the others need a terminal, a browser, or end what it still needs."""


class Demo:
    """One start of the demo in `folder`; what it prints goes to a file."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self._out = folder, folder / "demo.out"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SERVICING_")}
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    Path(sys.executable).parent / "servicing",
                    "demo",
                    "--quick",
                    "--port",
                    "0",
                    "--router-port",
                    "0",
                    "--data-dir",
                    DATA,
                    *words,
                ],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._out.read_text()

    def until(self, text: str) -> None:
        wait_for(repr(text), lambda: text in self.said or self.process.poll() is not None, seconds=PLAYED_SECONDS)
        assert text in self.said, self.said

    def end(self, by: signal.Signals) -> int:
        self.process.send_signal(by)
        return self.process.wait(COMMAND_SECONDS)

    @property
    def proposals(self) -> list[str]:
        """The commands below `Now you`, without indentation."""
        return [line.strip() for line in self.said.partition("== Now you ==")[2].splitlines() if line.startswith("    ")]


def running(folder: Path) -> dict[int, str]:
    """Every process that belongs to the demo in `folder`: pid → its command."""
    data = str(folder / DATA)
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SERVICING_DATA_DIR") == data or process.cwd().startswith(data):
                found[process.pid] = " ".join(process.cmdline())
    return found


def agents(folder: Path) -> set[int]:
    return {pid for pid, command in running(folder).items() if "uvicorn" in command}


def told(folder: Path, *words: str) -> list[str]:
    """The titles in the bell of whoever opens the page."""
    command = [sys.executable, "-m", "agent_servicing.cli.main", "--data-dir", DATA, "notifications", *words, "--json"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=COMMAND_SECONDS)
    return [each["title"] for each in json.loads(done.stdout)["notifications"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("demo").resolve()
    yield made
    command = [sys.executable, "-m", "agent_servicing.cli.main", "--data-dir", DATA, "stop", "--all"]
    subprocess.run(command, cwd=made, check=False, capture_output=True, timeout=COMMAND_SECONDS)


def test_a_first_demo_shows_a_good_and_a_bad_upgrade_loses_nothing_and_leaves_nothing_running(folder: Path) -> None:
    demo = Demo(folder, "--once")
    assert demo.process.wait(PLAYED_SECONDS) == 0, demo.said
    said = " ".join(demo.said.split())
    assert "WowOrchestrator 1.2.5 → 1.3.0: completed" in said
    assert "WowCache 1.8.2 → 2.0.0: rolled back" in said
    assert "Error rate threshold exceeded" in said
    assert "1.8.2 serves again." in said
    assert "lost by the data plane 0 " in said
    assert "changed their version half-way: 0" in said
    assert "0 cut" in said
    assert "Nothing of the demo runs any more." in said
    assert running(folder) == {}
    assert (folder / DATA / "admin.token").stat().st_mode & 0o777 == 0o600


def test_a_demo_that_is_told_to_end_before_it_serves_and_again_while_it_does_leaves_nothing_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    wait_for("its data plane to start", lambda: any("haproxy" in each for each in running(tmp_path).values()), seconds=PLAYED_SECONDS)
    demo.process.send_signal(signal.SIGTERM)
    demo.until("Ending the agents and the data plane")
    assert demo.end(signal.SIGTERM) == 0, demo.said
    assert "Nothing of the demo runs any more." in demo.said
    assert running(tmp_path) == {}


def test_a_second_demo_goes_on_with_what_is_there_and_survives_kill_9_until_its_terminal_closes(folder: Path) -> None:
    first = Demo(folder)
    first.until("Now you")
    first.until("Ctrl-C ends the demo.")
    assert "WowOrchestrator runs 1.3.0 already" in first.said
    assert "WowCache 1.8.2 → 2.0.0: rolled back" in first.said
    assert "A freeze is planned" in first.said
    assert "WowDomain 1.5.0 → 1.4.9: completed" in first.said
    assert "WowMemory 0.4.3 was tried in staging" in first.said
    assert "A quarter of the conversations go to it for an hour" in first.said
    unread = told(folder, "--unread")
    assert any("WowMemory v0.4.3 in staging" in title for title in unread), unread
    assert not any("install" in title for title in unread), "what was prepared is history"
    assert any("install" in title for title in told(folder)), "it is there all the same"
    for command in first.proposals:
        if any(word in command for word in TYPED):
            done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    before = agents(folder)
    first.process.kill()
    first.process.wait()
    assert agents(folder) == before
    second = Demo(folder)
    second.until("deploy_green started")
    assert before <= agents(folder)
    assert read_server_file(folder / DATA) is not None
    assert second.end(signal.SIGHUP) == 0  # the terminal's window is closed
    assert "Nothing of the demo runs any more." in second.said
    assert "0 lost by the data plane" in second.said
    assert running(folder) == {}


def test_ctrl_c_while_the_agents_are_still_starting_leaves_nothing_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    demo.until("WowMemory: installing")
    assert demo.end(signal.SIGINT) == 0
    assert running(tmp_path) == {}


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / DATA).mkdir()
    (tmp_path / DATA / "letters").write_text("dear")
    demo = Demo(tmp_path, "--fresh")
    assert demo.process.wait(COMMAND_SECONDS) == 1
    assert "is not the data directory of a demo" in demo.said
    assert [path.name for path in (tmp_path / DATA).iterdir()] == ["letters"]
