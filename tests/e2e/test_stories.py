"""Stories an operator could tell, on real parts and under load: in each of them not one request may be lost by our doing."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.harness import Server, a_server, a_version, an_agent, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("stories")) as running:
        yield running


def names(done: dict[str, object], status: str = "completed") -> list[str]:
    stages = done["stages"]
    assert isinstance(stages, list)
    return [s["stage"] for s in stages if s["status"] == status]


def test_a_good_upgrade_under_load_loses_nothing_and_can_be_taken_back(server: Server) -> None:
    source = an_agent(server, agent="Good")
    a_version(source, "1.1.0")
    server.post("/agents/Good/versions/refresh", expect=200)
    with Load(server.router_url, "Good") as load:
        name = server.upgrade("1.1.0", agent="Good")
        done = server.outcome(name, agent="Good")
        assert done["status"] == "completed", done
        assert names(done)[:4] == ["deploy_green", "health_check_green", "route_traffic_25", "monitor_metrics_25"]
        assert server.get("/agents/Good/versions")["current_version"] == "1.1.0"
        back = server.post("/agents/Good/rollback", {"reason": "a test"})
        assert back["from_version"] == "1.1.0"
        assert back["to_version"] == "1.0.0"
        assert server.outcome(back["rollback_id"], agent="Good")["status"] == "completed"
    assert load.lost == []
    assert load.answered > 200
    assert load.flips == []
    assert done["impact"]["unserved"] == 0
    assert done["impact"]["downtime_seconds"] == 0


def test_a_bad_version_is_taken_back_by_its_own_errors_with_the_numbers_in_the_audit(server: Server) -> None:
    source = an_agent(server, agent="Bad")
    a_version(source, "1.1.0", fail_every=3)
    server.post("/agents/Bad/versions/refresh", expect=200)
    with Load(server.router_url, "Bad") as load:
        done = server.outcome(server.upgrade("1.1.0", agent="Bad"), agent="Bad")
    assert done["status"] == "rolled_back", done
    trigger = done["rollback"]
    assert trigger["auto_triggered"] is True
    assert trigger["metric"] == "error_rate"
    assert trigger["value"] > trigger["threshold"] == 5.0
    assert trigger["requests"] >= 20
    assert load.lost == []
    assert server.share(agent="Bad") == {"1.0.0"}
    events = server.get("/agents/Bad/audit")["events"]
    entry = next(e for e in events if e["type"] == "rollback")
    assert entry["threshold"] == 5.0
    assert "Error rate threshold exceeded" in entry["reason"]
    assert next(e for e in events if e["type"] == "upgrade")["status"] == "rolled_back"


def test_a_version_that_dies_under_traffic_is_taken_back(server: Server) -> None:
    source = an_agent(server, agent="Dies")
    a_version(source, "1.1.0", die_after=10)
    server.post("/agents/Dies/versions/refresh", expect=200)
    with Load(server.router_url, "Dies", method="GET"):
        done = server.outcome(server.upgrade("1.1.0", agent="Dies", blue_green={"steps": [25, 100], "monitor_seconds": 60}), agent="Dies")
    assert done["status"] == "rolled_back", done
    assert "exited with code 3" in done["rollback"]["reason"]
    assert server.share(agent="Dies") == {"1.0.0"}


def test_a_version_that_never_becomes_healthy_leaves_the_stable_one_serving(server: Server) -> None:
    source = an_agent(server, agent="Sick", startup=2)
    a_version(source, "1.1.0", health=404)
    server.post("/agents/Sick/versions/refresh", expect=200)
    with Load(server.router_url, "Sick") as load:
        done = server.outcome(server.upgrade("1.1.0", agent="Sick"), agent="Sick")
    assert done["status"] == "rolled_back", done
    assert "answered 404" in done["rollback"]["reason"]
    assert load.lost == []
    assert load.versions == {"1.0.0"}


def test_a_stream_in_flight_is_not_cut_by_an_upgrade(server: Server) -> None:
    source = an_agent(server, agent="Streams")
    a_version(source, "1.1.0")
    server.post("/agents/Streams/versions/refresh", expect=200)
    with httpx.Client(timeout=120) as client, client.stream("GET", f"{server.router_url}/Streams/stream?seconds=20") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "data: 0"
        options = {"blue_green": {"steps": [100], "monitor_seconds": 0}, "keep_warm_seconds": 0}
        done = server.outcome(server.upgrade("1.1.0", agent="Streams", **options), agent="Streams")
        assert done["status"] == "completed", done
        rest = [line for line in lines if line]
    assert rest[-2:] == ["event: end", "data: bye"]
    assert len([line for line in rest if line.startswith("data: ")]) == 200


def test_pause_promote_and_cancel_do_what_they_say(server: Server) -> None:
    source = an_agent(server, agent="Verbs")
    a_version(source, "1.1.0")
    server.post("/agents/Verbs/versions/refresh", expect=200)
    with Load(server.router_url, "Verbs") as load:
        name = server.upgrade("1.1.0", agent="Verbs", blue_green={"steps": [25, 50, 100], "monitor_seconds": 600})
        server.stage(name, "monitor_metrics_25", agent="Verbs")
        path = f"/agents/Verbs/upgrades/{name}"
        server.post(f"{path}/pause", {"reason": "a look"})
        wait_for("the pause", lambda: server.deployment(name, agent="Verbs")["status"] == "paused")
        server.post(f"{path}/resume", {})
        wait_for("the resume", lambda: server.deployment(name, agent="Verbs")["status"] == "in_progress")
        server.post(f"{path}/promote", {})
        server.stage(name, "monitor_metrics_50", agent="Verbs")
        server.post(f"{path}/cancel", {"reason": "enough"})
        assert server.outcome(name, agent="Verbs")["status"] == "rolled_back"
        full = server.upgrade("1.1.0", agent="Verbs", blue_green={"steps": [25, 50, 100], "monitor_seconds": 600})
        server.stage(full, "monitor_metrics_25", agent="Verbs")
        server.post(f"/agents/Verbs/upgrades/{full}/promote", {"full": True})
        assert server.outcome(full, agent="Verbs")["status"] == "completed"
    assert load.lost == []


def test_two_upgrades_of_one_agent_queue_and_the_second_can_be_refused(server: Server) -> None:
    source = an_agent(server, agent="Busy")
    a_version(source, "1.1.0")
    a_version(source, "1.2.0")
    server.post("/agents/Busy/versions/refresh", expect=200)
    with Load(server.router_url, "Busy"):
        first = server.upgrade("1.1.0", agent="Busy", blue_green={"steps": [25, 100], "monitor_seconds": 5})
        body = {"target_version": "1.2.0", "strategy": "blue-green", "reason": "a test", "when_busy": "reject"}
        refused = server.post("/agents/Busy/upgrade", body, expect=409)
        assert first in refused["detail"]
        second = server.upgrade("1.2.0", agent="Busy")
        assert server.deployment(second, agent="Busy")["status"] == "queued"
        assert server.outcome(first, agent="Busy")["status"] == "completed"
        assert server.outcome(second, agent="Busy")["status"] == "completed"
    assert server.share(agent="Busy") == {"1.2.0"}


def test_a_crashed_instance_comes_back_without_a_lost_get(server: Server) -> None:
    an_agent(server, agent="Crash")
    with Load(server.router_url, "Crash", method="GET") as load:
        before = server.get("/agents/Crash/instances")["instances"]
        import os
        import signal

        os.kill(before[0]["pid"], signal.SIGKILL)

        def replaced() -> bool:
            now = [i for i in server.get("/agents/Crash/instances")["instances"] if i["status"] == "ready"]
            return len(now) == 2 and before[0]["pid"] not in [i["pid"] for i in now]

        wait_for("a replacement", replaced)
    assert load.lost_but_cut() == []


def test_every_response_says_who_served_it(server: Server) -> None:
    an_agent(server, agent="Header")
    with httpx.Client() as client:
        answer = client.get(f"{server.router_url}/Header/some/path?x=1")
        assert answer.headers["X-Served-By"].startswith("Header@1.0.0/g1-")
        assert answer.json()["path"] == "/some/path"
        by_host = client.get(f"{server.router_url}/other", headers={"Host": "header.localhost"})
        assert by_host.json()["path"] == "/other"


def test_an_agent_can_be_scaled_restarted_and_removed(server: Server) -> None:
    an_agent(server, agent="Fleet")
    with Load(server.router_url, "Fleet") as load:
        server.post("/agents/Fleet/scale", {"instances": 3, "reason": "more"})
        wait_for("three", lambda: sum(i["status"] == "ready" for i in server.get("/agents/Fleet/instances")["instances"]) == 3)
        restart = server.post("/agents/Fleet/restart", {"reason": "fresh"})
        assert server.outcome(restart["upgrade_id"], agent="Fleet")["status"] == "completed"
        server.post("/agents/Fleet/scale", {"instances": 1, "reason": "fewer"})
        wait_for("one", lambda: len([i for i in server.get("/agents/Fleet/instances")["instances"] if i["generation"] == 2]) == 1)
    assert load.lost == []
    with server.api() as api:
        assert api.request("DELETE", "/agents/Fleet").status_code in (200, 202, 204)
        wait_for("it to be gone", lambda: api.get("/agents/Fleet").status_code == 404)
    assert httpx.get(f"{server.router_url}/Fleet/").status_code == 404


def test_the_command_line_tells_the_same_story_with_its_exit_codes(server: Server) -> None:
    source = an_agent(server, agent="Typed")
    a_version(source, "1.1.0")
    a_version(source, "1.2.0", fail_every=2)
    assert "1.1.0" in server.run("versions", "Typed", "--refresh").stdout
    with Load(server.router_url, "Typed"):
        quick = ("--steps", "50,100", "--monitor-seconds", "2", "--watch")
        server.run("upgrade", "Typed", "1.1.0", "--strategy", "blue-green", "--reason", "a test", *quick)
        server.run("upgrade", "Typed", "1.2.0", "--reason", "a test", *quick, expect=3)
        server.run("rollback", "Typed", "--reason", "a test", "--watch")
    assert server.share(agent="Typed") == {"1.0.0"}
    server.run("upgrade", "Typed", "9.9.9", "--reason", "a test", expect=1)
    server.run("upgrade", "Typed", "--nonsense", expect=2)
    server.run("audit", "verify")


def test_upgrades_of_several_agents_run_side_by_side(server: Server) -> None:
    agents = ["Side-a", "Side-b", "Side-c"]
    for agent in agents:
        a_version(an_agent(server, agent=agent, instances=1), "1.1.0")
        server.post(f"/agents/{agent}/versions/refresh", expect=200)
    loads = [Load(server.router_url, agent, rate=30) for agent in agents]
    for load in loads:
        load.__enter__()
    started = [server.upgrade("1.1.0", agent=agent) for agent in agents]
    ended = [server.outcome(name, agent=agent)["status"] for name, agent in zip(started, agents, strict=True)]
    for load in loads:
        load.__exit__(None, None, None)
    assert ended == ["completed"] * 3
    assert [load.lost for load in loads] == [[], [], []]
