"""State, whole: real agents that remember, written to all the while, taken back over every kind of door. No request fails and no memory is lost."""

import json
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.e2e.harness import Server, a_server, wait_for

pytestmark = pytest.mark.timeout(600)

PROGRAM = textwrap.dedent('''
    """Remembers texts. Reads only the schemas that its settings name; texts that end in 7 are too much for it when they are brought to it."""
    import json, os, sqlite3
    from pathlib import Path
    from fastapi import FastAPI, Request
    from servicing_sdk import Servicing

    ME = json.loads(Path("me.json").read_text())
    servicing = Servicing()
    app = FastAPI(lifespan=servicing.lifespan)
    servicing.mount(app)
    folder = Path(os.environ["SERVICING_STATE_DIR"])
    database = sqlite3.connect(folder / "memories.db", check_same_thread=False, isolation_level=None, timeout=30)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, text TEXT UNIQUE, schema INTEGER)")
    writes = ME["writes"]

    @app.get("/healthz")
    async def healthz():
        return {}

    @app.post("/remember")
    async def remember(request: Request):
        database.execute("INSERT INTO memories (text, schema) VALUES (?, ?)", ((await request.json())["text"], writes))
        return {"version": ME["version"]}

    @app.get("/recall")
    async def recall():
        marks = ",".join("?" * len(ME["reads"]))
        rows = database.execute(f"SELECT text FROM memories WHERE schema IN ({marks})", ME["reads"]).fetchall()
        return {"texts": [text for (text,) in rows], "version": ME["version"]}

    @app.post("/forget")
    async def forget():
        database.execute("DELETE FROM memories")

    @servicing.state.export
    def export():
        for id_, text, schema in database.execute("SELECT * FROM memories").fetchall():
            yield {"id": id_, "schema": schema, "value": {"text": text}}

    @servicing.state.import_
    def take_in(record):
        text = record["value"]["text"]
        if text.endswith("7"):
            raise ValueError("it ends in 7")
        database.execute("INSERT OR IGNORE INTO memories (text, schema) VALUES (?, ?)", (text, writes))

    @servicing.state.migrate
    def convert(schema):
        global writes
        writes = schema
        done = database.execute("UPDATE memories SET schema = ? WHERE schema > ?", (schema, schema))
        return {"converted": done.rowcount}
''')

MANIFEST = """
[agent]
id = "{agent}"
[source]
path = "{source}"
[run]
command = ["{python}", "-m", "uvicorn", "program:app", "--host", "{{host}}", "--port", "{{port}}", "--no-access-log"]
instances = 2
[health]
path = "/healthz"
interval_seconds = 0.3
[config]
reload = "sdk"
[drain]
timeout_seconds = 5
stream_timeout_seconds = 5
conversation_timeout_seconds = 1
[state]
directory = "state"
writes = {writes}
reads = {reads}
converts = {converts}
{stores}
"""

MEMORIES = """
[[state.stores]]
kind = "sqlite"
path = "memories.db"
records = ["memories"]
"""


class Writer:
    """Remembers one text after the other, and which were promised to be remembered."""

    def __init__(self, server: Server, agent: str) -> None:
        self._url, self._stop = f"{server.router_url}/{agent}/remember", threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.promised: list[str] = []
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    def go_on(self, more: int) -> None:
        """Until so many more are remembered."""
        enough = len(self.promised) + more
        wait_for(f"{more} more memories", lambda: len(self.promised) >= enough)

    def _write(self) -> None:
        until = time.monotonic() + 300
        with httpx.Client(timeout=30) as client:
            for number in range(100_000):
                if self._stop.wait(0.02) or time.monotonic() > until:
                    return
                text = f"{number}-{number}"
                try:
                    answer = client.post(self._url, json={"text": text})
                except httpx.TransportError as problem:
                    self.failed.append(f"{text}: {problem!r}")
                    continue
                (self.promised if answer.status_code == 200 else self.failed).append(text)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("state")) as running:
        yield running


def an_agent(server: Server, agent: str, *versions: dict[str, Any]) -> None:
    for version in versions:
        folder = server.folder / agent / str(version["version"])
        folder.mkdir(parents=True)
        (folder / "program.py").write_text(PROGRAM)
        (folder / "me.json").write_text(json.dumps(version))
        (folder / "agent.toml").write_text(manifest(server, agent, version))
    first = server.post("/agents", {"manifest": manifest(server, agent, versions[0]), "version": versions[0]["version"]}, expect=201)
    assert server.outcome(first["upgrade_id"], agent=agent)["status"] == "completed"


def manifest(server: Server, agent: str, version: dict[str, Any]) -> str:
    parts = {
        "writes": version["writes"],
        "reads": version["reads"],
        "converts": version.get("converts", []),
        "stores": version.get("stores", MEMORIES),
    }
    return MANIFEST.format(agent=agent, source=server.folder / agent, python=sys.executable, **parts)


def upgraded(server: Server, agent: str, version: str) -> dict[str, Any]:
    name = server.upgrade(version, agent=agent, blue_green={"steps": [100], "monitor_seconds": 0})
    done: dict[str, Any] = server.outcome(name, agent=agent)
    assert done["status"] == "completed", done
    return done


def recalled(server: Server, agent: str) -> set[str]:
    return set(httpx.get(f"{server.router_url}/{agent}/recall").json()["texts"])


def stage(deployment: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(each for each in deployment["stages"] if each["stage"] == name))


def begun(server: Server, agent: str, name: str) -> set[str]:
    return {each["stage"] for each in server.deployment(name, agent=agent)["stages"] if each["status"] != "pending"}


OLD = {"version": "1.0.0", "writes": 1, "reads": [1]}


def test_what_was_written_during_an_upgrade_that_is_rolled_back_is_kept_or_set_aside_to_the_last_one(
    server: Server, tmp_path: Path
) -> None:
    """Over a one-way door: asked back, told in numbers, restored under load; 200 promises and more, every one accounted for."""
    agent = "OneWay"
    an_agent(server, agent, OLD, {"version": "1.1.0", "writes": 2, "reads": [1, 2]})
    with Writer(server, agent) as writer:
        writer.go_on(30)
        upgraded(server, agent, "1.1.0")
        writer.go_on(250)
        with server.api() as api:
            asked = api.post(f"/agents/{agent}/rollback", json={"reason": "it forgets"})
        assert (asked.status_code, asked.json()["code"]) == (409, "state_choice_needed")
        plan = server.post(f"/agents/{agent}/rollback", {"dry_run": True}, expect=200)
        assert plan["choice_needed"]
        restore = next(choice for choice in plan["choices"] if choice["state"] == "restore")
        assert restore["set_aside"] == plan["written"]["records"] >= 200
        shown = server.run("rollback", agent, "--dry-run").stdout
        assert "set aside" in shown
        assert "Nothing was changed." in shown
        name = server.post(f"/agents/{agent}/rollback", {"reason": "it forgets", "state": "restore"})["upgrade_id"]
        done = server.outcome(name, agent=agent)
        assert done["status"] == "completed", done
        writer.go_on(20)
    assert writer.failed == []
    assert "kept" in stage(done, "set_state_aside")["note"]
    state = server.get(f"/agents/{agent}/state")
    (aside,) = state["set_aside"]
    assert (state["epoch"], aside["complete"]) == (1, True)
    assert aside["kept"] + aside["set_aside"] == aside["written"]["records"]
    assert aside["refused"] == aside["set_aside"] > 0
    server.run("state", "export", agent, "0", "--to", str(tmp_path / "aside.ndjson"))
    exported = {json.loads(line)["value"]["text"] for line in (tmp_path / "aside.ndjson").read_text().splitlines()}
    there = recalled(server, agent)
    assert len(exported) == aside["written"]["records"]
    assert len(exported & there) == aside["kept"]
    assert {text for text in exported - there if not text.endswith("7")} == set()
    assert set(writer.promised) <= there | exported
    assert "set aside" in server.run("state", "show", agent).stdout


def test_over_a_door_by_migration_the_newer_version_converts_and_everything_is_there(server: Server) -> None:
    agent = "Converts"
    an_agent(server, agent, OLD, {"version": "1.1.0", "writes": 2, "reads": [1, 2], "converts": [1]})
    with Writer(server, agent) as writer:
        upgraded(server, agent, "1.1.0")
        writer.go_on(50)
        plan = server.post(f"/agents/{agent}/rollback", {"dry_run": True}, expect=200)
        assert (plan["state_door"], plan["choices"][0]["state"]) == ("two_way_by_migration", "convert")
        name = server.post(f"/agents/{agent}/rollback", {"reason": "back"})["upgrade_id"]
        done = server.outcome(name, agent=agent)
        assert done["status"] == "completed", done
        assert "records converted to schema 1" in stage(done, "convert_state")["note"]
    assert writer.failed == []
    assert set(writer.promised) <= recalled(server, agent)


def test_a_server_killed_while_it_puts_a_snapshot_back_goes_on_and_loses_nothing(server: Server) -> None:
    agent = "Killed"
    an_agent(server, agent, OLD, {"version": "1.1.0", "writes": 2, "reads": [1, 2]})
    with Writer(server, agent) as writer:
        writer.go_on(20)
        upgraded(server, agent, "1.1.0")
        writer.go_on(50)
        name = server.post(f"/agents/{agent}/rollback", {"reason": "back", "state": "restore"})["upgrade_id"]
        for halt in ("deploy_target", "decommission_current"):
            wait_for(halt, lambda halt=halt: halt in begun(server, agent, name))
            server.kill()
            server.start()
        done = server.outcome(name, agent=agent)
        assert done["status"] == "completed", done
    assert writer.failed == []
    (aside,) = server.get(f"/agents/{agent}/state")["set_aside"]
    assert aside["kept"] + aside["set_aside"] == aside["written"]["records"]
    with server.api() as api:
        lines = api.get(f"/agents/{agent}/state/set-aside/0/records").text.splitlines()
    exported = {json.loads(line)["value"]["text"] for line in lines}
    assert set(writer.promised) <= recalled(server, agent) | exported


def test_the_version_that_serves_is_given_a_snapshot_by_one_command(server: Server) -> None:
    agent = "Serves"
    an_agent(server, agent, OLD)
    httpx.post(f"{server.router_url}/{agent}/remember", json={"text": "before"}).raise_for_status()
    name = json.loads(server.run("--json", "state", "snapshot", agent, "--reason", "before the experiment").stdout)["snapshot"]
    wait_for("the snapshot", lambda: any(s["snapshot"] == name for s in server.get(f"/agents/{agent}/state")["snapshots"]))
    httpx.post(f"{server.router_url}/{agent}/remember", json={"text": "experiment 7"}).raise_for_status()
    server.run("state", "restore", agent, name, "--reason", "it went wrong", "--watch")
    assert recalled(server, agent) == {"before"}
    (aside,) = server.get(f"/agents/{agent}/state")["set_aside"]
    assert (aside["kept"], aside["set_aside"]) == (0, 1)


def test_what_only_the_agent_can_export_is_kept_with_the_snapshot_and_can_be_brought_back(server: Server) -> None:
    agent = "Exports"
    an_agent(server, agent, {**OLD, "stores": '[[state.stores]]\nkind = "http"'})
    httpx.post(f"{server.router_url}/{agent}/remember", json={"text": "exported"}).raise_for_status()
    name = json.loads(server.run("--json", "state", "snapshot", agent, "--reason", "before").stdout)["snapshot"]
    wait_for("the snapshot", lambda: any(s["snapshot"] == name for s in server.get(f"/agents/{agent}/state")["snapshots"]))
    folder = Path(server.post(f"/agents/{agent}/state/snapshots/{name}/unpack", expect=200)["folder"])
    (line,) = (folder / "export.ndjson").read_text().splitlines()
    assert json.loads(line)["value"]["text"] == "exported"
    httpx.post(f"{server.router_url}/{agent}/forget").raise_for_status()
    assert recalled(server, agent) == set()
    assert "1 records taken in, 0 refused" in server.run("state", "bring", agent, name, "--reason", "it forgot").stdout
    assert recalled(server, agent) == {"exported"}
