"""What is remembered between requests is never older than what was written last."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.store.database import Database
from agent_servicing.store.remembered import REMEMBERED_MAX, Remembered

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(f"sqlite:///{tmp_path / 'test.db'}") as opened:
        async with opened.write() as connection:
            await connection.execute(text("CREATE TABLE notes (name TEXT, words TEXT)"))
        yield opened


class Reading:
    """Reads notes, counting how often."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, connection: AsyncConnection, name: str) -> str | None:
        self.times += 1
        found = await connection.execute(text("SELECT words FROM notes WHERE name = :name"), {"name": name})
        words: str | None = found.scalar_one_or_none()
        return words


async def note(database: Database, words: str, *, durable: bool = True) -> None:
    async with database.write(durable=durable) as connection:
        await connection.execute(text("DELETE FROM notes"))
        await connection.execute(text("INSERT INTO notes VALUES ('a', :words)"), {"words": words})


async def test_nothing_is_read_again_until_something_is_written(database: Database) -> None:
    remembered, read = Remembered[str](database), Reading()
    assert await remembered.get("a", read) is None
    for number, durable in enumerate((True, False)):
        await note(database, f"words {number}", durable=durable)
        before = read.times
        assert [await remembered.get("a", read) for _ in range(3)] == [f"words {number}"] * 3
        assert read.times == before + 1


async def test_a_lease_is_nothing_that_was_written_and_what_was_not_found_is_looked_for_again(database: Database) -> None:
    remembered, read = Remembered[str](database), Reading()
    await note(database, "words")
    assert await remembered.get("a", read) == "words"
    async with database.write(durable=False, shown=False):
        pass
    assert await remembered.get("a", read) == "words"
    assert read.times == 1
    assert [await remembered.get("b", read) for _ in range(2)] == [None, None]
    assert read.times == 3


async def test_what_was_written_while_it_was_read_is_found_by_the_next(database: Database) -> None:
    remembered, read = Remembered[str](database), Reading()
    await note(database, "old")

    async def overtaken(connection: AsyncConnection, name: str) -> str | None:
        found = await read(connection, name)
        await note(database, "new")
        return found

    assert await remembered.get("a", overtaken) == "old"
    assert await remembered.get("a", read) == "new"


async def test_a_transaction_that_failed_counts_as_written(database: Database) -> None:
    mark = database.mark
    with pytest.raises(RuntimeError):
        async with database.write():
            raise RuntimeError
    assert database.mark != mark


async def test_no_more_is_kept_than_the_limit(database: Database) -> None:
    remembered, read = Remembered[str](database), Reading()
    await note(database, "words")

    async def named(connection: AsyncConnection, name: str) -> str | None:
        await read(connection, name)
        return name

    for number in range(REMEMBERED_MAX + 1):
        await remembered.get(str(number), named)
    for number, more in (("0", 0), (str(REMEMBERED_MAX), 1)):
        before = read.times
        assert await remembered.get(number, named) == number
        assert read.times == before + more


async def test_what_does_not_last_is_read_each_time(database: Database) -> None:
    remembered, read = Remembered[str](database), Reading()
    await note(database, "words")
    for _ in range(2):
        assert await remembered.get("a", read, lasts=lambda words: words != "words") == "words"
    assert read.times == 2


async def test_where_others_may_write_nothing_is_remembered(database: Database) -> None:
    class Shared:
        mark = None
        glance = database.glance

    remembered, read = Remembered[str](Shared()), Reading()  # type: ignore[arg-type]
    await note(database, "words")
    assert [await remembered.get("a", read) for _ in range(2)] == ["words", "words"]
    assert read.times == 2
