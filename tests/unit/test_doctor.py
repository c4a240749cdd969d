"""Each thing that `servicing doctor` can find, really caused: with what is wrong, why that matters, and what to do."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_servicing import __version__
from agent_servicing.adapters.vault import Vault
from agent_servicing.cli import doctor_data, doctor_fleet
from agent_servicing.cli.checks import Finding
from agent_servicing.settings import Settings
from tests.backup_builders import fill
from tests.unit.cli_world import START, World, agent, deployment, stage


def one(findings: Any) -> Finding:
    (found,) = findings
    assert found.level == "ok" or (found.why and found.fix)
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def database(data: Path) -> Path:
    anyio.run(fill, f"sqlite:///{data / 'servicing.db'}")
    with sqlite3.connect(data / "servicing.db") as connection:
        connection.execute("DELETE FROM secrets")
    connection.close()
    return data / "servicing.db"


def changed(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    ("name", "mode", "fix"), [("", 0o755, "chmod 700"), ("admin.token", 0o644, "chmod 600"), ("secrets.key", 0o640, "chmod 600")]
)
def test_what_others_can_read_is_found(data: Path, name: str, mode: int, fix: str) -> None:
    (data / "admin.token").touch(0o600)
    (data / "secrets.key").touch(0o600)
    assert one(doctor_data.rights(data)).level == "ok"
    (data / name).chmod(mode)
    found = one(doctor_data.rights(data))
    assert (found.level, found.detail) == ("fail", f"mode {mode:o}")
    assert found.fix == f"{fix} {data / name}"
    (data / name).chmod(int(fix.split()[1], 8))
    assert stat.S_IMODE((data / name).stat().st_mode) == int(fix.split()[1], 8)
    assert one(doctor_data.rights(data)).level == "ok"


def test_what_a_dead_restore_left_is_found_but_not_under_a_running_server(data: Path) -> None:
    assert list(doctor_data.leftovers(data, running=False)) == []
    (data / "restore.json").write_text("[]")
    assert one(doctor_data.leftovers(data, running=False)).level == "fail"
    (data / "restore.json").unlink()
    (data / "restore-rst-01").mkdir()
    assert "restore-rst-01" in one(doctor_data.leftovers(data, running=False)).detail
    assert list(doctor_data.leftovers(data, running=True)) == []


def test_a_server_of_another_version_is_found(data: Path) -> None:
    about = {"api_url": "http://127.0.0.1:1", "router_url": "", "pid": os.getpid(), "version": __version__}
    (data / "server.json").write_text(json.dumps(about))
    assert one(doctor_data.version(data)).level == "ok"
    (data / "server.json").write_text(json.dumps({**about, "version": "0.0.1"}))
    assert "the server runs 0.0.1" in one(doctor_data.version(data)).detail
    (data / "server.json").write_text(json.dumps({**about, "version": "0.0.1", "pid": 2**22 + 1}))
    assert list(doctor_data.version(data)) == []


def test_a_database_that_is_damaged_newer_or_no_database_is_found(database: Path) -> None:
    assert one(doctor_data.sqlite_file(database)).detail.startswith("whole, schema ")
    whole = database.read_bytes()
    changed(database, "UPDATE alembic_version SET version_num = '9999'")
    found = one(doctor_data.sqlite_file(database))
    assert (found.level, found.detail) == ("fail", "schema 9999 is not known")
    changed(database, "UPDATE alembic_version SET version_num = '0001'")
    assert "the next start copies it" in one(doctor_data.sqlite_file(database)).detail
    for broken in (whole[:5000] + b"\xff" * 20_000 + whole[25_000:], b"no database" * 500):
        database.write_bytes(broken)
        found = one(doctor_data.sqlite_file(database))
        assert found.level == "fail"
        assert "restore-the-server.md" in found.fix


def test_a_key_that_does_not_fit_the_secrets_is_found(database: Path) -> None:
    settings = Settings(data_dir=database.parent)
    assert list(doctor_data.secrets_open(settings, database)) == []
    vault = Vault(data_dir=database.parent)
    vault.begin()
    row = ("api_key", 1, vault.seal("api_key@1", "hunter2"), "f" * 8, "2026-01-01 00:00:00.000000", "ada")
    changed(database, "INSERT INTO secrets (name, version, sealed, fingerprint, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?)", *row)
    assert one(doctor_data.secrets_open(settings, database)).detail == "the key opens all 1"
    (database.parent / "secrets.key").unlink()
    found = one(doctor_data.secrets_open(settings, database))
    assert (found.level, found.detail[:29]) == ("fail", "1 of 1 cannot be opened: the ")
    Vault(data_dir=database.parent).begin()
    assert one(doctor_data.secrets_open(settings, database)).level == "fail"


def test_a_changed_history_is_found_without_a_server(database: Path) -> None:
    assert one(doctor_data.history_of(database)).detail == "whole, 20 entries"
    changed(database, "DROP TRIGGER audit_unchanged")  # as somebody who owns the file can
    changed(database, "UPDATE events SET reason = 'forged' WHERE seq = 5")
    assert one(doctor_data.history_of(database)).level == "fail"


def test_settings_that_mean_nothing_or_are_overridden_are_found() -> None:
    known = ["port", "data_dir"]
    found = one(doctor_data.settings_used({"SERVICING_PROT": "1", "SERVICING_TOKEN": "x", "PATH": "y"}, known, {}))
    assert (found.level, found.detail) == ("warn", "unknown: SERVICING_PROT")
    found = one(doctor_data.settings_used({"SERVICING_PORT": "1"}, known, {"port": 2}))
    assert found.detail == "servicing.toml is overridden: port by SERVICING_PORT"
    assert one(doctor_data.settings_used({}, known, {"port": 2})).level == "ok"


def test_a_low_limit_of_files_is_found() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024));"
        "from agent_servicing.cli.doctor_data import open_files; found = open_files(); print(found.level, found.detail, found.fix)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("warn at most 256 ulimit -n 1024")


def test_folders_and_processes_that_nobody_knows_are_found(data: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        for name in ("Known", "Gone"):
            folder = data / "agents" / name / "instances" / "g1-1-0"
            folder.mkdir(parents=True)
            (folder / "instance.json").write_text(json.dumps({"identity": {"pid": process.pid}, "ended_at": None}))
        assert list(doctor_data.orphans(data, {"Known": frozenset({"g1-1-0"}), "Gone": frozenset({"g1-1-0"})})) == []
        folders, processes = doctor_data.orphans(data, {"Known": frozenset({"g1-1-0"})})
        assert (folders.level, folders.detail) == ("warn", "Gone")
        assert (processes.level, processes.detail) == ("warn", f"Gone/g1-1-0 (pid {process.pid})")
        process.communicate(b"\n")
    (left,) = doctor_data.orphans(data, {"Known": frozenset({"g1-1-0"})})
    assert left.subject == "orphan folders"


def test_what_takes_the_room_is_told(data: Path) -> None:
    folder = data / "agents" / "Big" / "releases" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 3_000_000)
    assert one(doctor_data.disk_used(data)).detail == "installed versions 3 MB"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(folder=tmp_path)
    world.server.on("GET", "agents", {"agents": [agent()]})
    world.server.on("GET", "agents/WowMemory/versions", {"current_version": "1.2.5", "versions": [{"version": "1.2.5"}]})
    world.server.on("GET", "agents/WowMemory/config", {"instances": [{"instance": "g1-1-0", "status": "in_sync"}]})
    world.server.on("GET", "audit/verify", {"valid": True, "entries": 7})
    world.server.on("GET", "/readyz", {"status": "ready"})
    return world


def doctored(world: World, subject: str, expect: int = 0) -> dict[str, Any]:
    done = world.run("doctor", "--json")
    assert done.exit_code == expect, done.output
    found = {check["subject"]: check for check in json.loads(done.stdout)["checks"]}
    assert found[subject]["why"]
    assert found[subject]["fix"]
    return dict(found[subject])


def test_a_healthy_fleet_has_nothing_to_be_told(world: World) -> None:
    checks = json.loads(world.run("doctor", "--json").stdout)["checks"]
    subjects = [check["subject"] for check in checks]
    assert "history" in subjects
    assert not [s for s in subjects if s.startswith(("version ", "config ", "deployment ", "source ", "event bus", "orphan"))]


@pytest.mark.parametrize(
    ("field", "level", "words"),
    [
        ({"standing": "withdrawn", "standing_reason": "it leaks"}, "fail", "withdrawn"),
        ({"standing": "deprecated"}, "warn", "deprecated"),
        ({"moved": True}, "warn", "changed at its source"),
    ],
)
def test_an_agent_on_a_version_that_was_taken_back_is_found(world: World, field: dict[str, Any], level: str, words: str) -> None:
    listed = {"current_version": "1.2.5", "versions": [{"version": "1.3.0"}, {"version": "1.2.5", **field}]}
    world.server.on("GET", "agents/WowMemory/versions", listed)
    found = doctored(world, "version WowMemory", expect=1 if level == "fail" else 0)
    assert (found["level"], words in found["detail"]) == (level, True)


def test_a_source_that_cannot_be_read_is_found(world: World) -> None:
    world.server.on("GET", "agents/WowMemory/versions", {"current_version": None, "versions": [], "source_problem": "no such repository"})
    assert doctored(world, "source WowMemory")["detail"] == "no such repository"


def test_drifted_instances_are_found(world: World) -> None:
    world.server.on("GET", "agents/WowMemory/config", {"instances": [{"instance": "g1-1-0", "status": "drifted"}]})
    assert doctored(world, "config WowMemory")["detail"] == "drifted: g1-1-0"


def test_a_changed_history_is_found_with_a_server(world: World) -> None:
    world.server.on("GET", "audit/verify", {"valid": False, "entries": 7, "message": "Entry evt-3 was changed."})
    assert doctored(world, "history", expect=1)["detail"] == "Entry evt-3 was changed."


def test_a_broker_that_is_away_is_found(world: World) -> None:
    world.server.on("GET", "/readyz", {"status": "degraded", "event_bus": "away"})
    assert "degraded" in doctored(world, "event bus")["detail"]


@pytest.mark.parametrize(("status", "name", "hours", "stuck"), [
    ("paused", "route_traffic_25", 30, True), ("paused", "route_traffic_25", 20, False), ("in_progress", "deploy_green", 3, True),
    ("in_progress", "deploy_green", 1, False), ("in_progress", "monitor_metrics_25", 3, False), ("completed", "decommission_blue", 30, False),
])  # fmt: skip
def test_a_deployment_that_waits_for_too_long_is_found(world: World, status: str, name: str, hours: int, stuck: bool) -> None:
    world.clock.seconds = hours * 3600
    view = deployment(status, stages=[{**stage(name, "in_progress"), "started_at": START.isoformat()}])
    world.server.on("GET", "agents", {"agents": [agent(deployment=view)]})
    if stuck:
        assert f"for {hours} h" in doctored(world, "deployment WowMemory")["detail"]
    else:
        assert list(doctor_fleet._deployment("WowMemory", view, world.clock.now())) == []
