"""Copies of the live state for staging: a snapshot is taken as before an upgrade, unpacked beside, and removed again.

`bootstrap` opens it, the reconciler of staging runs asks for copies. Of a server that was killed it removes on entering what was left.
"""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from anyio import to_thread

from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.state.chunks import Chunks
from agent_servicing.adapters.state.restoring import restore
from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import SavingStatus
from agent_servicing.ports import Clock

PREFIX: Final = "stg-"
"""What the names of staging runs, and so of their snapshots, begin with."""

POLL_SECONDS: Final = 0.05
SPARE_BYTES: Final = 256 * 1024 * 1024
"""Left free on the disk: live agents need room more than a trial does."""


class FolderStateCopies:
    """`StateCopies` from the snapshots of one data directory into the folders of staging."""

    def __init__(self, *, snapshots: FolderSnapshots, folders: Folders, clock: Clock, spare_bytes: int = SPARE_BYTES) -> None:
        self._snapshots, self._folders, self._clock, self._spare_bytes = snapshots, folders, clock, spare_bytes

    async def __aenter__(self) -> Self:
        for path in sorted(self._snapshots.folders.agents.glob(f"*/snapshots/{PREFIX}*.json")):
            await self._snapshots.remove(path.parent.parent.name, path.stem)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    async def copy(self, release: Release, *, key: str, epoch: int, exporters: Sequence[Process], targets: Mapping[int, Release]) -> str:
        """Raises `PermanentError`. The snapshot is gone afterwards, whatever happened."""
        agent = release.agent
        try:
            await self._snapshots.begin(release, key=key, pinned=True, epoch=epoch, exporters=exporters)
            while (saving := await self._snapshots.outcome(agent, key)).status is SavingStatus.RUNNING:
                await self._clock.sleep(POLL_SECONDS)
            if saving.status is not SavingStatus.DONE:
                raise PermanentError(saving.detail or "the snapshot was not taken")
            return await self._snapshots.work(agent, partial(self._unpack, agent, key, targets))
        finally:
            await self._snapshots.remove(agent, key)

    async def drop(self, agent: str, epochs: Mapping[int, Release]) -> None:
        for epoch, release in epochs.items():
            folder = self._folders.state(release.manifest, epoch)
            await to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        await to_thread.run_sync(_remove_if_empty, self._folders.instances(agent), self._folders.agent(agent))

    def _unpack(self, agent: str, key: str, targets: Mapping[int, Release]) -> str:
        found = self._snapshots.find(agent, key)
        chunks = Chunks(folder=self._snapshots.folders.snapshots(agent) / "chunks")
        needed = found.saved.size_bytes * len(targets)
        self._folders.agents.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folders.agents).free
        if free < needed + self._spare_bytes:
            raise PermanentError(f"the copies of the state need {needed} bytes, and {free} are free on the disk")
        try:
            for epoch, release in targets.items():
                restore(found, chunks, self._folders.state(release.manifest, epoch))
        except OSError as error:
            raise PermanentError(f"the state could not be copied: {sentence(error)}") from error
        exported = any(entry.kind == "export" for entry in found.entries)
        return "what only the agent itself can export was not copied" if exported else ""


def _remove_if_empty(*folders: Path) -> None:
    """Folders of an agent whose last run this was; others stay."""
    for folder in folders:
        try:
            cache = folder / "config"
            if cache.is_dir() and not any(path for path in folder.iterdir() if path != cache):
                shutil.rmtree(cache)
            folder.rmdir()
        except OSError:  # in use, or gone
            return
