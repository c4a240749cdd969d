"""What both databases promise of the audit: nobody changes or removes an entry by a slip, and what somebody does on purpose is found and named."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from agent_servicing.adapters.system import RandomIds
from agent_servicing.core.audit import Anchor
from agent_servicing.core.audit_text import record_of, shown
from agent_servicing.core.events import Event
from agent_servicing.services.audit_logger import EXPORT_BATCH, SCAN_MAX, AuditFilters, AuditLogger, Verification
from agent_servicing.store.append_only import REFUSAL, unguarded
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.testing.clock import START
from tests.store_builders import an_event, open_store, sqlite_url

pytestmark = pytest.mark.anyio

KEEP = 100_000


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found: str = sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with open_store(url) as (database, _):
        yield database


@pytest.fixture
def audit(database: Database) -> AuditLogger:
    return AuditLogger(database=database)


def an_entry(number: int, **changes: object) -> Event:
    event = an_event("upgrade", audit=True, at=START + timedelta(seconds=number), actor="ada", data={"number": number, "status": "success"})
    return replace(event, **changes)  # type: ignore[arg-type]


async def write(database: Database, *events: Event) -> None:
    async with database.write() as connection:
        await append(connection, RandomIds(), events, keep=KEEP)


async def history(database: Database) -> None:
    """Five entries with a live event after each: entries have the odd numbers 1 to 9 in the log."""
    await write(database, *(event for number in range(5) for event in (an_entry(number), an_event("metrics_update"))))


async def tamper(database: Database, *statements: str) -> None:
    """As the owner of the database, who takes the triggers away first."""
    async with database.write() as connection:
        for statement in (*unguarded(connection.dialect.name), *statements):
            await connection.execute(text(statement))


async def ids(database: Database) -> list[str]:
    async with database.read() as connection:
        return [row.event_id for row in (await connection.execute(text("SELECT event_id FROM events WHERE audit ORDER BY seq"))).all()]


def told(found: Verification) -> tuple[bool, str | None, str | None]:
    return found.valid, found.kind, found.broken_at


# --- append-only ---


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET reason = 'nothing happened' WHERE seq = 3",
        "UPDATE events SET audit = false WHERE seq = 3",
        "UPDATE events SET seq = 100 WHERE seq = 3",
        "DELETE FROM events WHERE seq = 3",
        "DELETE FROM events",
        "DELETE FROM events WHERE audit",
    ],
)
async def test_no_entry_can_be_changed_or_removed(database: Database, audit: AuditLogger, statement: str) -> None:
    await history(database)
    with pytest.raises(DBAPIError, match=REFUSAL):
        async with database.write() as connection:
            await connection.execute(text(statement))
    assert told(await audit.verify()) == (True, None, None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_head SET audit_entries = audit_entries - 1",
        "UPDATE log_head SET last_seq = 1",
        "UPDATE log_head SET archived_entries = audit_entries + 1",
        "DELETE FROM log_head",
    ],
)
async def test_the_end_of_the_log_only_moves_forward(database: Database, statement: str) -> None:
    await history(database)
    with pytest.raises(DBAPIError, match="only grows"):
        async with database.write() as connection:
            await connection.execute(text(statement))


async def test_postgresql_does_not_empty_the_tables_either(postgres_url: str) -> None:
    async with open_store(postgres_url) as (database, _):
        await history(database)
        for table, said in (("events", REFUSAL), ("log_head", "only grows")):
            with pytest.raises(DBAPIError, match=said):
                async with database.write() as connection:
                    await connection.execute(text(f"TRUNCATE {table}"))


@pytest.mark.parametrize("taken", ["seq", "event_id", "entry"])
async def test_sqlite_does_not_replace_an_entry_either(tmp_path: Path, taken: str) -> None:
    async with open_store(sqlite_url(tmp_path)) as (database, _):
        await history(database)
        values = {"seq": 77, "event_id": "evt-x", "entry": 77}
        async with database.write() as connection:
            row = (await connection.execute(text("SELECT seq, event_id, entry FROM events WHERE seq = 3"))).one()
        values[taken] = row._mapping[taken]
        statement = (
            "INSERT OR REPLACE INTO events (seq, event_id, type, at, actor, reason, audit, data, entry) "
            "VALUES (:seq, :event_id, 'x', '2026-01-01 00:00:00.000000', 'eve', '', 1, '{}', :entry)"
        )
        with pytest.raises(DBAPIError, match=REFUSAL):
            async with database.write() as connection:
                await connection.execute(text(statement), values)
        with pytest.raises(DBAPIError, match="only grows"):
            async with database.write() as connection:
                await connection.execute(text("INSERT OR REPLACE INTO log_head VALUES (1, 9, 0, '', 0, 0, '')"))


# --- what was done on purpose is named ---

COPY = (
    "INSERT INTO events (seq, event_id, type, at, actor, reason, audit, data, entry, previous, digest) "
    "SELECT {seq}, 'evt-x', type, at, {actor}, reason, audit, data, {entry}, {previous}, digest FROM events WHERE seq = {of}"
)

SWAP = (
    "DROP INDEX audit_entry",
    "UPDATE events SET seq = 1000 WHERE seq = 3",
    "UPDATE events SET seq = 3 WHERE seq = 5",
    "UPDATE events SET seq = 5 WHERE seq = 1000",
)

PUT_IN = (
    "DROP INDEX audit_entry",
    "DELETE FROM events WHERE seq = 4",
    COPY.format(seq=4, actor="'eve'", entry="entry", previous="previous", of=5),
)


@pytest.mark.parametrize(
    ("statements", "kind", "name"),
    [
        (("UPDATE events SET actor = 'eve' WHERE seq = 3",), "changed", 1),
        (('UPDATE events SET data = \'{"status":"failed"}\' WHERE seq = 3',), "changed", 1),
        (("UPDATE events SET at = '2020-01-01 00:00:00' WHERE seq = 3",), "changed", 1),
        (("DELETE FROM events WHERE seq = 1",), "deleted", 1),
        (("DELETE FROM events WHERE seq = 5",), "deleted", 3),
        (("DELETE FROM events WHERE seq > 4",), "deleted", 1),
        (("UPDATE events SET audit = false WHERE seq = 3",), "deleted", 2),
        (SWAP, "reordered", 2),
        (PUT_IN, "inserted", None),
    ],
)
async def test_what_was_done_to_an_entry_is_named(
    database: Database, audit: AuditLogger, statements: tuple[str, ...], kind: str, name: int | None
) -> None:
    await history(database)
    before = await ids(database)
    await tamper(database, *statements)
    found = await audit.verify()
    assert told(found) == (False, kind, before[name] if name is not None else "evt-x")
    assert found.message


async def test_a_history_without_any_entry_left_is_found(database: Database, audit: AuditLogger) -> None:
    await history(database)
    await tamper(database, "DELETE FROM events")
    assert told(await audit.verify()) == (False, "deleted", "the first entry")


async def test_entries_put_in_at_the_end_are_found(database: Database, audit: AuditLogger) -> None:
    await history(database)
    async with database.write() as connection:
        await connection.execute(text(COPY.format(seq=11, actor="actor", entry=6, previous="digest", of=9)))
    assert told(await audit.verify()) == (False, "inserted", "evt-x")


# --- anchors ---


async def test_an_anchor_of_earlier_still_fits_after_more_was_written(database: Database, audit: AuditLogger) -> None:
    assert told(await audit.verify(Anchor())) == (True, None, None)
    await history(database)
    anchor = (await audit.head()).written
    await write(database, an_entry(9))
    found = await audit.verify(anchor)
    assert (told(found), found.entries) == ((True, None, None), 6)


async def test_a_cut_history_whose_count_was_set_to_fit_is_found_by_an_anchor_alone(database: Database, audit: AuditLogger) -> None:
    await history(database)
    anchor = (await audit.head()).written
    end = "SET audit_entries = 3, audit_head = (SELECT digest FROM events WHERE seq = 5)"
    await tamper(database, "DELETE FROM events WHERE seq > 5", f"UPDATE log_head {end}")
    assert told(await audit.verify()) == (True, None, None)
    left = await ids(database)
    found = await audit.verify(anchor)
    assert told(found) == (False, "anchor", left[-1])
    assert "newest were removed" in found.message


async def test_a_history_that_was_written_anew_is_found_by_an_anchor_alone(database: Database, audit: AuditLogger) -> None:
    await history(database)
    anchor = (await audit.head()).written
    await tamper(database, "DELETE FROM events", "UPDATE log_head SET last_seq = 0, audit_entries = 0, audit_head = archived_head")
    await write(database, *(an_entry(number, actor="eve") for number in range(7)))
    assert told(await audit.verify()) == (True, None, None)
    found = await audit.verify(anchor)
    assert told(found) == (False, "anchor", (await ids(database))[4])
    assert "written anew" in found.message


# --- reading ---


async def all_pages(audit: AuditLogger, filters: AuditFilters) -> list[object]:
    found: list[object] = []
    cursor: str | None = None
    while True:
        page = await audit.list(replace(filters, cursor=cursor))
        found += [stored.event.data["number"] for stored in page.events]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_pages_follow_the_clock_even_where_it_was_set_back_and_repeat_nothing(database: Database, audit: AuditLogger) -> None:
    await write(
        database, *(an_entry(number, at=START + timedelta(seconds=seconds)) for number, seconds in enumerate((0, 9, 3, 3, 3, 1, 10)))
    )
    assert await all_pages(audit, AuditFilters(limit=2)) == [6, 1, 4, 3, 2, 5, 0]
    since = AuditFilters(limit=2, since=START + timedelta(seconds=3), until=START + timedelta(seconds=10))
    assert await all_pages(audit, since) == [1, 4, 3, 2]


async def test_words_in_a_reason_are_found_in_any_case_and_taken_as_they_stand(database: Database, audit: AuditLogger) -> None:
    reasons = ("Ticket 77", "100 % of it", "ticket 7", "", "TICKET 77 again")
    await write(database, *(an_entry(number, reason=reason) for number, reason in enumerate(reasons)))
    assert await all_pages(audit, AuditFilters(says="ticket 77", limit=1)) == [4, 0]
    assert await all_pages(audit, AuditFilters(says="%")) == [1]
    assert await all_pages(audit, AuditFilters(says="_")) == []


async def test_a_page_that_looks_for_words_ends_after_a_while_with_a_cursor(database: Database, audit: AuditLogger) -> None:
    await write(database, an_entry(0, reason="needle"), *(an_entry(number) for number in range(1, SCAN_MAX + 2)))
    page = await audit.list(AuditFilters(says="needle"))
    assert (page.events, page.next_cursor is None) == ((), False)
    assert await all_pages(audit, AuditFilters(says="needle")) == [0]


async def test_an_export_brings_every_entry_once_with_all_that_its_hash_covers(database: Database, audit: AuditLogger) -> None:
    await write(database, *(an_entry(number) for number in range(EXPORT_BATCH + 3)))
    head = await audit.head()
    await write(database, an_entry(9_999))
    found = [stored async for batch in audit.export(AuditFilters(), upto=head.last_seq) for stored in batch]
    assert [stored.event.data["number"] for stored in found] == list(range(EXPORT_BATCH + 2, -1, -1))
    assert all(record_of({**shown(stored), "timestamp": stored.event.at.isoformat()}).intact for stored in found)
