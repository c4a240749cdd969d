"""Somebody outside who is told things, in memory: takes messages and reports, fails as the test says."""
# ruff: noqa: ARG002  (addresses and tokens are for real ones)

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.outward import TrackerSettings
from agent_servicing.ports.outward import Described, Filing, Letter


@dataclass(slots=True)
class MemorySender:
    """Implements `Sender`. `failing` maps a target to what is wrong with it. Addresses that do not begin with `memory://` are refused."""

    sent: list[tuple[str, str, Letter]] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)

    async def describe(self, address: str) -> Described:
        if not address.startswith("memory://"):
            raise PermanentError("an address begins with memory://")
        return Described(service="Memory", shown="memory://****")

    async def send(self, target: str, address: str, letter: Letter) -> None:
        self.tried.append(target)
        if target in self.failing:
            raise TemporaryError(self.failing[target])
        self.sent.append((target, address, letter))

    def keys(self, target: str) -> list[str]:
        """Keys of the messages that this target got, in order."""
        return [letter.key for name, _, letter in self.sent if name == target]


@dataclass(slots=True)
class MemoryTracker:
    """Implements `Tracker`. `failing` is raised instead; with `loses_answers` an issue is opened, and nobody hears of it."""

    opened: list[tuple[TrackerSettings, str | None, Filing]] = field(default_factory=list)
    checked: list[tuple[str, str | None, str]] = field(default_factory=list)
    failing: Exception | None = None
    loses_answers: bool = False
    thinks: Callable[[str], Awaitable[None]] | None = None
    """What happens before a project is said to be there."""

    async def open(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str:
        if self.failing is not None:
            raise self.failing
        self.opened.append((settings, token, filing))
        if self.loses_answers:
            raise TemporaryError("the answer was lost")
        return f"https://tracker.example.org/{len(self.opened)}"

    async def find(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str | None:
        found = [number for number, (_, _, one) in enumerate(self.opened, start=1) if one.key == filing.key]
        return f"https://tracker.example.org/{found[0]}" if found else None

    async def check(self, settings: TrackerSettings, token: str | None, project: str) -> None:
        self.checked.append((settings.kind, token, project))
        if self.thinks is not None:
            await self.thinks(project)
        if self.failing is not None:
            raise self.failing
