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
    "used_by": [{"agent_id": "WowMemory", "revision": "cfg-1.2.5-p1", "version": 3}],
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
