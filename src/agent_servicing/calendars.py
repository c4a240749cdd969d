"""Cron expressions and time zones: what a rule of the schedule means in time, and what is wrong with one. Used by the engine and the services.

Daylight saving follows Debian's cron (library `cronsim`): a start in the hour that is skipped happens right after it, a start in the hour that
comes twice happens once, at the first. Expressions with `*` in minute or hour follow real time instead. A duration is always real time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from agent_servicing.core.schedule import HORIZON, Rule, Span

CRON_FIELDS: Final = 5
CRON_CHARACTERS_MAX: Final = 100
"""Longest expression; real ones have about twenty."""

DURATION_SECONDS_MIN: Final = 60.0
"""The calendar counts in minutes."""

DURATION_SECONDS_MAX: Final = 31 * 24 * 3600.0
"""A month. Longer stretches are for rules with a start and an end."""

AHEAD: Final = timedelta(days=3 * 366)
"""Starts and ends further ahead are typing errors."""

_REPEATED: Final = timedelta(hours=3)
"""No zone repeats more than this when its clocks go back."""

_STARTS_LOOKED_AT: Final = 200
"""One start each minute over `_REPEATED`, and some."""

CRON_HELP: Final = 'minute, hour, day of month, month, day of week, for example "0 22 * * 1-5" for 22:00 from Monday to Friday'


class CronCalendar:
    """Implements `core.schedule.Calendar`. Cron knows minutes only, so answers are remembered by the minute."""

    def covering(self, rule: Rule, at: datetime) -> Span | None:
        if rule.cron is None:
            return _once(rule, at)
        start = _last_start(rule.cron, rule.time_zone, _minute(at))
        if start is None:
            return None
        end = start + timedelta(seconds=rule.duration_seconds)
        return Span(start=start, end=end) if at < end else None

    def next_start(self, rule: Rule, after: datetime) -> datetime | None:
        if rule.cron is None:
            return rule.starts_at if rule.starts_at is not None and rule.starts_at > after else None
        return _first_start(rule.cron, rule.time_zone, _minute(after))


CALENDAR: Final = CronCalendar()


def spans(rule: Rule, start: datetime, end: datetime, *, most: int) -> Iterator[Span]:
    """When the rule holds between two moments, at most so many times."""
    found, at = CALENDAR.covering(rule, start), start
    for _ in range(most):
        if found is not None:
            yield found
        begins = CALENDAR.next_start(rule, at)
        if begins is None or begins >= end:
            return
        found, at = CALENDAR.covering(rule, begins), begins


def problems(rule: Rule, now: datetime) -> Iterator[tuple[str, str]]:
    """What is wrong with a rule that somebody wants: (field, what is allowed)."""
    if rule.cron is None:
        yield from _once_problems(rule, now)
        return
    if rule.starts_at is not None or rule.ends_at is not None:
        yield "cron", "give either cron with duration_seconds, or starts_at and ends_at"
    if not DURATION_SECONDS_MIN <= rule.duration_seconds <= DURATION_SECONDS_MAX:
        yield "duration_seconds", f"must be from {DURATION_SECONDS_MIN:g} (a minute) to {DURATION_SECONDS_MAX:g} (31 days)"
    zone = zone_problem(rule.time_zone)
    if zone:
        yield "time_zone", zone
    wrong = _cron_problem(rule.cron)
    if wrong:
        yield "cron", wrong
    elif not zone and _first_start(rule.cron, rule.time_zone, _minute(now)) is None:
        yield "cron", f"{rule.cron!r} never comes within a year"


def zone_problem(zone: str) -> str:
    """What is wrong with the name of a time zone, "" for nothing."""
    known = _zones()
    if zone in known:
        return ""
    near = get_close_matches(zone, known, n=3)
    return f"{zone!r} is no time zone; write one such as {', '.join(near) or 'Europe/Berlin, America/New_York, UTC'}"


def _once(rule: Rule, at: datetime) -> Span | None:
    if rule.starts_at is None or rule.ends_at is None or not rule.starts_at <= at < rule.ends_at:
        return None
    return Span(start=rule.starts_at, end=rule.ends_at)


def _once_problems(rule: Rule, now: datetime) -> Iterator[tuple[str, str]]:
    if rule.starts_at is None or rule.ends_at is None:
        yield "starts_at" if rule.starts_at is None else "ends_at", "give starts_at and ends_at, or cron with duration_seconds"
        return
    if rule.duration_seconds:
        yield "duration_seconds", "belongs to cron; a rule for one time has starts_at and ends_at"
    if rule.ends_at <= rule.starts_at:
        yield "ends_at", "must be after starts_at"
    elif rule.ends_at <= now:
        yield "ends_at", f"is over; it is {now:%Y-%m-%dT%H:%M:%SZ} now"
    elif rule.ends_at > now + AHEAD:
        yield "ends_at", f"must be within {AHEAD.days} days"


def _cron_problem(cron: str) -> str:
    if len(cron) > CRON_CHARACTERS_MAX:
        return f"at most {CRON_CHARACTERS_MAX} characters"
    if len(cron.split()) != CRON_FIELDS:
        return f"{cron!r} has {len(cron.split())} fields instead of {CRON_FIELDS}: {CRON_HELP}"
    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        text = str(error)
        return f"{cron!r}: {text[:1].lower()}{text[1:]}; five fields are needed: {CRON_HELP}"
    return ""


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)


@lru_cache(maxsize=4096)
def _last_start(cron: str, zone: str, minute: datetime) -> datetime | None:
    """The last start up to and including this minute; None when there was none within the horizon, or cron or zone mean nothing any more."""
    local = _local(minute, zone)
    if local is None:
        return None
    # The second pass of a repeated hour looks like the first to the library; from further on it sees the starts of both.
    anchor = local if not local.fold else (minute + _REPEATED).astimezone(local.tzinfo)
    try:
        past = CronSim(cron, anchor + timedelta(seconds=1), reverse=True)
        for _ in range(_STARTS_LOOKED_AT):
            start = next(past).astimezone(UTC)
            if start <= minute:
                return start if minute - start <= HORIZON else None
    except (CronSimError, StopIteration):
        return None
    return None


@lru_cache(maxsize=4096)
def _first_start(cron: str, zone: str, minute: datetime) -> datetime | None:
    """The first start after this minute, None when there is none within the horizon."""
    local = _local(minute, zone)
    if local is None:
        return None
    try:
        coming = CronSim(cron, local)
        for _ in range(_STARTS_LOOKED_AT):
            start = next(coming).astimezone(UTC)
            if start > minute:
                return start if start - minute <= HORIZON else None
    except (CronSimError, StopIteration):
        return None
    return None


def _local(minute: datetime, zone: str) -> datetime | None:
    return minute.astimezone(ZoneInfo(zone)) if zone in _zones() else None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
