"""Spans of time that cannot overflow a timestamp, however large a number somebody configured."""

from datetime import timedelta

LONGEST_SECONDS = 366 * 24 * 3600.0


def span(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_SECONDS))
