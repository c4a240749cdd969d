"""What was read from the database and is asked for again at every request. Used by `access` and `sessions`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.store.database import Database

REMEMBERED_MAX: Final = 1_000
"""Values kept at once; more people than that are looked up again."""

T = TypeVar("T")


@dataclass(slots=True)
class Remembered(Generic[T]):
    """Answers until something is written: whoever wrote, a token that was revoked for instance, finds nothing old here from then on."""

    database: Database
    _known: dict[str, T] = field(default_factory=dict)
    _mark: int | None = None

    async def get(self, key: str, read: Callable[[AsyncConnection, str], Awaitable[T | None]]) -> T | None:
        """What `read` finds for this key; None is asked for anew each time."""
        mark = self.database.mark
        if mark != self._mark or len(self._known) >= REMEMBERED_MAX:
            self._known, self._mark = {}, mark
        if key in self._known:
            return self._known[key]
        async with self.database.glance() as connection:
            value = await read(connection, key)
        if value is not None and mark is not None and mark == self._mark:  # else something was written while it was read
            self._known[key] = value
        return value
