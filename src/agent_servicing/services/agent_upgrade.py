"""Upgrades: plan, request, watch, and the operator's verbs on one under way. Called by `web`; the engine does the work."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core import events
from agent_servicing.core.errors import Conflict, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.queue import first_order
from agent_servicing.core.status import WAITING, DeploymentKind, DeploymentStatus, Verb
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.agent_lock import check_lock, held_lock
from agent_servicing.services.approvals import approval_wanted, until, wanted
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.planning import Planned, make_plan, raise_first
from agent_servicing.services.requests import AutoRollback, UpgradeRequest
from agent_servicing.services.rights import Asker
from agent_servicing.services.staging_gate import why_shut
from agent_servicing.services.take_over import take_over
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_room, require_state
from agent_servicing.services.views import DeploymentPage, Plan
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import cancelled, insert_deployment, save_deployment
from agent_servicing.store.line import load_line, load_lock
from agent_servicing.store.queries import ListState
from agent_servicing.store.thresholds import load_thresholds

__all__ = ["AgentUpgrade", "AutoRollback", "UpgradeRequest"]

PAGE_MAX: Final = 200
"""Deployments on one page; each may hold minutes of readings."""

_VERBS: Final = {
    DeploymentStatus.IN_PROGRESS: (Verb.PAUSE, Verb.PROMOTE, Verb.OVERRIDE, Verb.CANCEL),
    DeploymentStatus.PAUSED: (Verb.RESUME, Verb.PROMOTE, Verb.OVERRIDE, Verb.CANCEL),
    DeploymentStatus.BAKING: (Verb.PAUSE, Verb.PROMOTE, Verb.OVERRIDE, Verb.CANCEL),
}
"""What may be asked of a deployment under way; one that is being taken back can only be watched."""


_ANYBODY: Final = (Verb.PAUSE, Verb.CANCEL)
"""Verbs on the safe side: a lock of another operator does not stop them."""


class AgentUpgrade:
    """Use cases on deployments of every kind. Reads serve `upg-…` and `rbk-…` alike."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def plan(self, agent: str, request: UpgradeRequest, *, asker: Asker | None = None) -> Plan:
        """Dry run: what would be done, or why not; writes nothing. Raises only NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            return (await self._plan(connection, state, request, asker or Asker(name=""))).plan

    async def request(self, agent: str, request: UpgradeRequest, *, actor: str, admin: bool = False) -> Deployment:
        """Queue or schedule it; the first refusal of the plan is raised (Invalid, Conflict, Denied or NotFound).

        `override_freeze`, `override_staging` and taking over are for admins, and stand in the audit as such.
        """
        async with self._database.write() as connection:
            state = await require_state(connection, agent, lock=True)
            planned = await self._plan(connection, state, request, Asker(name=actor, admin=admin))
            raise_first(planned.plan.refusals)
            start = planned.plan.scheduled_at
            approval = await approval_wanted(connection, agent)
            deployment = Deployment(
                deployment=self._ids.new("upg"),
                agent=agent,
                kind=DeploymentKind.UPGRADE,
                from_version=state.agent.version,
                to_version=planned.plan.to_version,
                spec=planned.spec,
                reason=checked_reason(request.reason),
                actor=actor,
                requested_at=self._clock.now(),
                scheduled_at=start,
                start_grace_seconds=_grace(request, self._settings),
                override_freeze=request.override_freeze,
                override_staging=request.override_staging,
                order=first_order(state.deployments) if request.when_busy == "take_over" else 0,
                status=DeploymentStatus.SCHEDULED if start else DeploymentStatus.QUEUED,
                approval_wanted=approval,
                approve_by=until(self._clock.now(), self._settings, state.agent.manifest) if approval else None,
            )
            if request.when_busy == "take_over":
                await take_over(connection, self._ids, self._settings, state, deployment)
            overridden = {"override_staging": True} if request.override_staging else {}
            await self._insert(connection, deployment, "upgrade_requested", **overridden)
            if approval:
                await record(connection, self._ids, self._settings, wanted(deployment))
        await self._bus.publish(TOPIC)
        return deployment

    async def get(self, agent: str, deployment: str) -> Deployment:
        """Raises NotFound `unknown_deployment`."""
        async with self._database.glance() as connection:
            return await require_deployment(connection, deployment, agent)

    async def find(self, deployment: str) -> Deployment:
        """By its id alone. Raises NotFound `unknown_deployment`."""
        async with self._database.glance() as connection:
            return await require_deployment(connection, deployment)

    async def list(
        self, of: Collection[str] | None = None, *, state: ListState | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeploymentPage:
        """Newest first, of these agents or of all; also of agents that were removed. `limit` is 1–200."""
        if not 1 <= limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        before = number_of(cursor) if cursor is not None else None
        # One agent's are found by their keys; of all, those in some state may be few among very many.
        at_hand = of is not None and len(of) == 1 and state is None
        async with self._database.glance() if at_hand else self._database.read() as connection:
            found = await queries.deployment_page(connection, of=of, state=state, before=before, limit=limit + 1)
        page = found[:limit]
        return DeploymentPage(
            deployments=tuple(deployment for _, deployment in page), next_cursor=str(page[-1][0]) if len(found) > limit else None
        )

    async def open_counts(self, of: Collection[str] | None = None) -> Mapping[ListState, int]:
        """How many of these agents' deployments, or of all, are open, and in which state."""
        async with self._database.read() as connection:
            return await queries.open_counts(connection, of=of)

    async def verb(
        self,
        agent: str,
        deployment: str,
        verb: Verb,
        *,
        actor: str,
        reason: str = "",
        full: bool = False,
        if_state: str | None = None,
        if_version: int | None = None,
    ) -> Deployment:
        """Ask for pause, resume, promote, override or cancel. `if_version` is the deployment's `revision`. An override needs a reason.

        A waiting deployment is cancelled at once; everything else is done by the engine. Raises Conflict (`state_mismatch`,
        `version_mismatch`, `wrong_state`) with `details["deployment"]` holding the current Deployment, and `agent_locked` for resume and
        promote while somebody else holds the agent's lock.
        """
        reason = checked_reason(reason, needed=verb is Verb.OVERRIDE)
        async with self._database.write() as connection:
            await queries.agent_row(connection, agent, lock=True)
            current = await require_deployment(connection, deployment, agent)
            now = self._clock.now()
            check_unchanged(current, if_state=if_state, if_version=if_version)
            if verb not in _ANYBODY:
                check_lock(held_lock(await load_lock(connection, agent), now), actor)
            _check(current, verb)
            data: dict[str, object] = {**_versions(current), "verb": verb.value, "status": "requested"}
            if verb is Verb.PROMOTE:
                data["full"] = full
            asked = Event(
                type=f"{verb.value}_requested",
                at=now,
                agent=agent,
                deployment=deployment,
                actor=actor,
                reason=reason,
                audit=True,
                data=data,
            )
            if current.status in WAITING:
                current = cancelled(current, message=f"cancelled by {actor} before it began", now=now)
                await save_deployment(connection, current)
                await record(connection, self._ids, self._settings, asked, *cancelled_events(current, actor, reason, now))
                await queries.wake(connection, agent, now=now)
            else:
                await require_room(connection, agent)
                value = 1 if full and verb is Verb.PROMOTE else 0
                await queries.add_intent(connection, agent, verb, actor=actor, at=now, deployment=deployment, reason=reason, value=value)
                await record(connection, self._ids, self._settings, asked)
        await self._bus.publish(TOPIC)
        return current

    async def _plan(self, connection: AsyncConnection, state: AgentState, request: UpgradeRequest, asker: Asker) -> Planned:
        rows, line = await queries.version_rows(connection, state.agent.agent), await load_line(connection)
        warm, now = self._settings.keep_warm_seconds, self._clock.now()
        shut = await why_shut(connection, state.agent.agent, request.target_version, now)
        defaults = await load_thresholds(connection, state.agent.agent)
        return make_plan(state, rows, request, now=now, keep_warm_seconds=warm, asker=asker, line=line, shut=shut, defaults=defaults)

    async def _insert(self, connection: AsyncConnection, deployment: Deployment, kind: str, **more: object) -> None:
        await insert_deployment(connection, deployment)
        await record(connection, self._ids, self._settings, requested(deployment, kind, **more))
        await queries.wake(connection, deployment.agent, now=deployment.requested_at)


def requested(deployment: Deployment, kind: str, **more: object) -> Event:
    """The audit entry of a request; the engine writes the closing one with its outcome."""
    scheduled: dict[str, object] = {"scheduled_at": deployment.scheduled_at.isoformat()} if deployment.scheduled_at else {}
    if deployment.override_freeze:
        scheduled["override_freeze"] = True
    return Event(
        type=kind,
        at=deployment.requested_at,
        agent=deployment.agent,
        deployment=deployment.deployment,
        actor=deployment.actor,
        reason=deployment.reason,
        audit=True,
        data={**_versions(deployment), "status": "requested", **scheduled, **more},
    )


def _grace(request: UpgradeRequest, settings: Settings) -> float:
    return settings.missed_start_grace_seconds if request.start_grace_seconds is None else request.start_grace_seconds


async def require_deployment(connection: AsyncConnection, name: str, agent: str | None = None) -> Deployment:
    """Raises NotFound `unknown_deployment`."""
    found = await queries.deployment(connection, name)
    if found is None or agent not in (None, found.agent):
        raise NotFound(f"There is no deployment {name}{f' of {agent}' if agent else ''}.", code="unknown_deployment")
    return found


def check_unchanged(current: Deployment, *, if_state: str | None, if_version: int | None) -> None:
    """Raises Conflict `state_mismatch` or `version_mismatch` when the deployment is not any more as the caller saw it."""
    name = current.deployment
    if if_state is not None and current.status != if_state:
        raise Conflict(f"{name} is {current.status}, not {if_state}.", code="state_mismatch", deployment=current)
    if if_version is not None and current.revision != if_version:
        message = f"{name} has changed meanwhile: it is at version {current.revision}, not {if_version}."
        raise Conflict(message, code="version_mismatch", deployment=current)


def _check(current: Deployment, verb: Verb) -> None:
    name = current.deployment
    if current.handed_over and not current.terminal:
        message = f"{name} has handed over to {current.to_version}; the old version is leaving."
        raise Conflict(message, hint="Use rollback to go back.", code="wrong_state", deployment=current)
    allowed = (Verb.CANCEL,) if current.status in WAITING else _VERBS.get(current.status, ())
    if verb not in allowed:
        hint = f"Possible now: {', '.join(allowed)}." if allowed else "Nothing can be asked of it any more."
        raise Conflict(
            f"{name} is {current.status}; it cannot be asked to {verb.value}.", hint=hint, code="wrong_state", deployment=current
        )


def _versions(deployment: Deployment) -> dict[str, object]:
    return {"from_version": deployment.from_version, "to_version": deployment.to_version, "strategy": deployment.spec.strategy}


def cancelled_events(deployment: Deployment, actor: str, reason: str, now: datetime) -> tuple[Event, Event]:
    """The live event, and the closing audit entry that the engine would write for one under way."""
    closing: dict[str, object] = {**_versions(deployment), "status": "cancelled", "duration_seconds": 0.0, "downtime_seconds": 0.0}
    live: dict[str, object] = {"status": "cancelled", "version": deployment.to_version}
    return (
        Event(
            type=events.CANCELLED, at=now, agent=deployment.agent, deployment=deployment.deployment, actor=actor, reason=reason, data=live
        ),
        Event(
            type=deployment.kind.value,
            at=now,
            agent=deployment.agent,
            deployment=deployment.deployment,
            actor=actor,
            reason=reason or deployment.message,
            audit=True,
            data=closing,
        ),
    )
