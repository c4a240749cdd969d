"""The line of all agents: freezes and maintenance windows, the stop, the limit on deployments at a time. Called by `web`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.calendars import CALENDAR, problems
from agent_servicing.core.errors import Conflict, Denied, FieldError, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import Deployment
from agent_servicing.core.schedule import Line, Places, Rule, RuleKind, Stop, gate, next_open, words
from agent_servicing.core.status import PLACED, DeploymentStatus, Verb
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.transaction import INTENTS_MAX, TOPIC, checked_reason, record, shown
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.line import load_line, save_line, under_way
from agent_servicing.store.outlines import agents_with
from agent_servicing.store.state import load_states

RULES_MAX: Final = 200
"""Rules at a time; a calendar that nobody can read protects nothing."""

NAME_CHARACTERS_MAX: Final = 100

LIMIT_MAX: Final = 1_000
"""Largest limit on deployments at a time; 0 switches it off."""

_PAUSABLE: Final = (DeploymentStatus.IN_PROGRESS, DeploymentStatus.BAKING)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRequest:
    """A rule as an operator wants it: `starts_at` and `ends_at`, or `cron` with `duration_seconds` and `time_zone`. No agents: all."""

    kind: RuleKind
    name: str
    reason: str
    agents: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cron: str | None = None
    duration_seconds: float = 0.0
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule now: whether it holds, until when, when it next begins; `over` when it never will again. `warnings` only when it was just made."""

    rule: Rule
    active: bool
    until: datetime | None
    next_start: datetime | None
    over: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """The line as it is. `default_limit` is the setting that counts while nobody has set `line.max_concurrent_deployments`."""

    rules: tuple[RuleView, ...]
    stop: Stop | None
    places: Places
    default_limit: int
    limit_set: bool
    waiting: int


class Schedule:
    """Use cases on the line. Each change is one transaction with its audit entry, which holds what was before and after."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def show(self) -> LineView:
        async with self._database.glance() as connection:
            line, taken = await load_line(connection), await under_way(connection)
            waiting = await queries.waiting_count(connection)
        now, default = self._clock.now(), self._settings.max_concurrent_deployments
        chosen = line.max_concurrent_deployments
        return LineView(
            rules=tuple(rule_view(rule, now) for rule in sorted(line.rules, key=lambda rule: (rule.over(now), rule.rule))),
            stop=line.stop,
            places=Places(limit=default if chosen is None else chosen, under_way=taken),
            default_limit=default,
            limit_set=chosen is not None,
            waiting=waiting,
        )

    async def add_rule(self, request: RuleRequest, *, actor: str) -> RuleView:
        """A new freeze or window. What it leaves no opening to is told as a warning: a permanent freeze may be meant.

        Raises Invalid `bad_rule` with every field's error, `reason_missing`; NotFound `unknown_agent`; Conflict `too_many_rules`.
        """
        reason, name, now = checked_reason(request.reason, needed=True), _checked_name(request.name), self._clock.now()
        rule = Rule(
            rule=self._ids.new("frz" if request.kind is RuleKind.FREEZE else "win"),
            kind=request.kind,
            name=name,
            reason=reason,
            actor=actor,
            created_at=now,
            agents=tuple(sorted(set(request.agents))),
            starts_at=request.starts_at,
            ends_at=request.ends_at,
            cron=" ".join(request.cron.split()) if request.cron is not None else None,
            duration_seconds=request.duration_seconds,
            time_zone=request.time_zone,
        )
        wrong = tuple(FieldError(path=path, message=message) for path, message in problems(rule, now))
        if wrong:
            raise Invalid(f"This {request.kind} cannot be: {wrong[0].path} {wrong[0].message}.", errors=wrong, code="bad_rule")
        async with self._database.write() as connection:
            known = await queries.agent_names(connection)
            unknown = [agent for agent in rule.agents if agent not in known]
            if unknown:
                raise NotFound(f"There is no agent {unknown[0]}.", hint=f"Known agents: {shown(known)}.", code="unknown_agent")
            line = await load_line(connection, lock=True)
            if len(line.rules) >= RULES_MAX:
                raise Conflict(f"There are {RULES_MAX} rules already.", hint="Remove those that are over.", code="too_many_rules")
            changed = replace(line, rules=(*line.rules, rule))
            await self._save(connection, f"{rule.kind}_added", changed, actor, reason, now, before=None, after=shown_rule(rule))
            warnings = tuple(_shut(changed, rule, rule.agents or known, now))
        await self._bus.publish(TOPIC)
        return replace(rule_view(rule, now), warnings=warnings)

    async def remove_rule(self, rule: str, *, actor: str, reason: str = "") -> Rule:
        """Raises NotFound `unknown_rule`."""
        reason, now = checked_reason(reason), self._clock.now()
        async with self._database.write() as connection:
            line = await load_line(connection, lock=True)
            found = next((each for each in line.rules if each.rule == rule), None)
            if found is None:
                hint = f"Rules: {shown([each.rule for each in line.rules])}." if line.rules else "There is no rule."
                raise NotFound(f"There is no freeze or window {rule}.", hint=hint, code="unknown_rule")
            changed = replace(line, rules=tuple(each for each in line.rules if each is not found))
            await self._save(connection, f"{found.kind}_removed", changed, actor, reason, now, before=shown_rule(found), after=None)
        await self._bus.publish(TOPIC)
        return found

    async def stop(self, *, actor: str, reason: str, pause_running: bool = False) -> Sequence[str]:
        """Nothing begins any more until resumed; rollbacks and first installations pass. What is under way goes on, unless `pause_running`.

        Returns the deployments that were asked to pause. Raises Conflict `line_stopped`, Invalid `reason_missing`.
        """
        reason, now = checked_reason(reason, needed=True), self._clock.now()
        async with self._database.write() as connection:
            line = await load_line(connection, lock=True)
            if line.stop is not None:
                message = f"The line is stopped already, by {line.stop.actor} since {words(line.stop.since)}: {line.stop.reason}"
                raise Conflict(message, code="line_stopped", stopped=shown_stop(line.stop))
            asked = await self._pause_all(connection, actor, reason, now) if pause_running else []
            paused = [event.deployment for event in asked if event.deployment]
            changed = replace(line, stop=Stop(actor=actor, reason=reason, since=now))
            after = shown_stop(changed.stop)
            await self._save(connection, "line_stopped", changed, actor, reason, now, before=None, after=after, paused=paused)
            await record(connection, self._ids, self._settings, *asked)
        await self._bus.publish(TOPIC)
        return paused

    async def resume(self, *, actor: str, reason: str = "", admin: bool = False) -> Stop:
        """Things begin again; what was paused stays so. For whoever stopped the line, and admins.

        Raises Conflict `line_not_stopped`, Denied `stopped_by_another`.
        """
        reason, now = checked_reason(reason), self._clock.now()
        async with self._database.write() as connection:
            line = await load_line(connection, lock=True)
            if line.stop is None:
                raise Conflict("The line is not stopped.", code="line_not_stopped")
            if line.stop.actor != actor and not admin:
                message = f"The line was stopped by {line.stop.actor}: {line.stop.reason}"
                raise Denied(message, hint=f"Ask {line.stop.actor} or an admin to resume it.", code="stopped_by_another")
            await self._save(
                connection, "line_resumed", replace(line, stop=None), actor, reason, now, before=shown_stop(line.stop), after=None
            )
        await self._bus.publish(TOPIC)
        return line.stop

    async def set_limit(self, limit: int | None, *, actor: str, reason: str = "") -> int:
        """How many upgrades and restarts may be under way at once; 0 is no limit, None the server's setting again. Returns what now counts.

        A lower limit interrupts nothing. Raises Invalid `bad_value`.
        """
        reason, now = checked_reason(reason), self._clock.now()
        if limit is not None and not 0 <= limit <= LIMIT_MAX:
            error = FieldError(path="max_concurrent_deployments", message=f"must be from 0 (no limit) to {LIMIT_MAX}, or null")
            raise Invalid(f"The limit {error.message}.", errors=(error,), code="bad_value")
        async with self._database.write() as connection:
            line = await load_line(connection, lock=True)
            before = line.max_concurrent_deployments
            changed = replace(line, max_concurrent_deployments=limit)
            await self._save(connection, "concurrency_limit_changed", changed, actor, reason, now, before=before, after=limit)
        await self._bus.publish(TOPIC)
        return self._settings.max_concurrent_deployments if limit is None else limit

    async def _save(
        self, connection: AsyncConnection, kind: str, changed: Line, actor: str, reason: str, now: datetime, **data: object
    ) -> None:
        await save_line(connection, changed, now=now)
        event = Event(type=kind, at=now, actor=actor, reason=reason, audit=True, data={**data, "status": "success"})
        await record(connection, self._ids, self._settings, event)

    async def _pause_all(self, connection: AsyncConnection, actor: str, reason: str, now: datetime) -> list[Event]:
        """The wish to pause every upgrade and restart that can be; returns the audit entries to write."""
        asked = []
        for state in await load_states(connection, await agents_with(connection, _PAUSABLE)):
            deployment = next((d for d in state.deployments if _pausable(d)), None)
            if deployment is None or len(state.intents) >= INTENTS_MAX:
                continue
            agent, name, why = state.agent.agent, deployment.deployment, f"the line was stopped: {reason}"
            await queries.add_intent(connection, agent, Verb.PAUSE, actor=actor, at=now, deployment=name, reason=why)
            data: dict[str, object] = {"verb": Verb.PAUSE.value, "status": "requested"}
            asked.append(
                Event(type="pause_requested", at=now, agent=agent, deployment=name, actor=actor, reason=why, audit=True, data=data)
            )
        return asked


def rule_view(rule: Rule, now: datetime) -> RuleView:
    span = CALENDAR.covering(rule, now)
    return RuleView(
        rule=rule,
        active=span is not None,
        until=span.end if span else None,
        next_start=CALENDAR.next_start(rule, now),
        over=rule.over(now),
    )


def shown_rule(rule: Rule) -> dict[str, object]:
    """The rule as plain JSON values, for the audit."""
    return {
        "rule_id": rule.rule,
        "kind": rule.kind.value,
        "name": rule.name,
        "agents": list(rule.agents),
        "starts_at": rule.starts_at.isoformat() if rule.starts_at else None,
        "ends_at": rule.ends_at.isoformat() if rule.ends_at else None,
        "cron": rule.cron,
        "duration_seconds": rule.duration_seconds,
        "time_zone": rule.time_zone,
        "reason": rule.reason,
    }


def shown_stop(stop: Stop | None) -> dict[str, object] | None:
    return {"operator": stop.actor, "reason": stop.reason, "since": stop.since.isoformat()} if stop else None


def _pausable(deployment: Deployment) -> bool:
    return deployment.status in _PAUSABLE and deployment.kind in PLACED and not deployment.handed_over


def _shut(line: Line, rule: Rule, agents: Iterable[str], now: datetime) -> Iterable[str]:
    """Agents that have no opening left, as sentences; beginning when the new rule first holds, so that it is seen at work."""
    at = now if CALENDAR.covering(rule, now) is not None else CALENDAR.next_start(rule, now) or now
    for agent in agents:
        if line.stop is None and next_open(line, agent, at, CALENDAR) is None:
            yield f"{agent} has no opening any more from {words(at)} on: {gate(line, agent, at, CALENDAR).reason}."


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        allowed = f"must be 1 to {NAME_CHARACTERS_MAX} printable characters"
        raise Invalid(f"The name {allowed}.", errors=(FieldError(path="name", message=allowed),), code="bad_name")
    return name
