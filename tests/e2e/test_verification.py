"""Verification after deployment, whole: a version that fails its own tests in production is taken back, and nobody's request is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Server, a_server, a_version, an_agent, processes_of, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

TESTS = """
[tests]
smoke = ["python", "smoke.py", "{url}"]
[[tests.requests]]
path = "/remember"
"""
ASKS = "import json, sys, urllib.request\nfound = json.load(urllib.request.urlopen(sys.argv[1] + '/anything'))\n"
PASSES = ASKS + "assert found['version'] == '1.1.0', found\n"
FAILS = ASKS + "print('it forgot everything'); sys.exit(1)\n"
WAITS = "import os, sys, time\nopen(os.environ['FLAG'] + '.seen', 'a').write('.')\nwhile not os.path.exists(os.environ['FLAG']): time.sleep(0.05)\n"
QUICK = {"auto_rollback": {"min_requests": 5}, "blue_green": {"steps": [100], "monitor_seconds": 1}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("verification")) as running:
        yield running


def with_smoke(server: Server, agent: str, program: str, extra: str = "", **behaviour: object) -> None:
    source = an_agent(server, agent=agent, extra=extra + TESTS)
    a_version(source, "1.1.0", **behaviour)
    (source / "1.1.0" / "smoke.py").write_text(program)
    server.post(f"/agents/{agent}/versions/refresh", expect=200)


def test_a_version_that_passes_its_tests_in_production_completes(server: Server) -> None:
    with_smoke(server, "Good", PASSES)
    with Load(server.router_url, "Good") as load:
        name = server.upgrade("1.1.0", agent="Good", **QUICK)
        done = server.outcome(name, agent="Good")
    assert done["status"] == "completed", done
    assert "requests: 1 of 1 answered as expected" in str(done)
    assert load.lost == []


def test_a_version_that_fails_its_tests_in_production_is_taken_back(server: Server) -> None:
    with_smoke(server, "Bad", FAILS)
    with Load(server.router_url, "Bad") as load:
        name = server.upgrade("1.1.0", agent="Bad", **QUICK)
        done = server.outcome(name, agent="Bad")
    assert done["status"] == "rolled_back", done
    assert done["rollback"]["auto_triggered"] is True
    assert "smoke tests failed with exit code 1" in done["rollback"]["reason"]
    assert "it forgot everything" in str(done)
    assert load.lost == []
    assert server.share(agent="Bad") == {"1.0.0"}


def test_tests_that_were_running_when_the_server_was_killed_are_run_again(server: Server, tmp_path: Path) -> None:
    flag, seen = tmp_path / "flag", tmp_path / "flag.seen"
    with_smoke(server, "Waits", WAITS, extra=f'[run.env]\nFLAG = "{flag}"\n')
    with Load(server.router_url, "Waits") as load:
        name = server.upgrade("1.1.0", agent="Waits", **QUICK)
        server.stage(name, "verify", agent="Waits")
        wait_for("the tests to run", seen.exists)
        server.kill()
        wait_for("the tests to be gone", lambda: not processes_of(str(server.data_dir), running="smoke.py"))
        server.start()
        wait_for("the tests to run again", lambda: len(seen.read_text()) == 2)
        flag.touch()
        done = server.outcome(name, agent="Waits")
    assert done["status"] == "completed", done
    assert load.lost == []
