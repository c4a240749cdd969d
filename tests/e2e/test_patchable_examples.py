"""The guide "make your agent patchable": its examples run as they stand, and are patched as it says."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import Server, a_server, wait_for

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "patchable"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("patchable")) as running:
        yield running


@pytest.mark.parametrize(
    ("example", "agent", "level"), [("fastapi", "Fast", "sdk"), ("asgi", "Plain", "sdk"), ("shell", "Shell", "script")]
)
def test_an_example_is_patched_while_it_runs(server: Server, example: str, agent: str, level: str) -> None:
    source = server.folder / agent
    shutil.copytree(EXAMPLES / f"{example}_agent", source / "1.0.0")
    manifest = source / "agent.toml"
    manifest.write_text((EXAMPLES / f"{example}_agent" / "agent.toml").read_text().replace('path = "."', f'path = "{source}"'))
    server.run("agent", "add", str(manifest), "--version", "1.0.0", "--wait")

    def levels() -> set[object]:
        return {each["level"] for each in server.get(f"/agents/{agent}/config")["instances"]}

    wait_for("both instances", lambda: levels() == {level})
    assert "Hello, world!" in httpx.get(f"{server.router_url}/{agent}/").text
    server.run("patch", agent, "greeting=Ahoy", "--reason", "trying it")
    wait_for("the new greeting", lambda: all("Ahoy" in httpx.get(f"{server.router_url}/{agent}/").text for _ in range(6)))
    assert "greeting" in server.run("config", "show", agent).stdout


def test_the_guide_shows_the_example_as_it_is() -> None:
    guide = (ROOT / "docs" / "guides" / "make-your-agent-patchable.md").read_text()
    program = (EXAMPLES / "fastapi_agent" / "agent.py").read_text()
    assert program.partition("\n\n")[2] in guide
