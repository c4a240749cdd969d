"""Appends and reads what both versions of a deployment did, block by block: what its verdicts rest on and can be replayed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.analysis import Block
from agent_servicing.core.draft import JudgedBlock
from agent_servicing.store import codec
from agent_servicing.store.tables import blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """`number` counts over all deployments, rising with time. `at`: when it was closed; None in what was stored before that was kept."""

    number: int
    begun_anew: int
    at: datetime | None
    block: Block


async def append_blocks(connection: AsyncConnection, new: Sequence[JudgedBlock]) -> None:
    rows = [
        {"deployment": each.deployment, "begun_anew": each.begun_anew, "at": each.at, "body": codec.encode_block(each.block)}
        for each in new
    ]
    if rows:
        await connection.execute(insert(blocks), rows)


async def last_evidence(connection: AsyncConnection, deployment: str) -> list[Block]:
    """Every block of the evidence that the deployment ended with, oldest first."""
    newest = select(func.max(blocks.c.begun_anew)).where(blocks.c.deployment == deployment).scalar_subquery()
    query = select(blocks.c.body).where(blocks.c.deployment == deployment, blocks.c.begun_anew == newest).order_by(blocks.c.number)
    return [codec.decode_block(body) for body in (await connection.execute(query)).scalars()]


async def block_page(connection: AsyncConnection, deployment: str, *, after: int, limit: int) -> list[StoredBlock]:
    """Oldest first."""
    query = select(blocks).where(blocks.c.deployment == deployment, blocks.c.number > after).order_by(blocks.c.number).limit(limit)
    rows = (await connection.execute(query)).all()
    return [StoredBlock(number=row.number, begun_anew=row.begun_anew, at=row.at, block=codec.decode_block(row.body)) for row in rows]
