"""What signing in needs of the outside world. Implemented in `adapters`, used by the services; apart from the other ports for their length."""

from typing import Protocol


class Passwords(Protocol):
    """Makes passwords unreadable. Slow on purpose, and so asynchronous; how many are worked on at once is bounded."""

    async def hash(self, password: str) -> str:
        """A text from which the password can be recognised and not be found. Raises Unavailable `sign_in_busy`."""
        ...

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether `kept` was made from it; takes as long when there is nothing kept, and says no. Raises Unavailable `sign_in_busy`."""
        ...

    def outdated(self, kept: str) -> bool:
        """Whether `kept` was made with weaker parameters than those in use now."""
        ...
