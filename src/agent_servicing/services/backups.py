"""The server's own data as one file: on demand, and by itself every so many hours. The API, the command line and a timer of `bootstrap` call it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio import to_thread

from agent_servicing.core.errors import Conflict, ServicingError, TemporaryError
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.ports import Clock, Ids
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store.backup.archive import About
from agent_servicing.store.backup.build import Kept, Wanted, build
from agent_servicing.store.database import Database

SCRATCH: Final = "backup-scratch"
"""In the data directory: what is being gathered. Emptied by whoever comes next."""

LOOK_SECONDS: Final = 600.0
"""How often it is looked whether a scheduled one is due, and so how long after a failed one the next is tried."""

NAME: Final = "servicing-%Y%m%dT%H%M%SZ.backup"
PATTERN: Final = "servicing-????????T??????Z.backup"


log = structlog.get_logger(__name__)

__all__ = ["Backups", "Taken", "Wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup that was read back; `path` is there until the block ends."""

    path: Path
    about: About


class NoFiles:
    """For a server without a data directory of its own to keep."""

    def gather(self, folder: Path, *, key: bool, state: bool) -> None:
        """Nothing."""


class Backups:
    """One at a time: two would read the same disk twice as slowly."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, kept: Kept | None = None) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._kept: Kept = kept or NoFiles()
        self._busy = anyio.Lock()

    @asynccontextmanager
    async def taking(self, wanted: Wanted, *, actor: str) -> AsyncIterator[Taken]:
        """A backup for whoever streams it away; it is deleted at the end of the block.

        Raises Conflict `backup_under_way`, Invalid `key_elsewhere`, Unavailable `backup_failed`.
        """
        path = self._settings.data_dir / f"{self._ids.new('bkp')}.backup"
        try:
            yield Taken(path=path, about=await self._take(path, wanted, actor=actor))
        finally:
            path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Scheduled ones, until cancelled. One that failed is told in the history and tried again after a while."""
        while self._settings.backup_directory is not None:
            # Waited in pieces: the wall clock, by which backups are dated, may be set meanwhile.
            if (seconds := await self.due()) > 0:
                await self._clock.sleep(min(seconds, LOOK_SECONDS))
                continue
            try:
                kept = await self.keep()
            except (ServicingError, TemporaryError) as error:  # not even the history can be written
                log.warning("no_backup", problem=str(error))
                kept = None
            if kept is None:
                await self._clock.sleep(LOOK_SECONDS)

    async def due(self) -> float:
        """Seconds until the next scheduled backup; 0 when it is late, infinite when none are wanted."""
        folder, hours = self._settings.backup_directory, self._settings.backup_interval_hours
        if folder is None or hours <= 0:
            return float("inf")
        newest = await to_thread.run_sync(_newest, folder)
        if newest is None:
            return 0.0
        passed = self._clock.now() - newest
        # A newest one of the future comes from a clock that was set back since; it must not keep backups away for long.
        if passed < timedelta(0):
            return 0.0
        return max(0.0, (timedelta(hours=hours) - passed).total_seconds())

    async def keep(self) -> Path | None:
        """Take a scheduled one and delete the oldest beyond `backup_keep`; None when none are wanted, or it failed, which the history then says."""
        folder = self._settings.backup_directory
        if folder is None:
            return None
        target = folder / f"{self._clock.now():{NAME}}"
        try:
            with suppress(FileExistsError):
                await to_thread.run_sync(partial(folder.mkdir, mode=0o700, parents=True, exist_ok=True))
            await self._take(target, Wanted(state=self._settings.backup_state), actor=SYSTEM)
            await to_thread.run_sync(_drop_oldest, folder, self._settings.backup_keep)
        except (ServicingError, OSError) as error:
            await self._tell("backup_failed", SYSTEM, {"file": target.name, "problem": str(error), "status": "failed"})
            return None
        return target

    async def _take(self, target: Path, wanted: Wanted, *, actor: str) -> About:
        if self._busy.locked():
            raise Conflict("A backup is being taken already.", hint="Try again when it is done.", code="backup_under_way")
        async with self._busy:
            # Told first: the file then holds that it was taken, and a key never leaves without a trace.
            await self._tell("backup", actor, {"key": wanted.key, "state": wanted.state, "status": "success"})
            at, scratch = self._clock.now(), self._settings.data_dir / SCRATCH
            made = partial(build, self._database.url, target, kept=self._kept, wanted=wanted, at=at, scratch=scratch)
            # Nor when the caller goes away: a thread cannot be stopped, and must not outlive the lock.
            return await to_thread.run_sync(made, abandon_on_cancel=False)

    async def _tell(self, kind: str, actor: str, data: dict[str, object]) -> None:
        event = Event(type=kind, at=self._clock.now(), actor=actor, audit=True, data=data)
        async with self._database.write() as connection:
            await record(connection, self._ids, self._settings, event)


def _newest(folder: Path) -> datetime | None:
    """When the newest backup there was taken, by its name."""
    names = sorted(path.name for path in folder.glob(PATTERN))
    for name in reversed(names):
        with suppress(ValueError):
            return datetime.strptime(f"{name}+0000", f"{NAME}%z")
    return None


def _drop_oldest(folder: Path, keep: int) -> None:
    for path in sorted(folder.glob(PATTERN))[:-keep]:
        path.unlink(missing_ok=True)
