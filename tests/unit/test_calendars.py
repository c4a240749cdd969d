"""Cron expressions, time zones and daylight saving: when a recurring rule holds, to the minute, and which rules are refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_servicing.calendars import CALENDAR, DURATION_SECONDS_MAX, problems, spans, zone_problem
from agent_servicing.core.schedule import Rule, RuleKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0


def a_rule(cron: str | None = "0 22 * * *", hours: float = 8, zone: str = "UTC", **changes: object) -> Rule:
    plain = Rule(
        rule="win-1",
        kind=RuleKind.WINDOW,
        name="nights",
        reason="quiet",
        actor="ada",
        created_at=NOW,
        cron=cron,
        duration_seconds=hours * HOUR,
        time_zone=zone,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"

COVERED = [
    # expression, hours, zone, moment, start and end of the occurrence it lies in (or None)
    ("0 22 * * *", 8, "UTC", "2026-01-02T21:59:59+00:00", None),
    ("0 22 * * *", 8, "UTC", "2026-01-02T22:00:00+00:00", ("2026-01-02T22:00:00+00:00", "2026-01-03T06:00:00+00:00")),
    ("0 22 * * *", 8, "UTC", "2026-01-03T05:59:59+00:00", ("2026-01-02T22:00:00+00:00", "2026-01-03T06:00:00+00:00")),
    ("0 22 * * *", 8, "UTC", "2026-01-03T06:00:00+00:00", None),
    ("0 22 * * *", 8, BERLIN, "2026-07-02T20:00:00+00:00", ("2026-07-02T22:00:00+02:00", "2026-07-03T06:00:00+02:00")),
    ("0 22 * * *", 8, BERLIN, "2026-01-02T20:30:00+00:00", None),
    # Over the night of the change the duration is real time: 22:00 + 8 h is 07:00 in spring and 05:00 in autumn.
    ("0 22 * * *", 8, BERLIN, "2026-03-29T06:59:00+02:00", ("2026-03-28T22:00:00+01:00", "2026-03-29T07:00:00+02:00")),
    ("0 22 * * *", 8, BERLIN, "2026-03-29T07:00:00+02:00", None),
    ("0 22 * * *", 8, BERLIN, "2026-10-25T04:59:00+01:00", ("2026-10-24T22:00:00+02:00", "2026-10-25T05:00:00+01:00")),
    ("0 22 * * *", 8, BERLIN, "2026-10-25T05:00:00+01:00", None),
    # A start in the hour that is skipped happens right after it.
    ("30 2 * * *", 1, BERLIN, "2026-03-29T01:59:00+01:00", None),
    ("30 2 * * *", 1, BERLIN, "2026-03-29T03:00:00+02:00", ("2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00")),
    ("30 2 * * *", 1, NEW_YORK, "2026-03-08T03:00:00-04:00", ("2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00")),
    # A start in the hour that comes twice happens once, at the first.
    ("30 2 * * *", 1, BERLIN, "2026-10-25T02:29:00+02:00", None),
    ("30 2 * * *", 1, BERLIN, "2026-10-25T02:30:00+02:00", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")),
    ("30 2 * * *", 1, BERLIN, "2026-10-25T02:10:00+01:00", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")),
    ("30 2 * * *", 1, BERLIN, "2026-10-25T02:30:00+01:00", None),
    ("30 1 * * *", 1, NEW_YORK, "2026-11-01T01:45:00-05:00", None),
    ("45 1 * * *", 1, LORD_HOWE, "2026-04-05T01:40:00+10:30", ("2026-04-05T01:45:00+11:00", "2026-04-05T02:15:00+10:30")),
    # With * in minute or hour it follows real time: both of the repeated hours count.
    ("*/30 * * * *", 0.1, BERLIN, "2026-10-25T02:31:00+02:00", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:36:00+02:00")),
    ("*/30 * * * *", 0.1, BERLIN, "2026-10-25T02:31:00+01:00", ("2026-10-25T02:30:00+01:00", "2026-10-25T02:36:00+01:00")),
    # Overlapping occurrences: the one that ends last.
    ("0 * * * *", 3, "UTC", "2026-01-02T10:30:00+00:00", ("2026-01-02T10:00:00+00:00", "2026-01-02T13:00:00+00:00")),
    ("0 0 29 2 *", 24, "UTC", "2028-02-29T12:00:00+00:00", ("2028-02-29T00:00:00+00:00", "2028-03-01T00:00:00+00:00")),
    ("0 9 * * MON#1", 1, "UTC", "2026-06-01T09:10:00+00:00", ("2026-06-01T09:00:00+00:00", "2026-06-01T10:00:00+00:00")),
    ("0 9 * * MON#1", 1, "UTC", "2026-06-08T09:10:00+00:00", None),
]


@pytest.mark.parametrize(("cron", "hours", "zone", "moment", "expected"), COVERED)
def test_an_occurrence_covers_exactly_its_time(cron: str, hours: float, zone: str, moment: str, expected: tuple[str, str] | None) -> None:
    span = CALENDAR.covering(a_rule(cron, hours, zone), at(moment))
    assert (span and (span.start, span.end)) == (expected and (at(expected[0]), at(expected[1])))


NEXT = [
    ("0 22 * * *", BERLIN, "2026-03-28T22:00:00+01:00", "2026-03-29T22:00:00+02:00"),
    ("30 2 * * *", BERLIN, "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"),
    ("30 2 * * *", BERLIN, "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"),
    ("0 2 * * 1-5", BERLIN, "2026-01-02T03:00:00+01:00", "2026-01-05T02:00:00+01:00"),
    ("0 0 1 1 *", "UTC", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00+00:00", None),
]


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), NEXT)
def test_the_next_start_is_after_the_moment_asked_about(cron: str, zone: str, after: str, expected: str | None) -> None:
    found = CALENDAR.next_start(a_rule(cron, zone=zone), at(after))
    assert found == (at(expected) if expected else None)


@given(
    cron=st.sampled_from(["0 22 * * *", "30 2 * * *", "*/17 * * * *", "5 1,13 * * 0", "0 0 1 * *", "30 * 25 10 *"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu"]),
    minutes=st.integers(0, 365 * 24 * 60),
    hours=st.sampled_from([0.1, 1, 8, 36]),
)
def test_what_covers_now_began_before_and_what_comes_next_begins_later(cron: str, zone: str, minutes: int, hours: float) -> None:
    rule, now = a_rule(cron, hours, zone), NOW + timedelta(minutes=minutes)
    span = CALENDAR.covering(rule, now)
    if span is not None:
        assert span.start <= now < span.end
        assert CALENDAR.covering(rule, span.start) == span
    coming = CALENDAR.next_start(rule, now)
    assert coming is not None
    assert coming > now
    opened = CALENDAR.covering(rule, coming)
    assert opened is not None
    assert opened.start == coming
    if span is None:
        assert CALENDAR.covering(rule, coming - timedelta(minutes=1)) is None


def test_a_rule_for_one_time_holds_from_its_start_to_its_end() -> None:
    rule = a_rule(None, 0, starts_at=at("2026-12-23T18:00:00+01:00"), ends_at=at("2026-12-27T08:00:00+01:00"))
    assert CALENDAR.covering(rule, at("2026-12-23T16:59:59+00:00")) is None
    assert CALENDAR.covering(rule, at("2026-12-23T17:00:00+00:00")) is not None
    assert CALENDAR.covering(rule, at("2026-12-27T07:00:00+00:00")) is None
    assert CALENDAR.next_start(rule, NOW) == rule.starts_at
    assert not rule.over(at("2026-12-27T06:59:59+00:00"))
    assert rule.over(at("2026-12-27T07:00:00+00:00"))


def test_occurrences_are_listed_between_two_moments_and_bounded() -> None:
    found = list(spans(a_rule(), NOW + timedelta(hours=23), NOW + timedelta(days=3), most=50))
    assert [span.start.day for span in found] == [1, 2, 3]
    assert len(list(spans(a_rule("* * * * *", 1), NOW, NOW + timedelta(days=300), most=50))) == 50


REFUSED = [
    ({"cron": "0 22 * *"}, "cron", "4 fields instead of 5"),
    ({"cron": "0 0 22 * * *"}, "cron", "6 fields instead of 5"),
    ({"cron": "0 25 * * *"}, "cron", "hour"),
    ({"cron": "61 * * * *"}, "cron", "minute"),
    ({"cron": "0 0 31 2 *"}, "cron", "day"),
    ({"cron": "0 0 29 2 *"}, "cron", "never comes within a year"),
    ({"cron": "0 0 * * 1#5,\u0663"}, "cron", "day-of-week"),
    ({"cron": "x" * 101}, "cron", "characters"),
    ({"cron": ""}, "cron", "0 fields"),
    ({"hours": 0}, "duration_seconds", "must be from 60"),
    ({"hours": DURATION_SECONDS_MAX / HOUR + 1}, "duration_seconds", "31 days"),
    ({"hours": float("nan")}, "duration_seconds", "must be from"),
    ({"zone": "Europe/Berln"}, "time_zone", "Europe/Berlin"),
    ({"zone": "Mars/Base"}, "time_zone", "no time zone"),
    ({"zone": "../../etc/passwd"}, "time_zone", "no time zone"),
    ({"zone": ""}, "time_zone", "no time zone"),
    ({"starts_at": NOW, "ends_at": NOW + timedelta(days=1)}, "cron", "either cron"),
    ({"cron": None, "hours": 0}, "starts_at", "give starts_at and ends_at, or cron"),
    ({"cron": None, "hours": 0, "starts_at": NOW}, "ends_at", "give starts_at and ends_at"),
    ({"cron": None, "hours": 1, "starts_at": NOW, "ends_at": NOW + timedelta(days=1)}, "duration_seconds", "belongs to cron"),
    ({"cron": None, "hours": 0, "starts_at": NOW, "ends_at": NOW}, "ends_at", "after starts_at"),
    ({"cron": None, "hours": 0, "starts_at": NOW - timedelta(days=2), "ends_at": NOW - timedelta(days=1)}, "ends_at", "is over"),
    ({"cron": None, "hours": 0, "starts_at": NOW, "ends_at": NOW + timedelta(days=4000)}, "ends_at", "within"),
]


@pytest.mark.parametrize(("changes", "path", "message"), REFUSED)
def test_a_rule_that_cannot_be_is_refused_with_what_is_allowed(changes: dict[str, object], path: str, message: str) -> None:
    found = dict(problems(a_rule(**changes), NOW))  # type: ignore[arg-type]
    assert path in found
    assert message in found[path]


def test_a_good_rule_has_no_problems_and_every_zone_of_the_data_base_is_known() -> None:
    assert list(problems(a_rule(zone="America/Argentina/Ushuaia"), NOW)) == []
    once = a_rule(None, 0, starts_at=NOW - timedelta(hours=1), ends_at=NOW + timedelta(hours=1))
    assert list(problems(once, NOW)) == []
    assert zone_problem("UTC") == ""
