"""Puts snapshots back, and keeps what was written since. `bootstrap` opens the driver; the engine begins its acts, the API looks at them.

A snapshot is never unpacked under running instances: it becomes a state folder of its own (an epoch), which new instances are given. The folder
before it stays as it was left.
"""

import json
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

import anyio
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.state import aside as asides
from agent_servicing.adapters.state.aside import Aside
from agent_servicing.adapters.state.chunks import Chunks, sync_folder
from agent_servicing.adapters.state.counting import Counted
from agent_servicing.adapters.state.hooks import BATCH_RECORDS, Converted, TakenIn
from agent_servicing.adapters.state.records import Comparing, Record, as_line
from agent_servicing.adapters.state.restoring import problems, restore
from agent_servicing.adapters.state.snapshots import FolderSnapshots, Stopped
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import Saving, SavingStatus, SetAsideState, Written
from agent_servicing.ports import Clock

OUTCOMES_KEPT: Final = 200

Act = Literal["restore", "convert", "count"]


class Hooks(Protocol):
    """What `hooks.StateHooks` does."""

    async def convert(self, manifest: Manifest, processes: Sequence[Process], schema: int) -> Converted: ...
    async def take_in(self, agent: str, process: Process, lines: Sequence[bytes]) -> TakenIn: ...


class FolderEpochs:
    """`Restores` and `SetAsides` below the data directory, as an async context manager. Without hooks no agent is asked anything."""

    def __init__(self, *, snapshots: FolderSnapshots, hooks: Hooks | None, clock: Clock) -> None:
        self._snapshots, self._hooks, self._clock = snapshots, hooks, clock
        self._folders = snapshots.folders
        self._outcomes: dict[tuple[Act, str, str], Saving] = {}
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._snapshots.stop()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    # --- for the engine ------------------------------------------------------------------------------------------------------------

    async def restore(self, release: Release, *, key: str, snapshot: str, epoch: int) -> None:
        work = partial(self._restored, release, snapshot, epoch)
        self._begin("restore", release.agent, key, partial(self._snapshots.work, release.agent, work))

    async def restored(self, agent: str, key: str) -> Saving:
        return self._outcome("restore", agent, key)

    async def convert(self, release: Release, *, key: str, schema: int, processes: Sequence[Process]) -> None:
        self._begin("convert", release.agent, key, partial(self._convert, release, schema, processes))

    async def converted(self, agent: str, key: str) -> Saving:
        return self._outcome("convert", agent, key)

    async def count(self, release: Release, *, key: str, snapshot: str, epoch: int, takers: Sequence[Process], complete: bool) -> None:
        self._begin("count", release.agent, key, partial(self._count, release, key, snapshot, epoch, takers, complete))

    async def counted(self, agent: str, key: str) -> Saving:
        known = self._outcome("count", agent, key)
        if known.status is not SavingStatus.ABSENT:
            return known
        done = next((each for each in await self.set_aside(agent) if each.deployment == key), None)
        return Saving(status=SavingStatus.DONE, detail=done.detail) if done is not None else known

    # --- for the services ----------------------------------------------------------------------------------------------------------

    async def written(self, release: Release, *, snapshot: str, epoch: int) -> Written:
        def compare() -> Written:
            counted = Counted()
            for _ in self._compared(release, snapshot, epoch, counted):
                pass
            return counted.written(snapshot)

        return await self._snapshots.work(release.agent, compare)

    async def set_aside(self, agent: str) -> Sequence[SetAsideState]:
        return await to_thread.run_sync(asides.all_of, self._folders.set_aside(agent))

    async def records(self, agent: str, epoch: int) -> Path:
        path = self._aside(agent, epoch).records
        if not await to_thread.run_sync(path.is_file):
            raise PermanentError(f"nothing was set aside as {epoch}")
        return path

    async def offer(self, release: Release, epoch: int, *, takers: Sequence[Process]) -> SetAsideState:
        aside = self._aside(release.agent, epoch)
        state = await to_thread.run_sync(aside.read)
        if state is None:
            raise PermanentError(f"nothing was set aside as {epoch}")
        refused, problem = await self._offer(release, aside, takers)
        changed = await self._summed(aside, replace(state, refused=refused), problem)
        await to_thread.run_sync(aside.write, changed)
        return changed

    async def bring(self, release: Release, *, snapshot: str, takers: Sequence[Process]) -> tuple[int, int]:
        found = await to_thread.run_sync(self._snapshots.find, release.agent, snapshot)
        entry = next((each for each in found.entries if each.kind == "export"), None)
        if entry is None:
            raise PermanentError(f"{snapshot} holds nothing that the agent exported itself")
        if self._hooks is None or not takers:
            raise PermanentError("nobody is there to take it in")
        chunks, taken, refused = Chunks(folder=self._folders.snapshots(release.agent) / "chunks"), 0, 0
        lines = _lines(chunks.get(name) for name in entry.chunks)
        while batch := await to_thread.run_sync(lambda: list(islice(lines, BATCH_RECORDS))):
            answer = await self._hooks.take_in(release.agent, takers[0], batch)
            taken, refused = taken + answer.imported, refused + answer.refused_count
        return taken, refused

    async def discard(self, agent: str, epoch: int) -> None:
        await self._snapshots.work(agent, self._aside(agent, epoch).drop)

    # --- what they do --------------------------------------------------------------------------------------------------------------

    def _restored(self, release: Release, snapshot: str, epoch: int) -> str:
        target = self._folders.state(release.manifest, epoch)
        if target.is_dir():
            return f"{snapshot} is unpacked"
        began, found = self._clock.monotonic(), self._snapshots.find(release.agent, snapshot)
        folder = self._folders.snapshots(release.agent)
        scratch = self._snapshots.scratch(release.agent)
        try:
            restore(found, Chunks(folder=folder / "chunks"), scratch / "state")
            if wrong := problems(found, scratch / "state"):
                raise PermanentError("; ".join(wrong[:5]))
            target.parent.mkdir(parents=True, exist_ok=True)
            (scratch / "state").rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        seconds = self._clock.monotonic() - began
        return f"{found.saved.files} files of {snapshot}, as {found.saved.version} left them, in {seconds:.1f} s"

    async def _convert(self, release: Release, schema: int, processes: Sequence[Process]) -> str:
        if self._hooks is None:
            raise PermanentError("this server cannot speak to instances")
        done = await self._hooks.convert(release.manifest, processes, schema)
        if done.converted is None:
            return f"converted to schema {schema}; the agent does not say how many records that were"
        failed = f", {done.failed} could not be and stay as they are" if done.failed else ""
        return f"{done.converted} records converted to schema {schema}{failed}"

    async def _count(self, release: Release, key: str, snapshot: str, epoch: int, takers: Sequence[Process], complete: bool) -> str:
        aside, counted = self._aside(release.agent, epoch), Counted()
        schema = release.manifest.state.writes

        def write() -> None:
            found = self._compared(release, snapshot, epoch, counted)
            aside.write_records(json.dumps(as_line(each, schema), ensure_ascii=False).encode() for each in found)

        await self._snapshots.work(release.agent, write)
        refused, problem = await self._offer(release, aside, takers)
        state = SetAsideState(
            epoch=epoch,
            deployment=key,
            version=release.version,
            snapshot=snapshot,
            at=self._clock.now(),
            written=counted.written(snapshot),
            refused=refused,
            complete=complete,
        )
        state = await self._summed(aside, state, problem)
        await to_thread.run_sync(aside.write, state)
        return state.detail

    def _compared(self, release: Release, snapshot: str, epoch: int, counted: Counted) -> Iterator[Record]:
        folder, spec = self._folders.snapshots(release.agent), release.manifest.state
        comparing = Comparing(
            root=self._folders.state(release.manifest, epoch),
            stores=spec.stores,
            base=self._snapshots.find(release.agent, snapshot),
            chunks=Chunks(folder=folder / "chunks"),
            scratch=self._snapshots.scratch(release.agent),
            check=self._snapshots.check,
        )
        try:
            for record in comparing.records():
                counted.add(record)
                yield record
            counted.notes = tuple(comparing.notes)
        finally:
            shutil.rmtree(comparing.scratch, ignore_errors=True)

    async def _offer(self, release: Release, aside: Aside, takers: Sequence[Process]) -> tuple[int, str]:
        """How many were refused, and why it ended before all were offered. One instance gets them all: the others see them in the state."""
        if self._hooks is None or not takers:
            return 0, "the version takes no records in"
        refused, taken = 0, await to_thread.run_sync(aside.taken)
        left = (each for each in aside.lines() if each[0] not in taken)
        while batch := await to_thread.run_sync(lambda: list(islice(left, BATCH_RECORDS))):
            try:
                answer = await self._hooks.take_in(release.agent, takers[0], [line for _, line in batch])
            except PermanentError as error:
                return refused, str(error)
            await to_thread.run_sync(aside.take, _taken(batch, answer))
            refused += answer.refused_count
        return refused, ""

    async def _summed(self, aside: Aside, state: SetAsideState, problem: str) -> SetAsideState:
        changed = replace(state, kept=len(await to_thread.run_sync(aside.taken)))
        return replace(changed, detail=_told(changed, problem))

    def _aside(self, agent: str, epoch: int) -> Aside:
        return Aside(folder=self._folders.set_aside(agent), epoch=epoch)

    # --- beginning, and knowing how far --------------------------------------------------------------------------------------------

    def _outcome(self, act: Act, agent: str, key: str) -> Saving:
        return self._outcomes.get((act, agent, key), Saving(status=SavingStatus.ABSENT))

    def _begin(self, act: Act, agent: str, key: str, work: Callable[[], Awaitable[str]]) -> None:
        if (act, agent, key) in self._outcomes:
            return
        over = [name for name, outcome in self._outcomes.items() if outcome.status is not SavingStatus.RUNNING]
        for name in over[: max(0, len(over) - OUTCOMES_KEPT)]:
            del self._outcomes[name]
        self._outcomes[act, agent, key] = Saving(status=SavingStatus.RUNNING)
        self._tasks.start_soon(self._finish, act, agent, key, work)

    async def _finish(self, act: Act, agent: str, key: str, work: Callable[[], Awaitable[str]]) -> None:
        try:
            outcome = Saving(status=SavingStatus.DONE, detail=await work())
        except PermanentError as error:
            outcome = Saving(status=SavingStatus.FAILED, detail=str(error))
        except OSError as error:
            outcome = Saving(status=SavingStatus.FAILED, detail=sentence(error))
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 (a bug of ours must not end the server; the deployment that waits for it is told)
            self._log.exception("state_act_broke", act=act, agent=agent, key=key)
            outcome = Saving(status=SavingStatus.FAILED, detail=f"it broke: {type(error).__name__}")
        self._outcomes[act, agent, key] = outcome
        self._log.info("state", act=act, agent=agent, key=key, status=outcome.status.value, detail=outcome.detail)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a text that comes in pieces, the empty ones left out."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _taken(batch: Sequence[tuple[str, bytes]], answer: TakenIn) -> list[str]:
    """Ids of those it has now. An answer that explains fewer refusals than it counts is believed about nobody."""
    if answer.refused_count != len(answer.refused):
        return []
    no = {refused.line for refused in answer.refused}
    return [id_ for number, (id_, _) in enumerate(batch, start=1) if number not in no]


def _told(state: SetAsideState, problem: str) -> str:
    """For the stage's note, the audit and the list."""
    since = f"{state.written.records} records written since {state.snapshot}: {state.kept} kept, {state.set_aside} set aside"
    why = f" ({problem})" if problem and state.set_aside else ""
    late = "" if state.complete else "; instances that were ending may have written more"
    return f"{since}{why}{late}"
