"""Snapshots of agents' state on this machine. `bootstrap` opens the driver; the engine begins one before an upgrade, the API on demand.

agents/<agent>/snapshots/<snapshot>.json   what is in it, written last
agents/<agent>/snapshots/chunks/           what is in any of them, once
agents/<agent>/snapshots/unpacked-<snapshot>/  one that somebody asked to have as files; theirs from then on
agents/<agent>/snapshots/scratch/          of what is under way; emptied by whoever comes next
"""

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import anyio
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.state import description as descriptions
from agent_servicing.adapters.state.chunks import Chunks
from agent_servicing.adapters.state.description import Description
from agent_servicing.adapters.state.restoring import problems, restore
from agent_servicing.adapters.state.taking import Taking
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import Rehearsal, SavedState, Saving, SavingStatus
from agent_servicing.ports import Clock

EXPORT: Final = "export.part"

KEPT: Final = 5
"""As many as there are rollback points. Pinned ones are kept besides."""

NICENESS: Final = 15
THREADS: Final = 2
OUTCOMES_KEPT: Final = 200
"""Failures that are remembered; one that is asked for again is absent and can be begun anew."""

T = TypeVar("T")


class Stopped(Exception):
    """The server ends while a snapshot is taken."""


class Exports(Protocol):
    """What `hooks.StateHooks` does here."""

    async def export(self, agent: str, process: Process, target: Path) -> None: ...


class FolderSnapshots:
    """`Snapshots` below the data directory, as an async context manager; leaving it stops what runs, and nothing half remains."""

    def __init__(self, *, data_dir: Path, clock: Clock, hooks: Exports | None = None) -> None:
        self._hooks = hooks
        self.folders, self._clock = Folders(data_dir=data_dir.resolve()), clock
        self._outcomes: dict[tuple[str, str], Saving] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self._ending = threading.Event()
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="snapshots", initializer=_be_nice)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await to_thread.run_sync(self._threads.shutdown)

    async def begin(self, release: Release, *, key: str, pinned: bool = False, epoch: int = 0, exporters: Sequence[Process] = ()) -> None:
        if (await self.outcome(release.agent, key)).status is SavingStatus.ABSENT:
            self._outcomes[release.agent, key] = Saving(status=SavingStatus.RUNNING, detail="copying the state")
            self._drop_oldest()
            self._tasks.start_soon(self._take, release, key, pinned, epoch, exporters)

    async def outcome(self, agent: str, key: str) -> Saving:
        known = self._outcomes.get((agent, key))
        if known is not None:
            return known
        path = self.folders.snapshot(agent, key)
        return Saving(status=SavingStatus.DONE if await to_thread.run_sync(path.is_file) else SavingStatus.ABSENT)

    async def list(self, agent: str) -> Sequence[SavedState]:
        found = await to_thread.run_sync(descriptions.read_all, self.folders.snapshots(agent))
        return [each.saved for each in found]

    async def rehearse(self, agent: str, key: str) -> SavedState:
        self.folders.snapshot(agent, key)
        async with self._lock(agent):
            return await self._in_thread(partial(self._rehearsed, agent, key))

    async def unpack(self, agent: str, key: str) -> str:
        self.folders.snapshot(agent, key)
        async with self._lock(agent):
            return await self._in_thread(partial(self._unpacked, agent, key))

    async def remove(self, agent: str, key: str) -> None:
        self.folders.snapshot(agent, key)
        async with self._lock(agent):
            self._outcomes.pop((agent, key), None)
            await self._in_thread(partial(self._removed, agent, key))

    async def _take(self, release: Release, key: str, pinned: bool, epoch: int, exporters: Sequence[Process]) -> None:
        try:
            async with self._lock(release.agent):
                await self._export(release, exporters)
                saved = await self._in_thread(partial(self._taken, release, key, pinned=pinned, epoch=epoch))
            outcome = Saving(status=SavingStatus.DONE, detail=described(saved))
        except PermanentError as error:
            outcome = Saving(status=SavingStatus.FAILED, detail=str(error))
        except OSError as error:
            outcome = Saving(status=SavingStatus.FAILED, detail=f"the state could not be copied: {sentence(error)}")
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 (a bug of ours must not end the server; the deployment that waits for it is told)
            self._log.exception("snapshot_broke", agent=release.agent, snapshot=key)
            outcome = Saving(status=SavingStatus.FAILED, detail=f"taking the snapshot itself failed: {type(error).__name__}")
        self._outcomes[release.agent, key] = outcome
        self._log.info("snapshot", agent=release.agent, snapshot=key, status=outcome.status.value, detail=outcome.detail)

    async def _export(self, release: Release, exporters: Sequence[Process]) -> None:
        """What the agent alone can read, into a file that is then kept like any other."""
        target = self.folders.snapshots(release.agent) / EXPORT
        target.unlink(missing_ok=True)
        if not any(store.kind == "http" for store in release.manifest.state.stores):
            return
        if self._hooks is None or not exporters:
            raise PermanentError("nobody is there to export the state that only the agent itself can read")
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._hooks.export(release.agent, exporters[0], target)

    def _taken(self, release: Release, key: str, *, pinned: bool, epoch: int) -> SavedState:
        began, began_at = self._clock.monotonic(), self._clock.now()
        folder = self.folders.snapshots(release.agent)
        scratch, spec = _scratch(folder), release.manifest.state
        chunks, before = Chunks(folder=folder / "chunks"), descriptions.read_all(folder)
        known = {entry.path: entry for entry in before[0].entries} if before else {}
        taking = Taking(
            root=self.folders.state(release.manifest, epoch),
            stores=spec.stores,
            chunks=chunks,
            known=known,
            scratch=scratch,
            check=self.check,
        )
        try:
            entries = (*taking.entries(), *taking.exported(folder / EXPORT))
            chunks.settle()
            saved = SavedState(
                snapshot=key,
                version=release.version,
                schema=spec.writes,
                taken_at=began_at,
                seconds=round(self._clock.monotonic() - began, 3),
                size_bytes=sum(entry.size for entry in entries),
                stored_bytes=sum(chunks.added.values()),
                files=sum(entry.kind in ("file", "sqlite") for entry in entries),
                pinned=pinned,
                notes=tuple(taking.notes),
            )
            made = Description(saved=saved, entries=entries)
            descriptions.write(folder, made)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                _sweep(folder, before)
            raise
        finally:
            (folder / EXPORT).unlink(missing_ok=True)
            shutil.rmtree(scratch, ignore_errors=True)
        _sweep(folder, _expire(folder, [made, *before]))
        return saved

    def _rehearsed(self, agent: str, key: str) -> SavedState:
        folder = self.folders.snapshots(agent)
        found, began = _find(folder, key), self._clock.monotonic()
        target = _scratch(folder) / "rehearsal"
        try:
            restore(found, Chunks(folder=folder / "chunks"), target)
            seconds = round(self._clock.monotonic() - began, 3)
            wrong = problems(found, target)
        except PermanentError as error:
            seconds, wrong = round(self._clock.monotonic() - began, 3), [str(error)]
        except OSError as error:
            raise PermanentError(f"the snapshot could not be restored for a try: {sentence(error)}") from error
        finally:
            shutil.rmtree(target.parent, ignore_errors=True)
        good = f"{found.saved.files} files restored in {seconds:g} s; every hash and every database is right"
        rehearsal = Rehearsal(at=self._clock.now(), seconds=seconds, passed=not wrong, detail="; ".join(wrong[:5]) or good)
        saved = replace(found.saved, rehearsal=rehearsal)
        descriptions.write(folder, replace(found, saved=saved))
        return saved

    def _unpacked(self, agent: str, key: str) -> str:
        """Under its name only once it is whole."""
        folder, target = self.folders.snapshots(agent), self.folders.snapshots(agent) / f"unpacked-{key}"
        if target.exists():
            raise PermanentError(f"{target} is there already")
        scratch = _scratch(folder)
        try:
            restore(_find(folder, key), Chunks(folder=folder / "chunks"), scratch / "state", exports=True)
            (scratch / "state").rename(target)
        except OSError as error:
            raise PermanentError(f"the snapshot could not be unpacked: {sentence(error)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return str(target)

    def _removed(self, agent: str, key: str) -> None:
        folder = self.folders.snapshots(agent)
        (folder / f"{key}.json").unlink(missing_ok=True)
        _sweep(folder, descriptions.read_all(folder))

    async def work(self, agent: str, act: Callable[[], T]) -> T:
        """Run it in one of our threads while nobody else touches what is kept of this agent."""
        async with self._lock(agent):
            return await self._in_thread(act)

    def find(self, agent: str, key: str) -> Description:
        """Blocking. Raises `PermanentError` when there is no such snapshot."""
        self.folders.snapshot(agent, key)
        return _find(self.folders.snapshots(agent), key)

    def scratch(self, agent: str) -> Path:
        """An empty folder for whoever is at work. Blocking."""
        return _scratch(self.folders.snapshots(agent))

    def stop(self) -> None:
        """Whatever runs in our threads ends soon."""
        self._ending.set()

    def check(self) -> None:
        """Raises `Stopped` when the server ends."""
        if self._ending.is_set():
            raise Stopped

    def _lock(self, agent: str) -> anyio.Lock:
        return self._locks.setdefault(agent, anyio.Lock())

    def _drop_oldest(self) -> None:
        over = [key for key, outcome in self._outcomes.items() if outcome.status is not SavingStatus.RUNNING]
        for key in over[: max(0, len(over) - OUTCOMES_KEPT)]:
            del self._outcomes[key]

    async def _in_thread(self, act: Callable[[], T]) -> T:
        """In one of our own threads, which yield to everything else on the machine."""
        return await to_thread.run_sync(lambda: self._threads.submit(act).result(), abandon_on_cancel=False)


def described(saved: SavedState) -> str:
    """For the stage's note."""
    left_out = f"; {len(saved.notes)} notes, the first: {saved.notes[0]}" if saved.notes else ""
    return f"{saved.files} files, {saved.size_bytes} bytes, {saved.stored_bytes} bytes stored for it, {saved.seconds:g} s{left_out}"


def _find(folder: Path, key: str) -> Description:
    try:
        return descriptions.read(folder / f"{key}.json")
    except FileNotFoundError as error:
        raise PermanentError(f"there is no snapshot {key}") from error


def _scratch(folder: Path) -> Path:
    """Empty; what a crash left there is gone."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    return scratch


def _expire(folder: Path, there: Sequence[Description]) -> Sequence[Description]:
    """Delete the oldest that are not pinned; what stays."""
    old = [each for each in there if not each.saved.pinned][KEPT:]
    for each in old:
        (folder / f"{each.saved.snapshot}.json").unlink(missing_ok=True)
    return [each for each in there if each not in old]


def _sweep(folder: Path, there: Sequence[Description]) -> None:
    """Nothing while there is a description that cannot be read: nobody knows what it needs."""
    if sum(1 for _ in folder.glob("*.json")) > len(there):
        return
    Chunks(folder=folder / "chunks").sweep({chunk for each in there for chunk in each.chunks()})


def _be_nice() -> None:
    """On Linux for this thread alone; for the disk, the default scheduler derives its priority from it."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
