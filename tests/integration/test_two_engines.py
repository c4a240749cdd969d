"""Two engines on one PostgreSQL: they share the agents, never handle one together, and each finishes what the other left half done."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import select

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.limits import Limits
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.status import TERMINAL, DeploymentKind, DeploymentStatus, Verb
from agent_servicing.ports import Lease
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.store import queries, tables
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.faults import FaultyPort, Fuse, Killed
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from tests.store_builders import a_deployment, a_manifest, a_version, an_agent

pytestmark = pytest.mark.anyio

AGENTS = [f"Agent{number:02d}" for number in range(20)]
LEASE_SECONDS = 8.0
"""Longer than any turn, on a machine that is busy with other tests too."""

LONG = 150.0


@dataclass
class World:
    """The part that both engines see: one database, one pretended machine, and a list of who handled whom."""

    url: str
    database: Database
    clock: SystemClock = field(default_factory=SystemClock)
    busy: dict[str, str] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)
    by_agent: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runtime, self.router = MemoryRuntime(self.clock), MemoryRouter()
        self.metrics = MemoryMetrics(self.clock, self.router, self.runtime)

    @asynccontextmanager
    async def engine(self, name: str, fuse: Fuse | None = None) -> AsyncIterator["Watched"]:
        """An engine with connections of its own, as a server process has."""
        async with Database.open(self.url) as database:
            store = SqlStore(database=database, ids=RandomIds(), event_retention_count=100_000)
            fuse = fuse or Fuse()
            inner = Engine(
                store=store,
                runtime=FaultyPort(self.runtime, fuse),  # type: ignore[arg-type]
                router=FaultyPort(self.router, fuse),  # type: ignore[arg-type]
                metrics=self.metrics,
                client=MemoryClient(self.clock, self.runtime),
                clock=self.clock,
                limits=Limits(idle_interval_seconds=2.0),
                action_timeout_seconds=1,
            )
            yield Watched(name=name, world=self, store=store, inner=inner)

    async def add(self, *names: str, due_in_seconds: float = 0.0) -> None:
        now = self.clock.now()
        async with self.database.write() as connection:
            for name in names:
                await queries.insert_agent(
                    connection, an_agent(name, instances=1, created_at=now), now=now + timedelta(seconds=due_in_seconds)
                )
                for version in ("1.0.0", "1.1.0"):
                    await queries.save_version(connection, name, a_version(version, manifest=a_manifest(name)))

    async def deploy(self, version: str, *names: str) -> None:
        now, kind = self.clock.now(), DeploymentKind.INSTALL if version == "1.0.0" else DeploymentKind.UPGRADE
        spec = DeploymentSpec(
            strategy="install" if kind is DeploymentKind.INSTALL else "blue-green",
            steps=(50.0, 100.0),
            monitor_seconds=1.0,
            keep_warm_seconds=0.0,
        )
        async with self.database.write() as connection:
            for name in names:
                wanted = a_deployment(f"{kind}-{name}", agent=name, kind=kind, from_version=None, to_version=version, spec=spec)
                await insert_deployment(connection, replace(wanted, requested_at=now))
                await queries.wake(connection, name, now=now)

    async def outcomes(self, version: str) -> Counter[str]:
        query = select(tables.deployments.c.status).where(tables.deployments.c.to_version == version)
        async with self.database.read() as connection:
            return Counter((await connection.execute(query)).scalars())

    async def finished(self, version: str, count: int) -> bool:
        outcomes = await self.outcomes(version)
        return sum(outcomes[status] for status in TERMINAL) == count

    async def traffic(self) -> None:
        while True:
            for name in AGENTS:
                self.metrics.send(name, 40)
            await self.clock.sleep(0.2)

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        with anyio.move_on_after(LONG):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:  # type: ignore[misc]
                    return
                await self.clock.sleep(0.1)
        raise AssertionError(f"waited {LONG:g} s for {what}")


@dataclass
class Watched:
    """An engine that notes what it handles and fails when another handles it too."""

    name: str
    world: World
    store: SqlStore
    inner: Engine
    pulse: None = None
    channel: None = None

    async def turn(self, lease: Lease) -> bool:
        other = self.world.busy.setdefault(lease.agent, self.name)
        assert other == self.name, f"{lease.agent} is handled by {other} and {self.name} at once"
        self.world.turns[self.name] += 1
        self.world.by_agent.setdefault(lease.agent, set()).add(self.name)
        try:
            return await self.inner.turn(lease)
        finally:
            del self.world.busy[lease.agent]

    async def run(self) -> None:
        """As a server does, until cancelled or killed."""
        supervisor = Supervisor(
            engine=self,  # type: ignore[arg-type]
            store=self.store,
            bus=LocalEventBus(),
            clock=self.world.clock,
            lease_seconds=LEASE_SECONDS,
            concurrency=4,
        )
        try:
            await supervisor.run()
        except* Killed:
            self.world.turns[f"{self.name} killed"] += 1


@pytest.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    async with Database.open(postgres_url) as database:
        yield World(postgres_url, database)


async def test_two_engines_share_the_work_and_one_finishes_what_the_other_left_when_it_was_killed(world: World) -> None:
    fuse = Fuse()
    async with world.engine("first", fuse) as first, world.engine("second") as second, anyio.create_task_group() as tasks:
        for loop in (first.run, second.run, world.traffic):
            tasks.start_soon(loop)
        await world.add(*AGENTS)
        await world.deploy("1.0.0", *AGENTS)
        await world.until("the installations", lambda: world.finished("1.0.0", len(AGENTS)))
        assert min(world.turns["first"], world.turns["second"]) > 0.2 * world.turns.total(), world.turns
        assert sum(len(names) == 2 for names in world.by_agent.values()) > len(AGENTS) / 2

        await world.deploy("1.1.0", *AGENTS)
        await world.until("traffic on the new version", lambda: any(r.share == 50 for r in world.router.routings.values()))
        fuse.at = fuse.calls
        await world.until("the death of the first engine", lambda: world.turns["first killed"] == 1)
        assert await held(world), "it died without a lease"
        world.by_agent.clear()
        await world.until("the upgrades", lambda: world.finished("1.1.0", len(AGENTS)))
        tasks.cancel_scope.cancel()
    assert await world.outcomes("1.1.0") == {DeploymentStatus.COMPLETED: len(AGENTS)}
    assert set(world.by_agent) == set(AGENTS)
    assert set().union(*world.by_agent.values()) == {"second"}
    assert sum(world.metrics.unserved.values()) == 0, "a request found nobody"
    await the_log_is_whole(world)


async def test_a_commit_of_an_engine_that_was_paused_for_longer_than_its_lease_changes_nothing(world: World) -> None:
    await world.add("Agent00")
    await world.deploy("1.0.0", "Agent00")
    async with world.engine("paused") as paused, world.engine("other") as other:
        (lease,) = await paused.store.claim(world.clock.now(), lease_seconds=0.05, limit=1)
        await world.clock.sleep(0.1)
        (taken,) = await other.store.claim(world.clock.now(), lease_seconds=LEASE_SECONDS, limit=1)
        await other.turn(taken)
        before, log = await other.store.load("Agent00"), await event_numbers(world)
        await paused.turn(lease)
        assert await other.store.load("Agent00") == before
        assert await event_numbers(world) == log
        assert log


async def test_work_that_was_asked_for_at_another_server_is_found_by_looking(world: World) -> None:
    await world.add("Agent00")
    async with world.engine("first") as first, anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await world.until("the first turn", lambda: world.turns["first"] > 0)
        async with world.database.write() as connection:
            await queries.add_intent(connection, "Agent00", Verb.SCALE, actor="ada", at=world.clock.now(), value=3)
        with anyio.fail_after(30):
            while (await first.store.load("Agent00")).agent.instances != 3:
                await world.clock.sleep(0.02)
        tasks.cancel_scope.cancel()


async def held(world: World) -> list[str]:
    """Agents whose lease nobody gives back at the moment: taken by an engine that does not handle them."""
    async with world.database.read() as connection:
        rows = await connection.execute(tables.agents.select().where(tables.agents.c.lease_token.is_not(None)))
        return [row.agent for row in rows.all() if row.agent not in world.busy]


async def event_numbers(world: World) -> list[int]:
    async with world.database.read() as connection:
        found = await queries.events_after(connection, 0, agent=None, deployment=None, limit=100_000)
    return [each.seq for each in found]


async def the_log_is_whole(world: World) -> None:
    async with world.database.read() as connection:
        found = await queries.events_after(connection, 0, agent=None, deployment=None, limit=100_000)
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    closing = Counter(each.event.agent for each in found if each.event.audit and each.event.type == "upgrade")
    assert closing == Counter(AGENTS), "exactly one closing entry for each upgrade"
    assert (await AuditLogger(database=world.database).verify()).valid
