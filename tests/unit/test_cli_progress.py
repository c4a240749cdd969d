"""Sentences made of deployment views."""

import pytest

from agent_servicing.cli.exits import ExitCode
from agent_servicing.cli.logs import fresh
from agent_servicing.cli.output import clean
from agent_servicing.cli.progress import lines, metrics_line, outcome, summary
from agent_servicing.cli.words import duration, number
from tests.unit.cli_world import START, deployment, side, stage


def told(*views: dict) -> list[str]:
    before, found = None, []
    for view in views:
        found += lines(before, view, START)
        before = view
    return [line.split("  ", 1)[1] for line in found]


def test_the_first_look_tells_what_happened_before_it() -> None:
    found = told(deployment())
    assert "deploy_green completed after 30 s" in found
    assert "route_traffic_25 started" in found
    assert "traffic: 1.2.5 75 %, 1.3.0 25 %" in found
    assert "verdict passing: 0 errors in 375 requests" in found


def test_nothing_is_told_twice() -> None:
    assert len(told(deployment(), deployment())) == len(told(deployment()))


def test_stages_come_in_the_order_of_their_times() -> None:
    found = told(deployment(stages=[stage("a", "completed", 1.0), stage("b", "in_progress")]))
    assert found.index("b started") < found.index("a completed after 1.0 s")  # b's start time is the earlier one here


def test_a_rollback_is_told_with_its_reason_once() -> None:
    reason = "Error rate threshold exceeded (8.2% > 5%)"
    cause = {"reason": reason, "auto_triggered": True, "triggered_at": "2026-01-02T01:02:00Z"}
    rolling = deployment("rolling_back", rollback=cause)
    found = told(deployment(), rolling, rolling)
    assert found.count(f"automatic rollback: {reason}") == 1
    assert "rolling back" in found


def test_waiting_deployments_say_what_they_wait_for() -> None:
    assert "queued at position 2" in told(deployment("queued", stages=[], queue_position=2))
    assert any("scheduled for 2026" in line for line in told(deployment("scheduled", scheduled_at="2026-01-02T02:00:00Z")))


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", ExitCode.DONE), ("rolled_back", ExitCode.ROLLED_BACK), ("failed", ExitCode.FAILED), ("cancelled", ExitCode.FAILED)],
)
def test_exit_codes_follow_the_outcome(status: str, code: ExitCode) -> None:
    assert outcome(deployment(status)) is code


def test_the_summary_of_a_completed_upgrade_has_its_duration_and_impact() -> None:
    text = summary(deployment("completed", finished_at="2026-01-02T01:03:20Z"))
    figures = "1 of 375 requests to the new version failed, 42 conversations touched, downtime 0 s"
    assert text == f"WowMemory 1.2.5 → 1.3.0: completed after 3 min 20 s. {figures}."


def test_the_summary_of_a_rollback_says_why_and_what_serves_now() -> None:
    text = summary(deployment("rolled_back", rollback={"reason": "too slow"}))
    assert "rolled back (too slow)" in text
    assert "1.2.5 serves again." in text


def test_missing_figures_are_left_out_not_shown_as_zero() -> None:
    view = deployment(metrics={"blue": None, "green": side("1.0.0", 0, error_rate=None, avg_latency_ms=None, throughput=None)})
    assert metrics_line(view) == "1.0.0: 0 % of traffic"


def test_a_view_with_next_to_nothing_in_it_still_makes_sentences() -> None:
    assert told({"status": "queued"}) == ["queued"]
    assert summary({"status": "failed"}).startswith(": failed")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12, "12 s"),
        (59.6, "60 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 5 min"),
        (None, ""),
        (True, ""),
    ],
)
def test_durations_are_readable(seconds: object, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_lose_their_trailing_zeros_only() -> None:
    assert [number(v, " %") for v in (0, 0.5, 100.0, 33.333, None, True)] == ["0 %", "0.5 %", "100 %", "33.3 %", "", ""]
    assert number(1000, "", 0) == "1000"


def test_a_log_cannot_drive_the_terminal() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2Jx\x9b\r\tend") == "red x  \tend"


def entries(*lines: str, instance: str = "g1-1-0") -> list[dict]:
    return [{"instance": instance, "line": line} for line in lines]


def test_following_prints_each_new_line_once() -> None:
    assert fresh(entries("a", "b"), entries("a", "b", "c")) == entries("c")
    assert fresh(entries("a", "b"), entries("a", "b")) == []
    assert fresh([], entries("a")) == entries("a")


def test_following_sees_repeated_lines_while_nothing_scrolled_away() -> None:
    assert fresh(entries("tick", "tick"), entries("tick", "tick", "tick")) == entries("tick")


def test_following_goes_on_when_old_lines_scroll_away() -> None:
    assert fresh(entries("a", "b", "c"), entries("b", "c", "d")) == entries("d")
    assert fresh(entries("a", "b"), entries("x", "y")) == entries("x", "y")


def test_following_keeps_instances_apart() -> None:
    before = entries("a", instance="one") + entries("a", instance="two")
    now = entries("a", "b", instance="one") + entries("a", instance="two")
    assert fresh(before, now) == entries("b", instance="one")
