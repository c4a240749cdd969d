"""Snapshots of real folders and databases: what they cost, what they keep, and what happens when something is in the way."""

import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from agent_servicing.adapters.state import taking
from agent_servicing.adapters.state.chunks import Chunks
from agent_servicing.adapters.state.description import read
from agent_servicing.adapters.state.restoring import restore
from agent_servicing.adapters.state.snapshots import KEPT, FolderSnapshots
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest, Run, Source, StateSpec, StateStore
from agent_servicing.core.model import Release
from agent_servicing.core.state import SavedState, Saving, SavingStatus

pytestmark = pytest.mark.anyio

AGENT = "Keeper"


def release(*stores: StateStore) -> Release:
    manifest = Manifest(
        agent=AGENT,
        source=Source(kind="path", location="."),
        run=Run(command=("true",)),
        state=StateSpec(directory="state", writes=2, stores=stores),
    )
    return Release(agent=AGENT, version="1.0.0", ref="1.0.0", manifest=manifest)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "agents" / AGENT / "state"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
async def snapshots(tmp_path: Path) -> AsyncIterator[FolderSnapshots]:
    async with FolderSnapshots(data_dir=tmp_path, clock=SystemClock()) as driver:
        yield driver


async def take(snapshots: FolderSnapshots, key: str, *stores: StateStore, pinned: bool = False) -> SavedState:
    await snapshots.begin(release(*stores), key=key, pinned=pinned)
    outcome = await over(snapshots, key)
    assert outcome.status is SavingStatus.DONE, outcome.detail
    return next(saved for saved in await snapshots.list(AGENT) if saved.snapshot == key)


async def over(snapshots: FolderSnapshots, key: str) -> Saving:
    with anyio.fail_after(60):
        while (outcome := await snapshots.outcome(AGENT, key)).status is SavingStatus.RUNNING:
            await SystemClock().sleep(0.01)
    return outcome


def restored(tmp_path: Path, key: str) -> Path:
    folder, target = tmp_path / "agents" / AGENT / "snapshots", tmp_path / f"restored-{key}"
    restore(read(folder / f"{key}.json"), Chunks(folder=folder / "chunks"), target)
    return target


def chunks_of(tmp_path: Path) -> int:
    return sum(1 for path in (tmp_path / "agents" / AGENT / "snapshots" / "chunks").glob("*/*"))


async def test_a_restored_snapshot_equals_what_was_there(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "deep" / "empty").mkdir(parents=True)
    (state / "deep" / "notes.txt").write_text("remember")
    (state / "deep" / "notes.txt").chmod(0o640)
    (state / "big.bin").write_bytes(os.urandom(200_000))
    (state / "link").symlink_to("deep/notes.txt")
    saved = await take(snapshots, "one")
    (state / "deep" / "notes.txt").write_text("forgotten")
    found = restored(tmp_path, "one")
    assert (found / "deep" / "notes.txt").read_text() == "remember"
    assert (found / "deep" / "notes.txt").stat().st_mode & 0o777 == 0o640
    assert (found / "big.bin").read_bytes() == (state / "big.bin").read_bytes()
    assert (found / "deep" / "empty").is_dir()
    assert (found / "link").readlink() == Path("deep/notes.txt")
    assert (saved.files, saved.schema, saved.version, saved.notes) == (2, 2, "1.0.0", ())


async def test_one_percent_of_change_stores_at_most_three_percent_more(snapshots: FolderSnapshots, state: Path) -> None:
    for number in range(100):
        (state / f"part-{number}").write_bytes(os.urandom(150_000))
    first = await take(snapshots, "one")
    (state / "part-50").write_bytes(os.urandom(150_000))
    second = await take(snapshots, "two")
    assert 0 < second.stored_bytes <= 0.03 * first.stored_bytes


async def test_a_file_that_did_not_change_is_not_read_again(
    snapshots: FolderSnapshots, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "old").write_text("old")
    await take(snapshots, "one")
    (state / "new").write_text("new")
    looked: list[str] = []
    real = taking.Taking._read
    monkeypatch.setattr(taking.Taking, "_read", lambda self, path: looked.append(path.name) or real(self, path))
    await take(snapshots, "two")
    assert looked == ["new"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
async def test_a_database_is_copied_whole_while_the_agent_writes(
    snapshots: FolderSnapshots, state: Path, tmp_path: Path, journal: str
) -> None:
    """Each transaction writes two rows; a copy that was not consistent could hold one of them."""
    path, stop, began = state / "memory.db", threading.Event(), threading.Event()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={journal}")
        database.execute("CREATE TABLE memories (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO memories (text) VALUES (?)", [("x" * 1000,)] * 2000)
        database.commit()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            while not stop.is_set():
                with database:
                    database.executemany("INSERT INTO memories (text) VALUES (?)", [("a",), ("b",)])
                began.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        await anyio.to_thread.run_sync(began.wait)
        await take(snapshots, "one")
    finally:
        stop.set()
        writer.join()
    found = restored(tmp_path, "one")
    assert sorted(p.name for p in found.iterdir()) == ["memory.db"]
    with closing(sqlite3.connect(found / "memory.db")) as database:
        rows = database.execute("SELECT count(*) FROM memories").fetchone()[0]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows > 2000
    assert rows % 2 == 0


async def test_a_rehearsal_restores_checks_and_remembers_how_long_it_took(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "notes").write_text("remember")
    await take(snapshots, "one")
    saved = await snapshots.rehearse(AGENT, "one")
    assert saved.rehearsal is not None
    assert saved.rehearsal.passed
    assert (await snapshots.list(AGENT))[0].rehearsal == saved.rehearsal
    assert not (tmp_path / "agents" / AGENT / "snapshots" / "scratch").exists()


async def test_a_rehearsal_of_a_damaged_snapshot_says_so(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "notes").write_text("remember")
    await take(snapshots, "one")
    (chunk,) = (tmp_path / "agents" / AGENT / "snapshots" / "chunks").glob("*/*")
    chunk.write_bytes(b"rubbish")
    saved = await snapshots.rehearse(AGENT, "one")
    assert saved.rehearsal is not None
    assert not saved.rehearsal.passed
    assert "damaged" in saved.rehearsal.detail


async def test_only_so_many_are_kept_besides_pinned_ones_and_their_chunks_go_with_them(
    snapshots: FolderSnapshots, state: Path, tmp_path: Path
) -> None:
    for number in range(KEPT + 3):
        (state / "notes").write_text(f"version {number}")
        await take(snapshots, f"s{number}", pinned=number == 0)
    names = [saved.snapshot for saved in await snapshots.list(AGENT)]
    assert names == ["s7", "s6", "s5", "s4", "s3", "s0"]
    assert chunks_of(tmp_path) == len(names)
    await snapshots.remove(AGENT, "s0")
    assert chunks_of(tmp_path) == KEPT


async def test_asking_again_under_the_same_name_changes_nothing(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "notes").write_text("before")
    await take(snapshots, "one")
    (state / "notes").write_text("after")
    await snapshots.begin(release(), key="one")
    async with FolderSnapshots(data_dir=tmp_path, clock=SystemClock()) as another_server:
        await another_server.begin(release(), key="one")
        assert (await another_server.outcome(AGENT, "one")).status is SavingStatus.DONE
    assert (restored(tmp_path, "one") / "notes").read_text() == "before"


async def test_a_full_disk_leaves_nothing_half_and_keeps_what_was_there(
    snapshots: FolderSnapshots, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "notes").write_text("before")
    await take(snapshots, "one")
    (state / "more").write_bytes(os.urandom(300_000))
    real, written = Chunks.put, []

    def put(self: Chunks, content: bytes) -> str:
        if len(written) == 3:
            raise OSError(28, "No space left on device", "chunks")
        written.append(content)
        return real(self, content)

    monkeypatch.setattr(Chunks, "put", put)
    await snapshots.begin(release(), key="two")
    outcome = await over(snapshots, "two")
    assert outcome.status is SavingStatus.FAILED
    assert "could not be copied" in outcome.detail
    assert [saved.snapshot for saved in await snapshots.list(AGENT)] == ["one"]
    assert chunks_of(tmp_path) == 1
    assert (restored(tmp_path, "one") / "notes").read_text() == "before"


async def test_what_a_crash_left_behind_is_gone_after_the_next_snapshot(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    folder = tmp_path / "agents" / AGENT / "snapshots"
    Chunks(folder=folder / "chunks").put(b"of a snapshot that never was")
    (folder / "scratch").mkdir()
    (folder / "scratch" / "database").write_bytes(b"half")
    (state / "notes").write_text("remember")
    assert await snapshots.list(AGENT) == []
    await take(snapshots, "one")
    assert chunks_of(tmp_path) == 1
    assert not (folder / "scratch").exists()


async def test_a_socket_and_a_pipe_are_left_out_and_named(snapshots: FolderSnapshots, state: Path) -> None:
    os.mkfifo(state / "pipe")
    (state / "notes").write_text("remember")
    saved = await take(snapshots, "one")
    assert saved.files == 1
    assert "pipe" in saved.notes[0]


async def test_a_file_that_vanishes_meanwhile_is_named(snapshots: FolderSnapshots, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "a").write_text("a")
    (state / "b").write_text("b")
    real = taking.Taking._entry

    def entry(self: taking.Taking, path: Path) -> taking.Entry | None:
        (state / "b").unlink(missing_ok=True)
        return real(self, path)

    monkeypatch.setattr(taking.Taking, "_entry", entry)
    saved = await take(snapshots, "one")
    assert saved.files == 1
    assert saved.notes == ("b vanished while the snapshot was taken",)


async def test_only_the_stores_that_the_manifest_names_are_kept(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "keep").mkdir()
    (state / "keep" / "notes").write_text("remember")
    (state / "cache").write_text("rubbish")
    with closing(sqlite3.connect(state / "memory.db")) as database:
        database.execute("CREATE TABLE memories (id INTEGER PRIMARY KEY)")
    await take(snapshots, "one", StateStore(kind="directory", path="keep"), StateStore(kind="sqlite", path="memory.db"))
    found = restored(tmp_path, "one")
    assert sorted(p.name for p in found.iterdir()) == ["keep", "memory.db"]


async def test_a_store_that_leads_out_of_the_state_is_refused(snapshots: FolderSnapshots, state: Path, tmp_path: Path) -> None:
    (state / "out").symlink_to(tmp_path)
    await snapshots.begin(release(StateStore(kind="directory", path="out")), key="one")
    outcome = await over(snapshots, "one")
    assert outcome.status is SavingStatus.FAILED
    assert "leads out" in outcome.detail


async def test_names_that_are_no_safe_file_are_refused(snapshots: FolderSnapshots, state: Path) -> None:
    shutil.rmtree(state)
    for name in ("../../x", "", "a/b"):
        with pytest.raises(PermanentError):
            await snapshots.remove(AGENT, name)


async def test_a_chunk_that_was_damaged_is_written_anew_by_the_next_snapshot(
    snapshots: FolderSnapshots, state: Path, tmp_path: Path
) -> None:
    (state / "kept.bin").write_bytes(os.urandom(200_000))
    await take(snapshots, "one")
    chunk = next((tmp_path / "agents" / AGENT / "snapshots" / "chunks").glob("*/*"))
    chunk.write_bytes(b"\0" + chunk.read_bytes()[1:])
    saved = await take(snapshots, "two")
    assert saved.stored_bytes > 0
    assert (restored(tmp_path, "two") / "kept.bin").read_bytes() == (state / "kept.bin").read_bytes()
    assert (await snapshots.rehearse(AGENT, "two")).rehearsal.passed  # type: ignore[union-attr]


async def test_a_description_that_cannot_be_read_holds_nobody_up_and_loses_nothing(
    snapshots: FolderSnapshots, state: Path, tmp_path: Path
) -> None:
    (state / "kept.bin").write_bytes(os.urandom(100_000))
    await take(snapshots, "one")
    folder = tmp_path / "agents" / AGENT / "snapshots"
    whole = (folder / "one.json").read_text()
    (folder / "one.json").write_text("{")
    assert await snapshots.list(AGENT) == []
    (state / "kept.bin").write_bytes(b"something else")
    await take(snapshots, "two")
    (folder / "one.json").write_text(whole)
    assert (await snapshots.rehearse(AGENT, "one")).rehearsal.passed  # type: ignore[union-attr]  (its chunks were not swept)
