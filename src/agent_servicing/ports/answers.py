"""What a channel may be able to do besides; asked for with `isinstance`."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable


@runtime_checkable
class TellsOfAnswers(Protocol):
    """A `ConfigChannel` that says when it is worth looking at what was asked."""

    async def answered(self) -> Collection[str]:
        """Wait for the last awaited answer, or the first refusal; the agents at which that came. A hint: it may be missed, or come twice."""
        ...
