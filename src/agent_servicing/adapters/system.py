"""Time and randomness of the real machine. `bootstrap` hands these to everything that asks; no other module may read a clock or roll dice."""

import secrets
import time
from datetime import UTC, datetime

import anyio
from ulid import ULID

TOKEN_BYTES = 32
"""Randomness of a token; the port asks for at least 128 bits, 256 cost nothing."""


class SystemClock:
    """`Clock` over the machine's clocks."""

    def now(self) -> datetime:
        """The wall clock, UTC. May jump backwards when somebody sets it."""
        return datetime.now(UTC)  # noqa: TID251 (the one place)

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()  # noqa: TID251 (the one place)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)  # noqa: TID251 (the one place)


class RandomIds:
    """`Ids` from ULIDs and the kernel's randomness."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, prefix: str) -> str:
        """`prefix-ULID`. Later ids of this process sort after earlier ones, within one millisecond and after the clock was set back too."""
        self._last = max(int(ULID()), self._last + 1)
        return f"{prefix}-{ULID.from_int(self._last)}"

    def token(self) -> str:
        """43 URL-safe characters, 256 bits."""
        return secrets.token_urlsafe(TOKEN_BYTES)
