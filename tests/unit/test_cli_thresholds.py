"""Default thresholds on the command line."""

from pathlib import Path

import pytest

from tests.unit.cli_world import Json, World

ALL: Json = {
    "built_in": {"error_rate_threshold": 5.0, "promote_error_rate": None, "latency_threshold_ms": None, "min_requests": 50},
    "all": {"error_rate_threshold": 2.0},
    "agents": {"WowMemory": {"latency_threshold_ms": None, "min_requests": 20}},
}
OWN: Json = {
    "agent_id": "WowMemory",
    "own": {"latency_threshold_ms": 300, "min_requests": 20},
    "in_force": {
        "error_rate_threshold": {"value": 2.0, "origin": "all"},
        "latency_threshold_ms": {"value": 300, "origin": "agent"},
    },
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(folder=tmp_path)
    for path, view in (("settings/thresholds", ALL), ("agents/WowMemory/thresholds", OWN)):
        world.server.on("GET", path, view)
        world.server.on("PUT", path, view)
    return world


def test_what_is_set_is_shown_for_all_and_for_one_agent_with_where_it_comes_from(world: World) -> None:
    shown = world.run("thresholds", "show")
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.stdout for word in ("for all agents", "2 %", "WowMemory", "no limit", "built in"))
    own = world.run("thresholds", "show", "WowMemory")
    assert "300 ms" in own.stdout
    assert "its own" in own.stdout


def test_setting_changes_what_is_named_and_keeps_the_rest(world: World) -> None:
    options = ("--latency-threshold-ms", "none", "--min-requests", "default", "--promote-error-rate", "0.5%", "--reason", "promised")
    done = world.run("thresholds", "set", "WowMemory", *options)
    assert done.exit_code == 0, done.output
    assert world.server.sent("PUT", "agents/WowMemory/thresholds") == [
        {"thresholds": {"latency_threshold_ms": None, "promote_error_rate": 0.5}, "reason": "promised"}
    ]
    assert world.run("thresholds", "set", "--min-requests", "80").exit_code == 0
    assert world.server.sent("PUT", "settings/thresholds")[0]["thresholds"] == {"error_rate_threshold": 2.0, "min_requests": 80}


def test_clearing_takes_everything_away(world: World) -> None:
    assert world.run("thresholds", "clear", "WowMemory").exit_code == 0
    assert world.server.sent("PUT", "agents/WowMemory/thresholds") == [{"thresholds": {}, "reason": ""}]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--error-rate-threshold", "few"),
        ("--min-requests", "none"),
        ("--latency-threshold-ms", "nan"),
        ("--error-rate-threshold", "1e999"),
    ],
)
def test_what_is_no_limit_is_a_wrong_usage(world: World, options: tuple[str, ...]) -> None:
    assert world.run("thresholds", "set", *options).exit_code == 2
    assert world.server.sent("PUT", "settings/thresholds") == []
