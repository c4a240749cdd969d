"""What signing in needs of the outside world. Implemented in `adapters`, used by the services; apart from the other ports for their length."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What was sent along with a browser that went to the provider, and has to come back with it. `url` is where it was sent."""

    url: str
    state: str
    nonce: str
    verifier: str


class IdentityProvider(Protocol):
    """Somebody else who knows people and their passwords (OpenID Connect)."""

    @property
    def issuer(self) -> str:
        """The address that names it."""
        ...

    async def begin(self, redirect_uri: str) -> Errand:
        """Where to send a browser. Raises `TemporaryError` when the provider cannot be asked, `PermanentError` when it says something odd."""
        ...

    async def finish(self, redirect_uri: str, code: str, errand: Errand) -> Mapping[str, object]:
        """What the provider says of the person who came back with this code; checked to be said by it, to us, now and once. Raises like `begin`."""
        ...
