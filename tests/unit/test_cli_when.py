"""Times as operators type them."""

from datetime import UTC, datetime, timedelta

import pytest

from agent_servicing.cli.exits import Usage
from agent_servicing.cli.when import past, upcoming

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-01-02T02:00:00Z", "2026-01-02T02:00:00+00:00", "2026-01-02 03:00:00+01:00"])
def test_rfc_3339_means_what_it_says(text: str) -> None:
    assert upcoming(text, NOW) == datetime(2026, 1, 2, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("in 10 min", 600),
        ("in 10min", 600),
        ("In 2 hours", 7200),
        ("in 1 day", 86_400),
        ("in 1.5 h", 5400),
        ("in 30 s", 30),
        ("in 30 secs", 30),
    ],
)
def test_a_span_counts_from_now(text: str, seconds: float) -> None:
    assert upcoming(text, NOW) - NOW == timedelta(seconds=seconds)


def test_a_time_of_day_is_the_next_one_in_this_zone() -> None:
    here = NOW.astimezone()
    later, earlier = here + timedelta(minutes=30), here - timedelta(minutes=30)
    assert upcoming(f"{later:%H:%M}", NOW) == later.replace(second=0)
    assert upcoming(f"{earlier:%H:%M}", NOW) == earlier + timedelta(days=1)


def test_tomorrow_is_the_next_calendar_day_even_when_that_time_is_still_to_come_today() -> None:
    found = upcoming("tomorrow 23:59", NOW).astimezone()
    assert (found.date() - NOW.astimezone().date()).days == 1
    assert (found.hour, found.minute) == (23, 59)
    assert upcoming("tomorrow at 02:00", NOW).astimezone().hour == 2


def test_a_date_without_zone_is_local_time() -> None:
    assert upcoming("2026-06-01 02:00", NOW) == datetime(2026, 6, 1, 2, 0).astimezone()


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "02:61", "in ten minutes", "in 5 parsecs", "in min", "yesterday 02:00", "2026-13-01", "in 9e9 d"]
)
def test_what_cannot_be_read_is_wrong_usage_that_shows_how_to_write_it(text: str) -> None:
    with pytest.raises(Usage) as error:
        upcoming(text, NOW)
    assert "tomorrow 02:00" in error.value.hint


@pytest.mark.parametrize("text", ["2025-12-31T00:00:00Z", "in 0 s", "today 00:00"])
def test_what_has_passed_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="has passed"):
        upcoming(text, NOW)


@pytest.mark.parametrize("text", ["2030-01-01T00:00:00Z", "in 3650 days", "in 99999999999999 d"])
def test_what_is_far_away_is_a_typing_error(text: str) -> None:
    with pytest.raises(Usage):
        upcoming(text, NOW)


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86_400), ("7d", 7 * 86_400), ("30 min ago", 1800)])
def test_since_takes_how_long_ago(text: str, seconds: float) -> None:
    assert NOW - past(text, NOW) == timedelta(seconds=seconds)


def test_since_takes_a_day() -> None:
    assert past("2025-12-24", NOW) == datetime(2025, 12, 24).astimezone()
    with pytest.raises(Usage):
        past("last week", NOW)
