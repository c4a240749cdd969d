"""What can be unplugged is unplugged: the server, HAProxy, the clock's trust; agents go on serving and deployments still end."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import AGENT, Server, a_server, a_version, an_agent, haproxies, processes_of, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path) as running:
        yield running


STAGES = ["deploy_green", "health_check_green", "monitor_metrics_25", "route_traffic_50", "decommission_blue"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_killed_in_mid_deployment_finishes_it_after_its_restart_and_loses_nothing(server: Server, stage: str) -> None:
    source = an_agent(server)
    a_version(source, "1.1.0")
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
    pids = {i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"]}
    with Load(server.router_url, AGENT) as load:
        name = server.upgrade("1.1.0")
        reached = STAGES[STAGES.index(stage) :]
        wait_for(stage, lambda: server.deployment(name)["current_stage"] in reached or server.deployment(name)["status"] == "completed")
        router_url = server.router_url
        server.kill()
        assert {httpx.get(f"{router_url}/{AGENT}/").status_code for _ in range(20)} == {200}
        server.start()
        assert server.router_url == router_url
        done = server.outcome(name, seconds=60)
        assert done["status"] in ("completed", "rolled_back"), done
    assert load.lost == []
    serving = {
        i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"] if i["version"] == "1.0.0" and i["status"] == "ready"
    }
    assert serving <= pids, "an instance of the old version was restarted although it still ran"


def test_a_killed_haproxy_comes_back_with_the_same_routing(server: Server) -> None:
    source = an_agent(server)
    a_version(source, "1.1.0")
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
    name = server.upgrade("1.1.0", blue_green={"steps": [50, 100], "monitor_seconds": 600})
    with Load(server.router_url, AGENT):
        server.stage(name, "monitor_metrics_50")
    before = haproxies(server)
    assert before
    for process in before:
        process.kill()
    wait_for("the data plane", lambda: httpx.get(f"{server.router_url}/{AGENT}/").status_code == 200)
    assert {p.pid for p in before}.isdisjoint(p.pid for p in haproxies(server))
    wait_for("both versions to answer", lambda: server.share(requests=60) == {"1.0.0", "1.1.0"})
    server.post(f"/agents/{AGENT}/upgrades/{name}/cancel", {"reason": "enough"})
    assert server.outcome(name)["status"] == "rolled_back"


def test_server_agents_and_data_plane_killed_together_come_back(server: Server) -> None:
    an_agent(server)
    instances = server.get(f"/agents/{AGENT}/instances")["instances"]
    server.kill()
    for process in haproxies(server):
        process.kill()
    for instance in instances:
        os.kill(instance["pid"], signal.SIGKILL)
    server.start()
    wait_for("the agent", lambda: httpx.get(f"{server.router_url}/{AGENT}/").status_code == 200)


def test_a_second_server_on_the_same_data_directory_is_refused_and_names_the_first(server: Server) -> None:
    assert server.process is not None
    second = server.run("serve", "--data-dir", str(server.data_dir), "--port", "0", expect=1)
    assert f"pid {server.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_said_before_anything_is_started(server: Server, tmp_path: Path) -> None:
    port = server.info["api_url"].rpartition(":")[2]
    other = tmp_path / "other"
    done = subprocess.run(
        server.command("serve", "--data-dir", str(other), "--port", port, "--router-port", "0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr
    router_port = server.router_url.rpartition(":")[2]
    done = subprocess.run(
        server.command("serve", "--data-dir", str(other), "--port", "0", "--router-port", router_port),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert router_port in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_leaves_the_agents_serving_and_stop_all_leaves_nothing(server: Server) -> None:
    an_agent(server)
    router_url, data_dir = server.router_url, str(server.data_dir)
    server.run("stop")
    assert httpx.get(f"{router_url}/{AGENT}/").status_code == 200
    server.run("stop", "--all")
    wait_for("nobody to be left", lambda: not processes_of(data_dir))


def test_a_version_whose_install_fails_says_how_and_changes_nothing(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        source = an_agent(server, extra="")
        a_version(source, "1.1.0")
        (source / "1.1.0" / "requirements.txt").write_text("this-package-does-not-exist-agent-servicing==1.0\n")
        server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
        done = server.outcome(server.upgrade("1.1.0"))
        assert done["status"] == "rolled_back", done
        assert "this-package-does-not-exist-agent-servicing" in done["rollback"]["reason"]
        assert server.share() == {"1.0.0"}


def test_an_instance_that_ignores_sigterm_is_ended_all_the_same(tmp_path: Path) -> None:
    with a_server(tmp_path, SERVICING_STOP_GRACE_SECONDS="1", SERVICING_KEEP_WARM_SECONDS="0") as server:
        source = an_agent(server)
        stubborn = source / "1.1.0"
        a_version(source, "1.1.0")
        program = stubborn / "program.py"
        ignore = (
            "import signal; signal.signal = lambda *a: None\n"
            "import asyncio.unix_events as u; u._UnixSelectorEventLoop.add_signal_handler = lambda *a: None\n"
        )
        (stubborn / "program.py").write_text(ignore + program.read_text())
        server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
        quick = {"blue_green": {"steps": [100], "monitor_seconds": 0}, "keep_warm_seconds": 0}
        assert server.outcome(server.upgrade("1.1.0", **quick))["status"] == "completed"
        back = server.post(f"/agents/{AGENT}/rollback", {"reason": "a test"})
        assert server.outcome(back["rollback_id"])["status"] == "completed"
        wait_for("the stubborn ones to be gone", lambda: {i["version"] for i in _instances(server)} == {"1.0.0"})


def test_what_the_operator_gets_wrong_is_refused_with_what_to_do(server: Server) -> None:
    source = an_agent(server)
    for version in ("0.9.0", "1.1.0", "2.0.0"):
        a_version(source, version)
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)

    def refused(code: int, body: dict[str, object], agent: str = AGENT) -> str:
        answer = server.post(f"/agents/{agent}/upgrade", body, expect=code)
        return json.dumps(answer)

    fine = {"target_version": "1.1.0", "strategy": "blue-green", "reason": "a test"}
    assert "Nobody" in refused(404, fine, agent="Nobody")
    assert "1.1.0" in refused(404, {**fine, "target_version": "7.0.0"})
    assert "blue-green" in refused(422, {**fine, "strategy": "purple"})
    assert "rollback" in refused(409, {**fine, "target_version": "0.9.0"})
    assert "1.0.0" in refused(409, {**fine, "target_version": "1.0.0"})
    assert "acknowledge" in refused(409, {**fine, "target_version": "2.0.0"})
    assert "reason" in refused(422, {k: v for k, v in fine.items() if k != "reason"})
    assert "version" in refused(422, {**fine, "target_version": "one"})
    assert server.get(f"/agents/{AGENT}/upgrades")["upgrades"][0]["kind"] == "install"
    rollback = server.post(f"/agents/{AGENT}/rollback", {"reason": "a test", "target_version": "7.7.7"}, expect=404)
    assert rollback["status"] == 404


def _instances(server: Server) -> list[dict[str, object]]:
    found: list[dict[str, object]] = server.get(f"/agents/{AGENT}/instances")["instances"]
    return found
