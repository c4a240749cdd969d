"""`Restores` and `Snapshots` in memory, for tests of the engine and for the simulator: what was asked of the state, and how it went."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import Saving, SavingStatus
from agent_servicing.ports import Clock

Timer = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True)
class MemoryRestores:
    """Each act takes `seconds` by the timer, and fails with the problem named for it. `folders`: epoch → the snapshot unpacked there."""

    later: Timer
    seconds: float = 1.0
    problems: dict[str, str] = field(default_factory=dict)
    folders: dict[tuple[str, int], str] = field(default_factory=dict)
    conversions: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    counts: list[tuple[str, str, int, tuple[str, ...], bool]] = field(default_factory=list)
    runs: dict[tuple[str, str, str], Saving] = field(default_factory=dict)

    async def restore(self, release: Release, *, key: str, snapshot: str, epoch: int) -> None:
        def unpack() -> None:
            self.folders.setdefault((release.agent, epoch), snapshot)

        self._begin("restore", release.agent, key, unpack, f"12 files of {snapshot}")

    async def restored(self, agent: str, key: str) -> Saving:
        return self._outcome("restore", agent, key)

    async def convert(self, release: Release, *, key: str, schema: int, processes: Sequence[Process]) -> None:
        names = tuple(process.instance for process in processes)
        self._begin("convert", release.agent, key, lambda: self.conversions.append((release.version, schema, names)), "7 records converted")

    async def converted(self, agent: str, key: str) -> Saving:
        return self._outcome("convert", agent, key)

    async def count(self, release: Release, *, key: str, snapshot: str, epoch: int, takers: Sequence[Process], complete: bool) -> None:
        names = tuple(process.instance for process in takers)
        entry = (release.version, snapshot, epoch, names, complete)
        self._begin("count", release.agent, key, lambda: self.counts.append(entry), "7 records: 0 kept, 7 set aside")

    async def counted(self, agent: str, key: str) -> Saving:
        return self._outcome("count", agent, key)

    def restart(self) -> None:
        """The server was killed: what was under way is gone, what was done is not."""
        self.runs = {name: run for name, run in self.runs.items() if run.status is SavingStatus.DONE}

    def _begin(self, act: str, agent: str, key: str, work: Callable[[], None], detail: str) -> None:
        name = (act, agent, key)
        if name in self.runs:
            return
        self.runs[name] = Saving(status=SavingStatus.RUNNING)

        def done() -> None:
            if name not in self.runs:
                return
            problem = self.problems.get(act)
            if problem is None:
                work()
            self.runs[name] = Saving(status=SavingStatus.FAILED if problem else SavingStatus.DONE, detail=problem or detail)

        self.later(self.seconds, done)

    def _outcome(self, act: str, agent: str, key: str) -> Saving:
        return self.runs.get((act, agent, key), Saving(status=SavingStatus.ABSENT))


@dataclass(slots=True)
class MemorySnapshots:
    """Implements the engine's part of `Snapshots`; a copy takes `seconds` of virtual time, and fails with `problem` when there is one."""

    clock: Clock
    seconds: float = 2.0
    problem: str = ""
    begun: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    async def begin(self, release: Release, *, key: str, **_more: object) -> None:
        self.begun.setdefault(key, (release.version, self.clock.now()))

    async def outcome(self, agent: str, key: str) -> Saving:  # noqa: ARG002  (there is one agent)
        if key not in self.begun:
            return Saving(status=SavingStatus.ABSENT)
        if (self.clock.now() - self.begun[key][1]).total_seconds() < self.seconds:
            return Saving(status=SavingStatus.RUNNING)
        return Saving(status=SavingStatus.FAILED if self.problem else SavingStatus.DONE, detail=self.problem or "3 files")
