"""Passwords by Argon2id. `bootstrap` makes one for the services; tests give it cheap parameters."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
from anyio import to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from agent_servicing.core.errors import Unavailable

AT_ONCE: Final = 2
"""Each takes 64 MiB for some tens of milliseconds of all cores."""

WAITING_MAX: Final = 20
"""More people who sign in at the same moment than this are asked to try again: an attack must not fill the memory."""

T = TypeVar("T")


class Argon2Passwords:
    """Implements `Passwords`. The parameters are those of RFC 9106 for machines with little memory, unless a test wants cheaper ones."""

    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65_536, parallelism: int = 4) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism)
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._waiting = 0
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def matches(self, kept: str | None, password: str) -> bool:
        return await self._in_turn(lambda: self._verified(kept, password))

    def outdated(self, kept: str) -> bool:
        return self._hasher.check_needs_rehash(kept)

    def _verified(self, kept: str | None, password: str) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody has this one")
        try:
            self._hasher.verify(kept or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many people are signing in at this moment.", hint="Try again in a few seconds.", code="sign_in_busy")
        self._waiting += 1
        try:
            return await to_thread.run_sync(work, limiter=self._turns)
        finally:
            self._waiting -= 1
