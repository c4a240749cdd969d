"""What the services need to tell somebody outside: a sender of short messages, and one that opens issues where issues are kept."""

from dataclasses import dataclass
from typing import Protocol

from agent_servicing.core.notices import Severity
from agent_servicing.core.outward import TrackerSettings


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """A report as a tracker gets it; `text` is Markdown. `key` stands in the text, so that it can be found there again."""

    key: str
    agent: str
    deployment: str | None
    title: str
    text: str
    reporter: str
    at: str


class Tracker(Protocol):
    """Opens issues where issues are kept. Raises `TemporaryError` when it may work later, `PermanentError` when it never will."""

    async def open(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str:
        """The address of the new issue, empty where nobody named one."""
        ...

    async def find(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str | None:
        """The address of the issue that was opened under this key, should the answer have been lost; None when there is none to be found."""
        ...

    async def check(self, settings: TrackerSettings, token: str | None, project: str) -> None:
        """Whether it answers, takes the token and has issues in this project; nothing is opened. A webhook gets a message that says so."""
        ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Everybody outside whom the server tells something."""

    sender: Sender
    tracker: Tracker
