"""Remembering answers to requests that carry an `Idempotency-Key`, so that a repeated request is answered, not repeated. Used by `web`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from agent_servicing.core.errors import Conflict
from agent_servicing.ports import Clock
from agent_servicing.store.database import Database
from agent_servicing.store.tables import idempotency

KEPT_HOURS: Final = 24
"""A client that retries does so within minutes; a day is generous and bounds the table."""

RUNNING_SECONDS_MAX: Final = 120
"""No request takes this long: one that is still marked as running belonged to a server that died, and may be tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """A finished answer: HTTP status and the body as it was sent."""

    status: int
    body: bytes


class Idempotency:
    """Keys belong to a principal; two principals may use the same one."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def begin(self, *, key: str, principal: str, method: str, path: str, body_hash: str) -> StoredResponse | None:
        """None: go on, and call `finish` or `forget`. A response: answer with it.

        Raises Conflict `idempotency_mismatch` (the key was used for another request) or `idempotency_running` (it is still under way).
        """
        running = "The first request with this Idempotency-Key is still under way."
        values = {"method": method, "path": path, "body_hash": body_hash, "created_at": self._clock.now()}
        try:
            async with self._database.write() as connection:
                await connection.execute(delete(idempotency).where(self._over()))
                row = (await connection.execute(select(idempotency).where(_is(key, principal)))).one_or_none()
                if row is None:
                    await connection.execute(insert(idempotency).values(key=key, principal=principal, **values))
                    return None
        except IntegrityError:  # another server inserted it between our reading and our writing
            raise Conflict(running, code="idempotency_running") from None
        if (row.method, row.path, row.body_hash) != (method, path, body_hash):
            hint = "Use a new key for a new request."
            raise Conflict("This Idempotency-Key was used for another request.", hint=hint, code="idempotency_mismatch")
        if row.status is None:
            raise Conflict(running, code="idempotency_running")
        return StoredResponse(status=row.status, body=row.body)

    async def finish(self, *, key: str, principal: str, status: int, body: bytes) -> None:
        """Keep the answer for a day."""
        async with self._database.write() as connection:
            await connection.execute(update(idempotency).where(_is(key, principal)).values(status=status, body=body))

    async def forget(self, *, key: str, principal: str) -> None:
        """The request failed on our side: it may be tried again."""
        async with self._database.write() as connection:
            await connection.execute(delete(idempotency).where(_is(key, principal)))

    def _over(self) -> ColumnElement[bool]:
        """Answers older than a day, and requests whose server died. A time in the future was written before the clock was set back."""
        now, created_at = self._clock.now(), idempotency.c.created_at
        dead = and_(idempotency.c.status.is_(None), created_at < now - timedelta(seconds=RUNNING_SECONDS_MAX))
        return or_(created_at < now - timedelta(hours=KEPT_HOURS), created_at > now + timedelta(hours=KEPT_HOURS), dead)


def _is(key: str, principal: str) -> ColumnElement[bool]:
    return and_(idempotency.c.key == key, idempotency.c.principal == principal)
