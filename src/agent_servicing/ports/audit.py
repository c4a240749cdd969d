"""Where audit entries go besides our own database. Adapters implement it; `services.audit_sinks` delivers."""

from collections.abc import Sequence
from typing import Protocol

from agent_servicing.core.audit import StoredEvent


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
