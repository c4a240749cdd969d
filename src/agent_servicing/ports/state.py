"""What the engine and the services need to keep an agent's state: copies of it, putting one back, and what was written since.

Every method is asynchronous and idempotent. A driver raises `TemporaryError` or `PermanentError` and nothing else on purpose.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from agent_servicing.core.model import Process, Release
from agent_servicing.core.state import SavedState, Saving, SetAsideState, Written


class Snapshots(Protocol):
    """Keeps copies of an agent's state. `key` names one snapshot, and stays its name."""

    async def begin(self, release: Release, *, key: str, pinned: bool = False, epoch: int = 0, exporters: Sequence[Process] = ()) -> None:
        """Take one of the state that this version keeps, unless that was begun under this key. Returns at once. A pinned one stays.

        One of the exporters is asked for what only the agent itself can export, where the manifest names such a store.
        """

    async def outcome(self, agent: str, key: str) -> Saving:
        """How far it is; one that is done stays done over restarts of the server."""

    async def list(self, agent: str) -> Sequence[SavedState]:
        """The usable ones, newest first."""

    async def rehearse(self, agent: str, key: str) -> SavedState:
        """Restore it into a scratch folder and check everything there is to check. Raises `PermanentError` when there is none."""

    async def unpack(self, agent: str, key: str) -> str:
        """Restore it beside the state, which stays untouched; the folder. Raises `PermanentError`, also when that folder is there."""

    async def remove(self, agent: str, key: str) -> None:
        """Drop it and what only it needed; an unknown key is fine."""


class Restores(Protocol):
    """What a rollback does with the state. Each act is begun at once and observed under its `key`; beginning it again is harmless."""

    async def restore(self, release: Release, *, key: str, snapshot: str, epoch: int) -> None:
        """Unpack one as the state folder of that epoch, which nobody uses yet."""

    async def restored(self, agent: str, key: str) -> Saving:
        """How far that is."""

    async def convert(self, release: Release, *, key: str, schema: int, processes: Sequence[Process]) -> None:
        """Have these instances convert what they wrote to an older schema."""

    async def converted(self, agent: str, key: str) -> Saving:
        """How far that is."""

    async def count(self, release: Release, *, key: str, snapshot: str, epoch: int, takers: Sequence[Process], complete: bool) -> None:
        """Count what this version wrote into that epoch since the snapshot, offer it to one of the takers, and keep the rest.

        Nothing that was taken in is offered again, whenever this ends and begins anew. `complete`: nobody writes any more.
        """

    async def counted(self, agent: str, key: str) -> Saving:
        """How far that is."""


class SetAsides(Protocol):
    """Looks at what a rollback did with the state, or would do."""

    async def written(self, release: Release, *, snapshot: str, epoch: int) -> Written:
        """What was written since. Nobody is held up. Raises `PermanentError` when there is no such snapshot."""

    async def set_aside(self, agent: str) -> Sequence[SetAsideState]:
        """What rollbacks left behind, newest first."""

    async def records(self, agent: str, epoch: int) -> Path:
        """The file with the records that were set aside there, as JSON lines. Raises `PermanentError` when there are none."""

    async def offer(self, release: Release, epoch: int, *, takers: Sequence[Process]) -> SetAsideState:
        """Offer what was set aside there to one of these instances. Raises `PermanentError`."""

    async def bring(self, release: Release, *, snapshot: str, takers: Sequence[Process]) -> tuple[int, int]:
        """Offer what the agent had exported for that snapshot to one of these instances; how many were taken and refused.

        Raises `PermanentError`, also when there is no such export.
        """

    async def discard(self, agent: str, epoch: int) -> None:
        """Drop what was set aside there, and the folder, for good."""
