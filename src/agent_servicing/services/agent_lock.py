"""An operator's lock on an agent: for a while only its holder begins or steers anything there, rollbacks excepted. Called by `web`."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, Denied, FieldError, Invalid, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState
from agent_servicing.core.schedule import Lock, locked_by
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.transaction import TOPIC, check_agent, checked_reason, record, require_active, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.line import drop_lock, save_lock

LOCK_SECONDS: Final = 4 * 3600.0
"""How long a lock lasts when its holder does not say: half a working day, so that a forgotten one is over before the next."""

LOCK_SECONDS_MAX: Final = 7 * 24 * 3600.0
"""Longest lock. It can be renewed."""

LOCK_SECONDS_MIN: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The agent as a caller saw it: its status and the version that serves; None for what does not matter to them."""

    if_state: str | None = None
    if_version: str | None = None


NOT_SEEN: Final = Seen()


class AgentLock:
    """Use cases on locks. A lock holds other operators' requests back; it never stops what is under way, and never a rollback."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def show(self, agent: str) -> Lock | None:
        """The lock that holds now. Raises NotFound `unknown_agent`."""
        async with self._database.read() as connection:
            return held_lock((await require_state(connection, agent)).lock, self._clock.now())

    async def take(
        self,
        agent: str,
        *,
        actor: str,
        reason: str,
        expires_in_seconds: float | None = None,
        over_from: str | None = None,
        admin: bool = False,
    ) -> Lock:
        """Lock it, or renew one's own lock with a new reason and end. An admin takes it over from the holder that is named (`over_from`).

        Raises Conflict `agent_locked`, Invalid `bad_value`, Denied `lock_of_another`.
        """
        reason, seconds = checked_reason(reason, needed=True), _checked_seconds(expires_in_seconds)
        now = self._clock.now()
        async with self._database.write() as connection:
            former = held_lock((await require_active(connection, agent)).lock, now)
            over = former if former is not None and former.holder == over_from != actor else None
            if over is not None:
                _require_admin(over, admin=admin)
                await queries.wake(connection, agent, now=now)  # what the new holder has queued may begin
            else:
                check_lock(former, actor)
            since = former.since if former is not None and over is None else now
            lock = Lock(agent=agent, holder=actor, reason=reason, since=since, expires_at=now + timedelta(seconds=seconds))
            await save_lock(connection, lock)
            data: dict[str, object] = {"before": shown_lock(former), "after": shown_lock(lock), "status": "success"}
            if over is not None:
                data["former_holder"] = over.holder
            kind = "lock_taken_over" if over else "lock_renewed" if former else "lock_taken"
            event = Event(type=kind, at=now, agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await self._bus.publish(TOPIC)
        return lock

    async def release(self, agent: str, *, actor: str, reason: str = "", admin: bool = False) -> Lock:
        """End the lock; an admin may end another's, which the audit calls a take-over.

        Raises NotFound `not_locked`, Denied `lock_of_another`.
        """
        reason, now = checked_reason(reason), self._clock.now()
        async with self._database.write() as connection:
            former = held_lock((await require_state(connection, agent, lock=True)).lock, now)
            if former is None:
                raise NotFound(f"{agent} is not locked.", code="not_locked")
            own = former.holder == actor
            if not own:
                _require_admin(former, admin=admin)
            await drop_lock(connection, agent)
            await queries.wake(connection, agent, now=now)
            data: dict[str, object] = {"former_holder": former.holder, "before": shown_lock(former), "after": None, "status": "success"}
            kind = "lock_released" if own else "lock_taken_over"
            event = Event(type=kind, at=now, agent=agent, actor=actor, reason=reason, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        await self._bus.publish(TOPIC)
        return replace(former, expires_at=now)


async def require_free(connection: AsyncConnection, agent: str, actor: str, now: datetime, seen: Seen = NOT_SEEN) -> AgentState:
    """The agent, with a lock on its row, for whoever changes something about it.

    Raises NotFound `unknown_agent`, Conflict `agent_removing`, `agent_locked`, `state_mismatch`, `version_mismatch`.
    """
    state = await require_active(connection, agent)
    check_agent(state, if_state=seen.if_state, if_version=seen.if_version)
    check_lock(held_lock(state.lock, now), actor)
    return state


def held_lock(lock: Lock | None, now: datetime) -> Lock | None:
    """The lock, unless it has run out."""
    return lock if lock is not None and lock.held(now) else None


def check_lock(lock: Lock | None, actor: str) -> None:
    """Raises Conflict `agent_locked` when somebody else holds it. `lock` is one that holds now."""
    if lock is not None and lock.holder != actor:
        raise Conflict(f"{locked_by(lock)}.", hint=lock_hint(lock), code="agent_locked", lock=shown_lock(lock))


def _require_admin(lock: Lock, *, admin: bool) -> None:
    """For what ends the lock of somebody else."""
    if not admin:
        raise Denied(f"{locked_by(lock)}.", hint=f"Ask {lock.holder}, or an admin to take it over.", code="lock_of_another")


def lock_hint(lock: Lock) -> str:
    return f"Wait for it, ask {lock.holder} to unlock, or have an admin take it over. Rollbacks pass."


def shown_lock(lock: Lock | None) -> dict[str, object] | None:
    """The lock as plain JSON values, for the audit and for errors."""
    if lock is None:
        return None
    return {
        "holder": lock.holder,
        "reason": lock.reason,
        "since": lock.since.isoformat(),
        "expires_at": lock.expires_at.isoformat(),
    }


def _checked_seconds(seconds: float | None) -> float:
    if seconds is None:
        return LOCK_SECONDS
    if not LOCK_SECONDS_MIN <= seconds <= LOCK_SECONDS_MAX:
        allowed = f"must be from {LOCK_SECONDS_MIN:g} to {LOCK_SECONDS_MAX:g} seconds"
        raise Invalid(
            f"How long a lock lasts {allowed}.", errors=(FieldError(path="expires_in_seconds", message=allowed),), code="bad_value"
        )
    return seconds
