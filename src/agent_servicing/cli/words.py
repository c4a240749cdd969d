"""Values of the API in words: times, durations, percentages. Every table and line of the command line uses these."""

from datetime import UTC, datetime, timedelta


def moment(value: object) -> datetime | None:
    """An RFC 3339 time of the API, None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def local(value: object) -> str:
    """That time in this machine's zone, `2026-01-02 02:00:00`; "" for none."""
    found = moment(value)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else ""


def clock_time(value: object) -> str:
    """The time of day only, for lines that follow one another."""
    found = moment(value)
    return found.astimezone().strftime("%H:%M:%S") if found else "--:--:--"


def with_zone(at: datetime) -> str:
    """A time in this machine's zone with the zone's name and offset: `2026-01-02 02:00:00 CET (UTC+01:00)`."""
    here = at.astimezone()
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()} (UTC{here.isoformat()[-6:]})"


def age(value: object, now: datetime) -> str:
    """How long ago: `12 s`, `5 min`, `3 h`, `2 d`; "" for no time."""
    found = moment(value)
    if found is None:
        return ""
    seconds = max(0.0, (now - found) / timedelta(seconds=1))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def duration(seconds: object) -> str:
    """`0 s`, `0.4 s`, `12 s`, `3 min 20 s`, `1 h 5 min`; "" for none."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds > 0 else "0 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def number(value: object, unit: str = "", digits: int = 1) -> str:
    """A number with its unit, "" for none: missing data is never shown as zero."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    shown = f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
    return f"{shown or '0'}{unit}"


def count(amount: object, noun: str) -> str:
    """`1 agent`, `2 agents`."""
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
