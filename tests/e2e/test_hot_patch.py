"""Hot patches, whole: real agents of every level under load, the same processes before and after, a killed server, a secret, two exits."""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import Server, a_server, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "timeout_seconds": {"type": "number", "minimum": 1, "maximum": 300, "default": 30},
        "workers": {"type": "integer", "default": 4, "x-servicing-apply": "restart"},
        "api_key": {"type": "string", "x-servicing-secret": True},
    },
}

SDK = textwrap.dedent('''
    """Uses the SDK. Values end processes or are refused when a test wants that."""
    import asyncio, json, os
    from fastapi import FastAPI, Request
    from servicing_sdk import ConfigRejected, Servicing

    servicing = Servicing()
    app = FastAPI(lifespan=servicing.lifespan)
    servicing.mount(app)

    @servicing.on_prepare
    def check(new, old):
        if new.get("timeout_seconds") == 13:
            raise ConfigRejected("timeout_seconds", "thirteen is bad luck")

    @servicing.on_config
    async def apply(new, old):
        if new.get("timeout_seconds") == 66:
            asyncio.get_running_loop().call_later(0.3, os._exit, 1)

    @app.api_route("/{rest:path}", methods=["GET", "POST"])
    async def answer(rest: str, request: Request):
        await request.body()
        return {"config": servicing.config, "pid": os.getpid(), "version": "1.0.0"}
''')

FILE = textwrap.dedent('''
    """Reads its file at the start and on SIGHUP; knows nothing of any SDK."""
    import json, os, signal, sys
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    def read(*_):
        global CONFIG
        CONFIG = json.load(open(os.environ["SERVICING_CONFIG_FILE"]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"config": CONFIG, "pid": os.getpid(), "version": "1.0.0"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_POST = do_GET
        def log_message(self, *_): pass

    read()
    signal.signal(signal.SIGHUP, read)
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
''')

COMMANDS = {
    "sdk": [sys.executable, "-m", "uvicorn", "program:app", "--host", "{host}", "--port", "{port}", "--no-access-log"],
    "signal:HUP": [sys.executable, "program.py", "{host}", "{port}"],
    "restart": [sys.executable, "program.py", "{host}", "{port}"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("patches")) as running:
        yield running


def an_agent(server: Server, agent: str, reload: str, *, instances: int = 3) -> None:
    folder = server.folder / agent / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "program.py").write_text(SDK if reload == "sdk" else FILE)
    (folder / "config.schema.json").write_text(json.dumps(SCHEMA))
    manifest = f"""
[agent]
id = "{agent}"
[source]
path = "{server.folder / agent}"
[run]
command = {json.dumps(COMMANDS[reload])}
instances = {instances}
[health]
path = "/healthz"
interval_seconds = 0.2
[config]
schema = "config.schema.json"
reload = "{reload}"
file = "config.json"
"""
    first = server.post("/agents", {"manifest": manifest, "version": "1.0.0"}, expect=201)
    assert server.outcome(first["upgrade_id"], agent=agent)["status"] == "completed"
    if reload != "restart":
        wait_for("reports", lambda: statuses(server, agent) == {"in_sync"})


def statuses(server: Server, agent: str) -> set[str]:
    return {i["status"] for i in server.get(f"/agents/{agent}/config")["instances"]}


def patch(server: Server, agent: str, updates: dict[str, Any], *, expect: int = 200, **more: Any) -> dict[str, Any]:
    with server.api() as api:
        answer = api.patch(f"/agents/{agent}/config", json={"config_updates": updates, "reason": "a test", **more})
    assert answer.status_code == expect, answer.text
    return dict(answer.json())


def seen(server: Server, agent: str, requests: int = 30) -> list[dict[str, Any]]:
    return [httpx.get(f"{server.router_url}/{agent}/look").json() for _ in range(requests)]


def pids(server: Server, agent: str) -> set[int]:
    return {i["pid"] for i in server.get(f"/agents/{agent}/instances")["instances"] if i["status"] == "ready"}


@pytest.mark.parametrize(("agent", "reload", "level"), [("Sdk", "sdk", "sdk"), ("Hup", "signal:HUP", "file")])
def test_a_patch_reaches_every_instance_of_the_same_processes_and_loses_nothing(
    server: Server, agent: str, reload: str, level: str
) -> None:
    an_agent(server, agent, reload)
    before = pids(server, agent)
    with Load(server.router_url, agent) as load:
        view = patch(server, agent, {"timeout_seconds": 60})
    assert load.lost == []
    assert (view["config_version"], view["agent_reloaded"], view["downtime_seconds"]) == ("cfg-1.0.0-p1", True, 0)
    assert [(i["result"], i["level"]) for i in view["instances"]] == [("applied", level)] * 3
    answers = seen(server, agent)
    assert {a["config"]["timeout_seconds"] for a in answers} == {60}
    assert {a["pid"] for a in answers} <= before == pids(server, agent)


def test_the_agents_own_check_refuses_and_nothing_is_applied(server: Server) -> None:
    an_agent(server, "Fussy", "sdk")
    problem = patch(server, "Fussy", {"timeout_seconds": 13}, expect=409)
    assert problem["code"] == "config_refused"
    assert "timeout_seconds: thirteen is bad luck" in problem["detail"]
    assert {a["config"]["timeout_seconds"] for a in seen(server, "Fussy")} == {30}


def test_a_value_that_ends_the_process_is_taken_back_and_the_agent_serves_on(server: Server) -> None:
    an_agent(server, "Fragile", "sdk")
    with Load(server.router_url, "Fragile", rate=20, method="GET"):
        problem = patch(server, "Fragile", {"timeout_seconds": 66}, expect=409, monitor_seconds=3)
    assert problem["code"] == "config_reverted"
    wait_for("three instances", lambda: len(pids(server, "Fragile")) == 3)
    wait_for("the old value everywhere", lambda: {a["config"]["timeout_seconds"] for a in seen(server, "Fragile")} == {30})
    assert patch(server, "Fragile", {"timeout_seconds": 61})["status"] == "applied"


def test_a_key_that_is_read_at_the_start_comes_by_a_rolling_restart_without_a_lost_request(server: Server) -> None:
    an_agent(server, "Rolls", "sdk")
    with Load(server.router_url, "Rolls") as load:
        view = patch(server, "Rolls", {"workers": 8}, expect=202)
        assert (view["by"], view["agent_reloaded"]) == ("rolling_restart", False)
        assert server.outcome(view["upgrade_id"], agent="Rolls")["status"] == "completed"
    assert load.lost == []
    assert {a["config"]["workers"] for a in seen(server, "Rolls")} == {8}


def test_an_agent_that_only_reads_at_its_start_is_restarted(server: Server) -> None:
    an_agent(server, "Starts", "restart")
    view = patch(server, "Starts", {"timeout_seconds": 60}, expect=202)
    assert server.outcome(view["upgrade_id"], agent="Starts")["status"] == "completed"
    assert {a["config"]["timeout_seconds"] for a in seen(server, "Starts")} == {60}


@pytest.mark.parametrize(("agent", "reload"), [("Keeps", "sdk"), ("KeepsFile", "signal:HUP")])
def test_a_secret_reaches_the_agent_and_no_answer(server: Server, agent: str, reload: str) -> None:
    an_agent(server, agent, reload, instances=1)
    view = patch(server, agent, {"api_key": "a-key-for-the-agent-alone"})
    assert seen(server, agent, 1)[0]["config"]["api_key"] == "a-key-for-the-agent-alone"
    assert "a-key-for-the-agent-alone" not in json.dumps([view, server.get(f"/agents/{agent}/config"), server.get("/audit")])


def test_a_file_that_somebody_else_changed_or_deleted_is_put_right_and_told_in_the_audit(server: Server) -> None:
    an_agent(server, "Edited", "signal:HUP", instances=2)
    patch(server, "Edited", {"timeout_seconds": 60})
    before, files = pids(server, "Edited"), sorted(server.folder.rglob("Edited/**/config.json"))
    ours = [file for file in files if '"timeout_seconds": 60' in file.read_text()]
    assert len(ours) == 2, files
    ours[0].write_text('{"timeout_seconds": 1}')
    ours[1].unlink()
    wait_for("both files", lambda: all(file.exists() and '"timeout_seconds": 60' in file.read_text() for file in ours))
    wait_for("reports", lambda: statuses(server, "Edited") == {"in_sync"})
    assert {a["config"]["timeout_seconds"] for a in seen(server, "Edited")} == {60}
    assert pids(server, "Edited") == before
    told = server.get("/agents/Edited/audit", type="config_drifted")["events"]
    assert {(entry["operator"], entry["config_version"]) for entry in told} == {("system", "cfg-1.0.0-p1")}
    assert len({entry["instance"] for entry in told}) == 2


def test_a_server_killed_in_the_middle_of_a_patch_finishes_it_one_way_or_the_other(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        an_agent(server, "Sdk", "sdk")
        with Load(server.router_url, "Sdk") as load:
            body = {"config_updates": {"timeout_seconds": 60}, "reason": "killed", "profile": "safe", "monitor_seconds": 4}
            with server.api() as api, pytest.raises(httpx.TimeoutException):
                api.patch("/agents/Sdk/config", json=body, timeout=1.5)
            server.kill()
            server.start()

            def settled() -> bool:
                (revision,) = server.get("/agents/Sdk/config/revisions")["revisions"]
                return revision["status"] in ("applied", "reverted")

            wait_for("an end", settled)
            wait_for("one value", lambda: len({a["config"]["timeout_seconds"] for a in seen(server, "Sdk")}) == 1)
        assert load.lost == []
        (revision,) = server.get("/agents/Sdk/config/revisions")["revisions"]
        assert seen(server, "Sdk", 1)[0]["config"]["timeout_seconds"] == (60 if revision["status"] == "applied" else 30)
        wait_for("reports", lambda: statuses(server, "Sdk") == {"in_sync"})


def test_agents_serve_with_what_they_have_while_the_server_is_down_and_hear_of_changes_afterwards(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        an_agent(server, "Sdk", "sdk")
        patch(server, "Sdk", {"timeout_seconds": 60})
        server.kill()
        assert {a["config"]["timeout_seconds"] for a in seen(server, "Sdk")} == {60}
        server.start()
        wait_for("reports", lambda: statuses(server, "Sdk") == {"in_sync"})
        assert patch(server, "Sdk", {"timeout_seconds": 90})["status"] == "applied"
        assert {a["config"]["timeout_seconds"] for a in seen(server, "Sdk")} == {90}


def test_the_commands_do_what_the_api_does(server: Server) -> None:
    an_agent(server, "Cli", "sdk", instances=2)
    assert "dry run" in server.run("patch", "Cli", "timeout_seconds=60", "--reason", "try", "--dry-run").stdout
    assert "cfg-1.0.0-p1" in server.run("patch", "Cli", "timeout_seconds=60", "--reason", "try").stdout
    assert "60" in server.run("config", "show", "Cli").stdout
    failed = server.run("patch", "Cli", "timeout_seconds=13", "--reason", "try", expect=1)
    assert "thirteen is bad luck" in failed.stderr
    assert "applied" in server.run("config", "rollback", "Cli", "--reason", "back").stdout
    assert "refused" in server.run("config", "history", "Cli").stdout
    assert {a["config"]["timeout_seconds"] for a in seen(server, "Cli")} == {30}
