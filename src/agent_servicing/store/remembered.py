"""What was read from the database and is asked for again at every request. Used by the store and by services."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.store.database import Database

REMEMBERED_MAX: Final = 2_000
"""Values kept at once; what comes when it is full is looked up each time."""

T = TypeVar("T")


@dataclass(slots=True)
class Remembered(Generic[T]):
    """Answers until something is written: whoever wrote, a token that was revoked for instance, finds nothing old here from then on."""

    database: Database
    _known: dict[str, T] = field(default_factory=dict)
    _mark: int | None = None

    async def get(
        self, key: str, read: Callable[[AsyncConnection, str], Awaitable[T | None]], *, lasts: Callable[[T], bool] = lambda _: True
    ) -> T | None:
        """What `read` finds for this key. Asked for anew each time are None, and what does not last: what becomes another by time alone."""
        mark = self.database.mark
        if mark != self._mark:
            self._known, self._mark = {}, mark
        if key in self._known:
            return self._known[key]
        async with self.database.glance() as connection:
            value = await read(connection, key)
        unwritten = mark is not None and mark == self._mark == self.database.mark  # else something was written while it was read
        if value is not None and unwritten and len(self._known) < REMEMBERED_MAX and lasts(value):
            self._known[key] = value
        return value
