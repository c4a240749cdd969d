"""What people said of versions: rows of `version_marks`. Services read and write them inside a transaction they opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.standing import Standing
from agent_servicing.store.outlines import note_change
from agent_servicing.store.tables import version_marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Somebody's word on one version, with why."""

    standing: Standing
    reason: str
    actor: str
    at: datetime


async def load_marks(connection: AsyncConnection, agent: str) -> Mapping[str, Mark]:
    """By version."""
    rows = (await connection.execute(select(version_marks).where(version_marks.c.agent == agent))).all()
    return {row.version: Mark(standing=Standing(row.standing), reason=row.reason, actor=row.actor, at=row.at) for row in rows}


async def count_marks(connection: AsyncConnection, agent: str) -> int:
    query = select(func.count()).select_from(version_marks).where(version_marks.c.agent == agent)
    return int((await connection.execute(query)).scalar_one())


async def save_mark(connection: AsyncConnection, agent: str, version: str, mark: Mark) -> None:
    """Insert it or write it over the one there is."""
    values = {"standing": mark.standing.value, "reason": mark.reason, "actor": mark.actor, "at": mark.at}
    where = (version_marks.c.agent == agent, version_marks.c.version == version)
    if (await connection.execute(update(version_marks).where(*where).values(**values))).rowcount == 0:
        await connection.execute(insert(version_marks).values(agent=agent, version=version, **values))
    await note_change(connection, agent)


async def delete_mark(connection: AsyncConnection, agent: str, version: str) -> None:
    await connection.execute(delete(version_marks).where(version_marks.c.agent == agent, version_marks.c.version == version))
    await note_change(connection, agent)
