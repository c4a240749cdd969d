"""The history of configurations: written by the service that takes a change in, and by the engine that leads it. Used inside transactions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch
from agent_servicing.store.tables import NAMED, config_revisions

_patch = TypeAdapter(Patch)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRow:
    """One change as it stands. `version` served when it was asked for; `deployment` is the rolling restart that brings it, if one does."""

    number: int
    version: str
    patch: Patch
    deployment: str | None = None


async def insert_patch(connection: AsyncConnection, agent: str, patch: Patch, *, version: str, deployment: str | None = None) -> None:
    await connection.execute(
        insert(config_revisions).values(agent=agent, revision=patch.revision, version=version, deployment=deployment, **_changing(patch))
    )


async def save_patch(connection: AsyncConnection, agent: str, patch: Patch) -> None:
    """As the engine left it; one that it made itself is inserted."""
    mine = (config_revisions.c.agent == agent) & (config_revisions.c.revision == patch.revision)
    if (await connection.execute(update(config_revisions).where(mine).values(**_changing(patch)))).rowcount == 0:
        await insert_patch(connection, agent, patch, version="")


async def let_go(connection: AsyncConnection, agent: str) -> None:
    """Nothing is left to do for what was applied before: a newer change takes its place."""
    live = (config_revisions.c.agent == agent) & config_revisions.c.live
    await connection.execute(update(config_revisions).where(live).values(live=False))


async def patch_overtaken(connection: AsyncConnection, agent: str, patch: Patch | None) -> bool:
    """Whether a service let go of it since it was loaded."""
    if patch is None:
        return False
    query = select(config_revisions.c.live).where(config_revisions.c.agent == agent, config_revisions.c.revision == patch.revision)
    live = (await connection.execute(query)).scalar_one_or_none()
    return live is False


_LIVE = (
    select(config_revisions.c.agent, config_revisions.c.body)
    .where(config_revisions.c.agent.in_(NAMED), config_revisions.c.live)
    .order_by(config_revisions.c.number)
)


async def live_patches(connection: AsyncConnection, agents: Collection[str]) -> Mapping[str, Patch]:
    """What the engine has to do something for, by agent."""
    rows = (await connection.execute(_LIVE, {"names": sorted(agents)})).all()
    return {row.agent: _patch.validate_json(row.body) for row in rows}


async def layers_named(connection: AsyncConnection, wanted: Mapping[str, Collection[str]]) -> Mapping[str, Mapping[str, Layers]]:
    """The contents of these revisions, by agent and name."""
    names = {name for several in wanted.values() for name in several if name}
    if not names:
        return {}
    query = select(config_revisions.c.agent, config_revisions.c.revision, config_revisions.c.body).where(
        config_revisions.c.agent.in_(sorted(wanted)), config_revisions.c.revision.in_(sorted(names))
    )
    found: dict[str, dict[str, Layers]] = {}
    for row in (await connection.execute(query)).all():
        if row.revision in wanted[row.agent]:
            found.setdefault(row.agent, {})[row.revision] = _patch.validate_json(row.body).layers
    return found


async def revision_rows(
    connection: AsyncConnection, agent: str, *, before: int | None = None, limit: int, only: str | None = None
) -> Sequence[RevisionRow]:
    """Newest first, older than number `before`; `only` one of this name."""
    query = select(config_revisions).where(config_revisions.c.agent == agent).order_by(config_revisions.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(config_revisions.c.number < before)
    if only is not None:
        query = query.where(config_revisions.c.revision == only)
    return [
        RevisionRow(number=row.number, version=row.version, patch=_patch.validate_json(row.body), deployment=row.deployment)
        for row in (await connection.execute(query)).all()
    ]


async def revision_status(connection: AsyncConnection, agent: str, revision: str) -> str | None:
    """How far one change is, without anything else of it: for who waits for it."""
    mine = (config_revisions.c.agent == agent) & (config_revisions.c.revision == revision)
    status: str | None = (await connection.execute(select(config_revisions.c.status).where(mine))).scalar_one_or_none()
    return status


async def patches_of_version(connection: AsyncConnection, agent: str, version: str) -> int:
    """How many changes were asked for while this version served; their names count up with it."""
    query = select(func.count()).where(config_revisions.c.agent == agent, config_revisions.c.version == version)
    return int((await connection.execute(query)).scalar_one())


def decoded_layers(body: str) -> Layers:
    """What the revision with this body consists of."""
    return _patch.validate_json(body).layers


def _changing(patch: Patch) -> dict[str, object]:
    return {"status": patch.status, "live": patch.live, "body": _patch.dump_json(patch).decode()}
