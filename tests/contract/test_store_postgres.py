"""What only the store on PostgreSQL can meet: writers side by side, two servers at once, and a server that goes and comes back."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from signal import SIGQUIT

import anyio
import pytest
from sqlalchemy import select, text, update

from agent_servicing.core.errors import Conflict, Invalid, PermanentError, TemporaryError, Unavailable
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.store import queries
from agent_servicing.store.database import Database, StorageUnavailable
from agent_servicing.store.deployments import cancelled, save_deployment
from agent_servicing.store.event_log import append
from agent_servicing.store.inspection import inspect
from agent_servicing.store.ownership import sole_server
from agent_servicing.store.sql import SqlStore
from agent_servicing.store.tables import agents
from agent_servicing.testing.clock import START, CountingIds
from tests.postgres_server import PASSWORD, PostgresServer, a_postgres_server
from tests.store_builders import LEASE_SECONDS, a_commit, a_deployment, add, an_agent, an_event, open_store, put_deployments

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server of this module's own, to be stopped."""
    with a_postgres_server() as server:
        yield server


@asynccontextmanager
async def two_stores(url: str) -> AsyncIterator[tuple[Database, SqlStore, SqlStore]]:
    """Two servers' views of one database, each with connections of its own."""
    async with open_store(url) as (first, one), Database.open(url) as second:
        yield first, one, SqlStore(database=second, ids=OtherIds(), event_retention_count=1000)


class OtherIds(CountingIds):
    def new(self, prefix: str) -> str:
        return f"other-{super().new(prefix)}"

    def token(self) -> str:
        return f"other-{super().token()}"


# --- side by side ---


async def test_a_claim_neither_waits_for_another_nor_takes_what_it_is_taking(postgres_url: str) -> None:
    async with two_stores(postgres_url) as (database, _, other):
        await add(database, *(an_agent(f"A{n}") for n in range(6)))
        async with database.write(durable=False) as half_done:
            await half_done.execute(update(agents).where(agents.c.agent.in_(["A0", "A1", "A2"])).values(lease_token="mine"))
            with anyio.fail_after(2):
                claimed = await other.claim(START, lease_seconds=LEASE_SECONDS, limit=10)
        assert [lease.agent for lease in claimed] == ["A3", "A4", "A5"]


async def test_claims_of_two_servers_at_once_share_the_agents_and_no_limit_is_exceeded(postgres_url: str) -> None:
    claims: list[tuple[str, list[str]]] = []
    async with two_stores(postgres_url) as (database, one, other):
        await add(database, *(an_agent(f"A{n:03d}") for n in range(120)))

        async def engine(name: str, store: SqlStore) -> None:
            while found := await store.claim(START, lease_seconds=LEASE_SECONDS, limit=4):
                claims.append((name, [lease.agent for lease in found]))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(engine, "one", one)
                tasks.start_soon(engine, "other", other)
    taken = [agent for _, found in claims for agent in found]
    assert sorted(taken) == [f"A{n:03d}" for n in range(120)]
    assert {name for name, _ in claims} == {"one", "other"}
    assert max(len(found) for _, found in claims) == 4


async def test_a_commit_does_not_bring_back_a_deployment_that_is_just_being_cancelled(postgres_url: str) -> None:
    async with two_stores(postgres_url) as (database, engine, _):
        await add(database, an_agent())
        await put_deployments(database, a_deployment())
        (lease,) = await engine.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
        state = await engine.load("WowMemory")
        begun = replace(state.deployments[0], status=DeploymentStatus.IN_PROGRESS)
        answers: list[bool] = []

        async def commit() -> None:
            answers.append(await engine.commit(lease, a_commit(replace(state, deployments=(begun,))), START))

        async with anyio.create_task_group() as tasks, database.write() as service:
            await queries.agent_row(service, "WowMemory", lock=True)
            tasks.start_soon(commit)
            await until_somebody_waits(database)
            await save_deployment(service, cancelled(a_deployment(), message="changed my mind", now=START))
        assert answers == [False]
        assert (await engine.load("WowMemory")).deployments == ()


async def test_what_a_service_read_and_decided_on_is_still_true_when_it_commits(postgres_url: str) -> None:
    """Two servers add the same agent at once: the second sees the first's, instead of failing on it."""
    seen: list[bool] = []
    async with two_stores(postgres_url) as (database, _, _), Database.open(postgres_url) as second:

        async def add_it(to: Database) -> None:
            async with to.write() as connection:
                there = await queries.agent_row(connection, "WowMemory") is not None
                seen.append(there)
                if not there:
                    await queries.insert_agent(connection, an_agent(), now=START)

        async with anyio.create_task_group() as tasks:
            for each in (database, second, database, second):
                tasks.start_soon(add_it, each)
    assert sorted(seen) == [False, True, True, True]


async def test_events_of_two_servers_are_numbered_without_gaps_and_seen_in_order(postgres_url: str) -> None:
    seen: list[int] = []
    async with two_stores(postgres_url) as (database, _, _), Database.open(postgres_url) as second:

        async def write(to: Database, ids: CountingIds) -> None:
            for number in range(30):
                async with to.write(durable=number % 2 == 0) as connection:
                    await append(connection, ids, [an_event(), an_event(audit=True)], keep=1000)

        async def follow(done: anyio.Event) -> None:
            while not done.is_set() or len(seen) < 120:
                async with database.read() as connection:
                    found = await queries.events_after(connection, seen[-1] if seen else 0, agent=None, deployment=None, limit=1000)
                seen.extend(each.seq for each in found)

        done = anyio.Event()
        async with anyio.create_task_group() as following:
            following.start_soon(follow, done)
            async with anyio.create_task_group() as writing:
                writing.start_soon(write, database, CountingIds())
                writing.start_soon(write, second, OtherIds())
            done.set()
    assert seen == list(range(1, 121)), "a reader that went on from the newest number missed one"


async def test_two_servers_that_start_at_once_migrate_once(postgres: PostgresServer) -> None:
    name = postgres.new_database()
    opened: list[str] = []

    async def start() -> None:
        async with Database.open(postgres.url(name)) as database, database.read() as connection:
            opened.append((await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one())

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(start)
    finally:
        postgres.drop(name)
    assert len(opened) == 4
    assert len(set(opened)) == 1


# --- limits ---


async def test_every_connection_has_limits_and_knows_whose_it_is(postgres_url: str) -> None:
    async with Database.open(postgres_url) as database, database.read() as connection:
        names = ["statement_timeout", "idle_in_transaction_session_timeout", "application_name", "transaction_isolation"]
        found = [(await connection.execute(text(f"SHOW {name}"))).scalar_one() for name in names]
    assert found == ["10s", "5s", "agent-servicing", "repeatable read"]


async def test_a_statement_that_takes_too_long_is_a_temporary_error(postgres_url: str) -> None:
    async with Database.open(postgres_url) as database:

        async def too_slow() -> None:
            async with database.write() as connection:
                await connection.execute(text("SET LOCAL statement_timeout = '50ms'"))
                await connection.execute(text("SELECT pg_sleep(5)"))

        with pytest.raises(StorageUnavailable, match="statement timeout"):
            await too_slow()
        async with database.read() as connection:
            assert await queries.agent_names(connection) == []


async def test_a_server_that_is_frozen_in_a_transaction_does_not_hold_up_the_others(postgres_url: str) -> None:
    async with two_stores(postgres_url) as (database, _, other):
        await add(database, an_agent())

        async def frozen_meanwhile() -> None:
            async with database.write() as frozen:
                await frozen.execute(text("SET LOCAL idle_in_transaction_session_timeout = '100ms'"))
                await append(frozen, CountingIds(), [an_event()], keep=1000)
                (lease,) = await other.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
                assert await other.commit(lease, a_commit(await other.load("WowMemory"), an_event("other")), START)

        with pytest.raises(StorageUnavailable):
            await frozen_meanwhile()
        async with database.read() as connection:
            found = await queries.events_after(connection, 0, agent=None, deployment=None, limit=10)
        assert [(each.seq, each.event.type) for each in found] == [(1, "other")]


async def test_a_value_that_no_column_can_hold_is_invalid_input(postgres_url: str) -> None:
    async with Database.open(postgres_url) as database:
        for wrong in (an_agent("A" * 300), an_agent("A\x00B")):
            with pytest.raises(Invalid, match="cannot hold"):
                await add(database, wrong)


# --- coming and going ---


async def test_a_stopped_server_is_a_temporary_error_and_the_next_call_after_its_return_works(mortal: PostgresServer) -> None:
    url = mortal.tcp_url(mortal.new_database())
    async with open_store(url) as (database, store):
        await add(database, an_agent())
        for how in (None, SIGQUIT):
            (lease,) = await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
            state = await store.load("WowMemory")
            mortal.stop(*([how] if how else []))
            for _ in range(3):
                with pytest.raises(TemporaryError) as caught:
                    await store.commit(lease, a_commit(state, an_event()), START)
                assert isinstance(caught.value, Unavailable)
                assert PASSWORD not in str(caught.value)
                with pytest.raises(StorageUnavailable):
                    await store.next_due()
            mortal.start()
            assert await store.commit(lease, a_commit(state, an_event(), next_at=START), START)


async def test_a_connection_that_is_cut_in_a_transaction_leaves_nothing_of_it(mortal: PostgresServer) -> None:
    url = mortal.url(mortal.new_database())
    async with open_store(url) as (database, store):

        async def cut() -> None:
            async with database.write() as connection:
                await queries.insert_agent(connection, an_agent(), now=START)
                mortal.end_connections("agent-servicing")
                await connection.execute(select(agents))

        with pytest.raises(StorageUnavailable):
            await cut()
        assert await store.next_due() is None


async def test_a_server_that_is_down_or_refuses_us_is_one_clear_error_without_the_password(postgres: PostgresServer) -> None:
    secret = "hunter2-secret"
    for url, words in [
        (f"postgresql://ada:{secret}@127.0.0.1:1/fleet", "127.0.0.1:1/fleet cannot be opened"),
        (f"postgresql://ada@127.0.0.1:1/fleet?password={secret}", "127.0.0.1:1/fleet cannot be opened"),
        (postgres.tcp_url("postgres", secret), "password authentication failed"),
        (postgres.tcp_url("nowhere"), "does not exist"),
        (f"postgresql://ada:{secret}@127.0.0.1:port/fleet", "cannot be read"),
        (f"postgresql://ada:{secret}@127.0.0.1:1/fleet?no_such_option=1", "no_such_option"),
    ]:
        with pytest.raises(PermanentError, match=words):
            await inspect(url)
        for opening in (Database.open, sole_server):
            with pytest.raises(PermanentError, match=words) as caught:
                async with opening(url):
                    pass
            assert "\n" not in str(caught.value)
            assert secret not in str(caught.value)
            assert PASSWORD not in str(caught.value)


async def test_nothing_that_is_logged_names_the_password(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    name = postgres.new_database()
    caplog.set_level(logging.DEBUG)
    try:
        async with Database.open(postgres.tcp_url(name)) as database, database.write() as connection:
            await connection.execute(select(agents))
    finally:
        postgres.drop(name)
    assert PASSWORD not in caplog.text


def test_a_missing_driver_says_what_to_install() -> None:
    program = """
import sys, anyio
sys.modules["psycopg"] = None
from agent_servicing.store.database import Database
async def main():
    async with Database.open("postgresql://ada@127.0.0.1:1/fleet"):
        pass
anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "PermanentError: a postgresql:// database needs the package psycopg" in done.stderr
    assert "agent-servicing[postgres]" in done.stderr


# --- one server at a time ---


async def test_a_second_server_on_one_database_is_refused_and_told_who_has_it(postgres_url: str) -> None:
    async with sole_server(postgres_url) as first:
        assert first is not None
        await first.confirm()
        with pytest.raises(Conflict, match="in use by another server \\(agent-servicing pid") as caught:
            async with sole_server(postgres_url):
                pass
        assert caught.value.code == "database_in_use"
        assert "pid" in (await server_of(postgres_url) or "")
    with anyio.fail_after(60):  # PostgreSQL ends a connection in its own time
        while await server_of(postgres_url) is not None:
            await anyio.lowlevel.checkpoint()
    async with sole_server(postgres_url) as next_one:
        assert next_one is not None
        await next_one.confirm()


async def test_a_server_that_lost_its_hold_claims_nothing_while_another_has_it(postgres_url: str, postgres: PostgresServer) -> None:
    async with sole_server(postgres_url) as ours, Database.open(postgres_url) as database:
        assert ours is not None
        store = SqlStore(database=database, ids=CountingIds(), event_retention_count=1000, may_work=ours.confirm)
        await add(database, an_agent("A"), an_agent("B"), an_agent("C"))
        assert len(await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)) == 1
        postgres.end_connections(await server_of(postgres_url) or "")
        async with sole_server(postgres_url):
            for _ in range(2):
                with pytest.raises(StorageUnavailable, match="taken over"):
                    await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
        assert len(await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)) == 1


async def test_the_hold_comes_back_with_a_restarted_database(mortal: PostgresServer) -> None:
    url = mortal.url(mortal.new_database())
    async with sole_server(url) as ours:
        assert ours is not None
        mortal.stop()
        with pytest.raises(StorageUnavailable):
            await ours.confirm()
        mortal.start()
        await ours.confirm()
        with pytest.raises(Conflict):
            async with sole_server(url):
                pass


async def server_of(url: str) -> str | None:
    facts = await inspect(url)
    assert facts is not None
    return facts.server


async def until_somebody_waits(database: Database) -> None:
    with anyio.fail_after(10):
        while True:
            async with database.read() as connection:
                waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                if (await connection.execute(waiting)).scalar_one():
                    return
