"""Where a request came from. `web` says it for the length of one request; `transaction.record` writes it into every audit entry made meanwhile.

A variable of the context, not a parameter: some forty use cases would hand it on without looking at it, and one that forgot would leave
an entry without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["api", "cli", "page", "engine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`kind`: a program, our command line, a browser, or the server by itself. `address` and `request_id` of a request."""

    kind: Kind
    address: str | None = None
    request_id: str | None = None

    def view(self) -> dict[str, object]:
        """As an entry has it under `source`."""
        more = {"address": self.address, "request_id": self.request_id}
        return {"kind": self.kind, **{name: value for name, value in more.items() if value is not None}}


OURSELVES: Final = Origin(kind="engine")

_current: ContextVar[Origin] = ContextVar("origin", default=OURSELVES)


def current() -> Origin:
    """Whose request is being answered; without one, the server acts by itself."""
    return _current.get()


@contextmanager
def acting_for(origin: Origin) -> Iterator[None]:
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
