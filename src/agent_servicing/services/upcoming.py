"""What is planned for the coming days: scheduled deployments with what stands against them, and when freezes and windows hold. Called by `web`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent_servicing.calendars import CALENDAR, spans
from agent_servicing.core.errors import Invalid
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.schedule import Gate, Line, Rule, Span, gate, next_open, words
from agent_servicing.core.status import PLACED, WAITING
from agent_servicing.core.strategies import STRATEGIES
from agent_servicing.ports import Clock
from agent_servicing.services.stage_words import estimated_minutes
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database
from agent_servicing.store.line import load_line
from agent_servicing.store.outlines import agents_with, load_outlines

DAYS_MAX: Final = 366
SPANS_MAX: Final = 500
"""Occurrences of one rule that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A waiting deployment: when the calendar lets it begin (None: nobody knows), what holds it at its time, what stands against it."""

    deployment: Deployment
    starts_at: datetime
    expected_start: datetime | None
    expected_end: datetime | None
    gate: Gate
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """`deployments` by their expected start, `spans` of each rule by time."""

    start: datetime
    end: datetime
    deployments: tuple[Planned, ...]
    spans: tuple[tuple[Rule, Span], ...]


class Preview:
    """Reads only."""

    def __init__(self, *, database: Database, clock: Clock, settings: Settings) -> None:
        self._database, self._clock, self._settings = database, clock, settings

    async def upcoming(self, days: int, *, sees: Callable[[str], bool]) -> Upcoming:
        """The next 1–366 days, of the agents that `sees` lets through. Raises Invalid `bad_days`."""
        if not 1 <= days <= DAYS_MAX:
            raise Invalid(f"days must be from 1 to {DAYS_MAX}.", code="bad_days")
        async with self._database.read() as connection:
            states = await load_outlines(connection, await agents_with(connection, WAITING))
            line = await load_line(connection)
        now = self._clock.now()
        end = now + timedelta(days=days)
        limit = self._settings.max_concurrent_deployments if line.max_concurrent_deployments is None else line.max_concurrent_deployments
        planned = plan_all(states, line, now, limit)
        rules = [rule for rule in line.rules if not rule.agents or any(sees(agent) for agent in rule.agents)]
        shown = [(rule, span) for rule in rules for span in spans(rule, now, end, most=SPANS_MAX)]
        return Upcoming(
            start=now,
            end=end,
            deployments=tuple(each for each in planned if sees(each.deployment.agent) and each.starts_at < end),
            spans=tuple(sorted(shown, key=lambda pair: (pair[1].start, pair[0].rule))),
        )


def plan_all(states: Sequence[AgentState], line: Line, now: datetime, limit: int) -> list[Planned]:
    """Everything that waits, by its expected start, each with its conflicts."""
    waiting = [(d, state.agent.instances) for state in states for d in state.deployments if d.status in WAITING and d.kind in PLACED]
    planned = [_planned(d, instances, line, now) for d, instances in waiting]
    planned.sort(key=lambda each: (each.expected_start or datetime.max.replace(tzinfo=now.tzinfo), each.deployment.deployment))
    return [_with_conflicts(each, planned, limit) for each in planned]


def _planned(deployment: Deployment, instances: int, line: Line, now: datetime) -> Planned:
    at = max(now, deployment.scheduled_at or now)
    free = deployment.override_freeze
    begins = at if free else next_open(line, deployment.agent, at, CALENDAR)
    spec = deployment.spec
    minutes = estimated_minutes(STRATEGIES[spec.strategy](spec, instances)) if spec.strategy in STRATEGIES else 0.0
    return Planned(
        deployment=deployment,
        starts_at=at,
        expected_start=begins,
        expected_end=begins + timedelta(minutes=minutes) if begins else None,
        gate=Gate() if free else gate(line, deployment.agent, at, CALENDAR),
    )


def _with_conflicts(mine: Planned, planned: Sequence[Planned], limit: int) -> Planned:
    found = []
    if not mine.gate.open:
        opening = f"it waits until {words(mine.expected_start)}" if mine.expected_start else "nobody knows until when it waits"
        found.append(f"{mine.gate.reason}; {opening}")
    beside = [other for other in planned if other is not mine and _overlap(mine, other)]
    for other in beside:
        theirs = other.deployment
        if theirs.agent == mine.deployment.agent:
            found.append(f"{theirs.deployment} to {theirs.to_version} by {theirs.actor} is planned for the same agent at the same time")
    elsewhere = {other.deployment.agent for other in beside} - {mine.deployment.agent}
    if limit and len(elsewhere) >= limit:
        found.append(f"{len(elsewhere) + 1} deployments are planned for the same time, {limit} may be under way")
    return Planned(
        deployment=mine.deployment,
        starts_at=mine.starts_at,
        expected_start=mine.expected_start,
        expected_end=mine.expected_end,
        gate=mine.gate,
        conflicts=tuple(found),
    )


def _overlap(one: Planned, other: Planned) -> bool:
    if one.expected_start is None or one.expected_end is None or other.expected_start is None or other.expected_end is None:
        return False
    return one.expected_start < other.expected_end and other.expected_start < one.expected_end
