"""Spans of time: such as cannot overflow a timestamp, however large a number somebody configured, and such as people read."""

from datetime import timedelta

LONGEST_SECONDS = 366 * 24 * 3600.0


def span(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_SECONDS))


def in_words(seconds: float) -> str:
    """Seconds while they are few, then minutes, then hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"
