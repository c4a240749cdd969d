"""Backups of a real server at work, restored elsewhere and in place, with the restore killed at any moment."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent_servicing.store.migrate import revisions
from tests.e2e.harness import AGENT, Server, a_server, a_version, an_agent, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(1200)

KILLS = 8
"""Each takes three commands, whose interpreters need seconds to start on a busy machine."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path / "first") as running:
        yield running


def test_a_backup_taken_in_mid_upgrade_under_load_serves_elsewhere(server: Server, tmp_path: Path) -> None:
    """Same agents, same history, whole; and the upgrade that was under way comes to its end there too."""
    source = an_agent(server)
    a_version(source, "1.1.0")
    server.post(f"/agents/{AGENT}/versions/refresh", expect=200)
    with server.api() as api:
        assert api.put(f"/secrets/{AGENT}/api_key", json={"value": "hunter2", "agent": AGENT}).status_code == 200
    file = tmp_path / "one.backup"
    with Load(server.router_url, AGENT) as load:
        name = server.upgrade("1.1.0")
        server.stage(name, "monitor_metrics_25", "route_traffic_50", "monitor_metrics_50")
        said = server.run("backup", str(file), "--with-key").stderr
        assert server.outcome(name)["status"] == "completed"
    assert load.lost == []
    assert "whoever can read it can read every secret" in said
    before = server.get("/audit", limit=200)["events"]
    server.close()
    second = Server(tmp_path / "second")
    told = json.loads(second.run("restore", str(file), "--json").stdout)
    assert told["agents"] == [AGENT]
    assert told["audit"]["valid"]
    assert told["secrets_open"] is True
    try:
        second.start()
        assert second.outcome(name)["status"] in ("completed", "rolled_back")
        wait_for("the agent to serve again", lambda: httpx.get(f"{second.router_url}/{AGENT}/").status_code == 200)
        assert second.run("audit", "verify").returncode == 0
        ids = [event["event_id"] for event in second.get("/audit", limit=200)["events"]]
        taken = [event["event_id"] for event in before if event["type"] == "backup"]
        at = [event["event_id"] for event in before].index(taken[0])
        # From the backup on backwards the history is the same, entry by entry.
        assert ids[ids.index(taken[0]) :] == [event["event_id"] for event in before][at:]
        assert [s["name"] for s in second.get("/secrets")["secrets"]] == [f"{AGENT}/api_key"]
    finally:
        second.close()


def test_a_restore_in_place_adopts_the_agents_that_still_run(server: Server, tmp_path: Path) -> None:
    an_agent(server)
    file = tmp_path / "one.backup"
    server.run("backup", str(file))
    pids = {i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"]}
    with Load(server.router_url, AGENT) as load:
        assert "in use by another server" in server.run("restore", str(file), "--replace", expect=1).stderr
        server.kill()
        assert "There is data already" in server.run("restore", str(file), expect=1).stderr
        set_aside = json.loads(server.run("restore", str(file), "--replace", "--json").stdout)["set_aside"]
        server.start()
        wait_for("the agent to be looked after", lambda: server.get(f"/agents/{AGENT}")["health"]["ready"] == 2)
        assert {i["pid"] for i in server.get(f"/agents/{AGENT}/instances")["instances"]} == pids
    assert load.lost == []
    assert (Path(set_aside) / "servicing.db").exists()
    assert server.run("audit", "verify").returncode == 0


def test_a_restore_that_is_killed_leaves_the_old_data_or_the_new_and_never_something_between(server: Server, tmp_path: Path) -> None:
    an_agent(server)
    file = tmp_path / "one.backup"
    server.run("backup", str(file))
    server.run("agent", "scale", AGENT, "1", "--reason", "after the backup")
    server.kill()
    whole = tmp_path / "whole"
    shutil.copytree(server.data_dir, whole, ignore=shutil.ignore_patterns("*.sock"))
    command = server.command("--data-dir", str(server.data_dir), "restore", str(file), "--replace")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SERVICING_")}
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environ, timeout=120)
    lasts = time.monotonic() - started
    ends: set[int] = set()
    for part in range(1, KILLS + 1):
        for name in [path for path in server.data_dir.iterdir() if path.name.startswith(("restore", "replaced", "servicing.db"))]:
            shutil.rmtree(name) if name.is_dir() else name.unlink()
        for path in whole.glob("servicing.db*"):
            shutil.copy(path, server.data_dir)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
        # The second half is where it works; the first is the interpreter's start.
        try:
            process.wait(lasts * (0.4 + 0.6 * part / KILLS))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # A start finishes what began to be moved; the backup is then read from what is there.
        check = tmp_path / f"{part}.backup"
        server.run("backup", str(check))
        rows = json.loads(server.run("restore", str(check), "--check", "--json").stdout)["rows"]
        ends.add(rows["events"])
        assert rows["agents"] == 1
    old, *new = sorted(ends, reverse=True)
    assert old > max(new, default=0)
    assert not [path.name for path in server.data_dir.iterdir() if path.name == "restore.json"]
    server.start()
    assert server.run("audit", "verify").returncode == 0


def test_copies_of_states_travel_when_they_are_asked_for(server: Server, tmp_path: Path) -> None:
    an_agent(server, extra='[state]\ndirectory = "state"\nwrites = 1\nreads = [1]\n')
    (server.data_dir / "agents" / AGENT / "state").mkdir(exist_ok=True)
    (server.data_dir / "agents" / AGENT / "state" / "memory.txt").write_text("remember me")
    name = server.post(f"/agents/{AGENT}/state/snapshots", {"reason": "before moving"})["snapshot"]
    wait_for("the snapshot", lambda: [s for s in server.get(f"/agents/{AGENT}/state")["snapshots"] if s["snapshot"] == name])
    file = tmp_path / "one.backup"
    server.run("backup", str(file), "--with-state")
    server.close()
    second = Server(tmp_path / "second")
    second.run("restore", str(file))
    try:
        second.start()
        assert [s["snapshot"] for s in second.get(f"/agents/{AGENT}/state")["snapshots"]] == [name]
        tried = second.post(f"/agents/{AGENT}/state/snapshots/{name}/rehearse", expect=200)
        assert tried["rehearsal"]["passed"]
    finally:
        second.close()


def test_a_newer_server_copies_an_older_database_before_it_changes_it(tmp_path: Path) -> None:
    """The database is made at an older revision by the migrations themselves."""
    from sqlalchemy import create_engine

    from agent_servicing.store.migrate import migrate

    data_dir = tmp_path / "first" / "data"
    data_dir.mkdir(parents=True)
    engine = create_engine(f"sqlite:///{data_dir / 'servicing.db'}")
    with engine.begin() as connection:
        migrate(connection, revisions()[0])
    engine.dispose()
    with a_server(tmp_path / "first") as server:
        (copy,) = (data_dir / "backups").glob("*.backup")
        told = json.loads(server.run("restore", str(copy), "--check", "--json").stdout)
        assert told["schema"] == revisions()[0]
        server.close()
        server.start()
        assert len(list((data_dir / "backups").iterdir())) == 1


def test_an_older_server_refuses_a_newer_database_in_one_line(tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    from agent_servicing.store.migrate import migrate

    data_dir = tmp_path / "data"
    data_dir.mkdir()
    engine = create_engine(f"sqlite:///{data_dir / 'servicing.db'}")
    with engine.begin() as connection:
        migrate(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    said = Server(tmp_path).run("serve", "--port", "0", "--router-port", "0", expect=1).stderr.splitlines()
    assert said == ["Error: the database was written by a newer version of Agent Servicing (schema 9999); install that version"]
