"""The line, the locks and the free places in the database. Used by the engine's store and, in their transactions, by the services."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.model import Deployment
from agent_servicing.core.schedule import Line, Lock, Places
from agent_servicing.core.status import ACTIVE, PLACED, WAITING
from agent_servicing.store import codec
from agent_servicing.store.tables import agents, deployments, line, locks

AWAKE_SECONDS: Final = 5.0
"""Only agents that are looked after at least this often keep their place before others: one whose turns fail holds nobody up."""


async def load_line(connection: AsyncConnection, *, lock: bool = False) -> Line:
    """What operators have set. `lock`: other writers of it wait until this transaction is over."""
    query = select(line.c.body)
    return codec.decode_line((await connection.execute(query.with_for_update() if lock else query)).scalar_one())


async def save_line(connection: AsyncConnection, changed: Line, *, now: datetime) -> None:
    """Write it, and have the engine look at every agent that something waits for."""
    await connection.execute(update(line).values(body=codec.encode_line(changed)))
    waiting = select(deployments.c.agent).where(deployments.c.status.in_(sorted(WAITING)))
    await connection.execute(update(agents).where(agents.c.agent.in_(waiting)).values(due_at=now, woken=True))


async def load_lock(connection: AsyncConnection, agent: str) -> Lock | None:
    row = (await connection.execute(select(locks).where(locks.c.agent == agent))).one_or_none()
    return lock_of(row) if row is not None else None


async def save_lock(connection: AsyncConnection, lock: Lock) -> None:
    await drop_lock(connection, lock.agent)
    values = {"agent": lock.agent, "holder": lock.holder, "reason": lock.reason, "since": lock.since, "expires_at": lock.expires_at}
    await connection.execute(insert(locks).values(values))


async def drop_lock(connection: AsyncConnection, agent: str) -> None:
    await connection.execute(delete(locks).where(locks.c.agent == agent))


def lock_of(row: Any) -> Lock:
    return Lock(agent=row.agent, holder=row.holder, reason=row.reason, since=row.since, expires_at=row.expires_at)


async def under_way(connection: AsyncConnection, *, besides: Sequence[str] = ()) -> int:
    """How many deployments take a place now."""
    query = select(func.count()).select_from(deployments)
    query = query.where(deployments.c.status.in_(sorted(ACTIVE)), deployments.c.kind.in_(sorted(PLACED)))
    if besides:
        query = query.where(deployments.c.deployment.not_in(sorted(besides)))
    return int((await connection.execute(query)).scalar_one())


async def load_places(connection: AsyncConnection, waiting: Mapping[str, Sequence[Deployment]], *, limit: int) -> Mapping[str, Places]:
    """For each of these agents with what waits for it: the limit, how many are under way, how many others came first. First come, first served."""
    if limit <= 0:
        return {}
    taken = await under_way(connection)
    if taken >= limit:
        return dict.fromkeys(waiting, Places(limit=limit, under_way=taken))
    query = (
        select(deployments.c.agent, deployments.c.body, agents.c.due_at)
        .join(agents, agents.c.agent == deployments.c.agent)
        .where(deployments.c.status.in_(sorted(WAITING)), deployments.c.kind.in_(sorted(PLACED)))
    )
    rows = (await connection.execute(query)).all()
    due = {row.agent: row.due_at for row in rows}
    since: dict[str, datetime] = {}
    for row in rows:
        began = codec.decode_deployment(row.body).place_since
        if began is not None:
            since[row.agent] = min(began, since.get(row.agent, began))
    return {name: Places(limit=limit, under_way=taken, before=_before(name, since, due)) for name in waiting}


def _before(agent: str, since: Mapping[str, datetime], due: Mapping[str, datetime]) -> int:
    mine, looked = since.get(agent), due.get(agent)
    awake = (other for other in since if other != agent and (looked is None or due[other] <= looked + timedelta(seconds=AWAKE_SECONDS)))
    return sum(mine is None or (since[other], other) < (mine, agent) for other in awake)
