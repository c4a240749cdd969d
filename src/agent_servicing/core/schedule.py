"""When an upgrade may begin: freezes, maintenance windows, the stopped line, an operator's lock, free places. Pure.

The engine asks `gate` before each decision and `hold` in it; services ask `next_open` for plans and previews. What a cron expression means
comes in through `Calendar`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from agent_servicing.core.status import WaitingFor

LOOKS_MAX: Final = 500
"""How many closings in a row `next_open` looks past; more than this is a line that is closed for all practical purposes."""

HORIZON: Final = timedelta(days=366)
"""Further ahead nothing is searched: an opening in more than a year is none."""


class RuleKind(StrEnum):
    FREEZE = "freeze"
    WINDOW = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `start` (included) to `end` (not included), both aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A freeze (nothing begins while it lasts) or a window (things begin only while one is open), once or again and again.

    Once: `starts_at` to `ends_at`. Recurring: each time `cron` fires in `time_zone`, for `duration_seconds` of real time from there.
    `agents` empty means all of them.
    """

    rule: str
    kind: RuleKind
    name: str
    reason: str
    actor: str
    created_at: datetime
    agents: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cron: str | None = None
    duration_seconds: float = 0.0
    time_zone: str = "UTC"

    def applies_to(self, agent: str) -> bool:
        return not self.agents or agent in self.agents

    def over(self, now: datetime) -> bool:
        """A rule for one time whose time has passed. It has no effect any more, so an old window never shuts an agent for good."""
        return self.cron is None and self.ends_at is not None and self.ends_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The line is stopped: by whom, why, since when."""

    actor: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What operators have set for all agents together. `max_concurrent_deployments` None is the server's setting, 0 is no limit."""

    rules: tuple[Rule, ...] = ()
    stop: Stop | None = None
    max_concurrent_deployments: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The limit on upgrades and restarts under way over all agents (0: none), how many there are, how many others waited for one before."""

    limit: int = 0
    under_way: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """An operator keeps an agent to themselves until `expires_at`."""

    agent: str
    holder: str
    reason: str
    since: datetime
    expires_at: datetime

    def held(self, now: datetime) -> bool:
        return now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What an agent that asks for staging runs knows of a version: `shut` says why it may not begin, "" while it may; from `until` on its pass
    is too old."""

    shut: str = ""
    until: datetime | None = None

    def refusal(self, now: datetime) -> str:
        stale = self.until is not None and self.until < now
        return self.shut or (f"its staging run passed too long ago to count since {words(self.until)}" if stale and self.until else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether an upgrade may begin. Closed: `reason` says why in words, `kind` in one, `until` when to look again (None: nobody knows)."""

    open: bool = True
    reason: str = ""
    until: datetime | None = None
    kind: WaitingFor | None = None


OPEN: Final = Gate()


class Calendar(Protocol):
    """What recurring rules mean in time; also answers for rules of one time."""

    def covering(self, rule: Rule, at: datetime) -> Span | None:
        """The occurrence that `at` lies in; of several the one that ends last."""
        ...

    def next_start(self, rule: Rule, after: datetime) -> datetime | None:
        """When it next begins after that moment, None when not within the horizon."""
        ...


def gate(line: Line, agent: str, now: datetime, calendar: Calendar) -> Gate:
    """May an upgrade of this agent begin now? The stopped line counts before freezes, freezes before windows; one open window suffices."""
    if line.stop is not None:
        stopped = f"the line is stopped by {line.stop.actor} since {words(line.stop.since)}: {line.stop.reason}"
        return Gate(open=False, reason=stopped, kind=WaitingFor.LINE)
    rules = [rule for rule in line.rules if rule.applies_to(agent) and not rule.over(now)]
    frozen = [(span.end, rule) for rule in rules if rule.kind is RuleKind.FREEZE and (span := calendar.covering(rule, now)) is not None]
    if frozen:
        until, rule = max(frozen, key=lambda found: found[0])
        return Gate(open=False, reason=f"freeze {rule.name!r} until {words(until)}: {rule.reason}", until=until, kind=WaitingFor.FREEZE)
    windows = [rule for rule in rules if rule.kind is RuleKind.WINDOW]
    if not windows or any(calendar.covering(rule, now) is not None for rule in windows):
        return OPEN
    return _outside(windows, now, calendar)


def next_open(line: Line, agent: str, start: datetime, calendar: Calendar) -> datetime | None:
    """The first moment from `start` on at which an upgrade may begin; None when nobody knows one within the horizon."""
    at = start
    for _ in range(LOOKS_MAX):
        found = gate(line, agent, at, calendar)
        if found.open:
            return at
        if found.until is None or found.until <= at or found.until - start > HORIZON:
            return None
        at = found.until
    return None


def no_place(places: Places) -> str:
    """Why no further deployment may begin, "" while one may."""
    if places.limit <= 0 or places.under_way + places.before < places.limit:
        return ""
    if places.under_way >= places.limit:
        return f"waits for a free place: {places.under_way} of {places.limit} deployments are under way"
    return f"waits for a free place: {places.under_way} of {places.limit} deployments are under way and {places.before} came first"


def locked_by(lock: Lock) -> str:
    """Who holds the agent, since when, until when, why."""
    return f"{lock.agent} is locked by {lock.holder} since {words(lock.since)} until {words(lock.expires_at)}: {lock.reason}"


def words(at: datetime) -> str:
    """A moment for a sentence. Everything inside is UTC; a rule's zone decides when, not how it is told."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _outside(windows: Sequence[Rule], now: datetime, calendar: Calendar) -> Gate:
    starts = [(start, rule) for rule in windows if (start := calendar.next_start(rule, now)) is not None]
    if not starts:
        return Gate(open=False, reason="outside the maintenance window; no opening is known", kind=WaitingFor.WINDOW)
    until, rule = min(starts, key=lambda found: found[0])
    opens = f"outside the maintenance window; {rule.name!r} opens {words(until)}"
    return Gate(open=False, reason=opens, until=until, kind=WaitingFor.WINDOW)
