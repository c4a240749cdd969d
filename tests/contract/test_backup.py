"""Backups: what was in a database is in the one it is restored into, from and onto either kind; and what is no whole backup is refused."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import column, func, insert, select, table, text

from agent_servicing.adapters.system import RandomIds
from agent_servicing.bootstrap import swap
from agent_servicing.bootstrap.restore import restore
from agent_servicing.core.errors import Conflict, Invalid, ServicingError, Unavailable
from agent_servicing.core.events import Event
from agent_servicing.services.audit_logger import AuditLogger
from agent_servicing.settings import Settings
from agent_servicing.store import tables
from agent_servicing.store.append_only import unguarded
from agent_servicing.store.backup.archive import About, members_of, pack, read_about, unpack
from agent_servicing.store.backup.build import FILES
from agent_servicing.store.backup.dump import REVISION_TABLE, export
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.testing.clock import START
from tests.backup_builders import back_up, fill
from tests.postgres_server import PostgresServer
from tests.store_builders import sqlite_url

pytestmark = pytest.mark.anyio

SQLITE, POSTGRES = "sqlite", "postgresql"


@pytest.fixture
def urls(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str | None]:
    """A database of a kind that nobody used yet."""

    def make(kind: str) -> str:
        if kind == SQLITE:
            return sqlite_url(tmp_path)
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.url(server.new_database())

    return make


def quietly(words: str) -> None:
    """Nobody watches."""


async def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    async with Database.open(url) as database, database.read() as connection:
        found = {}
        for each in tables.metadata.sorted_tables:
            rows = (await connection.execute(select(each).order_by(*each.primary_key.columns))).all()
            found[each.name] = [tuple(row) for row in rows]
        return found


def settings_for(folder: Path, url: str | None) -> Settings:
    return Settings(data_dir=folder / "restored", database_url=url)


@pytest.mark.parametrize("onto", [SQLITE, POSTGRES])
@pytest.mark.parametrize("source", [SQLITE, POSTGRES])
async def test_what_was_in_one_database_is_in_the_other(
    source: str, onto: str, tmp_path: Path, urls: Callable[[str], str], anyio_backend: str
) -> None:
    url = urls(source)
    await fill(url)
    before = await everything(url)
    file = back_up(url, tmp_path)
    target = urls(POSTGRES) if onto == POSTGRES else f"sqlite:///{tmp_path / 'restored' / 'servicing.db'}"
    done = await _restored(settings_for(tmp_path, target), file)
    after = await everything(target)
    told = after["events"].pop()
    assert (told[2], told[6]) == ("restore", "operator on the server's machine")
    (head,), (head_before,) = after.pop("log_head"), before.pop("log_head")
    assert head[1:3] == (head_before[1] + 1, head_before[2] + 1)
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}
    assert sum(len(rows) for rows in before.values()) > 40
    assert done.audit.valid
    assert done.audit.entries == 21
    assert done.agents == ("WowCache", "WowMemory")
    assert done.set_aside is None
    await _numbers_go_on(target)


async def _restored(settings: Settings, file: Path, *, replace: bool = False) -> Any:
    # `restore` has an event loop of its own.
    return await to_thread.run_sync(lambda: restore(settings, file, replace=replace, step=quietly))


async def _numbers_go_on(url: str) -> None:
    """The highest number was given to a row that is gone; it is not given out again."""
    async with Database.open(url) as database, database.write() as connection:
        row = {"agent": "WowMemory", "generation": 1, "instance": "g1-1", "metric": "recall", "value": 1.0, "at": START}
        made = await connection.execute(insert(tables.reports).values(**row).returning(tables.reports.c.number))
        assert made.scalar_one() == 4


@pytest.mark.parametrize("kind", [SQLITE, POSTGRES])
async def test_the_rows_are_those_of_one_moment_while_others_write(kind: str, tmp_path: Path, urls: Callable[[str], str]) -> None:
    """Two tables say the same number; a backup that read them at different moments would show two."""
    url, made, writing = urls(kind), 0, anyio.Event()
    await fill(url, events=2_000)
    async with Database.open(url) as database:

        async def write() -> None:
            nonlocal made
            while not writing.is_set():
                made += 1
                async with database.write() as connection:
                    await append(connection, RandomIds(), [Event(type="told", at=START, audit=True)], keep=100_000)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            for number in range(3):
                folder = tmp_path / str(number)
                folder.mkdir()
                dump = await to_thread.run_sync(export, url, folder)
                (head,) = json.loads(f"[{gzip.decompress((folder / 'log_head.jsonl.gz').read_bytes()).decode()}]")
                assert dump.tables["events"].rows == head[dump.tables["log_head"].columns.index("last_seq")]
            writing.set()
    assert made > 3


async def test_restoring_in_place_sets_the_old_data_aside_and_loses_nothing(tmp_path: Path, urls: Callable[[str], str]) -> None:
    for kind in (SQLITE, POSTGRES):
        folder = tmp_path / kind
        (folder / "restored").mkdir(parents=True)
        url = urls(POSTGRES) if kind == POSTGRES else f"sqlite:///{folder / 'restored' / 'servicing.db'}"
        await fill(url)
        file = back_up(url, folder)
        await fill_more(url)
        with pytest.raises(Conflict, match="There is data already"):
            await _restored(settings_for(folder, url), file)
        newest = await everything(url)
        done = await _restored(settings_for(folder, url), file, replace=True)
        assert len((await everything(url))["events"]) == 41
        assert await old_events(url, done.set_aside) == len(newest["events"]) == 42
        again = await _restored(settings_for(folder, url), file, replace=True)
        assert again.set_aside is not None


async def fill_more(url: str) -> None:
    async with Database.open(url) as database, database.write() as connection:
        await append(connection, RandomIds(), [Event(type="told", at=START, audit=True)] * 2, keep=100_000)


async def old_events(url: str, aside: str) -> int:
    if url.startswith(SQLITE):
        return len((await everything(f"sqlite:///{Path(aside) / 'servicing.db'}"))["events"])
    schema = aside.split()[1]
    async with Database.open(url) as database, database.read() as connection:
        assert (await connection.execute(select(column("version_num")).select_from(table(REVISION_TABLE, schema=schema)))).scalar_one()
        return int((await connection.execute(select(func.count()).select_from(table("events", schema=schema)))).scalar_one())


async def test_a_backup_of_a_changed_history_says_so_when_it_is_restored(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    async with Database.open(url) as database, database.write() as connection:
        for statement in unguarded("sqlite"):
            await connection.execute(text(statement))
        await connection.execute(tables.events.update().where(tables.events.c.seq == 5).values(reason="forged"))
    done = await _restored(settings_for(tmp_path, None), back_up(url, tmp_path))
    assert not done.audit.valid
    assert done.audit.broken_at is not None


def rewritten(file: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy whose members went through `change`; None drops one."""
    target = file.with_name("changed.backup")
    with tarfile.open(file) as old, tarfile.open(target, "w") as new:
        for entry in old:
            content = change(entry.name, old.extractfile(entry).read())  # type: ignore[union-attr]
            if content is not None:
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    return target


def described(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as tar:
        return dict(json.loads(tar.extractfile("backup.json").read()))  # type: ignore[union-attr]


def with_description(file: Path, **changes: Any) -> Path:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps({**json.loads(content), **changes}).encode() if name == "backup.json" else content

    return rewritten(file, change)


def truncated(file: Path) -> Path:
    cut = file.with_name("cut.backup")
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return cut


def flipped(file: Path) -> Path:
    """One bit of one row's file."""
    with tarfile.open(file) as tar:
        at = tar.getmember("tables/events.jsonl.gz").offset_data + 100
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    target = file.with_name("flipped.backup")
    target.write_bytes(content)
    return target


def foreign_tar(file: Path) -> Path:
    target = file.with_name("foreign.tar")
    with tarfile.open(target, "w") as tar:
        tar.add(file, "photos/cat.jpg")
    return target


def no_tar(file: Path) -> Path:
    target = file.with_name("notes.txt")
    target.write_text("These are my notes.\n" * 100)
    return target


def empty(file: Path) -> Path:
    target = file.with_name("empty")
    target.touch()
    return target


def with_a_link(file: Path) -> Path:
    """A member that would be a way out of the folder."""
    target = file.with_name("link.backup")
    with tarfile.open(file) as old, tarfile.open(target, "w") as new:
        for entry in old:
            if entry.name == "tables/agents.jsonl.gz":
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
                new.addfile(entry)
            else:
                new.addfile(entry, old.extractfile(entry))
    return target


def climbing(file: Path) -> Path:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b'"tables/agents.jsonl.gz"', b'"../../agents.jsonl.gz"') if name == "backup.json" else content

    return rewritten(file, change)


DAMAGE = {
    "truncated": (truncated, "backup_damaged"),
    "flipped": (flipped, "backup_damaged"),
    "a member is missing": (lambda file: rewritten(file, lambda n, c: None if n.endswith("agents.jsonl.gz") else c), "backup_damaged"),
    "a member was added": (lambda file: with_description(file, members={}), "backup_damaged"),
    "the description is broken": (lambda file: rewritten(file, lambda n, c: c[:50] if n == "backup.json" else c), "backup_damaged"),
    "fields are missing": (lambda file: with_description(file, dump=None), "backup_damaged"),
    "links": (with_a_link, "backup_damaged"),
    "climbing": (climbing, "backup_damaged"),
    "a newer format": (lambda file: with_description(file, format=2, version="9.0.0"), "backup_too_new"),
    "another product": (lambda file: with_description(file, product="cooking"), "no_backup"),
    "another tar": (foreign_tar, "no_backup"),
    "no tar": (no_tar, "no_backup"),
    "empty": (empty, "no_backup"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_is_no_whole_backup_is_refused_with_its_reason_and_changes_nothing(damage: str, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    make, code = DAMAGE[damage]
    file = make(back_up(url, tmp_path))
    (tmp_path / "restored").mkdir()
    shutil.copy(tmp_path / "test.db", tmp_path / "restored" / "servicing.db")
    before = listing(tmp_path / "restored")
    with pytest.raises(Invalid) as caught:
        await _restored(settings_for(tmp_path, None), file, replace=True)
    assert caught.value.code == code
    assert str(file) in caught.value.message
    assert caught.value.hint
    assert listing(tmp_path / "restored") == before


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "server.lock"
    }


async def test_a_schema_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    file = back_up(url, tmp_path)
    dump = described(file)["dump"]
    with pytest.raises(Unavailable, match="newer version of Agent Servicing"):
        await _restored(settings_for(tmp_path, None), with_description(file, dump={**dump, "revision": "9999"}))
    assert listing(tmp_path / "restored") == {}


async def test_rows_that_do_not_fit_are_refused_and_leave_the_old_data_on_postgresql_too(tmp_path: Path, postgres_url: str) -> None:
    await fill(postgres_url)
    before = await everything(postgres_url)
    file = back_up(postgres_url, tmp_path)
    about = read_about(file)
    folder = tmp_path / "again"
    folder.mkdir()
    unpack(file, folder)
    with gzip.open(folder / "tables/agents.jsonl.gz", "wt") as out:
        out.write("[1, 2]\n")
    bad = tmp_path / "bad.backup"
    pack(folder, replace(about, members=members_of(folder)), bad)
    with pytest.raises(Unavailable, match="agents cannot be understood"):
        await _restored(settings_for(tmp_path, postgres_url), bad, replace=True)
    assert await everything(postgres_url) == before


async def test_a_backup_can_be_looked_at_and_is_for_its_owner_only(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    file = back_up(url, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    about = read_about(file)
    assert isinstance(about, About)
    assert about.dump.tables["events"].rows == 40
    assert "idempotency" not in about.dump.tables
    assert "scratch" not in {path.name for path in listed(tmp_path)}


async def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    file = back_up(url, tmp_path)
    members = described(file)["members"]
    members["tables/events.jsonl.gz"]["bytes"] = 2**60
    with pytest.raises(ServicingError) as caught:
        await _restored(settings_for(tmp_path, None), with_description(file, members=members))
    assert caught.value.code == "disk_full"


@pytest.mark.parametrize("made", range(6))
def test_a_swap_that_died_after_any_of_its_moves_is_finished_by_whoever_comes_next(made: int, tmp_path: Path) -> None:
    """Also before the first and after the last, when only the journal was left; and asked twice it changes nothing more."""
    for name, content in (
        ("servicing.db", "old"),
        ("secrets.key", "old key"),
        ("work/servicing.db", "new"),
        (f"work/{FILES}/secrets.key", "new key"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    moves = [
        swap.Move(source="servicing.db", target="replaced/servicing.db"),
        swap.Move(source="servicing.db-wal", target="replaced/servicing.db-wal"),
        swap.Move(source="work/servicing.db", target="servicing.db"),
        swap.Move(source="secrets.key", target="replaced/secrets.key"),
        swap.Move(source=f"work/{FILES}/secrets.key", target="secrets.key"),
    ]
    (tmp_path / swap.JOURNAL).write_text(json.dumps([{"source": m.source, "target": m.target} for m in moves]))
    for move in moves[:made]:
        swap._make(tmp_path / move.source, tmp_path / move.target)
    assert swap.finish(tmp_path)
    assert not swap.finish(tmp_path)
    found = {
        name: (tmp_path / name).read_text() for name in ("servicing.db", "secrets.key", "replaced/servicing.db", "replaced/secrets.key")
    }
    assert found == {"servicing.db": "new", "secrets.key": "new key", "replaced/servicing.db": "old", "replaced/secrets.key": "old key"}
    assert not (tmp_path / swap.JOURNAL).exists()


async def test_the_restored_history_goes_on(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    await fill(url)
    await _restored(settings_for(tmp_path, None), back_up(url, tmp_path))
    restored = f"sqlite:///{tmp_path / 'restored' / 'servicing.db'}"
    await fill_more(restored)
    async with Database.open(restored) as database:
        found = await AuditLogger(database=database).verify()
    assert (found.valid, found.entries) == (True, 23)
