"""The files that say what was set aside when a snapshot was put back. Used by `epochs`.

agents/<agent>/set-aside/<epoch>.ndjson   every record that was written since the snapshot, one a line
agents/<agent>/set-aside/<epoch>.taken    the ids of those that a version has taken in since; only added to
agents/<agent>/set-aside/<epoch>.json     the count, written last
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent_servicing.adapters.runtime.files import write_atomically
from agent_servicing.adapters.state.chunks import sync_folder
from agent_servicing.core.state import SetAsideState

_STATE = TypeAdapter(SetAsideState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What belongs to one epoch of one agent."""

    folder: Path
    epoch: int

    @property
    def records(self) -> Path:
        return self.folder / f"{self.epoch}.ndjson"

    def write_records(self, lines: Iterable[bytes]) -> None:
        """All of them or none. An empty file says that nothing was written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self.records.with_suffix(".part")
        with scratch.open("wb") as file:
            for line in lines:
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(0o600)
        scratch.replace(self.records)
        sync_folder(self.folder)

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Id and line of each record that is there to be taken in."""
        with self.records.open("rb") as file:
            for line in file:
                record = json.loads(line)
                if record["change"] != "removed":
                    yield record["id"], line.rstrip(b"\n")

    def taken(self) -> set[str]:
        try:
            return {json.loads(line) for line in self._taken.read_text(encoding="utf-8").splitlines()}
        except FileNotFoundError:
            return set()

    def take(self, ids: Iterable[str]) -> None:
        """On the disk when this returns: what was taken in must not be offered again."""
        with self._taken.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(each)}\n" for each in ids)
            file.flush()
            os.fsync(file.fileno())

    def write(self, state: SetAsideState) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._state, _STATE.dump_json(state).decode())
        sync_folder(self.folder)

    def read(self) -> SetAsideState | None:
        try:
            return _STATE.validate_json(self._state.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def drop(self) -> None:
        for file in (self._state, self._taken, self.records):
            file.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        return self.folder / f"{self.epoch}.json"

    @property
    def _taken(self) -> Path:
        return self.folder / f"{self.epoch}.taken"


def all_of(folder: Path) -> list[SetAsideState]:
    """Newest first."""
    epochs = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit()] if folder.is_dir() else []
    found = (Aside(folder=folder, epoch=epoch).read() for epoch in epochs)
    return sorted((state for state in found if state is not None), key=lambda each: (each.at, each.epoch), reverse=True)
