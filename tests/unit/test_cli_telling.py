"""Notifications and reports on the command line."""

from pathlib import Path

import httpx
import pytest

from tests.unit.cli_world import Json, World

NOTIFICATION: Json = {
    "notification_id": "ntf-1",
    "severity": "error",
    "title": "WowCache upgrade to v2.0.0 rolled back",
    "message": "Too many errors.",
    "at": "2026-01-02T01:00:00Z",
    "count": 2,
    "read": False,
}
SETTINGS: Json = {
    "revision": 4,
    "targets": [{"name": "ops", "url": "slack://****", "service": "Slack", "enabled": True}],
    "rules": [{"name": "ops", "targets": ["ops"], "agents": None, "kinds": None, "min_severity": "error"}],
    "same_for_seconds": 300.0,
    "give_up_seconds": 3600.0,
    "page_url": "",
    "delivery": [{"target": "ops", "status": "failing", "waiting": 2, "last_ok_at": None, "last_error": "error=500"}],
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path)


def test_notifications_are_listed_and_marked_as_read(world: World) -> None:
    world.server.on("GET", "notifications", {"notifications": [NOTIFICATION], "unread_count": 1, "next_cursor": None})
    world.server.on("POST", "notifications/read-all", {"read": 1, "unread_count": 0})
    world.server.on("POST", "notifications/ntf-1/read", NOTIFICATION)
    listed = world.run("notifications", "--unread", "--kind", "deployment_rolled_back")
    assert listed.exit_code == 0, listed.output
    assert "WowCache upgrade to v2.0.0 rolled back" in listed.stdout
    assert world.server.requests[-1].url.params["unread"] == "true"
    assert world.run("notifications", "read").stdout == "1 marked as read.\n"
    assert "Too many errors." in world.run("notifications", "read", "ntf-1").stdout


def test_a_target_is_added_with_its_rule_and_its_address_is_no_argument(world: World) -> None:
    world.server.on("GET", "settings/notifications", SETTINGS)
    world.server.on("PUT", "settings/notifications", SETTINGS)
    done = world.run("notifications", "target", "add", "hook", "--kind", "version_available", piped="json://127.0.0.1/x\n")
    assert done.exit_code == 0, done.output
    (sent,) = world.server.sent("PUT", "settings/notifications")
    assert sent["targets"] == [
        {"name": "ops", "url": "slack://****", "enabled": True},
        {"name": "hook", "url": "json://127.0.0.1/x"},
    ]
    assert sent["rules"][1] == {
        "name": "hook",
        "targets": ["hook"],
        "min_severity": "warning",
        "kinds": ["version_available"],
        "agents": None,
    }
    assert sent["if_revision"] == 4
    assert "127.0.0.1/x" not in done.output
    assert world.run("notifications", "target", "add", "hook", piped="").exit_code == 2


def test_a_target_goes_with_the_rules_that_name_no_other(world: World) -> None:
    world.server.on("GET", "settings/notifications", SETTINGS)
    world.server.on("PUT", "settings/notifications", SETTINGS)
    assert world.run("notifications", "target", "remove", "ops").exit_code == 0
    (sent,) = world.server.sent("PUT", "settings/notifications")
    assert (sent["targets"], sent["rules"]) == ([], [])
    assert world.run("notifications", "target", "remove", "nobody").exit_code == 1
    assert world.run("notifications", "rule", "remove", "nobody").exit_code == 1
    assert "error=500" in world.run("notifications", "target", "list").stdout


def test_a_test_that_does_not_get_through_ends_with_one(world: World) -> None:
    view = {"target": "ops", "delivered": False, "problem": "error=404", "duration_ms": 12.0}
    world.server.on("POST", "settings/notifications/targets/ops/test", view)
    failed = world.run("notifications", "target", "test", "ops")
    assert failed.exit_code == 1
    assert "error=404" in failed.output


def test_a_report_is_made_listed_and_downloaded(world: World, tmp_path: Path) -> None:
    issue = {"issue_id": "iss-1", "title": "WowCache: upgrade rolled back", "status": "kept", "at": "2026-01-02T01:00:00Z"}
    world.server.on("POST", "agents/WowCache/issues", issue)
    world.server.on("GET", "agents/WowCache/issues", {"issues": [issue], "next_cursor": None})
    world.server.on("GET", "agents/WowCache/issues/iss-1/bundle", httpx.Response(200, content=b"PK-bundle"))
    made = world.run("issue", "report", "WowCache", "upg-1", "--note", "under load")
    assert made.exit_code == 0, made.output
    assert "servicing issue download WowCache iss-1" in made.stdout
    assert world.server.sent("POST", "agents/WowCache/issues")[0]["note"] == "under load"
    assert "WowCache: upgrade rolled back" in world.run("issue", "list", "WowCache").stdout
    target = tmp_path / "x.zip"
    assert world.run("issue", "download", "WowCache", "iss-1", "--to", str(target)).exit_code == 0
    assert target.read_bytes() == b"PK-bundle"
    assert world.run("issue", "download", "WowCache", "iss-1", "--to", str(target)).exit_code == 2
    missing = tmp_path / "y.zip"
    assert world.run("issue", "download", "WowCache", "iss-2", "--to", str(missing)).exit_code == 1
    assert not missing.exists()


def test_a_tracker_is_tested_and_one_that_cannot_be_used_is_an_error(world: World) -> None:
    tested = {"kind": "github", "reached": True, "problem": "", "duration_ms": 12.5}
    world.server.on("POST", "settings/issues/test", tested)
    assert "github answered in 12.5 ms" in world.run("issue", "test").stdout
    world.server.on("POST", "settings/issues/test", {**tested, "reached": False, "problem": "wow/cache: the issue tracker answered 404"})
    failed = world.run("issue", "test")
    assert failed.exit_code == 1
    assert "wow/cache: the issue tracker answered 404" in failed.stderr
