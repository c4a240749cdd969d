"""What some drivers can do besides their port; asked for with `isinstance`."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable


@runtime_checkable
class TellsOfAnswers(Protocol):
    """A `ConfigChannel` that says when it is worth looking at what was asked."""

    async def answered(self) -> Collection[str]:
        """Wait for the last awaited answer, or the first refusal; the agents at which that came. A hint: it may be missed, or come twice."""
        ...


@runtime_checkable
class KnowsItsBroker(Protocol):
    """An `EventBus` that says whether other processes are heard now."""

    @property
    def problem(self) -> str | None:
        """Why not, in a few words without secrets; None while they are."""
        ...


@runtime_checkable
class HoldsReleases(Protocol):
    """A `Runtime` whose installed versions others may be using besides its own instances."""

    async def hold(self, agent: str, versions: Collection[str], *, by: str) -> None:
        """Do not collect these until the same `by` holds others, or none."""
        ...
