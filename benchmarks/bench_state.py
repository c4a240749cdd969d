"""Snapshots of a large state: what the second one stores after 1 % has changed, how long each takes, and what a writer notices meanwhile.

`python -m benchmarks.bench_state [MEGABYTES]` prints one JSON object. Half of the state are files of 10 MB, the other half is one SQLite
database in WAL mode, into which a writer commits all the time.
"""

import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Self

import anyio

from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.manifest import Manifest, Run, Source, StateSpec
from agent_servicing.core.model import Release
from agent_servicing.core.state import SavedState, SavingStatus

AGENT = "Keeper"
ROW_BYTES = 1_000
FILE_BYTES = 10_000_000


def fill(state: Path, megabytes: int) -> None:
    """Random bytes, which do not compress: the worst case for what is stored."""
    state.mkdir(parents=True)
    for number in range(max(1, megabytes * 500_000 // FILE_BYTES)):
        (state / f"part-{number}").write_bytes(os.urandom(FILE_BYTES))
    with closing(sqlite3.connect(state / "memory.db")) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE memories (id INTEGER PRIMARY KEY, text BLOB)")
        database.executemany("INSERT INTO memories (text) VALUES (?)", ((os.urandom(ROW_BYTES),) for _ in range(megabytes * 500)))
        database.commit()


def change(state: Path, megabytes: int) -> None:
    """1 %: half of it in a file, half in new memories."""
    part = megabytes * 5_000
    with (state / "part-0").open("r+b") as file:
        file.write(os.urandom(part))
    with closing(sqlite3.connect(state / "memory.db", timeout=30)) as database, database:
        database.executemany("INSERT INTO memories (text) VALUES (?)", ((os.urandom(ROW_BYTES),) for _ in range(part // ROW_BYTES)))


class Writer:
    """Commits one small memory after the other, and notes how long each took."""

    def __init__(self, path: Path) -> None:
        self._path, self._stop, self.milliseconds = path, threading.Event(), [0.0]
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=30)) as database:
            while not self._stop.wait(0.02):
                began = time.perf_counter()
                with database:
                    database.execute("INSERT INTO memories (text) VALUES (x'00')")
                self.milliseconds.append(1000 * (time.perf_counter() - began))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        found = sorted(self.milliseconds)
        return {"writes": len(found), "median_ms": round(found[len(found) // 2], 2), "max_ms": round(found[-1], 2)}


async def take(driver: FolderSnapshots, release: Release, key: str) -> SavedState:
    await driver.begin(release, key=key)
    while (outcome := await driver.outcome(AGENT, key)).status is SavingStatus.RUNNING:
        await SystemClock().sleep(0.05)
    if outcome.status is not SavingStatus.DONE:
        raise SystemExit(outcome.detail)
    return (await driver.list(AGENT))[0]


async def measure(megabytes: int) -> dict[str, object]:
    manifest = Manifest(
        agent=AGENT, source=Source(kind="path", location="."), run=Run(command=("true",)), state=StateSpec(directory="state", writes=1)
    )
    release = Release(agent=AGENT, version="1.0.0", ref="1.0.0", manifest=manifest)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        state = data_dir / "agents" / AGENT / "state"
        fill(state, megabytes)
        async with FolderSnapshots(data_dir=data_dir, clock=SystemClock()) as driver:
            first = await take(driver, release, "first")
            change(state, megabytes)
            with Writer(state / "memory.db") as writer:
                second = await take(driver, release, "second")
            with Writer(state / "memory.db") as alone:
                await SystemClock().sleep(3)
            tried = await driver.rehearse(AGENT, "second")
    return {
        "size_bytes": first.size_bytes,
        "first": {"seconds": first.seconds, "stored_bytes": first.stored_bytes},
        "second": {"seconds": second.seconds, "stored_bytes": second.stored_bytes},
        "stored_percent": round(100 * second.stored_bytes / first.size_bytes, 2),
        "writer_meanwhile": writer.figures(),
        "writer_alone": alone.figures(),
        "rehearsal_seconds": tried.rehearsal.seconds if tried.rehearsal else None,
    }


if __name__ == "__main__":
    print(json.dumps(anyio.run(measure, int(sys.argv[1]) if len(sys.argv) > 1 else 1000), indent=2))
