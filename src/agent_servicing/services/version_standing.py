"""Deprecating, withdrawing and restoring versions. Called by `web`; `VersionManager` tells with it what sources say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, NotFound
from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.standing import Standing
from agent_servicing.core.status import WAITING, DeploymentKind, DeploymentStatus
from agent_servicing.core.versions import parse
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services import catalogue
from agent_servicing.services.agent_upgrade import cancelled_events
from agent_servicing.services.transaction import TOPIC, checked_reason, record, require_active, shown
from agent_servicing.settings import Settings
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import cancelled, save_deployment
from agent_servicing.store.marks import Mark, count_marks, delete_mark, save_mark
from agent_servicing.store.queries import VersionRow

MARKS_MAX: Final = 1_000
"""Words on versions kept per agent: twice the versions that are remembered, because a mark outlives its version."""

_EVENTS: Final = {
    Standing.DEPRECATED: "version_deprecated",
    Standing.WITHDRAWN: "version_withdrawn",
    Standing.AVAILABLE: "version_restored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What became of it. `running`: it serves now. `cancelled` waited to bring it and were ended; `under_way` bring it just now."""

    agent: str
    version: str
    standing: Standing
    reason: str
    actor: str
    at: datetime
    running: bool
    cancelled: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()


class VersionStanding:
    """One use case. A withdrawn version goes on serving where it serves: taking it away is a deployment, which is a decision of its own."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def mark(self, agent: str, version: str, standing: Standing, *, reason: str, actor: str) -> Marked:
        """Say what this version's standing is; the last word counts, also against the source's. Withdrawing cancels what waits to bring it.

        Raises NotFound `unknown_agent`, `unknown_version`, Invalid `reason_missing`, Conflict `agent_removing`, `too_many_marks` and
        `standing_unchanged`.
        """
        reason = checked_reason(reason, needed=True)
        async with self._database.write() as connection:
            state = await require_active(connection, agent)
            row = known_version(await queries.version_rows(connection, agent), version)
            now = self._clock.now()
            await self._save(connection, agent, row, Mark(standing=standing, reason=reason, actor=actor, at=now))
            withdrawn = standing is Standing.WITHDRAWN
            ended, closing = await cancel_waiting(connection, state, row.version, actor, reason, now) if withdrawn else ((), ())
            under_way = [d for d in state.deployments if d.active and d.to_version == row.version and not _going_back(d)]
            marked = Marked(
                agent=agent,
                version=row.version,
                standing=standing,
                reason=reason,
                actor=actor,
                at=now,
                running=state.agent.version == row.version,
                cancelled=ended,
                under_way=tuple(d.deployment for d in under_way) if withdrawn else (),
            )
            event = told(state, row.version, standing, reason=reason, actor=actor, now=now, ended=ended)
            await record(connection, self._ids, self._settings, event, *closing)
        await self._bus.publish(TOPIC)
        return marked

    async def _save(self, connection: AsyncConnection, agent: str, row: VersionRow, mark: Mark) -> None:
        if row.standing is mark.standing:
            why = f" ({row.standing_reason})" if row.standing_reason else ""
            raise Conflict(f"{row.version} is {mark.standing} already{why}.", code="standing_unchanged")
        if row.mark is not None and mark.standing is row.body.standing:
            await delete_mark(connection, agent, row.version)  # from here on the source's word counts again
            return
        if row.mark is None and await count_marks(connection, agent) >= MARKS_MAX:
            hint = "Restore some that nobody would deploy any more."
            raise Conflict(f"{MARKS_MAX} versions of {agent} are marked already.", hint=hint, code="too_many_marks")
        await save_mark(connection, agent, row.version, mark)


async def cancel_waiting(
    connection: AsyncConnection, state: AgentState, version: str, actor: str, reason: str, now: datetime
) -> tuple[tuple[str, ...], tuple[Event, ...]]:
    """End the upgrades to this version that wait; returns their ids and closing events. A rollback was asked for on purpose and stays."""
    waiting = [d for d in state.deployments if d.status in WAITING and d.to_version == version and d.kind is DeploymentKind.UPGRADE]
    closing: list[Event] = []
    for deployment in waiting:
        closed = cancelled(deployment, message=f"{version} was withdrawn by {actor} before it began", now=now)
        await save_deployment(connection, closed)
        closing += cancelled_events(closed, actor, reason, now)
    if waiting:
        await queries.wake(connection, state.agent.agent, now=now)
    return tuple(d.deployment for d in waiting), tuple(closing)


def known_version(rows: Sequence[VersionRow], version: str) -> VersionRow:
    """The row of this version. Raises NotFound `unknown_version` naming those there are, Invalid when it is no version at all."""
    wanted = str(parse(version))
    row = next((row for row in rows if row.version == wanted), None)
    if row is None:
        names = [each.version for each in catalogue.newest_first(rows)]
        raise NotFound(f"There is no version {wanted}.", hint=f"Known versions: {shown(names)}.", code="unknown_version")
    return row


def told(
    state: AgentState,
    version: str,
    standing: Standing,
    *,
    reason: str,
    actor: str,
    now: datetime,
    by_source: bool = False,
    ended: Sequence[str] = (),
) -> Event:
    """The audit entry, which is the live event too. `running` says whether somebody should do something about it."""
    running = state.agent.version == version
    return Event(
        type=_EVENTS[standing],
        at=now,
        agent=state.agent.agent,
        actor=actor,
        reason=reason,
        audit=True,
        data={
            "version": version,
            "standing": standing.value,
            "running": running,
            "by_source": by_source,
            "current_version": state.agent.version,
            "cancelled": list(ended),
            "status": "warning" if running and standing is Standing.WITHDRAWN else "success",
        },
    )


def _going_back(deployment: Deployment) -> bool:
    return deployment.status is DeploymentStatus.ROLLING_BACK
