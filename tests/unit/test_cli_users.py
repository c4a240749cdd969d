"""People on the command line: what is sent, where a password comes from, and that it is shown nowhere."""

from pathlib import Path

import pytest

from tests.unit.cli_world import ID, Json, World, agent, deployment

ADA: Json = {
    "user_id": "usr-1",
    "name": "ada",
    "role": "viewer",
    "agents": None,
    "grants": {"WowMemory": "operator"},
    "status": "active",
    "has_password": True,
    "external": False,
    "last_signed_in_at": None,
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path)


def test_a_person_is_added_with_the_password_from_standard_input(world: World) -> None:
    world.server.on("POST", "users", ADA)
    done = world.run("user", "add", "ada", "--role", "viewer", "--grant", "WowMemory=operator", piped="four words nobody guesses\n")
    assert done.exit_code == 0, done.output
    assert world.server.sent("POST", "users") == [
        {"name": "ada", "role": "viewer", "grants": {"WowMemory": "operator"}, "password": "four words nobody guesses"}
    ]
    assert "words" not in done.output


def test_a_person_without_a_password_is_sent_a_link(world: World) -> None:
    world.server.on("POST", "users", {**ADA, "has_password": False})
    world.server.on("POST", "users/ada/link", {"url": "http://servicing.test/sign-in#t", "sign_in_token": "t", "name": "ada"})
    assert world.run("user", "add", "ada", "--role", "viewer", "--no-password", "--agent", "WowMemory").exit_code == 0
    assert world.server.sent("POST", "users") == [{"name": "ada", "role": "viewer", "grants": {}, "agents": ["WowMemory"]}]
    assert world.run("user", "link", "ada").stdout == "http://servicing.test/sign-in#t\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "ada", "--role", "boss"), "viewer, operator, admin"),
        (("add", "ada", "--role", "viewer", "--grant", "WowMemory"), "AGENT=ROLE"),
        (("add", "ada", "--role", "viewer", "--grant", "WowMemory="), "names no role"),
        (("add", "ada", "--role", "viewer"), "no password"),
        (("password", "ada"), "no password"),
        (("grant", "ada"), "nothing to change"),
        (("grant", "ada", "WowMemory=boss"), "viewer, operator, admin"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(world: World, words: tuple[str, ...], says: str) -> None:
    done = world.run("user", *words, piped="")
    assert done.exit_code == 2
    assert says in done.stderr
    assert world.server.requests == []


def test_grants_are_added_and_taken_away_one_by_one(world: World) -> None:
    world.server.on("GET", "users/ada", {**ADA, "grants": {"WowMemory": "operator", "WowDomain": "admin"}})
    world.server.on("PATCH", "users/ada", {**ADA, "grants": {"WowCache": "operator", "WowDomain": "admin"}})
    done = world.run("user", "grant", "ada", "WowCache=operator", "WowMemory=")
    assert done.exit_code == 0, done.output
    assert world.server.sent("PATCH", "users/ada") == [{"grants": {"WowCache": "operator", "WowDomain": "admin"}}]
    assert done.stdout == "ada is viewer, and WowCache=operator, WowDomain=admin.\n"


def test_the_role_for_all_agents_is_changed(world: World) -> None:
    world.server.on("PATCH", "users/ada", {**ADA, "role": "operator", "grants": {}})
    assert world.run("user", "grant", "ada", "--role", "operator", "--all-agents").stdout == "ada is operator.\n"
    assert world.server.sent("PATCH", "users/ada") == [{"role": "operator", "all_agents": True}]


def test_disabling_enabling_signing_out_and_a_new_password(world: World) -> None:
    world.server.on("POST", "users/ada/disable", {**ADA, "status": "disabled"})
    world.server.on("POST", "users/ada/enable", ADA)
    world.server.on("DELETE", "users/ada/sessions", {"user": "ada", "sessions_ended": 2})
    world.server.on("PUT", "users/ada/password", ADA)
    assert "disabled" in world.run("user", "disable", "ada").stdout
    assert "again" in world.run("user", "enable", "ada").stdout
    assert "2 sessions" in world.run("user", "sign-out", "ada").stdout
    assert world.run("user", "password", "ada", piped="four words nobody guesses").exit_code == 0
    assert world.server.sent("PUT", "users/ada/password") == [{"password": "four words nobody guesses"}]


def test_a_second_person_is_wanted_approves_and_rejects(world: World) -> None:
    world.server.on("PUT", "agents/WowMemory/approval", {"agent_id": "WowMemory", "required": True})
    world.server.on("GET", "agents", {"agents": [agent()]})
    world.server.on("GET", f"agents/WowMemory/upgrades/{ID}", deployment("queued"))
    world.server.on("GET", "agents/WowMemory/upgrades", {"upgrades": [deployment("queued")]})
    world.server.on("POST", f"agents/WowMemory/upgrades/{ID}/approve", deployment("queued"))
    world.server.on("POST", f"agents/WowMemory/upgrades/{ID}/reject", deployment("cancelled"))
    assert "second person" in world.run("agent", "approval", "WowMemory", "on").stdout
    assert world.run("agent", "approval", "WowMemory", "maybe").exit_code == 2
    assert world.run("approve", ID, "--override", "-r", "it burns").exit_code == 0
    assert world.run("reject", ID, "-r", "not now").exit_code == 0
    assert world.server.sent("PUT", "agents/WowMemory/approval") == [{"required": True, "reason": ""}]
    assert world.server.sent("POST", f"agents/WowMemory/upgrades/{ID}/approve") == [{"reason": "it burns", "override": True}]
    assert world.server.sent("POST", f"agents/WowMemory/upgrades/{ID}/reject") == [{"reason": "not now"}]


def test_opening_the_page_prints_its_address_with_a_one_time_sign_in(world: World) -> None:
    world.server.on(
        "POST", "tokens/sign-in", {"url": "http://elsewhere/sign-in#t", "sign_in_token": "t", "expires_at": "2026-01-02T01:15:00Z"}
    )
    assert world.run("open").stdout == "http://servicing.test/sign-in#t\n"
    assert world.run("open", "--json").stdout.strip().startswith("{")
