"""Secrets on the command line: where a value comes from, and that it is shown nowhere."""

from pathlib import Path

import httpx
import pytest

from tests.unit.cli_world import Json, World

SECRET: Json = {
    "name": "db/password",
    "agent_id": "WowMemory",
    "version": 3,
    "fingerprint": "9f1c02ab",
    "created_at": "2026-01-02T01:00:00Z",
    "created_by": "ada",
    "versions": [],
    "used_by": [{"agent_id": "WowMemory", "revision": "cfg-1.2.5-p1", "version": 3, "in_force": True}],
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path)


@pytest.mark.parametrize(("piped", "value"), [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), (" two\nlines\n\n", " two\nlines\n")])
def test_a_value_is_read_from_standard_input_as_it_is_but_for_the_last_line_break(world: World, piped: str, value: str) -> None:
    world.server.on("PUT", "secrets/db/password", SECRET)
    done = world.run("secret", "set", "db/password", "--agent", "WowMemory", piped=piped)
    assert done.exit_code == 0, done.output
    assert world.server.sent("PUT", "secrets/db/password") == [{"value": value, "agent": "WowMemory"}]
    assert done.stdout == "db/password is at version 3 for WowMemory, fingerprint 9f1c02ab.\n"


def test_whoever_sets_a_new_value_is_told_which_agents_still_have_an_older_one(world: World) -> None:
    uses = [
        {"agent_id": "WowMemory", "revision": "cfg-1.2.5-p1", "version": 3, "in_force": True},
        {"agent_id": "WowCache", "revision": "cfg-2.0.0-p7", "version": 2, "in_force": True},
        {"agent_id": "WowMemory", "revision": "cfg-1.2.4-p1", "version": 1, "in_force": False},
    ]
    world.server.on("PUT", "secrets/db/password", {**SECRET, "used_by": uses})
    text = world.run("secret", "set", "db/password", piped="hunter2").stdout
    assert text.endswith("An older version is still used by WowCache. To bring this one there: servicing secret apply db/password\n")


def test_a_secret_is_applied_and_every_agent_has_a_line(world: World) -> None:
    deliveries = [
        {"agent_id": "WowCache", "status": "applied", "config_version": "cfg-2.0.0-p8", "reason": "", "code": None},
        {
            "agent_id": "WowMemory",
            "status": "needs_restart",
            "config_version": None,
            "reason": "it reads this only when it starts",
            "code": None,
        },
    ]
    world.server.on("POST", "secrets/db/password/apply", {"name": "db/password", "version": 3, "deliveries": deliveries})
    done = world.run("secret", "apply", "db/password", "--restart", "-r", "it leaked")
    assert done.exit_code == 0, done.output
    assert world.server.sent("POST", "secrets/db/password/apply") == [{"reason": "it leaked", "restart": True}]
    for words in ("WowCache", "applied", "cfg-2.0.0-p8", "WowMemory", "needs_restart", "reads this only when it starts"):
        assert words in done.stdout


def test_an_agent_that_did_not_get_it_ends_the_command_with_an_error(world: World) -> None:
    failed = {"agent_id": "WowCache", "status": "failed", "config_version": None, "reason": "locked by nina", "code": "agent_locked"}
    world.server.on("POST", "secrets/db/password/apply", {"name": "db/password", "version": 3, "deliveries": [failed]})
    done = world.run("secret", "apply", "db/password")
    assert done.exit_code == 1
    assert "locked by nina" in done.stdout
    assert "Not brought to WowCache." in done.stderr


def test_applying_what_nobody_uses_says_so(world: World) -> None:
    world.server.on("POST", "secrets/db/password/apply", {"name": "db/password", "version": 3, "deliveries": []})
    assert world.run("secret", "apply", "db/password").stdout == "No agent in your reach uses db/password.\n"


def test_without_a_value_nothing_is_sent(world: World) -> None:
    refused = world.run("secret", "set", "db/password", piped="\n")
    assert refused.exit_code == 2
    assert "There is no value" in refused.stderr
    assert world.server.requests == []


def test_a_value_cannot_be_given_as_an_argument(world: World) -> None:
    assert world.run("secret", "set", "db/password", "hunter2").exit_code == 2
    assert world.run("secret", "set", "db/password", "--value", "hunter2").exit_code == 2
    assert world.server.requests == []


def test_the_list_tells_what_needs_a_secret(world: World) -> None:
    world.server.on("GET", "secrets", {"secrets": [SECRET, {**SECRET, "name": "shared", "agent_id": None, "used_by": []}]})
    text = world.run("secret", "list").stdout
    for words in ("db/password", "9f1c02ab", "WowMemory (cfg-1.2.5-p1)", "shared", "all"):
        assert words in text


def test_a_secret_is_removed_by_its_name(world: World) -> None:
    world.server.on("DELETE", "secrets/db/password", httpx.Response(204))
    assert world.run("secret", "remove", "db/password").stdout == "db/password is removed.\n"
