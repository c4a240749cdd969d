"""How far each sink has come. Called by `services.audit_sinks`."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.store.audit_tables import audit_sinks


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkRow:
    """`position` is the number of the last entry that was delivered."""

    name: str
    position: int = 0
    delivered_at: datetime | None = None
    failures: int = 0
    problem: str = ""


async def load(connection: AsyncConnection, name: str) -> SinkRow:
    """As it was left; a new one begins before the first entry."""
    row = (await connection.execute(select(audit_sinks).where(audit_sinks.c.name == name))).one_or_none()
    if row is None:
        return SinkRow(name=name)
    return SinkRow(name=name, position=row.position, delivered_at=row.delivered_at, failures=row.failures, problem=row.problem)


async def save(connection: AsyncConnection, row: SinkRow) -> None:
    values = {"position": row.position, "delivered_at": row.delivered_at, "failures": row.failures, "problem": row.problem}
    done = await connection.execute(update(audit_sinks).where(audit_sinks.c.name == row.name).values(**values))
    if done.rowcount == 0:
        await connection.execute(insert(audit_sinks).values(name=row.name, **values))
