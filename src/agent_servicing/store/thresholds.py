"""Rows of default thresholds. Used by the services inside their transactions."""

import json
from collections.abc import Mapping

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.thresholds import Defaults, Said
from agent_servicing.store.threshold_tables import agent_thresholds, thresholds


async def load_thresholds(connection: AsyncConnection, agent: str) -> Defaults:
    """What an upgrade of this agent takes where its request says nothing."""
    body = (await connection.execute(select(agent_thresholds.c.body).where(agent_thresholds.c.agent == agent))).scalar_one_or_none()
    return Defaults(agent=json.loads(body) if body is not None else {}, all=await for_all(connection))


async def for_all(connection: AsyncConnection, *, lock: bool = False) -> Said:
    """`lock`: whoever else changes any of them waits until this transaction is over, since they are checked against one another."""
    query = select(thresholds.c.body)
    found: Said = json.loads((await connection.execute(query.with_for_update() if lock else query)).scalar_one())
    return found


async def of_agents(connection: AsyncConnection) -> Mapping[str, Said]:
    """The agents that have some of their own, by name."""
    rows = await connection.execute(select(agent_thresholds).order_by(agent_thresholds.c.agent))
    return {row.agent: json.loads(row.body) for row in rows}


async def save_for_all(connection: AsyncConnection, said: Said) -> None:
    await connection.execute(update(thresholds).values(body=json.dumps(dict(said))))


async def save_of_agent(connection: AsyncConnection, agent: str, said: Said) -> None:
    """Nothing said: the row goes."""
    await connection.execute(delete(agent_thresholds).where(agent_thresholds.c.agent == agent))
    if said:
        await connection.execute(insert(agent_thresholds).values(agent=agent, body=json.dumps(dict(said))))
