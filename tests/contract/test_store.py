"""What both databases promise beyond the port: whole transactions, one gapless log, and loads that bring what belongs together."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from agent_servicing.core.analysis import Judgement
from agent_servicing.core.audit import Anchor
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import AgentState, Generation, Instance
from agent_servicing.core.status import AgentStatus, DeploymentKind, DeploymentStatus, Verb, Verdict
from agent_servicing.ports import Lease, Store
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.store import audit, queries
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import PRUNE_EVERY, append, last_seq
from agent_servicing.store.sql import LONGEST_NAP_SECONDS, SqlStore
from agent_servicing.store.tables import metadata
from agent_servicing.testing.clock import START, CountingIds
from tests.store_builders import (
    LEASE_SECONDS,
    a_commit,
    a_deployment,
    a_version,
    add,
    an_agent,
    an_event,
    completed,
    open_store,
    put_deployments,
    put_versions,
    sqlite_url,
)

pytestmark = pytest.mark.anyio

LATER = START + timedelta(seconds=LEASE_SECONDS + 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found: str = sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
async def opened(url: str) -> AsyncIterator[tuple[Database, SqlStore]]:
    async with open_store(url) as both:
        yield both


@pytest.fixture
def database(opened: tuple[Database, SqlStore]) -> Database:
    return opened[0]


@pytest.fixture
def store(opened: tuple[Database, SqlStore]) -> Store:
    return opened[1]


async def claim_one(store: Store, now: datetime = START) -> Lease:
    (lease,) = await store.claim(now, lease_seconds=LEASE_SECONDS, limit=1)
    return lease


async def all_events(database: Database) -> list[tuple[int, str]]:
    async with database.read() as connection:
        found = await queries.events_after(connection, 0, agent=None, deployment=None, limit=1000)
    return [(each.seq, each.event.type) for each in found]


# --- claims ---


async def test_a_lease_left_by_a_killed_server_is_next_due_when_it_ends(database: Database, store: SqlStore) -> None:
    await add(database, an_agent())
    lease = await claim_one(store)
    assert await store.next_due() == lease.expires_at
    assert await store.drop_leases() == 1
    assert await store.next_due() == START
    assert not await store.commit(lease, a_commit(await store.load("WowMemory")), START)


async def test_setting_the_clock_back_does_not_put_agents_to_sleep(database: Database, store: Store) -> None:
    await add(database, an_agent("Idle"), an_agent("Held"))
    leases = {lease.agent: lease for lease in await store.claim(START, lease_seconds=LEASE_SECONDS, limit=2)}
    assert await store.release(leases["Idle"], next_at=START + timedelta(seconds=60))
    assert not await store.release(leases["Idle"], next_at=START)
    back = START - timedelta(hours=1)
    assert {lease.agent for lease in await store.claim(back, lease_seconds=LEASE_SECONDS, limit=2)} == {"Idle", "Held"}


async def test_who_is_called_is_claimed_before_it_is_due_unless_somebody_has_it(database: Database, store: Store) -> None:
    await add(database, *(an_agent(name) for name in "ABC"))
    leases = {lease.agent: lease for lease in await store.claim(START, lease_seconds=LEASE_SECONDS, limit=3)}
    for name in "AB":
        await store.release(leases[name], next_at=START + timedelta(seconds=60))
    now = START + timedelta(seconds=1)
    called = ["B", "C", "Nobody"]
    assert [lease.agent for lease in await store.claim(now, lease_seconds=LEASE_SECONDS, limit=3, called=called)] == ["B"]
    assert await store.claim(now, lease_seconds=LEASE_SECONDS, limit=3) == []


# --- commits ---


async def test_a_wait_longer_than_the_longest_nap_is_shortened(database: Database, store: Store) -> None:
    await add(database, an_agent())
    lease = await claim_one(store)
    await store.commit(lease, a_commit(await store.load("WowMemory"), next_at=START + timedelta(days=3)), START)
    assert await store.next_due() == START + timedelta(seconds=LONGEST_NAP_SECONDS)


@pytest.mark.parametrize("here", [DeploymentStatus.IN_PROGRESS, DeploymentStatus.CANCELLED], ids=["begun", "given up as missed"])
async def test_a_deployment_that_was_cancelled_meanwhile_is_left_alone(database: Database, store: Store, here: DeploymentStatus) -> None:
    await add(database, an_agent())
    await put_deployments(database, a_deployment())
    lease = await claim_one(store)
    state = await store.load("WowMemory")
    async with database.write() as connection:
        await connection.execute(text("UPDATE deployments SET status = 'cancelled'"))
    changed = replace(state.deployments[0], status=here)
    assert not await store.commit(lease, a_commit(replace(state, deployments=(changed,)), an_event()), START)
    assert await all_events(database) == []
    assert (await store.load("WowMemory")).deployments == ()
    assert await store.next_due() == START


async def test_what_raises_inside_a_transaction_leaves_nothing_behind(database: Database, store: Store) -> None:
    await add(database, an_agent())

    async def half_done() -> None:
        async with database.write() as connection:
            await queries.add_intent(connection, "WowMemory", Verb.SCALE, actor="ada", at=START, value=5)
            await append(connection, CountingIds(), [an_event(audit=True)], keep=1000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half_done()
    assert (await store.load("WowMemory")).intents == ()
    assert await all_events(database) == []
    async with database.read() as connection:
        assert await last_seq(connection) == 0
        assert (await audit.head(connection)).written == Anchor()


async def test_an_event_that_cannot_be_written_takes_the_whole_commit_back(database: Database, store: Store) -> None:
    await add(database, an_agent())
    lease = await claim_one(store)
    before = await store.load("WowMemory")
    unwritable = an_event(data={"at": START})
    with pytest.raises(TypeError):
        await store.commit(lease, a_commit(replace(before, agent=replace(before.agent, version="2.0.0")), unwritable), START)
    assert await store.load("WowMemory") == before


async def test_a_cancelled_caller_leaves_a_whole_transaction(database: Database, store: Store) -> None:
    await add(database, an_agent())
    with anyio.CancelScope() as scope:
        async with database.write() as connection:
            scope.cancel()
            await queries.add_intent(connection, "WowMemory", Verb.SCALE, actor="ada", at=START, value=5)
    assert len((await store.load("WowMemory")).intents) == 1


# --- the log ---


async def test_events_of_many_writers_are_numbered_without_gaps_and_chained(database: Database) -> None:
    ids = CountingIds()

    async def write(name: str) -> None:
        for number in range(10):
            async with database.write(durable=False) as connection:
                await append(connection, ids, [an_event(name), an_event(name, audit=number % 2 == 0)], keep=1000)

    async with anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(write, name)
    assert [seq for seq, _ in await all_events(database)] == list(range(1, 81))
    checked = await AuditLogger(database=database).verify()
    assert (checked.valid, checked.entries) == (True, 20)


async def test_old_live_events_are_pruned_and_audit_entries_never(database: Database) -> None:
    ids, keep = CountingIds(), 100
    async with database.write() as connection:
        await append(connection, ids, [an_event("upgrade", audit=True), an_event("metrics_update")], keep=keep)
    for _ in range(PRUNE_EVERY // 50 + 2):
        async with database.write(durable=False) as connection:
            await append(connection, ids, [an_event("metrics_update") for _ in range(50)], keep=keep)
    seqs = [seq for seq, _ in await all_events(database)]
    assert seqs[0] == 1
    assert 2 not in seqs
    assert keep <= len(seqs) < keep + PRUNE_EVERY
    assert (await AuditLogger(database=database).verify()).valid


# --- loads ---


async def test_a_load_brings_open_deployments_oldest_first_and_leaves_finished_ones_out(database: Database, store: Store) -> None:
    await add(database, an_agent())
    over = a_deployment("upg-3", status=DeploymentStatus.CANCELLED)
    await put_deployments(database, a_deployment("upg-9"), over, a_deployment("rbk-1", kind=DeploymentKind.ROLLBACK))
    await put_deployments(database, a_deployment("upg-other", agent="Other"))
    assert [d.deployment for d in (await store.load("WowMemory")).deployments] == ["upg-9", "rbk-1"]


async def test_a_load_brings_the_releases_that_run_or_are_on_their_way(database: Database, store: Store) -> None:
    agent = an_agent(version="1.0.0", stable=1)
    await add(database, agent)
    await put_versions(database, *(a_version(v) for v in ("0.9.0", "1.0.0", "1.1.0", "1.2.0", "1.3.0")))
    await put_deployments(database, a_deployment(from_version="1.0.0", to_version="1.1.0"))
    lease = await claim_one(store)
    state = await store.load("WowMemory")
    generation = Generation(number=2, version="1.2.0", created_at=START, desired=1)
    await store.commit(lease, a_commit(replace(state, generations=(generation,))), START)
    releases = (await store.load("WowMemory")).releases
    assert {version: release.ref for version, release in releases.items()} == {v: f"ref-{v}" for v in ("1.0.0", "1.1.0", "1.2.0")}


async def test_rollback_points_are_the_last_versions_that_served_newest_first(database: Database, store: Store) -> None:
    await add(database, an_agent(version="1.6.0"))
    history = [completed("upg-0", "1.0.0", START, DeploymentKind.INSTALL)]
    history += [completed(f"upg-{n}", f"1.{n}.0", START + timedelta(hours=n)) for n in range(1, 7)]
    history += [a_deployment("upg-7", to_version="1.7.0", status=DeploymentStatus.ROLLED_BACK, finished_at=LATER)]
    history += [completed("upg-8", "1.6.0", START + timedelta(hours=9), DeploymentKind.RESTART)]
    await put_deployments(database, *history)
    assert (await store.load("WowMemory")).rollback_points == ("1.5.0", "1.4.0", "1.3.0", "1.2.0", "1.1.0")


async def test_an_agent_added_again_does_not_inherit_the_history_of_its_namesake(database: Database, store: Store) -> None:
    await put_deployments(database, completed("upg-0", "0.1.0", START - timedelta(days=1)))
    await add(database, an_agent())
    assert (await store.load("WowMemory")).rollback_points == ()


async def test_a_removed_agent_goes_with_its_wishes_and_versions_and_leaves_its_history(database: Database, store: Store) -> None:
    await add(database, an_agent())
    await put_versions(database, a_version("1.0.0"))
    await put_deployments(database, a_deployment("upg-1", status=DeploymentStatus.COMPLETED), a_deployment("upg-2"))
    async with database.write() as connection:
        await queries.add_intent(connection, "WowMemory", Verb.REMOVE, actor="ada", at=START)
    lease = await claim_one(store)
    state = await store.load("WowMemory")
    late = a_deployment("upg-3")
    await put_deployments(database, late)
    gone = replace(state, agent=replace(state.agent, status=AgentStatus.REMOVED))
    assert await store.commit(lease, a_commit(gone, an_event("agent_removed", audit=True)), START)
    assert await store.next_due() is None
    async with database.read() as connection:
        assert await queries.agent_names(connection) == []
        assert await queries.version_rows(connection, "WowMemory") == []
        assert await queries.intent_count(connection, "WowMemory") == 0
        kept = await queries.deployment_page(connection, of=["WowMemory"], before=None, limit=10)
    assert {d.deployment: d.status for _, d in kept} == {"upg-1": "completed", "upg-2": "cancelled", "upg-3": "cancelled"}
    assert await all_events(database) == [(1, "agent_removed")]


async def test_a_whole_state_comes_back_from_the_tables_as_it_was_committed(database: Database, store: Store) -> None:
    await add(database, an_agent())
    lease = await claim_one(store)
    state = await store.load("WowMemory")
    instance = Instance(instance="g1-1-1", generation=1, version="1.0.0", place=1, created_at=START, pid=7, healthy_in_a_row=3)
    judged = a_deployment(status=DeploymentStatus.PAUSED, judgement=Judgement(verdict=Verdict.FAILING, sentence="slow", value=1.5))
    whole = replace(state, instances=(instance,), deployments=(judged,))
    await store.commit(lease, a_commit(whole), START)
    loaded: AgentState = await store.load("WowMemory")
    assert (loaded.instances, loaded.deployments) == ((instance,), (judged,))


# --- the database itself ---


async def test_the_migrations_make_exactly_the_tables_the_code_uses(database: Database) -> None:
    async with database.write() as connection:
        differences = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    assert differences == []


async def test_what_was_committed_is_there_after_opening_again(url: str) -> None:
    async with open_store(url) as (database, _):
        await add(database, an_agent())
    async with open_store(url) as (_, store):
        assert (await store.load("WowMemory")).agent == an_agent()


async def test_a_database_of_a_newer_program_is_refused(url: str) -> None:
    async with open_store(url) as (database, _), database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PermanentError, match="newer version"):
        async with open_store(url):
            pass


async def test_a_reading_connection_cannot_write(database: Database) -> None:
    with pytest.raises(TemporaryError, match="written"):
        async with database.read() as connection:
            await connection.execute(text("DELETE FROM agents"))


async def test_readers_see_one_moment_while_a_writer_goes_on(database: Database, store: Store) -> None:
    await add(database, an_agent())
    async with database.read() as reader:
        assert await queries.agent_names(reader) == ["WowMemory"]
        await add(database, an_agent("Second"))
        assert await queries.agent_names(reader) == ["WowMemory"]
    async with database.read() as reader:
        assert await queries.agent_names(reader) == ["Second", "WowMemory"]


async def test_agents_that_are_woken_are_due_at_once_also_when_they_are_held(database: Database, store: Store) -> None:
    await add(database, *(an_agent(name) for name in "ABC"))
    leases = {lease.agent: lease for lease in await store.claim(START, lease_seconds=LEASE_SECONDS, limit=3)}
    far = START + timedelta(seconds=60)
    for name in "AB":
        await store.release(leases[name], next_at=far)
    now = START + timedelta(seconds=1)
    await store.wake(["B", "C", "Nobody"], now)
    await store.release(leases["C"], next_at=far)
    assert [lease.agent for lease in await store.claim(now, lease_seconds=LEASE_SECONDS, limit=3)] == ["B", "C"]
    assert await store.next_due() == now + timedelta(seconds=LEASE_SECONDS)
    await store.wake(None, now)
    assert [lease.agent for lease in await store.claim(now, lease_seconds=LEASE_SECONDS, limit=3)] == ["A"]
