"""What every `Store` promises the engine: exclusive claims, guarded commits, wake-ups that are not lost. A store joins by its entry in `WORLDS`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from agent_servicing.core.errors import PermanentError
from agent_servicing.core.model import Agent, AgentState, Generation, Intent
from agent_servicing.core.status import Verb
from agent_servicing.ports import Lease, Store
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.testing.clock import START, CountingIds
from agent_servicing.testing.store import MemoryStore
from tests.store_builders import LEASE_SECONDS, a_commit, a_deployment, add, an_agent, an_event, open_store, sqlite_url

pytestmark = pytest.mark.anyio

LATER = START + timedelta(seconds=LEASE_SECONDS + 1)


class World(Protocol):
    """One store and what services do beside the engine: add agents, write wishes, read the log."""

    @property
    def store(self) -> Store: ...
    async def add(self, *agents: Agent, due_at: datetime = START) -> None: ...
    async def intend(self, verb: Verb, value: int) -> None: ...
    async def events(self) -> list[str]: ...


@dataclass
class SqlWorld:
    store: Store
    database: Database

    async def add(self, *agents: Agent, due_at: datetime = START) -> None:
        await add(self.database, *agents, due_at=due_at)

    async def intend(self, verb: Verb, value: int) -> None:
        async with self.database.write() as connection:
            await queries.add_intent(connection, "WowMemory", verb, actor="ada", at=START, value=value)

    async def events(self) -> list[str]:
        async with self.database.read() as connection:
            found = await queries.events_after(connection, 0, agent=None, deployment=None, limit=1000)
        return [each.event.type for each in found]


@dataclass
class MemoryWorld:
    store: MemoryStore

    async def add(self, *agents: Agent, due_at: datetime = START) -> None:
        for agent in agents:
            self.store.add(AgentState(agent=agent), due_at)

    async def intend(self, verb: Verb, value: int) -> None:
        self.store.intend(Intent(intent=1, agent="WowMemory", verb=verb, actor="ada", at=START, value=value), START)

    async def events(self) -> list[str]:
        return [event.type for event in self.store.events]


@asynccontextmanager
async def a_memory_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    yield MemoryWorld(MemoryStore(CountingIds()))


@asynccontextmanager
async def a_sqlite_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    folder: Path = request.getfixturevalue("tmp_path")
    async with open_store(sqlite_url(folder)) as (database, store):
        yield SqlWorld(store, database)


@asynccontextmanager
async def a_postgresql_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with open_store(request.getfixturevalue("postgres_url")) as (database, store):
        yield SqlWorld(store, database)


WORLDS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[World]]] = {
    "memory": a_memory_world,
    "sqlite": a_sqlite_world,
    "postgresql": a_postgresql_world,
}


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with WORLDS[request.param](request) as opened:
        yield opened


async def claim_one(store: Store, now: datetime = START) -> Lease:
    (lease,) = await store.claim(now, lease_seconds=LEASE_SECONDS, limit=1)
    return lease


async def test_the_longest_due_agents_are_claimed_first(world: World) -> None:
    await world.add(an_agent("B"), due_at=START - timedelta(seconds=5))
    await world.add(an_agent("A"), due_at=START - timedelta(seconds=1))
    await world.add(an_agent("C"), due_at=START - timedelta(seconds=9))
    leases = await world.store.claim(START, lease_seconds=LEASE_SECONDS, limit=2)
    assert [lease.agent for lease in leases] == ["C", "B"]
    assert all(lease.expires_at == START + timedelta(seconds=LEASE_SECONDS) for lease in leases)


async def test_an_agent_that_is_not_due_is_not_claimed(world: World) -> None:
    await world.add(an_agent(), due_at=START + timedelta(seconds=1))
    assert await world.store.claim(START, lease_seconds=LEASE_SECONDS, limit=10) == []
    assert await world.store.next_due() == START + timedelta(seconds=1)


async def test_many_engines_never_hold_one_agent_together(world: World) -> None:
    await world.add(*(an_agent(f"A{n:02d}") for n in range(20)))
    claimed: list[Lease] = []

    async def engine() -> None:
        for _ in range(5):
            claimed.extend(await world.store.claim(START, lease_seconds=LEASE_SECONDS, limit=3))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(engine)
    assert sorted(lease.agent for lease in claimed) == [f"A{n:02d}" for n in range(20)]


async def test_an_expired_lease_can_be_claimed_again_and_its_holder_can_no_longer_commit(world: World) -> None:
    await world.add(an_agent())
    old = await claim_one(world.store)
    assert await world.store.claim(START + timedelta(seconds=LEASE_SECONDS - 1), lease_seconds=LEASE_SECONDS, limit=1) == []
    new = await claim_one(world.store, LATER)
    state = await world.store.load("WowMemory")
    assert not await world.store.commit(old, a_commit(state, an_event()), LATER)
    assert await world.store.commit(new, a_commit(state, an_event()), LATER)


async def test_a_lease_that_nobody_gives_back_is_next_due_when_it_ends(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    assert await world.store.next_due() == lease.expires_at


async def test_a_commit_writes_state_events_and_time_and_gives_the_lease_back(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    state = await world.store.load("WowMemory")
    generation = Generation(number=1, version="1.0.0", created_at=START, desired=2)
    changed = replace(state, agent=replace(state.agent, version="1.0.0", stable=1, redirects={3: 1}), generations=(generation,))
    assert await world.store.commit(lease, a_commit(changed, an_event(), an_event("completed", audit=True)), START)
    assert await world.store.load("WowMemory") == changed
    assert await world.events() == ["started", "completed"]
    assert await world.store.next_due() == START + timedelta(seconds=60)


async def test_a_stale_lease_changes_nothing(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    before = await world.store.load("WowMemory")
    wrong = replace(lease, token="guessed")
    changed = a_commit(replace(before, agent=replace(before.agent, version="9.9.9"), deployments=(a_deployment(),)), an_event())
    assert not await world.store.commit(wrong, changed, START)
    assert not await world.store.commit(lease, changed, LATER)
    assert await world.store.load("WowMemory") == before
    assert await world.events() == []
    assert (await world.store.load("WowMemory")).deployments == ()


async def test_a_lease_serves_for_one_commit_only(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    state = await world.store.load("WowMemory")
    assert await world.store.commit(lease, a_commit(state), START)
    assert not await world.store.commit(lease, a_commit(state, an_event()), START)


async def test_releasing_gives_the_agent_back_unchanged_and_a_stale_release_does_nothing(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    await world.store.release(lease, next_at=START + timedelta(seconds=7))
    assert await world.store.next_due() == START + timedelta(seconds=7)
    await world.store.release(lease, next_at=START)
    assert await world.store.next_due() == START + timedelta(seconds=7)


async def test_a_request_that_arrives_during_a_reconcile_is_seen_at_once_after_it(world: World) -> None:
    await world.add(an_agent())
    lease = await claim_one(world.store)
    state = await world.store.load("WowMemory")
    await world.intend(Verb.SCALE, 5)
    assert await world.store.commit(lease, a_commit(state, next_at=START + timedelta(seconds=60)), START)
    assert await world.store.next_due() == START
    again = await claim_one(world.store)
    loaded = await world.store.load("WowMemory")
    assert [(intent.verb, intent.value, intent.actor) for intent in loaded.intents] == [(Verb.SCALE, 5, "ada")]
    done = a_commit(replace(loaded, intents=()), done=(loaded.intents[0].intent,))
    assert await world.store.commit(again, done, START)
    assert (await world.store.load("WowMemory")).intents == ()
    assert await world.store.next_due() == START + timedelta(seconds=60)


async def test_loading_an_unknown_agent_is_a_permanent_error(world: World) -> None:
    with pytest.raises(PermanentError):
        await world.store.load("Nobody")
