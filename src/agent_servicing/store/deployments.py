"""Writes deployments: the services insert and may finish waiting ones, the engine does the rest. Reads are in `queries`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.model import Deployment
from agent_servicing.core.queue import unapproved
from agent_servicing.core.status import PLACED, TERMINAL, WAITING, DeploymentStatus
from agent_servicing.store import codec
from agent_servicing.store.outlines import note_change
from agent_servicing.store.tables import deployments

LEFT_READ: Final = 50
"""Deployments looked through for the one that replaced a rollback point; five points are among far fewer."""

COMPLETED: Final = deployments.c.status.concat("") == DeploymentStatus.COMPLETED
"""Where one agent's are asked for. The column alone has an index, which SQLite would prefer, and read what all agents ever completed."""


async def insert_deployment(connection: AsyncConnection, deployment: Deployment) -> None:
    await connection.execute(
        insert(deployments).values(
            deployment=deployment.deployment,
            agent=deployment.agent,
            kind=deployment.kind,
            to_version=deployment.to_version,
            requested_at=deployment.requested_at,
            **_changing(deployment),
        )
    )
    await note_change(connection, deployment.agent)


async def save_deployment(connection: AsyncConnection, deployment: Deployment) -> None:
    """Write it over what is stored, or insert it when it is new."""
    statement = update(deployments).where(deployments.c.deployment == deployment.deployment).values(**_changing(deployment))
    if (await connection.execute(statement)).rowcount == 0:
        await insert_deployment(connection, deployment)
    else:
        await note_change(connection, deployment.agent)


async def overtaken(connection: AsyncConnection, held: Sequence[Deployment]) -> bool:
    """Whether a service changed one of these since it was loaded: ended it, whatever becomes of it here, or edited it.

    Only what has not ended is ever loaded, so whatever has by now got its closing entry with that.
    """
    if not held:
        return False
    here = {d.deployment: d for d in held}
    query = select(deployments.c.deployment, deployments.c.status, deployments.c.edits).where(deployments.c.deployment.in_(sorted(here)))
    return any(row.status in TERMINAL or row.edits != here[row.deployment].edits for row in (await connection.execute(query)).all())


async def left_with(connection: AsyncConnection, agent: str, version: str) -> str | None:
    """The configuration revision that this version had when another one last took its place; None when that is not known any more."""
    query = select(deployments.c.body).where(deployments.c.agent == agent, COMPLETED).order_by(deployments.c.number.desc()).limit(LEFT_READ)
    for row in (await connection.execute(query)).all():
        done = codec.decode_deployment(row.body)
        if done.from_version == version and done.to_version != version:
            return done.from_config
    return None


async def starting(connection: AsyncConnection, held: Sequence[Deployment]) -> list[str]:
    """Those that take a place with this commit: under way here, still waiting in the table."""
    names = sorted(d.deployment for d in held if d.active and d.kind in PLACED)
    if not names:
        return []
    query = select(deployments.c.deployment).where(deployments.c.deployment.in_(names), deployments.c.status.in_(sorted(WAITING)))
    return list((await connection.execute(query)).scalars())


def edited(deployment: Deployment) -> Deployment:
    """The waiting deployment as a service writes it back after changing it: engines that loaded it before start afresh."""
    return replace(deployment, revision=deployment.revision + 1, edits=deployment.edits + 1)


async def cancel_open(connection: AsyncConnection, agent: str, *, message: str, now: datetime) -> None:
    """End what is left of an agent's deployments, when the agent itself goes."""
    query = select(deployments.c.body).where(deployments.c.agent == agent, deployments.c.status.not_in(sorted(TERMINAL)))
    for row in (await connection.execute(query)).all():
        left = codec.decode_deployment(row.body)
        await save_deployment(connection, cancelled(left, message=message, now=now))


def cancelled(deployment: Deployment, *, message: str, now: datetime) -> Deployment:
    """The deployment, ended before it began."""
    return replace(deployment, status=DeploymentStatus.CANCELLED, revision=deployment.revision + 1, finished_at=now, message=message)


def _changing(deployment: Deployment) -> dict[str, object]:
    return {
        "status": deployment.status,
        "finished_at": deployment.finished_at,
        "body": codec.encode_deployment(deployment),
        "edits": deployment.edits,
        "unapproved": deployment.status in WAITING and unapproved(deployment),
    }
