"""The fleet: adding, scaling, restarting and removing agents, and how they do. Called by `web`; writes rows and intents, never acts."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

import anyio
from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, Denied, FieldError, Invalid, NotFound, PermanentError, TemporaryError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec
from agent_servicing.core.standing import Standing
from agent_servicing.core.status import AgentStatus, DeploymentKind, DeploymentStatus, Verb
from agent_servicing.core.versions import parse
from agent_servicing.ports import Clock, EventBus, Ids, Masker, Metrics, Runtime
from agent_servicing.services import catalogue
from agent_servicing.services.agent_lock import NOT_SEEN, Seen, require_free
from agent_servicing.services.agent_upgrade import requested
from agent_servicing.services.fleet_index import FleetIndex
from agent_servicing.services.fleet_views import agent_views
from agent_servicing.services.planning import busy_with, describe_holder
from agent_servicing.services.readings import Readings, metrics_view
from agent_servicing.services.transaction import (
    TOPIC,
    checked_reason,
    known_state,
    record,
    require_room,
    shown,
    unknown_agent,
)
from agent_servicing.services.version_manager import VersionManager
from agent_servicing.services.views import AgentView, FleetTotals, LogLine, MetricsView
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment
from agent_servicing.store.known import KnownStates
from agent_servicing.store.queries import VersionRow

INSTANCES_MAX: Final = 128
"""Instances of one agent on one machine: as many as the data plane can be set to hold."""

LOG_LINES_MAX: Final = 5_000
"""Lines of log in one answer."""

WINDOW_SECONDS_MAX: Final = 600.0
"""Readings reach ten minutes back."""

DRIVER_TIMEOUT_SECONDS: Final = 10.0
"""Limit for reading counters or logs."""


class Fleet:
    """Use cases on whole agents. Every write is one transaction (rows, intent, audit event), then a wake-up on the bus."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        bus: EventBus,
        settings: Settings,
        versions: VersionManager,
        states: KnownStates,
        runtime: Runtime,
        metrics: Metrics,
        masker: Masker,
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._versions, self._runtime, self._metrics, self._masker = versions, runtime, metrics, masker
        self._states, self._readings, self._index = states, Readings(), FleetIndex(database=database)

    async def add(self, manifest: Manifest, *, version: str | None, actor: str, reason: str = "") -> tuple[Agent, Deployment]:
        """Take on an agent and install `version` (None: the newest stable one its source has).

        Raises Conflict `agent_exists`, NotFound `unknown_version` naming what there is, Invalid `no_versions`, `unusable_version`,
        and what `VersionManager.discover` raises.
        """
        reason = checked_reason(reason)
        _checked_instances(manifest.run.instances, "run.instances")
        async with self._database.read() as connection:
            await _require_new(connection, manifest.agent)
        rows = await self._versions.discover(manifest)
        chosen = _chosen(manifest.agent, rows, version)
        now = self._clock.now()
        agent = Agent(agent=manifest.agent, manifest=manifest, instances=manifest.run.instances, created_at=now)
        deployment = self._deployment(
            DeploymentKind.INSTALL, agent, chosen.version, actor=actor, reason=reason or "first installation", now=now
        )
        async with self._database.write() as connection:
            await _require_new(connection, agent.agent)
            await queries.insert_agent(connection, agent, now=now)
            for row in rows[: catalogue.VERSIONS_KEPT]:
                await queries.save_version(connection, agent.agent, row)
            if chosen not in rows[: catalogue.VERSIONS_KEPT]:
                await queries.save_version(connection, agent.agent, chosen)
            await insert_deployment(connection, deployment)
            await record(connection, self._ids, self._settings, requested(deployment, "agent_added", versions_from=_source(manifest)))
        await self._bus.publish(TOPIC)
        return agent, deployment

    async def views(self) -> Mapping[str, AgentView]:
        """Every agent, by id, in that order; of their states only what `FleetIndex` keeps."""
        return await self._index.views()

    async def get(self, agent: str) -> AgentView:
        """Raises NotFound `unknown_agent`."""
        state = await self.state(agent)
        async with self._database.glance() as connection:
            return (await agent_views(connection, [state]))[0]

    async def state(self, agent: str) -> AgentState:
        """Without what is newer and what was done last. Raises NotFound `unknown_agent`."""
        return await known_state(self._database, self._states, agent)

    async def scale(self, agent: str, instances: int, *, actor: str, reason: str = "", seen: Seen = NOT_SEEN) -> None:
        """Ask for so many instances (1–128). Raises Invalid `bad_instances`, Conflict `agent_removing`, `agent_locked`, and for `seen`."""
        _checked_instances(instances, "instances")
        await self._ask(agent, Verb.SCALE, "scale", actor=actor, reason=reason, value=instances, seen=seen)

    async def remove(self, agent: str, *, actor: str, reason: str = "", seen: Seen = NOT_SEEN) -> None:
        """Ask for its removal: instances drain and end, then its row goes; history stays.

        Raises Conflict `agent_removing`, `agent_locked`, and for `seen`.
        """
        await self._ask(agent, Verb.REMOVE, "agent_removal_requested", actor=actor, reason=reason, seen=seen)

    async def restart(
        self, agent: str, *, actor: str, reason: str = "", seen: Seen = NOT_SEEN, override_freeze: bool = False, admin: bool = False
    ) -> Deployment:
        """Replace every instance by a new one of the same version, without downtime; it waits while the line's calendar is closed,
        unless an admin overrides that.

        Raises Denied `role_too_low`, Conflict `agent_busy`, `nothing_deployed`, `agent_locked`, and for `seen`.
        """
        reason = checked_reason(reason, needed=override_freeze) or "restart"
        if override_freeze and not admin:
            raise Denied("Passing a freeze needs the role admin.", hint="Ask an admin.", code="role_too_low")
        async with self._database.write() as connection:
            state = await require_free(connection, agent, actor, self._clock.now(), seen)
            if state.agent.version is None:
                raise Conflict(f"{agent} runs no version that could be restarted.", code="nothing_deployed")
            holder = busy_with(state)
            if holder is not None:
                raise Conflict(f"{agent} is busy: {describe_holder(holder)}.", code="agent_busy", deployment=holder)
            now = self._clock.now()
            deployment = self._deployment(DeploymentKind.RESTART, state.agent, state.agent.version, actor=actor, reason=reason, now=now)
            deployment = replace(deployment, override_freeze=override_freeze)
            await insert_deployment(connection, deployment)
            await record(connection, self._ids, self._settings, requested(deployment, "restart_requested"))
            await queries.wake(connection, agent, now=now)
        await self._bus.publish(TOPIC)
        return deployment

    async def metrics(self, agent: str, window_seconds: float = 60.0) -> MetricsView:
        """What was counted in about the last `window_seconds` (1–600). Raises Unavailable `metrics_unavailable`."""
        if not 1 <= window_seconds <= WINDOW_SECONDS_MAX:
            raise Invalid(f"window must be from 1 to {WINDOW_SECONDS_MAX:g} seconds.", code="bad_window")
        state = await self.state(agent)
        try:
            reading = await self._read(agent)
        except (TemporaryError, PermanentError, TimeoutError) as error:
            raise Unavailable(f"The counters of {agent} cannot be read now: {_why(error)}", code="metrics_unavailable") from error
        return metrics_view(state, reading, self._readings.before(agent, reading, window_seconds))

    async def sample(self) -> None:
        """Take one reading of every agent. Called by a timer every few seconds, so that the first look at metrics has a rate already."""
        async with self._database.read() as connection:
            names = await queries.agent_names(connection)
        self._readings.keep_only(set(names))
        for name in names:
            with suppress(TemporaryError, PermanentError, TimeoutError):  # a missing reading only makes a window longer
                await self._read(name)

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> Sequence[LogLine]:
        """The last lines (1–5000) of one instance or all of them, oldest first. Raises Unavailable `logs_unavailable`."""
        if not 1 <= lines <= LOG_LINES_MAX:
            raise Invalid(f"lines must be from 1 to {LOG_LINES_MAX}.", code="bad_lines")
        async with self._database.read() as connection:
            if await queries.agent_row(connection, agent) is None:
                raise await unknown_agent(connection, agent)
        try:
            with anyio.fail_after(DRIVER_TIMEOUT_SECONDS):
                found = await self._runtime.logs(agent, instance, lines=lines)
        except (TemporaryError, PermanentError, TimeoutError) as error:
            raise Unavailable(f"The logs of {agent} cannot be read now: {_why(error)}", code="logs_unavailable") from error
        # Masked as one text, which is much quicker; no mask and no secret's form holds a line break, so lines stay lines.
        masked = await to_thread.run_sync(self._masker.mask, agent, "\n".join(line for _, line in found))
        return [LogLine(instance=name, line=line) for (name, _), line in zip(found, masked.split("\n"), strict=True)] if found else []

    async def totals(self) -> FleetTotals:
        """Totals for the dashboard."""
        return await self._index.totals()

    async def _ask(self, agent: str, verb: Verb, kind: str, *, actor: str, reason: str, value: int = 0, seen: Seen) -> None:
        reason = checked_reason(reason)
        async with self._database.write() as connection:
            now = self._clock.now()
            state = await require_free(connection, agent, actor, now, seen)
            await require_room(connection, agent)
            await queries.add_intent(connection, agent, verb, actor=actor, at=now, reason=reason, value=value)
            data: dict[str, object] = {"status": "requested"}
            if verb is Verb.SCALE:
                data |= {"from_instances": state.agent.instances, "to_instances": value}
            event = Event(type=kind, at=now, agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await self._bus.publish(TOPIC)

    async def _read(self, agent: str) -> Counters:
        with anyio.fail_after(DRIVER_TIMEOUT_SECONDS):
            reading = await self._metrics.counters(agent)
        self._readings.add(agent, reading)
        return reading

    def _deployment(self, kind: DeploymentKind, agent: Agent, version: str, *, actor: str, reason: str, now: datetime) -> Deployment:
        return Deployment(
            deployment=self._ids.new("upg"),
            agent=agent.agent,
            kind=kind,
            from_version=agent.version,
            to_version=version,
            spec=DeploymentSpec(
                strategy=kind.value, steps=(100.0,), monitor_seconds=0.0, keep_warm_seconds=self._settings.keep_warm_seconds
            ),
            reason=reason,
            actor=actor,
            requested_at=now,
            status=DeploymentStatus.QUEUED,
        )


async def _require_new(connection: AsyncConnection, agent: str) -> None:
    """Names differ by more than case: the data plane also finds agents by host name, which has none."""
    taken = await queries.agent_called(connection, agent)
    if taken is None:
        return
    row = await queries.agent_row(connection, taken)
    removing = row is not None and row.body.agent.status is not AgentStatus.ACTIVE
    message = f"{taken} is still being removed." if removing else f"There is an agent {taken} already."
    hint = "Try again when it is gone." if removing else "Remove it first, or choose another id."
    raise Conflict(message, hint=hint, code="agent_exists")


def _chosen(agent: str, rows: Sequence[VersionRow], version: str | None) -> VersionRow:
    if version is None:
        newest = catalogue.newest_stable(rows)
        if newest is None:
            why = f" Its newest one cannot be used: {rows[0].problem or 'it is withdrawn'}" if rows else ""
            raise Invalid(f"The source of {agent} has no usable version.{why}", hint="Tag one, for example v1.0.0.", code="no_versions")
        return newest
    wanted = str(parse(version))
    found = next((row for row in rows if row.version == wanted), None)
    if found is None:
        hint = f"Its source has: {shown([row.version for row in rows])}." if rows else "Its source has no version at all."
        raise NotFound(f"{agent} has no version {wanted}.", hint=hint, code="unknown_version")
    if found.problem:
        raise Invalid(f"{wanted} cannot be used: {found.problem}", code="unusable_version")
    if found.standing is Standing.WITHDRAWN:
        raise Conflict(f"{wanted} is withdrawn: {found.standing_reason}.", hint="Choose another version.", code="version_withdrawn")
    return found


def _checked_instances(instances: int, path: str) -> None:
    if not 1 <= instances <= INSTANCES_MAX:
        error = FieldError(path=path, message=f"must be from 1 to {INSTANCES_MAX}")
        raise Invalid(f"An agent has 1 to {INSTANCES_MAX} instances, not {instances}.", errors=(error,), code="bad_instances")


def _why(error: Exception) -> str:
    """A timeout has no words of its own."""
    return str(error) or f"no answer within {DRIVER_TIMEOUT_SECONDS:g} s"


def _source(manifest: Manifest) -> dict[str, object]:
    return {"kind": manifest.source.kind, "location": manifest.source.location}
