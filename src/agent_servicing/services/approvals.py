"""A second person's approval for upgrades of chosen agents. `web` sets it and approves; `agent_upgrade` and `config_hotpatch` ask for it.

An upgrade that wants one waits in the queue until somebody else has approved it. Rollbacks and what is taken back never wait for anybody.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, Denied, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Deployment
from agent_servicing.core.schedule import words
from agent_servicing.core.status import WAITING, WaitingFor
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_active, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import edited, save_deployment
from agent_servicing.store.tables import approvals


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Whether upgrades of the agent want a second person; who said so and when, None while they do not."""

    agent: str
    required: bool
    set_by: str | None = None
    since: datetime | None = None


class Approvals:
    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def show(self, agent: str) -> ApprovalRule:
        """Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            await require_state(connection, agent)
            return await _rule(connection, agent)

    async def set(self, agent: str, *, required: bool, actor: str, reason: str = "") -> ApprovalRule:
        """For upgrades that are asked for from now on; what waits already keeps waiting, or not. Raises NotFound, Conflict `agent_removing`."""
        reason, now = checked_reason(reason), self._clock.now()
        async with self._database.write() as connection:
            await require_active(connection, agent)
            before = await _rule(connection, agent)
            if before.required != required:
                await connection.execute(delete(approvals).where(approvals.c.agent == agent))
                if required:
                    await connection.execute(insert(approvals).values(agent=agent, set_by=actor, since=now))
                data: dict[str, object] = {"required": required, "status": "success"}
                event = Event(type="approval_set", at=now, agent=agent, actor=actor, reason=reason, audit=True, data=data)
                await record(connection, self._ids, self._settings, event)
            return await _rule(connection, agent)

    async def approve(self, agent: str, deployment: str, *, actor: str, reason: str = "", override: bool = False) -> Deployment:
        """It may begin in its turn. `override` is for admins in an emergency, who may do it for themselves and have to say why.

        Raises NotFound `unknown_deployment`, Conflict `wrong_state`, `no_approval_wanted`, Denied `own_request`, Invalid `reason_missing`.
        """
        reason, now = checked_reason(reason, needed=override), self._clock.now()
        async with self._database.write() as connection:
            current = await self._awaited(connection, agent, deployment)
            if current.approve_by is not None and current.approve_by <= now:
                hint = "Ask for it again."
                message = f"{deployment} was to be approved until {words(current.approve_by)}; it is being cancelled."
                raise Conflict(message, hint=hint, code="wrong_state", deployment=current)
            if current.actor == actor and not override:
                hint = "In an emergency an admin may override, with a reason."
                raise Denied("Nobody approves what they asked for themselves.", hint=hint, code="own_request")
            changed = edited(replace(current, approved_by=actor, held_by=None, message=""))
            await save_deployment(connection, changed)
            kind = "approval_overridden" if override else "approved"
            await self._tell(connection, kind, changed, actor, reason, now)
            await queries.wake(connection, agent, now=now)
        await self._bus.publish(TOPIC)
        return changed

    async def rejected(self, agent: str, deployment: str, *, actor: str, reason: str) -> None:
        """Written down; the caller withdraws it. Raises like `approve`, but anybody may reject, the one who asked too."""
        reason = checked_reason(reason, needed=True)
        async with self._database.write() as connection:
            current = await self._awaited(connection, agent, deployment)
            await self._tell(connection, "rejected", current, actor, reason, self._clock.now())

    async def _awaited(self, connection: AsyncConnection, agent: str, deployment: str) -> Deployment:
        await require_state(connection, agent, lock=True)
        current = await queries.deployment(connection, deployment)
        if current is None or current.agent != agent:
            raise NotFound(f"There is no deployment {deployment} of {agent}.", code="unknown_deployment")
        if current.status not in WAITING:
            raise Conflict(f"{deployment} is {current.status}; it does not wait any more.", code="wrong_state", deployment=current)
        if not current.approval_wanted or current.approved_by is not None:
            who = f"was approved by {current.approved_by}" if current.approved_by else "wants no approval"
            raise Conflict(f"{deployment} {who}.", code="no_approval_wanted", deployment=current)
        return current

    async def _tell(self, connection: AsyncConnection, kind: str, of: Deployment, actor: str, reason: str, now: datetime) -> None:
        data: dict[str, object] = {"requested_by": of.actor, "to_version": of.to_version, "status": "success"}
        event = Event(type=kind, at=now, agent=of.agent, deployment=of.deployment, actor=actor, reason=reason, audit=True, data=data)
        await record(connection, self._ids, self._settings, event)


async def approval_wanted(connection: AsyncConnection, agent: str) -> bool:
    return (await _rule(connection, agent)).required


def until(now: datetime, settings: Settings, serving: Manifest) -> datetime | None:
    """The end of waiting for an approval that is asked for now; None: it waits for as long as it takes.

    The version that serves decides before the server's setting: one that nobody has approved yet must not say how long it waits.
    """
    own = serving.upgrade.approval_deadline_seconds
    seconds = settings.approval_deadline_seconds if own is None else own
    return now + timedelta(seconds=seconds) if seconds else None


def wanted(deployment: Deployment) -> Event:
    """Tells those who may approve, once, in the transaction of the request."""
    by = {"approve_by": deployment.approve_by.isoformat()} if deployment.approve_by else {}
    data: dict[str, object] = {"to_version": deployment.to_version, "waiting_for": WaitingFor.APPROVAL, **by}
    at, reason = deployment.requested_at, deployment.reason
    return Event(
        type="approval_wanted",
        at=at,
        agent=deployment.agent,
        deployment=deployment.deployment,
        actor=deployment.actor,
        reason=reason,
        data=data,
    )


async def refuse_patch(connection: AsyncConnection, agent: str) -> None:
    """A hot patch takes effect at once and has no queue to wait in. Raises Conflict `approval_required`."""
    if await approval_wanted(connection, agent):
        hint = "Bring the change with a version; or an admin ends the requirement for a while (PUT /agents/{id}/approval), which the audit keeps."
        raise Conflict(f"Changes of {agent} want a second person, for whom a hot patch cannot wait.", hint=hint, code="approval_required")


async def _rule(connection: AsyncConnection, agent: str) -> ApprovalRule:
    row = (await connection.execute(select(approvals).where(approvals.c.agent == agent))).one_or_none()
    if row is None:
        return ApprovalRule(agent=agent, required=False)
    return ApprovalRule(agent=agent, required=True, set_by=row.set_by, since=row.since)
