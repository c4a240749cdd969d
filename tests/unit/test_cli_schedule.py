"""The commands on schedule, queue and lock against canned answers: what is sent, what is printed, how they end."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.cli_world import ID, START, World, agent, deployment, problem

RULE = {
    "rule_id": "win-1",
    "kind": "window",
    "name": "nights",
    "reason": "least traffic",
    "agents": [],
    "cron": "0 22 * * *",
    "duration_seconds": 28800,
    "time_zone": "Europe/Berlin",
    "active": False,
    "until": None,
    "next_start": "2026-01-02T21:00:00Z",
    "over": False,
    "warnings": [],
}
LIMIT = {"max_concurrent_deployments": 10, "default": 10, "is_default": True, "under_way": 1, "waiting": 2}
LOCK = {
    "agent_id": "WowMemory",
    "holder": "ada",
    "reason": "by hand",
    "since": "2026-01-02T01:00:00Z",
    "expires_at": "2026-01-02T05:00:00Z",
}
QUEUE = {
    "agent_id": "WowMemory",
    "holder": deployment(operator="ada", reason="faster"),
    "lock": LOCK,
    "gate": {"open": False, "reason": "freeze 'holidays' until tomorrow", "until": None},
    "places": {"limit": 10, "under_way": 1},
    "queue": [deployment("queued", to_version="1.4.0", message="waits for a free place", operator="grace")],
    "scheduled": [deployment("scheduled", to_version="1.5.0", scheduled_at="2026-01-03T02:00:00Z")],
}
PLANNED = {
    "upgrade_id": ID,
    "agent_id": "WowMemory",
    "to_version": "1.3.0",
    "scheduled_at": "2026-01-02T12:00:00Z",
    "expected_start": "2026-01-02T21:00:00Z",
    "conflicts": ["outside the maintenance window"],
}
SPAN = {"kind": "window", "name": "nights", "agents": [], "starts_at": "2026-01-02T21:00:00Z", "ends_at": "2026-01-03T05:00:00Z"}
STOPPED = {"operator": "ada", "reason": "incident 7", "since": "2026-01-02T01:00:00Z"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(folder=tmp_path)
    made.server.on("GET", "agents", {"agents": [agent()]})
    made.server.on("GET", f"agents/WowMemory/upgrades/{ID}", deployment("queued"))
    return made


READS = {
    "schedule": [("schedule", {"rules": [RULE], "stopped": STOPPED, "limit": LIMIT}), ("nights", "stopped by ada", "at most 10 at once")],
    "schedule list": [("schedule", {"rules": [], "stopped": None, "limit": LIMIT}), ("things begin at any time", "runs")],
    "schedule upcoming": [("schedule/upcoming", {"deployments": [PLANNED], "spans": [SPAN]}), (ID, "outside the maintenance", "nights")],
    "queue WowMemory": [
        ("agents/WowMemory/queue", QUEUE),
        ("1.4.0", "grace", "waits for a free place", "1.5.0", "by ada", "freeze 'holidays'"),
    ],
}


@pytest.mark.parametrize("words", READS)
def test_what_is_read_is_printed_for_people_and_for_programs(world: World, words: str) -> None:
    (path, answer), expected = READS[words]
    world.server.on("GET", path, answer)
    shown = world.run(*words.split())
    assert (shown.exit_code, shown.stderr) == (0, ""), shown.output
    for word in expected:
        assert word in shown.stdout
    machine = world.run(*words.split(), "--json")
    assert json.loads(machine.stdout) == answer


def text(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


NIGHTS = ["--cron", "0 22 * * *", "--hours", "8", "--zone", "Europe/Berlin"]
MADE: list[tuple[list[str], dict[str, Any]]] = [
    (
        ["window", "nights", "--reason", "quiet", *NIGHTS],
        {
            "kind": "window",
            "name": "nights",
            "reason": "quiet",
            "agents": [],
            "cron": "0 22 * * *",
            "duration_seconds": 28800.0,
            "time_zone": "Europe/Berlin",
        },
    ),
    (
        ["freeze", "now", "--reason", "r", "--until", "in 2 hours", "--agent", "A", "--agent", "B"],
        {"kind": "freeze", "name": "now", "reason": "r", "agents": ["A", "B"], "starts_at": text(0), "ends_at": text(2)},
    ),
    (
        ["freeze", "Christmas", "--reason", "r", "--from", "2026-12-23T18:00:00+01:00", "--until", "2026-12-27T08:00:00+01:00"],
        {
            "kind": "freeze",
            "name": "Christmas",
            "reason": "r",
            "agents": [],
            "starts_at": "2026-12-23T17:00:00Z",
            "ends_at": "2026-12-27T07:00:00Z",
        },
    ),
]


@pytest.mark.parametrize(("words", "body"), MADE)
def test_a_rule_is_sent_as_it_was_meant(world: World, words: list[str], body: dict[str, Any]) -> None:
    world.server.on("POST", "schedule/rules", httpx.Response(201, json={**RULE, "warnings": ["WowMemory has no opening any more"]}))
    found = world.run("schedule", *words)
    assert found.exit_code == 0, found.output
    assert world.server.sent("POST", "schedule/rules") == [body]
    assert "win-1" in found.stdout
    assert found.stderr == "Warning: WowMemory has no opening any more\n"


@pytest.mark.parametrize(
    "words",
    [
        ["freeze", "x", "--reason", "r"],
        ["freeze", "x", "--reason", "r", "--from", "in 1 hour"],
        ["freeze", "x", "--reason", "r", "--cron", "0 22 * * *"],
        ["freeze", "x", "--reason", "r", "--cron", "0 22 * * *", "--hours", "1", "--until", "in 2 hours"],
        ["window", "x", "--reason", "r", "--until", "in 2 hours", "--hours", "1"],
        ["freeze", "x", "--reason", "r", "--until", "yesterday"],
        ["freeze", "x", "--until", "in 2 hours"],
        ["limit", "many"],
        ["limit", "-1"],
    ],
)
def test_what_was_typed_wrongly_is_not_sent(world: World, words: list[str]) -> None:
    found = world.run("schedule", *words)
    assert found.exit_code == 2, found.output
    assert [r for r in world.server.requests if r.method != "GET"] == []


def test_the_line_is_stopped_resumed_and_limited(world: World) -> None:
    world.server.on("POST", "schedule/stop", {**STOPPED, "paused": [ID]})
    world.server.on("POST", "schedule/resume", {"rules": [], "stopped": None, "limit": LIMIT})
    world.server.on("PUT", "schedule/limit", {**LIMIT, "max_concurrent_deployments": 0})
    stopped = world.run("schedule", "stop", "--reason", "incident", "--pause-running")
    assert f"Asked to pause: {ID}" in stopped.stdout
    assert world.server.sent("POST", "schedule/stop") == [{"reason": "incident", "pause_running": True}]
    assert world.run("schedule", "resume").stdout == "The line runs again.\n"
    assert "no limit" in world.run("schedule", "limit", "0").stdout
    world.run("schedule", "limit", "default", "--reason", "as it was")
    assert world.server.sent("PUT", "schedule/limit") == [
        {"max_concurrent_deployments": 0, "reason": ""},
        {"max_concurrent_deployments": None, "reason": "as it was"},
    ]


def test_a_rule_is_removed(world: World) -> None:
    world.server.on("DELETE", "schedule/rules/win-1", {"rules": []})
    assert world.run("schedule", "remove", "win-1", "--reason", "over").stdout == "win-1 is removed.\n"
    assert world.server.requests[-1].url.params["reason"] == "over"


def test_an_agent_is_locked_and_unlocked(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/lock", LOCK)
    world.server.on("DELETE", "agents/WowMemory/lock", LOCK)
    assert "is yours until" in world.run("lock", "WowMemory", "--reason", "by hand", "--for", "2h").stdout
    world.run("lock", "WowMemory", "--reason", "by hand")
    world.run("lock", "WowMemory", "--reason", "incident", "--take-over-from", "ada")
    assert world.server.sent("POST", "agents/WowMemory/lock") == [
        {"reason": "by hand", "expires_in_seconds": 7200.0},
        {"reason": "by hand"},
        {"reason": "incident", "take_over_from": "ada"},
    ]
    assert "ada had locked it" in world.run("unlock", "WowMemory").stdout
    assert world.run("lock", "WowMemory", "--reason", "x", "--for", "long").exit_code == 2


def test_a_refusal_names_the_holder_and_ends_with_one(world: World) -> None:
    refused = problem(409, "agent_locked", "WowMemory is locked by ada since … until …: by hand.", hint="Rollbacks pass.")
    world.server.on("POST", "agents/WowMemory/upgrade", refused)
    found = world.run("upgrade", "WowMemory", "1.3.0", "--reason", "r")
    assert found.exit_code == 1
    assert "locked by ada" in found.stderr


def test_a_deployment_is_moved_and_rescheduled(world: World) -> None:
    path = f"agents/WowMemory/upgrades/{ID}"
    world.server.on("POST", f"{path}/move", deployment("queued", queue_position=1))
    world.server.on("POST", f"{path}/reschedule", deployment("scheduled", scheduled_at="2026-01-03T02:00:00Z"))
    assert world.run("move", ID, "1").stdout == f"{ID} is at position 1.\n"
    assert world.server.sent("POST", f"{path}/move") == [{"position": 1, "reason": ""}]
    assert "starts 2026-01-03" in world.run("reschedule", ID, "--at", "2026-01-03T02:00:00Z").stdout
    world.run("reschedule", ID, "--now", "--reason", "quiet already")
    assert world.server.sent("POST", f"{path}/reschedule") == [
        {"schedule": "2026-01-03T02:00:00Z", "reason": ""},
        {"schedule": None, "reason": "quiet already"},
    ]
    assert world.run("reschedule", ID).exit_code == 2
    assert world.run("reschedule", ID, "--now", "--at", "02:00").exit_code == 2


def test_an_upgrade_carries_what_concerns_its_turn(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/upgrade", httpx.Response(202, json=deployment("queued", message="freeze 'x' until tomorrow")))
    options = ["--when-busy", "take-over", "--override-freeze", "--start-grace-seconds", "60", "--if-version", "1.2.5"]
    found = world.run("upgrade", "WowMemory", "1.3.0", "--reason", "r", *options)
    assert found.exit_code == 0, found.output
    assert "freeze 'x'" in found.stdout
    (sent,) = world.server.sent("POST", "agents/WowMemory/upgrade")
    wanted = {"when_busy": "take_over", "override_freeze": True, "start_grace_seconds": 60.0, "if_version": "1.2.5"}
    assert {key: sent[key] for key in wanted} == wanted


def test_watching_tells_what_a_waiting_deployment_waits_for(world: World) -> None:
    done = deployment("completed", finished_at="2026-01-02T01:10:00Z")
    held = deployment("queued", message="freeze 'x' until tomorrow", stages=[])
    world.server.on("GET", f"agents/WowMemory/upgrades/{ID}", held, held, done)
    found = world.run("status", ID, "--watch")
    assert "waits: freeze 'x' until tomorrow" in found.stdout
