"""A real server that keeps everything in a real PostgreSQL: killed in mid-deployment, without its database for a while, and never twice."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import AGENT, Server, a_server, a_version, an_agent, wait_for
from tests.e2e.load import Load
from tests.postgres_server import PASSWORD, PostgresServer, a_postgres_server

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    with a_postgres_server() as running:
        yield running


@pytest.fixture
def url(mortal: PostgresServer) -> str:
    return mortal.tcp_url(mortal.new_database())


@pytest.fixture
def server(tmp_path: Path, url: str) -> Iterator[Server]:
    with a_server(tmp_path, SERVICING_DATABASE_URL=url) as running:
        yield running


def serve(folder: Path, *more: str, expect: int = 1) -> str:
    """What a start that must fail says on stderr."""
    command = Server(folder).command("serve", "--data-dir", str(folder / "data"), "--port", "0", "--router-port", "0", *more)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SERVICING_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    assert done.returncode == expect, (done.stdout, done.stderr)
    return done.stderr


def test_a_server_killed_in_mid_deployment_finishes_it_after_its_restart(server: Server, url: str, tmp_path: Path) -> None:
    source = an_agent(server)
    a_version(source, "1.1.0")
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
    with Load(server.router_url, AGENT) as load:
        name = server.upgrade("1.1.0")
        server.stage(name, "monitor_metrics_25", "route_traffic_50", "monitor_metrics_50")
        server.kill()
        server.start("--database-url", url)
        assert server.outcome(name, seconds=60)["status"] == "completed"
        assert server.share() == {"1.1.0"}
    assert load.lost == []
    assert server.run("audit", "verify").returncode == 0
    assert not (server.data_dir / "servicing.db").exists()
    _a_second_one_is_refused(tmp_path, url)
    _the_doctor_knows(server, url)
    assert PASSWORD not in server.log()


def _a_second_one_is_refused(tmp_path: Path, url: str) -> None:
    said = serve(tmp_path / "elsewhere", "--database-url", url).splitlines()
    assert said[0].startswith("Error: the database postgresql://postgres:***@127.0.0.1:")
    assert "is in use by another server (agent-servicing pid" in said[0]
    assert said[1].startswith("Hint: ")
    assert len(said) == 2


def _the_doctor_knows(server: Server, url: str) -> None:
    environ = {**os.environ, "SERVICING_DATABASE_URL": url}
    command = server.command("--data-dir", str(server.data_dir), "doctor", "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    (found,) = [check for check in json.loads(done.stdout)["checks"] if check["subject"] == "database"]
    assert found["level"] == "ok"
    assert "PostgreSQL 18" in found["detail"]
    assert f"pid {server.info['pid']}" in found["detail"]
    assert PASSWORD not in done.stdout


def test_a_database_that_goes_and_comes_back_stops_neither_agents_nor_server(server: Server, mortal: PostgresServer) -> None:
    source = an_agent(server)
    a_version(source, "1.1.0")
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
    with Load(server.router_url, AGENT) as load:
        name = server.upgrade("1.1.0")
        server.stage(name, "monitor_metrics_25", "route_traffic_50", "monitor_metrics_50")
        mortal.stop()
        wait_for("the server to notice", lambda: httpx.get(server.info["api_url"] + "/readyz").status_code == 503)
        with server.api() as api:
            answer = api.get(f"/agents/{AGENT}")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert PASSWORD not in answer.text
        mortal.start()
        assert server.outcome(name, seconds=60)["status"] in ("completed", "rolled_back")
        wait_for("the server to be ready", lambda: httpx.get(server.info["api_url"] + "/readyz").status_code == 200)
    assert load.lost == []
    assert PASSWORD not in server.log()


def test_a_database_that_is_down_at_the_start_is_one_clear_line(tmp_path: Path) -> None:
    said = serve(tmp_path, "--database-url", f"postgresql://ada:{PASSWORD}@127.0.0.1:1/fleet").splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error: the database postgresql://ada:***@127.0.0.1:1/fleet cannot be opened: ")
    assert PASSWORD not in said[0]
