"""Old audit entries go to archive files: nothing is lost, the whole stays provable, and whoever dies in the middle finds everything again."""

import gzip
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from agent_servicing.adapters.audit.archive import FolderArchive
from agent_servicing.adapters.system import RandomIds
from agent_servicing.cli.audit_file import check_file
from agent_servicing.core.audit import Anchor, StoredEvent
from agent_servicing.core.errors import TemporaryError
from agent_servicing.ports.audit import Archived, AuditArchive
from agent_servicing.services.audit_logger import AuditFilters, AuditLogger
from agent_servicing.services.audit_retention import AuditRetention
from agent_servicing.services.audit_sinks import AuditSinks
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.testing.clock import START, VirtualClock
from tests.integration.test_audit_sinks import Flaky
from tests.store_builders import an_event, open_store

pytestmark = pytest.mark.anyio

DAYS = 30


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_store(tmp_path) as (database, _):
        yield database


async def write(database: Database, count: int, *, day: int = 0) -> None:
    at = START + timedelta(days=day)
    events = [an_event("upgrade", audit=True, at=at, data={"n": n, "text": "ä\u2028"}) for n in range(count)]
    async with database.write() as connection:
        await append(connection, RandomIds(), [each for event in events for each in (event, an_event("metrics_update"))], keep=100_000)


def retention(
    database: Database,
    folder: Path,
    *,
    days: float | None = DAYS,
    today: int = 40,
    archive: AuditArchive | None = None,
    sink: Flaky | None = None,
) -> AuditRetention:
    """On day `today`."""
    clock = VirtualClock()
    clock.advance(today * 24 * 3600)
    sinks = AuditSinks(database=database, clock=clock, sinks=[sink] if sink else [])
    settings = Settings(data_dir=folder, audit_retention_days=days)
    kept = archive or FolderArchive(folder / "archive")
    return AuditRetention(database=database, clock=clock, ids=RandomIds(), settings=settings, sinks=sinks, archive=kept)


async def numbers(database: Database) -> list[int]:
    async with database.read() as connection:
        rows = await connection.execute(text("SELECT entry FROM events WHERE audit ORDER BY entry"))
        return [int(row[0]) for row in rows]


async def test_old_entries_go_to_a_file_and_file_and_database_prove_the_whole_together(database: Database, tmp_path: Path) -> None:
    await write(database, 5)
    await write(database, 3, day=20)
    audit = AuditLogger(database=database)
    anchors = [(await audit.head()).written]
    kept = await retention(database, tmp_path).archive_lot()
    assert kept is not None
    assert (kept.first, kept.last, kept.file) == (1, 5, "audit-000000000001-000000000005.jsonl.gz")
    path = tmp_path / "archive" / kept.file
    assert path.stat().st_mode & 0o777 == 0o600
    assert await numbers(database) == [6, 7, 8, 9]
    offline = check_file(path, None)
    assert (offline.valid, offline.entries, offline.head) == (True, 5, kept.head)
    here = await audit.verify(anchors[0])
    assert (here.valid, here.entries, here.archived) == (True, 4, 5)
    # The two halves meet: what the file ends with is what the database goes on from.
    assert (await audit.verify(Anchor(entries=kept.last, head=kept.head))).valid
    (told,) = (await audit.list(AuditFilters(type="audit_archived"))).events
    assert (told.event.actor, told.event.data["file"], told.event.data["sha256"]) == ("system", kept.file, kept.sha256)
    assert dict(told.event.data["source"]) == {"kind": "engine"}  # type: ignore[call-overload]


async def test_an_archive_that_was_changed_is_found_by_itself_and_by_the_hash_on_record(database: Database, tmp_path: Path) -> None:
    await write(database, 5)
    kept = await retention(database, tmp_path).archive_lot()
    assert kept is not None
    path = tmp_path / "archive" / kept.file
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"n":3', b'"n":4')))
    assert check_file(path, None).kind == "changed"
    assert check_file(path, Anchor(entries=kept.last, head=kept.head)).valid is False


async def test_nothing_goes_without_the_setting_nor_before_its_time(database: Database, tmp_path: Path) -> None:
    await write(database, 3)
    assert await retention(database, tmp_path, days=None).archive_lot() is None
    assert await retention(database, tmp_path, today=DAYS).archive_lot() is None
    assert await numbers(database) == [1, 2, 3]
    assert not (tmp_path / "archive").exists()


async def test_what_a_sink_has_not_got_stays_until_it_has(database: Database, tmp_path: Path) -> None:
    await write(database, 3)
    sink = Flaky()
    keeping = retention(database, tmp_path, sink=sink)
    assert await keeping.archive_lot() is None
    delivering = AuditSinks(database=database, clock=VirtualClock(), sinks=[sink])
    await delivering.deliver(sink)
    kept = await keeping.archive_lot()
    assert kept is not None
    assert (kept.last, sink.got) == (3, [1, 2, 3])


async def test_a_second_lot_goes_on_where_the_first_ended(database: Database, tmp_path: Path) -> None:
    await write(database, 2)
    await write(database, 2, day=20)
    await retention(database, tmp_path).archive_lot()
    second = await retention(database, tmp_path, today=60).archive_lot()
    assert second is not None
    assert (second.first, second.last) == (3, 4)
    entries = [
        json.loads(line)["chain"]["entry"]
        for path in sorted((tmp_path / "archive").iterdir())
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]
    assert entries == [1, 2, 3, 4]
    assert (await AuditLogger(database=database).verify()).valid


@dataclass
class Dying:
    """Dies right after the file is there, before anything is deleted."""

    folder: Path

    async def write(self, entries: Sequence[StoredEvent], after: Anchor) -> Archived:
        await FolderArchive(self.folder).write(entries, after)
        raise TemporaryError("the power went")


async def test_who_dies_between_file_and_database_loses_nothing_and_the_next_attempt_replaces_the_file(
    database: Database, tmp_path: Path
) -> None:
    await write(database, 2)
    await write(database, 2, day=5)
    folder = tmp_path / "archive"
    with pytest.raises(TemporaryError):
        await retention(database, tmp_path, today=33, archive=Dying(folder)).archive_lot()
    assert [path.name for path in folder.iterdir()] == ["audit-000000000001-000000000002.jsonl.gz"]
    assert await numbers(database) == [1, 2, 3, 4]
    (folder / "audit-000000000001-000000000009.jsonl.part").write_bytes(b"half")
    kept = await retention(database, tmp_path, today=40).archive_lot()
    assert kept is not None
    assert sorted(path.name for path in folder.glob("*.gz")) == ["audit-000000000001-000000000004.jsonl.gz"]
    assert await numbers(database) == [5]
    assert (await AuditLogger(database=database).verify()).valid


async def test_a_disk_that_takes_no_file_costs_no_entry(database: Database, tmp_path: Path) -> None:
    await write(database, 2)
    (tmp_path / "archive").write_text("a file where the folder should be")
    with pytest.raises(TemporaryError, match="cannot be written"):
        await retention(database, tmp_path).archive_lot()
    assert await numbers(database) == [1, 2]


async def test_entries_that_do_not_fit_the_chain_are_not_archived(database: Database, tmp_path: Path) -> None:
    await write(database, 3)
    archive = FolderArchive(tmp_path / "archive")
    with pytest.raises(TemporaryError, match="does not fit the chain at entry 1"):
        await retention(database, tmp_path, archive=Wrong(archive)).archive_lot()
    assert await numbers(database) == [1, 2, 3]
    assert list((tmp_path / "archive").glob("*.gz")) == []


@dataclass
class Wrong:
    """Hands the entries over in another order."""

    archive: FolderArchive

    async def write(self, entries: Sequence[StoredEvent], after: Anchor) -> Archived:
        return await self.archive.write(list(reversed(entries)), after)


async def test_the_database_still_refuses_to_let_anything_else_go(database: Database, tmp_path: Path) -> None:
    await write(database, 2)
    await write(database, 1, day=20)
    await retention(database, tmp_path).archive_lot()
    with pytest.raises(IntegrityError, match="append-only"):
        async with database.write() as connection:
            await connection.execute(text("DELETE FROM events WHERE entry = 3"))
