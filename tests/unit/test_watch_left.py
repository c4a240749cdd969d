"""How long a watch still lasts, as everybody is told."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_servicing.core.stages import Analyse, CheckHealth, Stage, StageRecord
from agent_servicing.core.status import StageStatus

BEGUN = datetime(2026, 1, 2, 2, tzinfo=UTC)
WATCH = Analyse(name="monitor_metrics_25", seconds=60)


def after(seconds: float, stage: Stage = WATCH, status: StageStatus = StageStatus.IN_PROGRESS, unseen: float = 0.0) -> float | None:
    record = StageRecord(stage=stage, status=status, started_at=BEGUN, unseen_seconds=unseen)
    return record.watch_seconds_left(BEGUN + timedelta(seconds=seconds))


@pytest.mark.parametrize(("passed", "unseen", "left"), [(0, 0, 60), (45, 0, 15), (45, 30, 45), (90, 0, 0), (-20, 0, 60)])
def test_what_nobody_saw_does_not_count_and_a_clock_set_back_lets_no_time_pass(passed: float, unseen: float, left: float) -> None:
    assert after(passed, unseen=unseen) == left


def test_up_to_a_moment_it_lasts_until_both_are_over() -> None:
    until = Analyse(name="bake", seconds=60, until=BEGUN + timedelta(seconds=100))
    assert [after(50, until), after(90, until), after(120, until)] == [50, 10, 0]


def test_only_a_watch_under_way_has_an_end_to_wait_for() -> None:
    assert after(1, CheckHealth(name="health_check")) is None
    assert after(1, status=StageStatus.COMPLETED) is None
    assert StageRecord(stage=WATCH).watch_seconds_left(BEGUN) is None
    assert after(90, Analyse(name="confirm", seconds=60, confirm=True)) is None, "it goes back when its time is over, and never on"
