"""The examples of docs/guides/make-your-agent-patchable.md, each patched while it runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path

import pytest

from tests.sdk.fake_server import TOKEN, FakeServer, message, text_of
from tests.sdk.serving import served

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/patchable"

PROGRAM = """
import os, signal, sys
def tell(*_):
    print(open(os.environ["SERVICING_CONFIG_FILE"]).read().replace("\\n", ""), flush=True)
signal.signal(signal.SIGHUP, tell)
tell()
while True:
    signal.pause()
"""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer().running() as running:
        yield running


@pytest.fixture
def environ(server: FakeServer, tmp_path: Path) -> dict[str, str]:
    """What an instance of that server is given."""
    (tmp_path / "config.json").write_text(text_of(greeting="Good morning"))
    return {
        "SERVICING_URL": server.url,
        "SERVICING_AGENT": "Greeter",
        "SERVICING_INSTANCE": "i-1",
        "SERVICING_INSTANCE_TOKEN": TOKEN,
        "SERVICING_CONFIG_FILE": str(tmp_path / "config.json"),
        "SERVICING_CONFIG_REVISION": "cfg-0",
        "SERVICING_CONFIG_DIR": str(tmp_path / "kept"),
    }


def uses(revision: str) -> Callable[[dict], bool]:
    return lambda report: (report["config"]["applied"] or {}).get("revision") == revision


@pytest.mark.parametrize("name", ["fastapi_agent", "plain_asgi_agent"])
def test_a_python_agent_takes_a_change_while_it_serves(
    name: str, server: FakeServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    with served(run_path(str(EXAMPLES / f"{name}.py"))["app"]) as client:
        assert "Good morning" in client.get("/").text
        server.say("config", message("cfg-1", greeting="Good evening"))
        server.until(uses("cfg-1"))
        assert "Good evening" in client.get("/").text


def test_the_fastapi_agent_refuses_what_it_cannot_use(server: FakeServer, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    with served(run_path(str(EXAMPLES / "fastapi_agent.py"))["app"]) as client:
        server.say("config", message("cfg-1", "prepare", greeting=" "))
        report = server.until(lambda said: said["config"]["last_attempt"] is not None)
        assert report["config"]["last_attempt"]["errors"] == [{"path": "greeting", "message": "somebody must be greeted"}]
        assert client.get("/stream").text == "data: Good morning\n\n" * 3


def test_a_program_in_any_language_is_patched_by_a_shell_script(server: FakeServer, environ: dict[str, str]) -> None:
    command = ["sh", str(EXAMPLES / "follow_config.sh"), sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert "Good morning" in process.stdout.readline()
            server.wanted = message("cfg-1", greeting="Good evening")
            assert "Good evening" in process.stdout.readline()
            assert server.until(uses("cfg-1"))["config"]["applied"]["hash"] == server.wanted["hash"]
            assert server.until(bool)["level"] == "script"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["fastapi_agent.py", "plain_asgi_agent.py"])
def test_the_guide_shows_the_example_as_it_is(name: str) -> None:
    guide = (ROOT / "docs/guides/make-your-agent-patchable.md").read_text()
    assert f"```python\n{(EXAMPLES / name).read_text()}```" in guide
