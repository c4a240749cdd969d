"""What the services need to tell somebody outside: a sender of short messages, and one that opens issues where issues are kept."""

from dataclasses import dataclass
from typing import Protocol

from agent_servicing.core.notices import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message for people. `key` is the same each time it is sent again."""

    key: str
    title: str
    text: str
    severity: Severity
    good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An address without anything secret: the name of the service, and as much as may be shown."""

    service: str
    shown: str


class Sender(Protocol):
    """Sends to an address that may hold secrets. No error and no log line repeats one."""

    async def describe(self, address: str) -> Described:
        """Raises `PermanentError` for an address that cannot be one."""
        ...

    async def send(self, target: str, address: str, letter: Letter) -> None:
        """Once, within a limit of time. Raises `TemporaryError` when it did not get through, `PermanentError` for an unusable address.

        `target` is a name: one that did not end is not begun again beside it.
        """
        ...
