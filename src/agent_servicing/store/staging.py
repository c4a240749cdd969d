"""Rows of staging runs and gates. `SqlStagingRuns` is the reconciler's port; the functions are for the services, inside their transactions."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Release
from agent_servicing.core.schedule import Tried
from agent_servicing.core.staging.model import OPEN, RunStatus, StagingGate, StagingRun, Wish
from agent_servicing.core.staging.verdict import results_of, tried
from agent_servicing.core.status import WAITING, DeploymentKind
from agent_servicing.ports import Ids
from agent_servicing.store import queries
from agent_servicing.store.codec import COMPRESSION_LEVEL
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.store.state import load_states
from agent_servicing.store.tables import agents, staging_gates, staging_runs

KEPT: Final = 50
"""Runs of one agent that are over; older ones go when a new one is asked for."""

_run = TypeAdapter(StagingRun)
_wishes = TypeAdapter(tuple[Wish, ...])
_NO_WISHES: Final = "[]"


class SqlStagingRuns:
    """Implements `ports.staging.StagingRuns`."""

    def __init__(self, *, database: Database, ids: Ids, event_retention_count: int) -> None:
        self._database, self._ids, self._retention = database, ids, event_retention_count

    async def pending(self) -> Sequence[StagingRun]:
        c = staging_runs.c
        query = select(staging_runs).where(c.status.in_(sorted(OPEN)) | (c.wishes != _NO_WISHES)).order_by(c.number)
        async with self._database.read() as connection:
            return [_decoded(row) for row in (await connection.execute(query)).all()]

    async def save(self, run: StagingRun, events: Sequence[Event] = (), *, done: Sequence[str] = ()) -> None:
        async with self._database.write() as connection:
            # The agent's row before the log's, in the order in which every transaction takes them.
            await connection.execute(select(agents.c.agent).where(agents.c.agent == run.agent).with_for_update())
            mine = staging_runs.c.run == run.run
            wishes = (await connection.execute(select(staging_runs.c.wishes).where(mine).with_for_update())).scalar_one_or_none()
            if wishes is None:
                return
            left = tuple(wish for wish in _wishes.validate_json(wishes) if wish.wish not in done)
            await connection.execute(update(staging_runs).where(mine).values(wishes=_encoded(left), **_changing(run)))
            if events:
                await append(connection, self._ids, events, keep=self._retention)

    async def agent(self, run: StagingRun) -> tuple[AgentState, Release] | None:
        async with self._database.read() as connection:
            states = await load_states(connection, [run.agent])
            row = next((each for each in await queries.version_rows(connection, run.agent) if each.version == run.version), None)
        if not states or row is None:
            return None
        known = states[0].releases.get(run.version)
        found = Release(agent=run.agent, version=row.version, manifest=row.manifest, ref=row.ref, config_schema=row.config_schema)
        return states[0], known if known is not None else found

    async def removed(self, agent: str) -> bool:
        async with self._database.read() as connection:
            return not await load_states(connection, [agent])


async def insert_run(connection: AsyncConnection, run: StagingRun) -> None:
    """A new one; the agent's oldest ended ones make room."""
    await connection.execute(insert(staging_runs).values(run=run.run, agent=run.agent, requested_at=run.requested_at, **_changing(run)))
    c = staging_runs.c
    over = select(c.number).where(c.agent == run.agent, c.status.not_in(sorted(OPEN)), c.wishes == _NO_WISHES)
    old = over.order_by(c.number.desc()).offset(KEPT)
    await connection.execute(delete(staging_runs).where(c.number.in_(list((await connection.execute(old)).scalars()))))


async def run_of(connection: AsyncConnection, agent: str, run: str, *, lock: bool = False) -> StagingRun | None:
    query = select(staging_runs).where(staging_runs.c.agent == agent, staging_runs.c.run == run)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return _decoded(row) if row is not None else None


async def run_page(connection: AsyncConnection, agent: str, *, before: int | None, limit: int) -> list[StagingRun]:
    """Newest first."""
    query = select(staging_runs).where(staging_runs.c.agent == agent).order_by(staging_runs.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(staging_runs.c.number < before)
    return [_decoded(row) for row in (await connection.execute(query)).all()]


async def open_counts(connection: AsyncConnection, agent: str) -> tuple[int, int]:
    """How many runs are queued or running: of this agent, of all."""
    query = select(staging_runs.c.agent, func.count()).where(staging_runs.c.status.in_(sorted(OPEN))).group_by(staging_runs.c.agent)
    counts = {name: int(count) for name, count in (await connection.execute(query)).all()}
    return counts.get(agent, 0), sum(counts.values())


async def newest_run(connection: AsyncConnection, agent: str, version: str) -> StagingRun | None:
    """The newest of this version that is over, however it ended."""
    c = staging_runs.c
    query = select(staging_runs).where(c.agent == agent, c.version == version, c.status.not_in(sorted(OPEN)))
    row = (await connection.execute(query.order_by(c.number.desc()).limit(1))).one_or_none()
    return _decoded(row) if row is not None else None


async def newest_results(connection: AsyncConnection, agent: str) -> Mapping[str, Mapping[str, str]]:
    """By version, what its newest completed run came to."""
    c = staging_runs.c
    numbers = select(func.max(c.number)).where(c.agent == agent, c.status == RunStatus.COMPLETED).group_by(c.version)
    rows = (await connection.execute(select(c.version, c.results).where(c.number.in_(numbers)))).all()
    return {row.version: json.loads(row.results) for row in rows}


async def add_wish(connection: AsyncConnection, run: StagingRun, wish: Wish) -> None:
    """`run` was read in this transaction, with its row locked."""
    await connection.execute(update(staging_runs).where(staging_runs.c.run == run.run).values(wishes=_encoded((*run.wishes, wish))))


async def gate_of(connection: AsyncConnection, agent: str) -> StagingGate:
    row = (await connection.execute(select(staging_gates).where(staging_gates.c.agent == agent))).one_or_none()
    return StagingGate(required=row.required, fresh_hours=row.fresh_hours) if row is not None else StagingGate()


async def tried_of(connection: AsyncConnection, state: AgentState) -> Mapping[str, Tried]:
    """Of the versions that wait. Asked again at every look: a pass becomes too old, another run fails, the gate may be newer than the request."""
    waiting = [d for d in state.deployments if d.status in WAITING and d.kind is DeploymentKind.UPGRADE and not d.override_staging]
    agent = state.agent.agent
    gate = await gate_of(connection, agent) if waiting else StagingGate()
    if not gate.required:
        return {}
    versions = {d.to_version for d in waiting}
    return {version: tried(gate, await newest_run(connection, agent, version), agent=agent, version=version) for version in versions}


async def save_gate(connection: AsyncConnection, agent: str, gate: StagingGate) -> None:
    values = {"required": gate.required, "fresh_hours": gate.fresh_hours}
    mine = staging_gates.c.agent == agent
    if (await connection.execute(update(staging_gates).where(mine).values(**values))).rowcount == 0:
        await connection.execute(insert(staging_gates).values(agent=agent, **values))


def _changing(run: StagingRun) -> dict[str, object]:
    body = zlib.compress(_run.dump_json(replace(run, wishes=())), COMPRESSION_LEVEL)
    results = json.dumps(dict(results_of(run)))
    return {"version": run.version, "status": run.status.value, "results": results, "body": body}


def _encoded(wishes: tuple[Wish, ...]) -> str:
    return _wishes.dump_json(wishes).decode() if wishes else _NO_WISHES


def _decoded(row: Row[Any]) -> StagingRun:
    return replace(_run.validate_json(zlib.decompress(row.body)), number=row.number, wishes=_wishes.validate_json(row.wishes))
