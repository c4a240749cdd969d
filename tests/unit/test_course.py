"""The figures of a deployment over time, made from the blocks that were kept."""

from datetime import UTC, datetime, timedelta

from agent_servicing.core.analysis import Block, Cell
from agent_servicing.services.course import DECIDED_SECONDS, POINTS_MAX, course
from agent_servicing.store.blocks import StoredBlock

BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


def a_block(number: int, *, at: float | None, seconds: float = 1.0, errors: int = 0, share: float = 25.0) -> StoredBlock:
    """Ten requests of each side in it, the candidate's with errors."""
    candidate, stable = (Cell(routed=10, answered=10, errors=wrong, histogram=((40, 10 - wrong),)) for wrong in (errors, 0))
    block = Block(
        number=number,
        seconds=seconds,
        share=share,
        warm_up=False,
        candidate_new=candidate,
        candidate_pinned=Cell(),
        stable_new=stable,
        stable_pinned=stable,
    )
    return StoredBlock(number=number, begun_anew=0, at=None if at is None else BEGIN + timedelta(seconds=at), block=block)


def test_a_day_of_watching_is_no_more_points_than_a_chart_has_room_for_and_loses_no_request() -> None:
    found = course([a_block(n, at=n * 5, seconds=5) for n in range(17_000)], None)
    assert POINTS_MAX - 10 <= len(found.points) <= POINTS_MAX + 1
    assert sum(point.candidate.answered for point in found.points) == 170_000
    assert sum(point.stable.answered for point in found.points) == 340_000
    assert [point.at for point in found.points] == sorted(point.at for point in found.points)


def test_short_blocks_are_merged_to_seconds_of_which_a_percentile_says_something() -> None:
    found = course([a_block(n, at=n / 2, seconds=0.5) for n in range(1, 7)], None)
    assert [(point.at - BEGIN).total_seconds() for point in found.points] == [1, 2, 3]
    assert {point.seconds for point in found.points} == {1.0}


def test_what_is_said_of_the_decision_is_what_was_known_then_and_not_what_came_after() -> None:
    bad = [a_block(n, at=n, errors=5) for n in range(1, 31)]
    after = [a_block(n, at=n, errors=0, share=0) for n in range(31, 40)]
    found = course([*bad, *after], BEGIN + timedelta(seconds=30))
    assert found.decided is not None
    assert (found.decided.candidate.error_rate, found.decided.seconds, found.decided.share) == (50.0, DECIDED_SECONDS, 25.0)
    assert len(found.points) == 39, "the rest is drawn all the same"


def test_what_a_verdict_looked_at_is_what_its_figures_are_shown_of() -> None:
    found = course([a_block(n, at=n, errors=5 if n > 28 else 0) for n in range(1, 31)], BEGIN + timedelta(seconds=30), 2.0)
    assert found.decided is not None
    assert (found.decided.candidate.error_rate, found.decided.seconds) == (50.0, 2.0)


def test_blocks_whose_time_nobody_kept_cannot_be_drawn() -> None:
    found = course([a_block(n, at=None) for n in range(5)], BEGIN)
    assert (found.points, found.decided) == ((), None)
