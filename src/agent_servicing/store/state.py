"""Loads agents as the engine and the dashboard need them: rows in, `AgentState`s out. A fixed number of queries for any number of agents."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.config.patch import Patch
from agent_servicing.core.model import AgentState, Deployment, Intent, Release
from agent_servicing.core.schedule import Line, Places
from agent_servicing.core.status import WAITING, DeploymentKind, Verb
from agent_servicing.core.versions import RollbackPoint, rollback_points
from agent_servicing.store import codec
from agent_servicing.store.codec import AgentBody
from agent_servicing.store.config import layers_named, live_patches
from agent_servicing.store.deployments import COMPLETED
from agent_servicing.store.line import load_line, load_places, lock_of
from agent_servicing.store.outlines import open_deployments
from agent_servicing.store.tables import NAMED, agents, deployments, intents, locks, versions

_MOVES_VERSION = (DeploymentKind.INSTALL, DeploymentKind.UPGRADE, DeploymentKind.ROLLBACK)

HISTORY_READ = 200
"""How many completed deployments are looked at for rollback points; five distinct versions are among far fewer."""


_ALL_BODIES = (
    select(agents.c.agent, agents.c.body, locks.c.holder, locks.c.reason, locks.c.since, locks.c.expires_at)
    .outerjoin(locks, locks.c.agent == agents.c.agent)
    .order_by(agents.c.agent)
)
_BODIES = _ALL_BODIES.where(agents.c.agent.in_(NAMED))
_ALL_INTENTS = select(intents).order_by(intents.c.intent)
_INTENTS = _ALL_INTENTS.where(intents.c.agent.in_(NAMED))
_RELEASES = select(versions.c.agent, versions.c.version, versions.c.ref, versions.c.manifest, versions.c.config_schema).where(
    versions.c.agent.in_(NAMED), versions.c.version.in_(bindparam("versions", expanding=True))
)
_MOVES = (
    select(deployments.c.to_version, deployments.c.finished_at)
    .where(
        deployments.c.agent == bindparam("named"),
        COMPLETED,
        deployments.c.kind.in_(_MOVES_VERSION),
        deployments.c.requested_at >= bindparam("since"),
    )
    .order_by(deployments.c.number.desc())
    .limit(HISTORY_READ)
)


async def load_states(connection: AsyncConnection, only: Sequence[str] | None = None, *, default_limit: int = 0) -> list[AgentState]:
    """The agents named in `only` (None: all) that exist, by id. `default_limit` is the server's setting for deployments at a time."""
    rows = await _rows(connection, _ALL_BODIES, _BODIES, only)
    open_ = await open_deployments(connection, only)
    wishes = await _intents(connection, only)
    bodies = {row.agent: codec.decode_agent(row.body) for row in rows}
    wanted = {name: _versions_in_use(body, open_.get(name, ())) for name, body in bodies.items()}
    releases = await _releases(connection, wanted)
    held_by = {row.agent: lock_of(row) for row in rows if row.holder is not None}
    line, places = await _calendar(connection, open_, default_limit)
    patches = await live_patches(connection, list(bodies))
    named = {name: _revisions(body, open_.get(name, ()), patches.get(name)) for name, body in bodies.items()}
    layers = await layers_named(connection, named)
    states = []
    for name, body in bodies.items():
        points = await load_rollback_points(connection, body)
        states.append(
            AgentState(
                agent=body.agent,
                generations=body.generations,
                instances=body.instances,
                deployments=tuple(open_.get(name, ())),
                intents=tuple(wishes.get(name, ())),
                releases=releases.get(name, {}),
                rollback_points=tuple(point.version for point in points),
                line=line if name in places else Line(),
                places=places.get(name, Places()),
                lock=held_by.get(name),
                layers=layers.get(name, {}),
                patch=patches.get(name),
            )
        )
    return states


async def _calendar(
    connection: AsyncConnection, open_: Mapping[str, Sequence[Deployment]], default_limit: int
) -> tuple[Line, Mapping[str, Places]]:
    """The line and the free places, for the agents that something waits for; nothing is asked when there are none."""
    waiting = {name: [d for d in several if d.status in WAITING] for name, several in open_.items()}
    waiting = {name: several for name, several in waiting.items() if several}
    if not waiting:
        return Line(), {}
    line = await load_line(connection)
    limit = default_limit if line.max_concurrent_deployments is None else line.max_concurrent_deployments
    found = await load_places(connection, waiting, limit=limit)
    return line, {name: found.get(name, Places()) for name in waiting}


async def load_rollback_points(connection: AsyncConnection, body: AgentBody) -> tuple[RollbackPoint, ...]:
    """Where this agent can go back to, newest first. What an earlier agent of the same name did does not count."""
    rows = (await connection.execute(_MOVES, {"named": body.agent.agent, "since": body.agent.created_at})).all()
    history: list[tuple[str, datetime]] = [(row.to_version, row.finished_at) for row in reversed(rows)]
    return rollback_points(history, body.agent.version)


async def _intents(connection: AsyncConnection, only: Sequence[str] | None) -> Mapping[str, list[Intent]]:
    found: dict[str, list[Intent]] = defaultdict(list)
    for row in await _rows(connection, _ALL_INTENTS, _INTENTS, only):
        intent = Intent(
            intent=row.intent,
            agent=row.agent,
            verb=Verb(row.verb),
            actor=row.actor,
            at=row.at,
            deployment=row.deployment,
            reason=row.reason,
            value=row.value,
        )
        found[row.agent].append(intent)
    return found


def _versions_in_use(body: AgentBody, open_: Sequence[Deployment]) -> set[str]:
    running = {generation.version for generation in body.generations} | {instance.version for instance in body.instances}
    moving = {version for d in open_ for version in (d.from_version, d.to_version) if version is not None}
    return running | moving | ({body.agent.version} if body.agent.version else set())


def _revisions(body: AgentBody, open_: Sequence[Deployment], patch: Patch | None) -> set[str]:
    """The configurations that instances have or are about to get."""
    had = {patch.parent, *patch.before.values()} if patch is not None else set()
    return {generation.config for generation in body.generations} | {d.config for d in open_ if d.config is not None} | had


async def _releases(connection: AsyncConnection, wanted: Mapping[str, set[str]]) -> Mapping[str, dict[str, Release]]:
    names = set().union(*wanted.values())
    if not names:
        return {}
    found: dict[str, dict[str, Release]] = defaultdict(dict)
    for row in (await connection.execute(_RELEASES, {"names": sorted(wanted), "versions": sorted(names)})).all():
        if row.version in wanted[row.agent]:
            release = Release(
                agent=row.agent,
                version=row.version,
                manifest=codec.decode_manifest(row.manifest),
                ref=row.ref,
                config_schema=row.config_schema,
            )
            found[row.agent][row.version] = release
    return found


async def _rows(connection: AsyncConnection, every: Select[Any], some: Select[Any], only: Sequence[str] | None) -> Sequence[Row[Any]]:
    found = connection.execute(every) if only is None else connection.execute(some, {"names": sorted(only)})
    return (await found).all()
