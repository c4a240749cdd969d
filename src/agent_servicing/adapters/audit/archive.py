"""Archives of old audit entries: gzipped JSON lines that `servicing audit verify --file` checks. Implements `AuditArchive`."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from anyio import to_thread

from agent_servicing.adapters.audit.forms import FORMS, line
from agent_servicing.core.audit import Anchor, Chain, Record, StoredEvent
from agent_servicing.core.audit_text import record_of
from agent_servicing.core.errors import TemporaryError
from agent_servicing.ports.audit import Archived

MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


class FolderArchive:
    """`audit-<first>-<last>.jsonl.gz`, one for each lot, for their owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, entries: Sequence[StoredEvent], after: Anchor) -> Archived:
        try:
            return await to_thread.run_sync(self._write, entries, after)
        except (OSError, ValueError) as error:
            raise TemporaryError(f"the audit archive in {self._folder} cannot be written: {error}", retry_after_seconds=60) from error

    def _write(self, entries: Sequence[StoredEvent], after: Anchor) -> Archived:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        first, last = after.entries + 1, after.entries + len(entries)
        path = self._folder / f"audit-{first:012d}-{last:012d}.jsonl.gz"
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE), "wb") as file:
            # Without a time in it the same entries are the same file.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                for entry in entries:
                    packed.write(line(FORMS["servicing"](entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # What is about to be deleted elsewhere is read back from the disk first.
        chain = Chain(entries=after.entries, head=after.head).follow(_records(part))
        if chain.broken is not None or chain.entries != last:
            raise ValueError(f"what was written does not fit the chain at entry {chain.entries + 1}")
        part.replace(path)
        self._settle()
        self._drop_unfinished(first, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Archived(file=path.name, sha256=digest, first=first, last=last, head=chain.head)

    def _settle(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _drop_unfinished(self, first: int, path: Path) -> None:
        """A lot that was written before a crash, and whose entries were not deleted then, is in this one too."""
        for other in self._folder.glob(f"audit-{first:012d}-*.jsonl.gz"):
            if other.name < path.name:
                with suppress(FileNotFoundError):
                    other.unlink()


def _records(path: Path) -> Iterator[Record]:
    with gzip.open(path, "rt", encoding="utf-8") as packed:
        for text in packed:
            yield record_of(json.loads(text))
