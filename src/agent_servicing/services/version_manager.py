"""Version management: what there is, what changed between two, where one can go back to. Called by `web`, `Fleet` and the refresh timer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core import events
from agent_servicing.core.errors import Invalid, PermanentError, ServicingError, TemporaryError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import AgentState
from agent_servicing.core.standing import Standing
from agent_servicing.core.state import door
from agent_servicing.core.versions import RollbackPoint as Served
from agent_servicing.core.versions import available_updates, by_kind, parse, step, try_parse
from agent_servicing.ports import Clock, EventBus, Ids, VersionSource
from agent_servicing.services import catalogue
from agent_servicing.services.catalogue import Merge
from agent_servicing.services.differences import manifest_differences, schema_differences, secret_keys
from agent_servicing.services.transaction import TOPIC, known_state, record, require_state, shown, unknown_agent
from agent_servicing.services.version_infos import Infos
from agent_servicing.services.version_standing import cancel_waiting, known_version, told
from agent_servicing.services.views import ChangesView, RollbackPoint, VersionsView
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.known import KnownStates
from agent_servicing.store.queries import Record, VersionRow
from agent_servicing.store.staging import newest_results
from agent_servicing.store.state import load_rollback_points

SOURCE_TIMEOUT_SECONDS: Final = 120.0
"""Limit for asking one source; cloning a large repository for the first time takes longest."""


class VersionManager:
    """Keeps the table of versions in step with the agents' sources. `sources` maps a source kind (git, pypi, path) to its driver."""

    def __init__(
        self,
        *,
        database: Database,
        states: KnownStates,
        clock: Clock,
        ids: Ids,
        bus: EventBus,
        settings: Settings,
        sources: Mapping[str, VersionSource],
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._states, self._sources = states, sources

    async def discover(self, manifest: Manifest) -> Sequence[VersionRow]:
        """Every semantic version the manifest's source has, newest first; nothing is written.

        Raises Invalid `source_unsupported` or `source_unusable`, Unavailable `source_unavailable`.
        """
        kind = manifest.source.kind
        source = self._sources.get(kind)
        if source is None:
            raise Invalid(
                f"No driver for {kind} sources is installed.", hint=f"Installed: {shown(sorted(self._sources))}.", code="source_unsupported"
            )
        try:
            with anyio.fail_after(SOURCE_TIMEOUT_SECONDS):
                found = await source.versions(manifest)
        except PermanentError as error:
            raise Invalid(f"The source of {manifest.agent} cannot be used: {error}", code="source_unusable") from error
        except TemporaryError as error:
            raise Unavailable(f"The source of {manifest.agent} does not answer now: {error}", code="source_unavailable") from error
        except TimeoutError as error:
            message = f"The source of {manifest.agent} did not answer within {SOURCE_TIMEOUT_SECONDS:g} s."
            raise Unavailable(message, code="source_unavailable") from error
        now = self._clock.now()
        return catalogue.newest_first(catalogue.version_row(manifest, version, now=now) for version in found if try_parse(version.version))

    async def refresh(self, agent: str) -> Sequence[str]:
        """Ask the source once; returns the versions not known before, newest first.

        Raises NotFound `unknown_agent`, and what `discover` raises.
        """
        async with self._database.read() as connection:
            row = await queries.agent_row(connection, agent)
            if row is None:
                raise await unknown_agent(connection, agent)
        try:
            found = await self.discover(row.base)
        except ServicingError as error:
            await self._note(agent, error.message)
            raise
        async with self._database.write() as connection:
            merge = await self._write(connection, agent, found, now=self._clock.now())
        if merge.new or merge.moved or merge.delete:
            await self._bus.publish(TOPIC)
        return merge.new

    async def refresh_all(self) -> None:
        """Refresh every agent, one after the other; a source that fails is noted on its agent and does not stop the others."""
        async with self._database.read() as connection:
            names = await queries.agent_names(connection)
        for name in names:
            try:
                await self.refresh(name)
            except ServicingError:  # noted on the agent by `refresh`, or the agent was removed meanwhile
                continue

    async def list(self, agent: str) -> VersionsView:
        """Story §1."""
        state = await known_state(self._database, self._states, agent)
        async with self._database.glance() as connection:
            row = await queries.agent_row(connection, agent)
            if row is None:
                raise await unknown_agent(connection, agent)
            rows = catalogue.newest_first(await queries.version_rows(connection, agent))
            records = await queries.records(connection, agent)
            points = await load_rollback_points(connection, row.body)
            tried = await newest_results(connection, agent)
        current = row.body.agent.version
        looked = Infos(state, rows)
        infos = [looked.info(each, records.get(each.version, Record()), tried.get(each.version)) for each in rows]
        newer = (
            {update.version for update in available_updates(current, [r.version for r in rows])} if current else {r.version for r in rows}
        )
        known = {each.version: each for each in rows}
        running = known.get(current or "")
        return VersionsView(
            agent=agent,
            current_version=current,
            current_deployed_at=row.body.agent.version_deployed_at,
            current_standing=running.standing.value if running else Standing.AVAILABLE.value,
            current_standing_reason=running.standing_reason if running else "",
            hints=looked.advice(),
            available=tuple(i for i in infos if i.version in newer and not i.problem and i.standing != Standing.WITHDRAWN),
            rollback_points=tuple(rollback_point(p, known.get(p.version)) for p in points),
            versions=tuple(infos),
            refreshed_at=row.refreshed_at,
            source_problem=row.source_problem,
        )

    async def changes(self, agent: str, from_: str | None, to: str) -> ChangesView:
        """Everything that differs between two known versions; `from_` None is the running one. Raises NotFound `unknown_version`."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            rows = await queries.version_rows(connection, agent)
        start = from_ or state.agent.version
        if start is None:
            raise Invalid(f"{agent} runs no version yet; name the one to start from.", code="from_missing")
        return compare(agent, rows, known_version(rows, start), known_version(rows, to))

    async def _write(self, connection: AsyncConnection, agent: str, found: Sequence[VersionRow], *, now: datetime) -> Merge:
        state = await require_state(connection, agent, lock=True)
        known = {row.version: row for row in await queries.version_rows(connection, agent)}
        merge = catalogue.reconciled(known, found, used=versions_used(state))
        for row in merge.write:
            await queries.save_version(connection, agent, row)
        await queries.delete_versions(connection, agent, merge.delete)
        await queries.note_refresh(connection, agent, now=now)
        news = [*_available_events(state, merge, now), *_moved_events(agent, merge, now)]
        for version in _taken_back(known, merge):
            news += await self._told_by_source(connection, state, version, now)
        if news:
            await record(connection, self._ids, self._settings, *news)
        return merge

    async def _told_by_source(self, connection: AsyncConnection, state: AgentState, row: VersionRow, now: datetime) -> Sequence[Event]:
        """Its source has changed its mind about a version; a withdrawn one is not deployed any more."""
        standing, reason, actor = row.body.standing, row.body.standing_reason, events.SYSTEM
        ended: tuple[str, ...] = ()
        closing: tuple[Event, ...] = ()
        if standing is Standing.WITHDRAWN:
            ended, closing = await cancel_waiting(connection, state, row.version, actor, f"its source says: {reason}", now)
        return [told(state, row.version, standing, reason=reason, actor=actor, by_source=True, ended=ended, now=now), *closing]

    async def _note(self, agent: str, problem: str) -> None:
        async with self._database.write(durable=False) as connection:
            await queries.note_refresh(connection, agent, now=self._clock.now(), problem=problem)


def compare(agent: str, rows: Sequence[VersionRow], start: VersionRow, end: VersionRow) -> ChangesView:
    """The review of going from one version to another; backwards, the changes are those that would be lost."""
    back = catalogue.order(end.version) < catalogue.order(start.version)
    old, new = (end, start) if back else (start, end)
    passed = catalogue.between(rows, old.version, new.version) if old.version != new.version else []
    schemas = [row.body.files.get(row.manifest.config.schema or "") for row in (start, end)]
    verdict, note = door(start.manifest.state, end.manifest.state)
    return ChangesView(
        agent=agent,
        from_version=start.version,
        to_version=end.version,
        type=step(parse(start.version), parse(end.version)),
        changelog=by_kind([change for row in passed for change in row.body.changes]),
        breaking_changes=catalogue.breaking_notes(passed),
        migration_notes=tuple((r.version, r.manifest.upgrade.migration_notes) for r in passed if r.manifest.upgrade.migration_notes),
        config_schema=schema_differences(*schemas),
        manifest=manifest_differences(start.manifest, end.manifest, secret_keys(*schemas)),
        state_door=verdict,
        state_note=note,
        compatibility=catalogue.compatibility(rows, start.version, end)[1],
    )


def versions_used(state: AgentState) -> frozenset[str]:
    """Versions whose artifact must stay what it is: running, on the way, or to be gone back to."""
    return frozenset(state.releases) | frozenset(state.rollback_points)


def rollback_point(point: Served, row: VersionRow | None) -> RollbackPoint:
    """Whether one can go back there without further ado."""
    note = ""
    if row is None:
        note = "it is not known any more"
    elif row.standing is Standing.WITHDRAWN:
        note = f"withdrawn: {row.standing_reason}; needs override_withdrawn"
    return RollbackPoint(version=point.version, deployed_at=point.deployed_at, can_rollback=not note, note=note)


def _available_events(state: AgentState, merge: Merge, now: datetime) -> "list[Event]":
    """One for each version that is new and newer than what runs; none before the first installation is through."""
    if state.agent.version is None:
        return []
    written = {row.version: row for row in merge.write}
    usable = [name for name in merge.new if not written[name].problem and written[name].standing is Standing.AVAILABLE]
    updates = available_updates(state.agent.version, usable)
    return [
        Event(
            type=events.VERSION_AVAILABLE,
            at=now,
            agent=state.agent.agent,
            data={
                "version": update.version,
                "update_type": update.type,
                "current_version": state.agent.version,
                "security_patch": written[update.version].security,
                "critical": written[update.version].critical,
            },
        )
        for update in reversed(updates)
    ]


def _moved_events(agent: str, merge: Merge, now: datetime) -> "list[Event]":
    """A released version that changed afterwards is either a mistake or an attack; either way somebody should know."""
    return [
        Event(
            type="version_moved",
            at=now,
            agent=agent,
            audit=True,
            reason=f"{row.version} was changed at its source after it was released; the one known before is kept",
            data={"version": row.version, "ref": row.ref, "moved_ref": row.moved_ref, "status": "warning"},
        )
        for row in merge.moved
    ]


def _taken_back(known: Mapping[str, VersionRow], merge: Merge) -> "list[VersionRow]":
    """Versions of which the source says something else than before. What somebody here has spoken about stays as that person said."""
    before = {name: row for name, row in known.items() if row.mark is None}
    return [row for row in merge.write if row.version in before and before[row.version].body.standing is not row.body.standing]
