"""Reads the times that operators type: `--at "tomorrow 02:00"`, `--since 24h`. Pure; words without a zone mean this machine's zone."""

import re
from datetime import datetime, timedelta
from typing import Final

from agent_servicing.cli.exits import Usage

_UNITS: Final = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+?)s?")
_DAY_TIME = re.compile(r"(?:(today|tomorrow)\s+(?:at\s+)?)?(\d{1,2}):(\d{2})(?::(\d{2}))?")

MAX_AHEAD: Final = timedelta(days=366)
"""A start further away than a year is a typing error."""

HINT_AT: Final = 'Write 2026-01-02T02:00:00Z, "2026-01-02 02:00" (local time), 02:00, "tomorrow 02:00" or "in 10 min".'
HINT_PAST: Final = "Write 2026-01-02T02:00:00Z, 2026-01-02 (local time), or how long ago: 30min, 24h, 7d."


def upcoming(text: str, now: datetime) -> datetime:
    """The moment meant by `text`, with its zone, always after `now`. Raises `Usage`."""
    words = text.strip().lower()
    found = _ahead(words, now) or _time_of_day(words, now) or _written(text.strip())
    if found is None:
        raise Usage(f"Cannot read {text!r} as a time.", hint=HINT_AT)
    if found <= now:
        raise Usage(f"{text!r} is {found.isoformat()}, which has passed.", hint=HINT_AT)
    if found - now > MAX_AHEAD:
        raise Usage(f"{text!r} is more than a year ahead.", hint=HINT_AT)
    return found


def past(text: str, now: datetime) -> datetime:
    """The moment meant by `text`, a time or how long ago. Raises `Usage`."""
    words = text.strip().lower()
    span = _span(words.removesuffix(" ago").strip())
    found = now - span if span is not None else _written(text.strip())
    if found is None:
        raise Usage(f"Cannot read {text!r} as a time.", hint=HINT_PAST)
    return found


def length(text: str) -> timedelta:
    """The span meant by `text`, such as 30min, 2h, 1d. Raises `Usage`."""
    span = _span(text.strip().lower())
    if span is None or not span:
        raise Usage(f"Cannot read {text!r} as a span of time.", hint="Write 30min, 2h or 1d.")
    return span


def _ahead(words: str, now: datetime) -> datetime | None:
    if not words.startswith("in "):
        return None
    span = _span(words[3:].strip())
    return now + span if span is not None else None


def _span(words: str) -> timedelta | None:
    match = _SPAN.fullmatch(words)
    if match is None or match[2] not in _UNITS:
        return None
    seconds = float(match[1]) * _UNITS[match[2]]
    return timedelta(seconds=seconds) if seconds <= 100 * 366 * 86_400 else None


def _time_of_day(words: str, now: datetime) -> datetime | None:
    """`02:00` is the next one there will be; `today 02:00` and `tomorrow 02:00` are what they say."""
    match = _DAY_TIME.fullmatch(words)
    if match is None:
        return None
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    here = now.astimezone().replace(tzinfo=None)
    wanted = here.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if match[1] == "tomorrow" or (match[1] is None and wanted <= here):
        wanted += timedelta(days=1)
    return wanted.astimezone()


def _written(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.astimezone()
