"""Where audit entries go besides our own database, and after it. Adapters implement it; `services.audit_sinks` and `audit_retention` hand over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_servicing.core.audit import Anchor, StoredEvent


class AuditSink(Protocol):
    """`name` is what its position is kept under, `target` where it leads, for people: without passwords."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def form(self) -> str:
        """`servicing`, or `ocsf`."""
        ...

    async def deliver(self, entries: Sequence[StoredEvent]) -> None:
        """Hand these over, in this order; they may have been handed over before. Raises TemporaryError when it is to be tried again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A file of entries `first` to `last`; `head` is the hash of the last."""

    file: str
    sha256: str
    first: int
    last: int
    head: str


class AuditArchive(Protocol):
    """Where old entries go before they leave the database."""

    async def write(self, entries: Sequence[StoredEvent], after: Anchor) -> Archived:
        """Keep these, which follow `after`. When it returns they are on the disk and were read back. Raises TemporaryError."""
        ...
