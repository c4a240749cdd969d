"""Commands about this machine: doctor, serve, stop, open; and what ends badly without a server's help."""

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from agent_servicing.cli import checks
from tests.unit.cli_world import START, World, agent, problem


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path)


def lonely(tmp_path: Path) -> World:
    return World(folder=tmp_path, environ={})


def findings(world: World, *words: str, expect: int = 0) -> dict[str, dict]:
    found = world.run("doctor", "--json", *words)
    assert found.exit_code == expect, found.output
    return {check["subject"]: check for check in json.loads(found.stdout)["checks"]}


def ready(date: datetime = START) -> httpx.Response:
    return httpx.Response(200, json={"status": "ready"}, headers={"Date": format_datetime(date, usegmt=True)})


def test_the_doctor_works_without_a_server_and_says_how_to_start_one(tmp_path: Path) -> None:
    found = findings(lonely(tmp_path), "--data-dir", "data")
    assert found["server"]["level"] == "warn"
    assert "servicing serve" in found["server"]["fix"]
    assert found["python"]["level"] == found["haproxy"]["level"] == found["git"]["level"] == found["uv"]["level"] == "ok"
    assert "will be made" in found["data directory"]["detail"]
    assert not (tmp_path / "data").exists()


def test_the_doctor_shows_unhealthy_agents_and_where_to_look(world: World) -> None:
    world.server.on("GET", "/readyz", ready())
    sick = agent("Sick", health={"status": "down", "desired": 3, "ready": 0})
    world.server.on("GET", "agents", {"agents": [agent(), sick]})
    found = findings(world, expect=1)
    assert found["agent WowMemory"]["level"] == "ok"
    assert found["agent Sick"]["level"] == "fail"
    assert "servicing logs Sick" in found["agent Sick"]["fix"]


def test_the_doctor_tells_a_server_that_is_not_ready(world: World) -> None:
    world.server.on("GET", "/readyz", httpx.Response(503, json={"store": "locked"}))
    assert "locked" in findings(world, expect=1)["server"]["detail"]


def test_the_doctor_goes_on_when_the_token_is_wrong(world: World) -> None:
    world.server.on("GET", "/readyz", ready())
    world.server.on("GET", "agents", problem(401, "unauthenticated", "This token is unknown."))
    assert "--token" in findings(world, expect=1)["agents"]["fix"]


def test_the_doctor_prints_a_line_per_check_for_people(world: World) -> None:
    world.server.on("GET", "/readyz", ready())
    world.server.on("GET", "agents", {"agents": []})
    lines = world.run("doctor").stdout.splitlines()
    assert any(line.startswith("ok    python") for line in lines)
    assert lines[-1].split()[0] in {"Everything", "It"}


def test_clocks_that_differ_are_told() -> None:
    nowhere = Path("nowhere")
    assert checks.clock(START, nowhere, None).level == "ok"
    assert checks.clock(START, nowhere, "garbage").level == "ok"
    assert checks.clock(START, nowhere, format_datetime(START + timedelta(minutes=5))).level == "warn"
    assert checks.clock(datetime(1999, 1, 1, tzinfo=UTC), nowhere, None).level == "fail"


def test_a_clock_that_was_set_back_is_noticed_by_the_files_it_left(tmp_path: Path) -> None:
    (tmp_path / "servicing.db").touch()
    os.utime(tmp_path / "servicing.db", (START.timestamp() + 3600, START.timestamp() + 3600))
    found = checks.clock(START, tmp_path, None)
    assert found.level == "warn"
    assert "behind files" in found.detail


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        found = checks.port("port", "127.0.0.1", number)
        assert (found.level, f"(pid {os.getpid()})" in found.detail) == ("warn", True)
        assert "--router-port" in checks.port(checks.ROUTER_PORT, "127.0.0.1", number).fix


@pytest.mark.parametrize(
    ("said", "level"), [("HAProxy version 2.8.5-1 2023", "ok"), ("HAProxy version 2.4.0 x", "fail"), ("hello", "fail")]
)
def test_an_old_haproxy_is_refused(tmp_path: Path, said: str, level: str) -> None:
    binary = tmp_path / "haproxy"
    binary.write_text(f"#!/bin/sh\necho '{said}'\n")
    binary.chmod(0o755)
    assert checks.haproxy(str(binary)).level == level


def test_programs_that_are_missing_or_fail_are_findings() -> None:
    assert checks.haproxy("no/such/haproxy").level == "fail"
    assert checks.tool("no-such-program", level="warn", needed_for="nothing").level == "warn"
    assert checks.python_version((3, 10, 4)).level == "fail"


def test_a_data_directory_that_is_a_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert [f.level for f in checks.data_dir(tmp_path / "data")] == ["fail"]


@pytest.mark.parametrize("words", [["serve", "--port", "99999"], ["serve", "--log-format", "xml"], ["demo", "--port", "-1"]])
def test_impossible_settings_are_refused_by_name(tmp_path: Path, words: list[str]) -> None:
    found = lonely(tmp_path).run(*words, "--data-dir", str(tmp_path / "data"))
    assert found.exit_code == 1
    assert found.stderr.startswith("Error: These settings are not possible.\n  ")
    assert words[1].removeprefix("--").replace("-", "_") in found.stderr
    assert not (tmp_path / "data").exists()


def test_stopping_what_does_not_run_is_no_error_and_makes_nothing(tmp_path: Path) -> None:
    found = lonely(tmp_path).run("stop", "--all", "--data-dir", "data", "--json")
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"data_dir": None, "stopped": []})
    assert not (tmp_path / "data").exists()


def test_opening_without_a_server_says_so(tmp_path: Path) -> None:
    found = lonely(tmp_path).run("open")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "No server is running here" in found.stderr
