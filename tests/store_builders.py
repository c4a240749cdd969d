"""Small values for tests of the store and the services: one agent, its versions, deployments and commits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from agent_servicing.core.events import Event
from agent_servicing.core.manifest import Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.ports import Commit
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment
from agent_servicing.store.queries import VersionRow
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.clock import START, CountingIds

LEASE_SECONDS = 30.0


def a_manifest(agent: str = "WowMemory", **changes: object) -> Manifest:
    plain = Manifest(agent=agent, source=Source(kind="git", location="file:///srv/agent.git"), run=Run(command=("serve",), instances=2))
    return replace(plain, **changes)  # type: ignore[arg-type]


def an_agent(agent: str = "WowMemory", **changes: object) -> Agent:
    plain = Agent(agent=agent, manifest=a_manifest(agent), instances=2, created_at=START)
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_version(version: str, **changes: object) -> VersionRow:
    plain = VersionRow(version=version, ref=f"ref-{version}", released_at=START, discovered_at=START, manifest=a_manifest())
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_deployment(name: str = "upg-1", **changes: object) -> Deployment:
    plain = Deployment(
        deployment=name,
        agent="WowMemory",
        kind=DeploymentKind.UPGRADE,
        from_version="1.0.0",
        to_version="1.1.0",
        spec=DeploymentSpec(strategy="blue-green"),
        reason="faster",
        actor="ada",
        requested_at=START,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def completed(name: str, version: str, at: datetime, kind: DeploymentKind = DeploymentKind.UPGRADE) -> Deployment:
    done = DeploymentStatus.COMPLETED
    return a_deployment(name, kind=kind, to_version=version, status=done, requested_at=at, started_at=at, finished_at=at)


def an_event(kind: str = "started", **changes: object) -> Event:
    return replace(Event(type=kind, at=START, agent="WowMemory"), **changes)  # type: ignore[arg-type]


def a_commit(state: AgentState, *events: Event, done: tuple[int, ...] = (), next_at: datetime | None = None) -> Commit:
    return Commit(state=state, events=events, intents_done=done, next_at=next_at or START + timedelta(seconds=60))


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'test.db'}"


@asynccontextmanager
async def open_store(where: Path | str, *, keep: int = 100_000) -> AsyncIterator[tuple[Database, SqlStore]]:
    """On SQLite in a folder, or on the database of a URL."""
    async with Database.open(where if isinstance(where, str) else sqlite_url(where)) as database:
        yield database, SqlStore(database=database, ids=CountingIds(), event_retention_count=keep)


async def add(database: Database, *agents: Agent, due_at: datetime = START) -> None:
    async with database.write() as connection:
        for agent in agents:
            await queries.insert_agent(connection, agent, now=due_at)


async def put_deployments(database: Database, *deployments: Deployment) -> None:
    async with database.write() as connection:
        for deployment in deployments:
            await insert_deployment(connection, deployment)


async def put_versions(database: Database, *rows: VersionRow, agent: str = "WowMemory") -> None:
    async with database.write() as connection:
        for row in rows:
            await queries.save_version(connection, agent, row)
