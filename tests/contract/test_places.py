"""The limit on deployments at a time, as every `Store` keeps it: strictly, first come first served, and never in the way of a rollback."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.schedule import Line, Lock, Places, Stop
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.ports import Lease, Store
from agent_servicing.store.deployments import edited, save_deployment
from agent_servicing.store.line import drop_lock, load_line, save_line, save_lock
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.clock import START, CountingIds
from agent_servicing.testing.store import MemoryStore
from tests.store_builders import (
    LEASE_SECONDS,
    a_commit,
    a_deployment,
    a_manifest,
    add,
    an_agent,
    an_event,
    open_store,
    put_deployments,
    sqlite_url,
)

pytestmark = pytest.mark.anyio

NAMES = ("Alpha", "Beta", "Gamma")
SECOND = timedelta(seconds=1)
RUNNING = DeploymentStatus.IN_PROGRESS

Opened = Callable[[int, tuple[Deployment, ...]], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def in_sql(url: str, limit: int, deployments: tuple[Deployment, ...]) -> AsyncIterator[Store]:
    async with open_store(url) as (database, _):
        await add(database, *(an_agent(name) for name in NAMES))
        await put_deployments(database, *deployments)
        yield SqlStore(database=database, ids=CountingIds(), event_retention_count=1_000, max_concurrent_deployments=limit)


@asynccontextmanager
async def in_memory(_: str, limit: int, deployments: tuple[Deployment, ...]) -> AsyncIterator[Store]:
    store = MemoryStore(ids=CountingIds(), max_concurrent_deployments=limit)
    for name in NAMES:
        own = tuple(d for d in deployments if d.agent == name)
        store.add(AgentState(agent=an_agent(name, manifest=a_manifest(name)), deployments=own), START)
    yield store


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    url: str = request.getfixturevalue("postgres_url") if request.param == "postgresql" else sqlite_url(tmp_path)
    make = in_memory if request.param == "memory" else in_sql
    return lambda limit, deployments: make(url, limit, deployments)


def waiting(**changes: object) -> tuple[Deployment, ...]:
    return tuple(a_deployment(f"upg-{name}", agent=name, **changes) for name in NAMES)


async def claim_all(store: Store) -> dict[str, Lease]:
    return {lease.agent: lease for lease in await store.claim(START, lease_seconds=LEASE_SECONDS, limit=10)}


async def begin(store: Store, lease: Lease) -> bool:
    """What an engine commits that begins the first thing it finds waiting, whatever it was told about places."""
    state = await store.load(lease.agent)
    begun = replace(state.deployments[0], status=RUNNING, started_at=START)
    changed = replace(state, deployments=(begun, *state.deployments[1:]))
    return await store.commit(lease, a_commit(changed, an_event(agent=lease.agent)), START)


async def test_of_several_that_begin_at_once_only_as_many_do_as_there_are_places(opened: Opened) -> None:
    async with opened(2, waiting()) as store:
        leases, done = await claim_all(store), dict[str, bool]()

        async def engine(name: str) -> None:
            done[name] = await begin(store, leases[name])

        async with anyio.create_task_group() as tasks:
            for name in NAMES:
                tasks.start_soon(engine, name)
        assert sorted(done.values()) == [False, True, True]
        (refused,) = [name for name, begun in done.items() if not begun]
        state = await store.load(refused)
        assert [d.status for d in state.deployments] == [DeploymentStatus.QUEUED]
        assert (state.places.limit, state.places.under_way) == (2, 2)
        due = await store.next_due()
        assert due is not None
        assert START < due <= START + timedelta(seconds=5)


async def test_a_place_is_free_again_when_a_deployment_has_ended(opened: Opened) -> None:
    async with opened(1, waiting()) as store:
        leases = await claim_all(store)
        assert await begin(store, leases["Alpha"])
        assert not await begin(store, leases["Beta"])
        later = START + 60 * SECOND
        again = {lease.agent: lease for lease in await store.claim(later, lease_seconds=LEASE_SECONDS, limit=5)}
        state = await store.load("Alpha")
        ended = replace(state.deployments[0], status=DeploymentStatus.COMPLETED, finished_at=START)
        assert await store.commit(again["Alpha"], a_commit(replace(state, deployments=(ended,)), an_event(agent="Alpha")), later)
        assert await begin(store, again["Gamma"])


@pytest.mark.parametrize("kind", [DeploymentKind.ROLLBACK, DeploymentKind.INSTALL])
async def test_rollbacks_and_first_installations_neither_wait_nor_take_a_place(opened: Opened, kind: DeploymentKind) -> None:
    several = (*waiting(kind=kind)[:2], waiting()[2])
    async with opened(1, several) as store:
        leases = await claim_all(store)
        assert [await begin(store, leases[name]) for name in NAMES] == [True, True, True]


async def test_a_retreat_needs_no_place(opened: Opened) -> None:
    async with opened(1, waiting(status=RUNNING, started_at=START)) as store:  # the limit was lowered meanwhile
        leases = await claim_all(store)
        for name in NAMES:
            state = await store.load(name)
            back = replace(state.deployments[0], status=DeploymentStatus.ROLLING_BACK)
            assert await store.commit(leases[name], a_commit(replace(state, deployments=(back,)), an_event(agent=name)), START)


async def test_no_limit_is_no_limit(opened: Opened) -> None:
    async with opened(0, waiting()) as store:
        leases = await claim_all(store)
        assert [await begin(store, leases[name]) for name in NAMES] == [True, True, True]


async def test_who_waited_for_a_place_first_gets_the_next_one(opened: Opened) -> None:
    first, second, third = waiting()
    several = (replace(first, place_since=START), replace(second, place_since=START - 5 * SECOND), third)
    async with opened(1, several) as store:
        before = {name: (await store.load(name)).places.before for name in NAMES}
        assert before == {"Beta": 0, "Alpha": 1, "Gamma": 2}


async def test_an_agent_that_nobody_looks_after_keeps_no_place_for_itself(tmp_path: Path) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, _):
        await add(database, an_agent("Alpha"), due_at=START)
        await add(database, an_agent("Parked"), due_at=START + 30 * SECOND)
        mine = a_deployment("upg-1", agent="Alpha", place_since=START)
        await put_deployments(database, mine, a_deployment("upg-2", agent="Parked", place_since=START - SECOND))
        store = SqlStore(database=database, ids=CountingIds(), event_retention_count=1_000, max_concurrent_deployments=1)
        assert (await store.load("Alpha")).places == Places(limit=1)


async def test_the_limit_of_operators_counts_before_the_setting(tmp_path: Path) -> None:
    async with in_sql(sqlite_url(tmp_path), 10, waiting()) as store:
        assert isinstance(store, SqlStore)
        async with store._database.write() as connection:
            await save_line(connection, Line(max_concurrent_deployments=1), now=START)
        leases = await claim_all(store)
        assert [await begin(store, leases[name]) for name in NAMES] == [True, False, False]


async def test_the_line_and_the_lock_are_loaded_with_what_they_may_hold(tmp_path: Path) -> None:
    async with in_sql(sqlite_url(tmp_path), 10, waiting()[:1]) as store:
        assert isinstance(store, SqlStore)
        line = Line(stop=Stop(actor="ada", reason="incident", since=START))
        lock = Lock(agent="Alpha", holder="ada", reason="mine", since=START, expires_at=START + 60 * SECOND)
        leases = await claim_all(store)
        for lease in leases.values():
            await store.release(lease, next_at=START + 3600 * SECOND)
        async with store._database.write() as connection:
            assert await load_line(connection) == Line()
            await save_line(connection, line, now=START + SECOND)
            await save_lock(connection, lock)
            await save_lock(connection, replace(lock, reason="still mine"))
        assert await store.next_due() == START + SECOND, "whoever waits is looked at when the line has changed"
        loaded = await store.load("Alpha")
        assert (loaded.line, loaded.lock) == (line, replace(lock, reason="still mine"))
        idle = await store.load("Beta")
        assert (idle.line, idle.lock) == (Line(), None)
        async with store._database.write() as connection:
            await drop_lock(connection, "Alpha")
        assert (await store.load("Alpha")).lock is None


async def test_an_engine_that_loaded_a_deployment_before_it_was_edited_writes_nothing(tmp_path: Path) -> None:
    async with in_sql(sqlite_url(tmp_path), 10, waiting()[:1]) as store:
        assert isinstance(store, SqlStore)
        leases = await claim_all(store)
        stale = await store.load("Alpha")
        moved = edited(replace(stale.deployments[0], order=-1))
        async with store._database.write() as connection:
            await save_deployment(connection, moved)
        begun = replace(stale.deployments[0], status=RUNNING, started_at=START)
        assert not await store.commit(leases["Alpha"], a_commit(replace(stale, deployments=(begun,)), an_event()), START)
        assert (await store.load("Alpha")).deployments == (moved,)
        (lease,) = [each for each in await store.claim(START, lease_seconds=LEASE_SECONDS, limit=5) if each.agent == "Alpha"]
        assert await begin(store, lease)
