"""Snapshots put back into real folders, and what was written since: counted, offered, kept. Nothing is lost, whatever happens in between."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_servicing.adapters.state.epochs import FolderEpochs
from agent_servicing.adapters.state.hooks import Converted, Refused, TakenIn
from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConfigSpec, Manifest, Run, Source, StateSpec, StateStore
from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import Saving, SavingStatus, SetAsideState

pytestmark = pytest.mark.anyio

AGENT = "Keeper"
TAKER = Process(instance="g1-1-1", generation=1, version="1.0.0", alive=True, host="127.0.0.1", port=1)


def release(*stores: StateStore, version: str = "1.1.0") -> Release:
    manifest = Manifest(
        agent=AGENT,
        source=Source(kind="path", location="."),
        run=Run(command=("true",)),
        config=ConfigSpec(reload="sdk"),
        state=StateSpec(directory="state", writes=2, stores=stores),
    )
    return Release(agent=AGENT, version=version, ref=version, manifest=manifest)


@dataclass
class Taker:
    """An agent's own code: refuses texts that contain `no`, ends after `dies_after` batches, says nothing at all while `mute`."""

    no: str = "\0"
    dies_after: int | None = None
    mute: bool = False
    taken: list[str] = field(default_factory=list)
    batches: int = 0

    async def convert(self, manifest: Manifest, processes: Sequence[Process], schema: int) -> Converted:  # noqa: ARG002  (there is one agent)
        if self.mute:
            raise PermanentError(f"POST state/migrate of {processes[0].instance} answered 404")
        return Converted(converted=3 * schema, failed=0)

    async def take_in(self, agent: str, process: Process, lines: Sequence[bytes]) -> TakenIn:  # noqa: ARG002  (there is one agent)
        if self.mute:
            raise PermanentError(f"POST state/import of {process.instance} answered 404")
        if self.dies_after is not None and self.batches >= self.dies_after:
            raise PermanentError(f"POST state/import of {process.instance} failed: ReadError")
        self.batches += 1
        records = [json.loads(line) for line in lines]
        refused = [Refused(line=n, message="no") for n, record in enumerate(records, start=1) if self.no in str(record["value"])]
        no = {each.line for each in refused}
        self.taken += [record["id"] for n, record in enumerate(records, start=1) if n not in no]
        return TakenIn(imported=len(records) - len(no), refused=tuple(refused), refused_count=len(no))


@dataclass
class Kept:
    snapshots: FolderSnapshots
    epochs: FolderEpochs
    folder: Path

    def state(self, epoch: int = 0) -> Path:
        return self.folder / "agents" / AGENT / (f"state@{epoch}" if epoch else "state")

    async def copy(self, key: str, *stores: StateStore, epoch: int = 0) -> None:
        await self.snapshots.begin(release(*stores), key=key, epoch=epoch)
        outcome = await self._over(lambda: self.snapshots.outcome(AGENT, key))
        assert outcome.status is SavingStatus.DONE, outcome.detail

    async def restore(self, key: str, snapshot: str, epoch: int) -> Saving:
        await self.epochs.restore(release(), key=key, snapshot=snapshot, epoch=epoch)
        return await self._over(lambda: self.epochs.restored(AGENT, key))

    async def count(self, key: str, snapshot: str, *stores: StateStore, epoch: int = 0, complete: bool = True) -> Saving:
        await self.epochs.count(release(*stores), key=key, snapshot=snapshot, epoch=epoch, takers=[TAKER], complete=complete)
        return await self._over(lambda: self.epochs.counted(AGENT, key))

    async def aside(self, epoch: int = 0) -> SetAsideState:
        return next(each for each in await self.epochs.set_aside(AGENT) if each.epoch == epoch)

    async def lines(self, epoch: int = 0) -> list[dict[str, object]]:
        return [json.loads(line) for line in (await self.epochs.records(AGENT, epoch)).read_text().splitlines()]

    async def _over(self, outcome) -> Saving:  # type: ignore[no-untyped-def]
        with anyio.fail_after(60):
            while (found := await outcome()).status is SavingStatus.RUNNING:
                await SystemClock().sleep(0.005)
        assert isinstance(found, Saving)
        return found


@asynccontextmanager
async def keeping(folder: Path, taker: Taker | None = None) -> AsyncIterator[Kept]:
    clock = SystemClock()
    async with (
        FolderSnapshots(data_dir=folder, clock=clock) as snapshots,
        FolderEpochs(snapshots=snapshots, hooks=taker, clock=clock) as epochs,
    ):
        kept = Kept(snapshots=snapshots, epochs=epochs, folder=folder)
        kept.state().mkdir(parents=True, exist_ok=True)
        yield kept


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    async with keeping(tmp_path) as found:
        yield found


def remember(file: Path, *texts: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, text TEXT)")
        database.execute("CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, n INTEGER)")
        database.executemany("INSERT INTO memories (text) VALUES (?)", [(text,) for text in texts])
        database.execute("INSERT INTO totals VALUES ('all', ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", (len(texts),))


def remembered(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [text for (text,) in database.execute("SELECT text FROM memories ORDER BY id")]


MEMORIES = StateStore(kind="sqlite", path="memories.db", records=("memories",))


async def test_a_snapshot_becomes_a_folder_of_its_own_and_the_one_in_use_stays_as_it_is(kept: Kept) -> None:
    remember(kept.state() / "memories.db", "old")
    await kept.copy("before")
    remember(kept.state() / "memories.db", "new")
    done = await kept.restore("rbk-1", "before", 1)
    assert done.status is SavingStatus.DONE
    assert "1 files of before" in done.detail
    assert remembered(kept.state(1) / "memories.db") == ["old"]
    assert remembered(kept.state() / "memories.db") == ["old", "new"]


async def test_a_restore_that_was_cut_off_is_done_by_the_next_server_and_one_that_is_done_is_left_alone(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        remember(kept.state() / "memories.db", "old")
        await kept.copy("before")
        half = kept.folder / "agents" / AGENT / "snapshots" / "scratch" / "state"
        half.mkdir(parents=True)
    async with keeping(tmp_path) as kept:
        assert (await kept.restore("rbk-1", "before", 1)).status is SavingStatus.DONE
        remember(kept.state(1) / "memories.db", "since")
    async with keeping(tmp_path) as kept:
        assert (await kept.restore("rbk-1", "before", 1)).status is SavingStatus.DONE
        assert remembered(kept.state(1) / "memories.db") == ["old", "since"]


async def test_a_damaged_snapshot_is_not_put_back(kept: Kept) -> None:
    (kept.state() / "notes").write_bytes(b"x" * 100)
    await kept.copy("before")
    for chunk in (kept.folder / "agents" / AGENT / "snapshots" / "chunks").glob("*/*"):
        chunk.write_bytes(b"rubbish")
    done = await kept.restore("rbk-1", "before", 1)
    assert done.status is SavingStatus.FAILED
    assert "damaged" in done.detail
    assert not kept.state(1).exists()
    assert (await kept.restore("rbk-2", "nowhere", 1)).detail == "there is no snapshot nowhere"


async def test_rows_lines_and_files_are_counted_by_place(kept: Kept) -> None:
    state = kept.state()
    remember(state / "memories.db", "one", "two")
    (state / "log.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    (state / "stays").write_text("same")
    (state / "changes").write_text("before")
    (state / "goes").write_text("away")
    await kept.copy("before")
    remember(state / "memories.db", "three")
    with (state / "log.jsonl").open("a") as file:
        file.write('{"a": 3}\n')
    (state / "changes").write_text("after")
    (state / "goes").unlink()
    (state / "comes").write_bytes(b"\xff\x00")
    written = await kept.epochs.written(release(), snapshot="before", epoch=0)
    found = {place.place: (place.added, place.changed, place.removed) for place in written.places}
    assert found == {
        "memories.db/memories": (1, 0, 0),
        "memories.db/totals": (0, 1, 0),
        "log.jsonl": (1, 0, 0),
        "changes": (0, 1, 0),
        "goes": (0, 0, 1),
        "comes": (1, 0, 0),
    }
    assert (written.records, written.removed) == (5, 1)


async def test_only_the_tables_that_hold_memories_are_counted_where_the_manifest_names_them(kept: Kept) -> None:
    remember(kept.state() / "memories.db", "one")
    await kept.copy("before", MEMORIES)
    remember(kept.state() / "memories.db", "two", "three")
    written = await kept.epochs.written(release(MEMORIES), snapshot="before", epoch=0)
    assert [(place.place, place.added, place.changed) for place in written.places] == [("memories.db/memories", 2, 0)]


async def test_tables_of_every_shape_are_compared(kept: Kept) -> None:
    file = kept.state() / "odd.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript("""
            CREATE TABLE "a b"("the key" TEXT, n, PRIMARY KEY("the key", n)) WITHOUT ROWID;
            CREATE TABLE rowid_taken(rowid TEXT, oid TEXT);
            CREATE TABLE blobs(content BLOB);
            CREATE TABLE leaves(x);
            CREATE VIRTUAL TABLE words USING fts5(text);
            INSERT INTO "a b" VALUES ('k', 1); INSERT INTO rowid_taken VALUES ('x', 'y'); INSERT INTO leaves VALUES (1);
        """)
    await kept.copy("before")
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript("""
            INSERT INTO "a b" VALUES ('k', 2); UPDATE rowid_taken SET oid = 'z'; INSERT INTO blobs VALUES (x'00ff');
            DROP TABLE leaves; INSERT INTO words VALUES ('derived'); CREATE TABLE arrives(x); INSERT INTO arrives VALUES (1), (1);
            ALTER TABLE rowid_taken ADD COLUMN later;
        """)
    await kept.count("rbk-1", "before")
    lines = {line["id"]: line for line in await kept.lines()}
    assert {name: line["change"] for name, line in lines.items()} == {
        "odd.db/a b/k/2": "added",
        "odd.db/rowid_taken/1": "changed",
        "odd.db/blobs/1": "added",
        "odd.db/arrives/1": "added",
        "odd.db/arrives/2": "added",
    }
    assert lines["odd.db/blobs/1"]["value"] == {"content": {"base64": "AP8="}}
    assert lines["odd.db/blobs/1"]["schema"] == 2


async def test_what_the_version_gone_back_to_takes_in_is_kept_and_the_rest_set_aside_and_exportable(tmp_path: Path) -> None:
    taker = Taker(no="odd")
    async with keeping(tmp_path, taker) as kept:
        remember(kept.state() / "memories.db", "old")
        await kept.copy("before", MEMORIES)
        remember(kept.state() / "memories.db", *(f"{'odd' if n % 10 == 0 else 'even'} {n}" for n in range(250)))
        done = await kept.count("rbk-1", "before", MEMORIES)
        assert done.detail == "250 records written since before: 225 kept, 25 set aside"
        state = await kept.aside()
        assert (state.kept, state.set_aside, state.refused) == (225, 25, 25)
        assert len(await kept.lines()) == 250
        taker.no = "\0"
        again = await kept.epochs.offer(release(), 0, takers=[TAKER])
        assert (again.kept, again.set_aside) == (250, 0)
        assert len(taker.taken) == len(set(taker.taken)) == 250


async def test_an_agent_that_takes_nothing_in_has_everything_set_aside(tmp_path: Path) -> None:
    async with keeping(tmp_path, Taker(mute=True)) as kept:
        await kept.copy("before")
        (kept.state() / "new").write_text("memory")
        done = await kept.count("rbk-1", "before")
        assert "1 records written since before: 0 kept, 1 set aside (POST state/import of g1-1-1 answered 404)" in done.detail


async def test_what_was_taken_in_before_a_crash_is_not_offered_again(tmp_path: Path) -> None:
    taker = Taker(dies_after=1)
    async with keeping(tmp_path, taker) as kept:
        await kept.copy("before")
        remember(kept.state() / "memories.db", *(f"text {n}" for n in range(250)))
        first = await kept.count("rbk-1", "before", MEMORIES)
        assert "100 kept, 150 set aside" in first.detail
    shutil.rmtree(tmp_path / "agents" / AGENT / "snapshots" / "scratch", ignore_errors=True)
    taker.dies_after = None
    (tmp_path / "agents" / AGENT / "set-aside" / "0.json").unlink()  # as if the server had been killed just before
    async with keeping(tmp_path, taker) as kept:
        again = await kept.count("rbk-1", "before", MEMORIES)
        assert "250 kept, 0 set aside" in again.detail
        assert len(taker.taken) == len(set(taker.taken)) == 250


async def test_what_is_done_stays_done_for_the_next_server_and_can_be_discarded(tmp_path: Path) -> None:
    async with keeping(tmp_path) as kept:
        await kept.copy("before")
        (kept.state() / "new").write_text("memory")
        await kept.count("rbk-1", "before", complete=False)
    async with keeping(tmp_path) as kept:
        found = await kept.epochs.counted(AGENT, "rbk-1")
        assert found.status is SavingStatus.DONE
        assert "may have written more" in found.detail
        await kept.epochs.discard(AGENT, 0)
        assert await kept.epochs.set_aside(AGENT) == []
        with pytest.raises(PermanentError, match="nothing was set aside"):
            await kept.epochs.records(AGENT, 0)
        assert (kept.state() / "new").read_text() == "memory"


async def test_a_conversion_tells_how_many_and_one_that_cannot_be_says_why(tmp_path: Path) -> None:
    taker = Taker()
    async with keeping(tmp_path, taker) as kept:
        await kept.epochs.convert(release(), key="rbk-1", schema=1, processes=[TAKER])
        assert (await kept._over(lambda: kept.epochs.converted(AGENT, "rbk-1"))).detail == "3 records converted to schema 1"
        taker.mute = True
        await kept.epochs.convert(release(), key="rbk-2", schema=1, processes=[TAKER])
        assert (await kept._over(lambda: kept.epochs.converted(AGENT, "rbk-2"))).status is SavingStatus.FAILED


async def test_counting_does_not_hold_up_a_writer(kept: Kept) -> None:
    file = kept.state() / "memories.db"
    remember(file, "one")
    await kept.copy("before")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO memories (text) VALUES ('not committed')")
        written = await kept.epochs.written(release(MEMORIES), snapshot="before", epoch=0)
        assert written.records == 0
        database.execute("COMMIT")
    assert (await kept.epochs.written(release(MEMORIES), snapshot="before", epoch=0)).records == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.integers(0, 20),
    kinds=st.lists(st.sampled_from(["row", "line", "file"]), min_size=200, max_size=200),
    refuses=st.sampled_from(["\0", "7", "memory"]),
    dies_after=st.one_of(st.none(), st.integers(0, 2)),
    crashes=st.integers(0, 2),
)
async def test_of_200_memories_written_during_an_upgrade_that_is_rolled_back_none_is_lost(
    before: int, kinds: list[str], refuses: str, dies_after: int | None, crashes: int
) -> None:
    """Kept + set aside = 200, always; and every one that was not kept is in the export, with what it said."""
    with TemporaryDirectory() as name:
        folder, taker = Path(name), Taker(no=refuses, dies_after=dies_after)
        async with keeping(folder, taker) as kept:
            stores = (MEMORIES, StateStore(kind="directory", path="files"))
            (kept.state() / "files").mkdir()
            remember(kept.state() / "memories.db", *(f"before {n}" for n in range(before)))
            await kept.copy("before", *stores)
            texts = [f"memory {n}" for n in range(200)]
            remember(kept.state() / "memories.db", *(t for t, kind in zip(texts, kinds, strict=True) if kind == "row"))
            with (kept.state() / "files" / "log.jsonl").open("w") as file:
                file.writelines(f"{t}\n" for t, kind in zip(texts, kinds, strict=True) if kind == "line")
            for text, kind in zip(texts, kinds, strict=True):
                if kind == "file":
                    (kept.state() / "files" / text).write_text(text)
            preview = await kept.epochs.written(release(*stores), snapshot="before", epoch=0)
            assert preview.records == 200
            assert (await kept.restore("rbk-1", "before", 1)).status is SavingStatus.DONE
            await kept.count("rbk-1", "before", *stores)
        for _ in range(crashes):
            (folder / "agents" / AGENT / "set-aside" / "0.json").unlink()
            async with keeping(folder, taker) as kept:
                await kept.count("rbk-1", "before", *stores)
        async with keeping(folder, taker) as kept:
            state = await kept.aside()
            assert state.kept + state.set_aside == 200
            assert state.kept == len(taker.taken) == len(set(taker.taken))
            exported = {str(line["id"]): json.dumps(line["value"]) for line in await kept.lines()}
            assert set(taker.taken) <= exported.keys()
            assert sum(any(text in value for value in exported.values()) for text in (f"memory {n}" for n in range(200))) == 200
            assert remembered(kept.state(1) / "memories.db") == [f"before {n}" for n in range(before)]
