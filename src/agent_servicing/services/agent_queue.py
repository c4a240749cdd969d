"""What waits for an agent, in which order, for what; and changing that: move, reschedule. Called by `web`. Withdrawing is the verb cancel."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.errors import Conflict, FieldError, Invalid
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.queue import moved, position, queued
from agent_servicing.core.schedule import Gate, Lock, Places, gate
from agent_servicing.core.status import PLACED, WAITING, DeploymentKind, DeploymentStatus
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.agent_lock import check_lock, held_lock
from agent_servicing.services.agent_upgrade import check_unchanged, require_deployment
from agent_servicing.services.planning import raise_first, schedule_refusals
from agent_servicing.services.specs import SPAN_SECONDS_MAX
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import edited, save_deployment
from agent_servicing.store.line import load_line, under_way

__all__ = ["AgentQueue", "QueueView"]

_MOVABLE: Final = "Only what waits its turn in the queue can be moved; a scheduled one is rescheduled."


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """`holder` is under way, `queue` waits its turn in this order, `scheduled` waits for its time, the earliest first."""

    state: AgentState
    holder: Deployment | None
    lock: Lock | None
    gate: Gate
    places: Places
    queue: tuple[Deployment, ...] = ()
    scheduled: tuple[Deployment, ...] = ()


class AgentQueue:
    """Use cases on waiting deployments."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def show(self, agent: str) -> QueueView:
        """Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            state = await require_state(connection, agent)
            line, taken = await load_line(connection), await under_way(connection)
        now = self._clock.now()
        limit = self._settings.max_concurrent_deployments if line.max_concurrent_deployments is None else line.max_concurrent_deployments
        scheduled = [d for d in state.deployments if d.status is DeploymentStatus.SCHEDULED]
        return QueueView(
            state=state,
            holder=next((d for d in state.deployments if d.active), None),
            lock=held_lock(state.lock, now),
            gate=gate(line, agent, now, CALENDAR),
            places=Places(limit=limit, under_way=taken),
            queue=tuple(queued(state.deployments)),
            scheduled=tuple(sorted(scheduled, key=lambda d: (d.scheduled_at or d.requested_at, d.deployment))),
        )

    async def move(
        self,
        agent: str,
        deployment: str,
        to: int,
        *,
        actor: str,
        reason: str = "",
        if_state: str | None = None,
        if_version: int | None = None,
    ) -> Deployment:
        """Put a queued one at position `to` (1 is next). Rollbacks stay first.

        Raises Conflict `wrong_state`, `state_mismatch`, `version_mismatch`, `agent_locked`; Invalid `bad_position`.
        """
        reason, now = checked_reason(reason), self._clock.now()
        async with self._database.write() as connection:
            state, current = await self._waiting(connection, agent, deployment, actor, if_state, if_version)
            if current.status is not DeploymentStatus.QUEUED or current.kind is DeploymentKind.ROLLBACK:
                why = "a rollback, which comes first anyway" if current.kind is DeploymentKind.ROLLBACK else current.status
                raise Conflict(f"{deployment} is {why}.", hint=_MOVABLE, code="wrong_state", deployment=current)
            _check_position(state, to)
            before = position(current, state.deployments)
            changed = {d.deployment: edited(d) for d in moved(current, state.deployments, to)}
            for each in changed.values():
                await save_deployment(connection, each)
            after = [changed.get(d.deployment, d) for d in state.deployments]
            data: dict[str, object] = {
                "from_position": before,
                "to_position": to,
                "before": [d.deployment for d in queued(state.deployments)],
                "after": [d.deployment for d in queued(after)],
                "status": "success",
            }
            await self._tell(connection, "queue_moved", current, actor, reason, data, now)
        await self._bus.publish(TOPIC)
        return changed.get(deployment, current)

    async def reschedule(
        self,
        agent: str,
        deployment: str,
        schedule: datetime | None,
        *,
        actor: str,
        reason: str = "",
        start_grace_seconds: float | None = None,
        if_state: str | None = None,
        if_version: int | None = None,
    ) -> Deployment:
        """Give a waiting one another time; None is now.

        Raises Conflict `wrong_state`, `state_mismatch`, `version_mismatch`, `agent_locked`; Invalid `schedule_in_past`, `bad_value`.
        """
        reason, now = checked_reason(reason), self._clock.now()
        if schedule is not None:
            raise_first(tuple(schedule_refusals(schedule, now)))
        if start_grace_seconds is not None and not 0 <= start_grace_seconds <= SPAN_SECONDS_MAX:
            error = FieldError(path="start_grace_seconds", message=f"must be from 0 to {SPAN_SECONDS_MAX:g} seconds")
            raise Invalid("The grace is out of range.", errors=(error,), code="bad_value")
        async with self._database.write() as connection:
            _, current = await self._waiting(connection, agent, deployment, actor, if_state, if_version)
            if current.kind not in PLACED:
                raise Conflict(f"{deployment} is no upgrade; it begins as soon as it can.", code="wrong_state", deployment=current)
            start = schedule if schedule is not None and schedule > now else None
            grace = current.start_grace_seconds if start_grace_seconds is None else start_grace_seconds
            changed = edited(
                replace(
                    current,
                    scheduled_at=start,
                    start_grace_seconds=grace,
                    status=DeploymentStatus.SCHEDULED if start else DeploymentStatus.QUEUED,
                    order=0,
                    place_since=None,
                    held_by=None,
                    message="",
                )
            )
            await save_deployment(connection, changed)
            data: dict[str, object] = {"before": _start(current), "after": _start(changed), "status": "success"}
            await self._tell(connection, "rescheduled", current, actor, reason, data, now)
        await self._bus.publish(TOPIC)
        return changed

    async def _waiting(
        self, connection: AsyncConnection, agent: str, deployment: str, actor: str, if_state: str | None, if_version: int | None
    ) -> tuple[AgentState, Deployment]:
        state = await require_state(connection, agent, lock=True)
        current = await require_deployment(connection, deployment, agent)
        check_unchanged(current, if_state=if_state, if_version=if_version)
        check_lock(held_lock(state.lock, self._clock.now()), actor)
        if current.status not in WAITING:
            raise Conflict(f"{deployment} is {current.status}; it does not wait any more.", code="wrong_state", deployment=current)
        return state, current

    async def _tell(
        self, connection: AsyncConnection, kind: str, of: Deployment, actor: str, reason: str, data: dict[str, object], now: datetime
    ) -> None:
        event = Event(type=kind, at=now, agent=of.agent, deployment=of.deployment, actor=actor, reason=reason, audit=True, data=data)
        await record(connection, self._ids, self._settings, event)
        await queries.wake(connection, of.agent, now=now)


def _check_position(state: AgentState, to: int) -> None:
    order = queued(state.deployments)
    first = sum(d.kind is DeploymentKind.ROLLBACK for d in order) + 1
    if not first <= to <= len(order):
        allowed = f"must be from {first} to {len(order)}" + (", because rollbacks come first" if first > 1 else "")
        raise Invalid(f"The position {allowed}.", errors=(FieldError(path="position", message=allowed),), code="bad_position")


def _start(deployment: Deployment) -> dict[str, object]:
    at = deployment.scheduled_at
    return {"scheduled_at": at.isoformat() if at else None, "start_grace_seconds": deployment.start_grace_seconds}
