"""Staging: ask for a run, look at it, cancel it, run one of its cases by hand, set the gate. Called by `web`; `reconcile.staging` does the work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.staging.model import OPEN, START, StagingGate, StagingOptions, StagingRun, Wish, WishKind
from agent_servicing.core.staging.verdict import FRESH_HOURS_MAX
from agent_servicing.core.versions import try_parse
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services import catalogue
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_active, require_state, shown
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store import staging as store
from agent_servicing.store.database import Database

OPEN_PER_AGENT_MAX: Final = 5
OPEN_MAX: Final = 50
"""Runs that wait or are under way; more of them are a runaway script."""

WISHES_MAX: Final = 20
PAGE_MAX: Final = 200
KEEP_SECONDS_MAX: Final = 3600.0
LOAD_RPS_MAX: Final = 1000.0
SUITE_SECONDS_MAX: Final = 3600.0
PERFORMANCE_SECONDS_MAX: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingPage:
    """Newest first. `next_cursor` is passed back as `cursor`, None at the end."""

    runs: tuple[StagingRun, ...] = ()
    next_cursor: str | None = None


class Staging:
    """Use cases on staging runs."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def request(self, agent: str, version: str, options: StagingOptions, *, actor: str, reason: str = "") -> StagingRun:
        """Queue a run. Raises NotFound `unknown_agent`, `unknown_version`, Invalid `bad_version`, `bad_value`, `unusable_version`,
        Conflict `agent_removing`, `too_many_staging_runs`.
        """
        reason = checked_reason(reason)
        _check(options)
        async with self._database.write() as connection:
            state = await require_active(connection, agent)
            wanted = await _known_version(connection, agent, version)
            mine, all_of_them = await store.open_counts(connection, agent)
            if mine >= OPEN_PER_AGENT_MAX or all_of_them >= OPEN_MAX:
                message = f"{mine} staging runs of {agent} and {all_of_them} of all agents are waiting or under way already."
                raise Conflict(message, hint="Wait for them, or cancel one.", code="too_many_staging_runs")
            run = StagingRun(
                run=self._ids.new("stg"),
                agent=agent,
                version=wanted,
                stable_version=state.agent.version,
                options=options,
                actor=actor,
                reason=reason,
                requested_at=self._clock.now(),
            )
            await store.insert_run(connection, run)
            data: dict[str, object] = {"suites": list(options.suites), "state": options.state, "status": "requested"}
            await self._tell(connection, run, "staging_requested", actor, reason, data)
        await self._bus.publish(TOPIC)
        return run

    async def get(self, agent: str, run: str) -> StagingRun:
        """Raises NotFound `unknown_agent`, `unknown_staging_run`."""
        async with self._database.read() as connection:
            await require_state(connection, agent)
            return await _require(connection, agent, run)

    async def list(self, agent: str, *, limit: int = 50, cursor: str | None = None) -> StagingPage:
        """Newest first. Raises NotFound `unknown_agent`, Invalid `bad_limit`, `bad_cursor`."""
        if not 1 <= limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        before = number_of(cursor) if cursor is not None else None
        async with self._database.read() as connection:
            await require_state(connection, agent)
            found = await store.run_page(connection, agent, before=before, limit=limit + 1)
        page = found[:limit]
        return StagingPage(runs=tuple(page), next_cursor=str(page[-1].number) if len(found) > limit else None)

    async def cancel(self, agent: str, run: str, *, actor: str, reason: str = "") -> StagingRun:
        """End a run, or let go of the instances that a finished one keeps. Raises Conflict `staging_over` when there is nothing to end."""

        def check(found: StagingRun) -> None:
            kept = found.kept_until is not None and found.kept_until > self._clock.now()
            if not found.open and not kept and not found.wishes:
                raise Conflict(f"{run} is {found.status.value} and keeps nothing.", code="staging_over")

        return await self._wish(agent, run, "cancel", actor=actor, reason=reason, check=check)

    async def run_case(self, agent: str, run: str, case: str, *, actor: str, reason: str = "") -> StagingRun:
        """Have one case of a finished run run again, by itself. Raises NotFound `unknown_case`, Conflict `staging_under_way`."""

        def check(found: StagingRun) -> None:
            if found.status in OPEN:
                raise Conflict(f"{run} is {found.status.value}.", hint="Wait until it has ended.", code="staging_under_way")
            known = found.case(case)
            if known is None or known.suite == START:
                names = [each.case for suite in found.suites if suite.suite != START for each in suite.cases]
                hint = f"Its cases: {shown(names)}." if names else "It has none."
                raise NotFound(f"{run} has no case {case} that can be run by itself.", hint=hint, code="unknown_case")

        return await self._wish(agent, run, "case", actor=actor, reason=reason, check=check, case=case)

    async def gate(self, agent: str) -> StagingGate:
        """Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            await require_state(connection, agent)
            return await store.gate_of(connection, agent)

    async def set_gate(self, agent: str, gate: StagingGate, *, actor: str, reason: str = "") -> StagingGate:
        """Raises NotFound `unknown_agent`, Invalid `bad_value`."""
        if not 0 < gate.fresh_hours <= FRESH_HOURS_MAX:
            raise _bad("fresh_hours", f"must be above 0 and at most {FRESH_HOURS_MAX:g}")
        reason = checked_reason(reason)
        async with self._database.write() as connection:
            await require_active(connection, agent)
            before = await store.gate_of(connection, agent)
            await store.save_gate(connection, agent, gate)
            data: dict[str, object] = {
                "before": {"required": before.required, "fresh_hours": before.fresh_hours},
                "after": {"required": gate.required, "fresh_hours": gate.fresh_hours},
                "status": "success",
            }
            event = Event(type="staging_gate_changed", at=self._clock.now(), agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await self._bus.publish(TOPIC)
        return gate

    async def _wish(
        self, agent: str, run: str, kind: WishKind, *, actor: str, reason: str, check: Callable[[StagingRun], None], case: str = ""
    ) -> StagingRun:
        reason = checked_reason(reason)
        async with self._database.write() as connection:
            await require_state(connection, agent, lock=True)
            found = await _require(connection, agent, run, lock=True)
            check(found)
            if len(found.wishes) >= WISHES_MAX:
                raise Conflict(
                    f"{WISHES_MAX} wishes for {run} are waiting already.", hint="Try again in a moment.", code="too_many_requests"
                )
            wish = Wish(wish=self._ids.new("wsh"), kind=kind, actor=actor, at=self._clock.now(), case=case, reason=reason)
            await store.add_wish(connection, found, wish)
            name = "staging_cancel_requested" if kind == "cancel" else "staging_case_requested"
            data: dict[str, object] = {"status": "requested", **({"case": case} if case else {})}
            await self._tell(connection, found, name, actor, reason, data)
            after = await _require(connection, agent, run)
        await self._bus.publish(TOPIC)
        return after

    async def _tell(
        self, connection: AsyncConnection, run: StagingRun, kind: str, actor: str, reason: str, data: "dict[str, object]"
    ) -> None:
        facts = {"run_id": run.run, "version": run.version, **data}
        event = Event(type=kind, at=self._clock.now(), agent=run.agent, actor=actor, reason=reason, audit=True, data=facts)
        await record(connection, self._ids, self._settings, event)


async def _known_version(connection: AsyncConnection, agent: str, version: str) -> str:
    parsed = try_parse(version)
    if parsed is None:
        message = f"{version!r} is no semantic version; allowed is MAJOR.MINOR.PATCH, for example 1.3.0."
        raise Invalid(message, errors=[FieldError(path="version", message="is no semantic version")], code="bad_version")
    rows = await queries.version_rows(connection, agent)
    row = next((row for row in rows if row.version == str(parsed)), None)
    if row is None:
        names = [each.version for each in catalogue.newest_first(rows)]
        hint = f"Known versions: {shown(names)}; refresh to look for newer ones." if names else "No version is known; refresh first."
        raise NotFound(f"{agent} has no version {parsed}.", hint=hint, code="unknown_version")
    if row.problem:
        raise Invalid(f"{parsed} cannot be used: {row.problem}", code="unusable_version")
    return row.version


async def _require(connection: AsyncConnection, agent: str, run: str, *, lock: bool = False) -> StagingRun:
    found = await store.run_of(connection, agent, run, lock=lock)
    if found is None:
        raise NotFound(f"There is no staging run {run} of {agent}.", code="unknown_staging_run")
    return found


def _check(options: StagingOptions) -> None:
    limits = (
        ("keep_seconds", options.keep_seconds, 0.0, KEEP_SECONDS_MAX),
        ("load_target_rps", options.load_target_rps, 1.0, LOAD_RPS_MAX),
        ("tolerance_percent", options.tolerance_percent, 1.0, 1000.0),
        ("performance_seconds", options.performance_seconds, 1.0, PERFORMANCE_SECONDS_MAX),
        ("suite_timeout_seconds", options.suite_timeout_seconds, 1.0, SUITE_SECONDS_MAX),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise _bad(name, f"must be from {low:g} to {high:g}")
    if not options.suites or len(set(options.suites)) != len(options.suites):
        raise _bad("suites", "must name at least one suite, and each once")


def _bad(path: str, message: str) -> Invalid:
    return Invalid(f"{path} {message}.", errors=[FieldError(path=path, message=message)], code="bad_value")
