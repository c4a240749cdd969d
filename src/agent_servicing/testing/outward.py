"""Somebody outside who is told things, in memory: takes messages, fails as the test says."""

from dataclasses import dataclass, field

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.ports.outward import Described, Letter


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
