"""What only the store on SQLite can meet: a full disk, and files that are no database."""

import threading
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from agent_servicing.core.errors import PermanentError, TemporaryError, Unavailable
from agent_servicing.store.database import Database, StorageUnavailable
from agent_servicing.testing.clock import START
from tests.store_builders import LEASE_SECONDS, a_commit, add, an_agent, an_event, open_store, sqlite_url

pytestmark = pytest.mark.anyio


async def test_a_full_disk_is_a_temporary_error_that_changes_nothing(tmp_path: Path) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, store):
        await add(database, an_agent())
        (lease,) = await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
        before = await store.load("WowMemory")
        async with database.write() as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
            await connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        large = an_event(reason="x" * 200_000)
        with pytest.raises(TemporaryError, match="disk") as caught:
            await store.commit(lease, a_commit(replace(before, agent=replace(before.agent, version="2.0.0")), large), START)
        assert isinstance(caught.value, Unavailable)
        assert (caught.value.code, bool(caught.value.hint)) == ("storage_unavailable", True)
        assert await store.load("WowMemory") == before
        async with database.write() as connection:
            await connection.execute(text("PRAGMA max_page_count = 1000000"))
        assert await store.commit(lease, a_commit(before, large), START)


async def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "test.db").write_text("this is a shopping list, not a database\n" * 100)
    with pytest.raises(PermanentError, match="not a database"):
        async with open_store(sqlite_url(tmp_path)):
            pass


@pytest.mark.parametrize("url", ["mysql://x/y", "no url", "sqlite:////nowhere/at/all/x.db"])
async def test_a_database_that_cannot_be_opened_is_one_clear_error(url: str) -> None:
    with pytest.raises(PermanentError, match="database"):
        async with Database.open(url):
            pass


async def test_who_reads_cannot_write_and_who_wrote_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, store):
        await add(database, an_agent())
        with pytest.raises(TemporaryError, match="cannot be written"):
            async with database.read() as connection:
                await connection.execute(text("DELETE FROM agents"))
        async with database.write():
            pass
        (lease,) = await store.claim(START, lease_seconds=LEASE_SECONDS, limit=1)
        assert lease.agent == "WowMemory"


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
async def test_only_what_was_told_of_waits_for_the_disk(tmp_path: Path, durable: bool, level: int) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, _):
        for _ in range(2):
            async with database.write(durable=not durable) as connection:
                await connection.execute(text("SELECT 1"))
            async with database.write(durable=durable):
                pass
            async with database.write(durable=durable) as connection:
                assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == level


async def test_a_writer_that_was_given_up_while_it_waited_has_written_nothing(tmp_path: Path) -> None:
    """Its statement may still be carried out, but never outside the transaction that is then rolled back."""
    async with open_store(sqlite_url(tmp_path)) as (database, store):
        await add(database, an_agent())
        release = threading.Event()

        async def give_up() -> None:
            async with database.write() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                driver._tx.put_nowait((None, release.wait))  # type: ignore[union-attr]  # whatever comes next waits behind this
                with anyio.move_on_after(0.05):
                    await connection.execute(text("UPDATE agents SET status = 'lost'"))
                release.set()
                raise TimeoutError

        with pytest.raises(StorageUnavailable):
            await give_up()
        assert (await store.load("WowMemory")).agent.status == "active"
