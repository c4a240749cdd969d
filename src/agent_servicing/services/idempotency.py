"""Remembering answers to requests that carry an `Idempotency-Key`, so that a repeated request is answered, not repeated. Called by `web`."""

from dataclasses import dataclass
from typing import Final

from agent_servicing.ports import Clock
from agent_servicing.store.database import Database

KEPT_HOURS: Final = 24
"""A client that retries does so within minutes; a day is generous and bounds the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """A finished answer: HTTP status and the body as it was sent."""

    status: int
    body: bytes


class Idempotency:
    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def begin(self, *, key: str, principal: str, method: str, path: str, body_hash: str) -> StoredResponse | None:
        """None: go on, and call `finish` or `forget`. A response: answer with it.

        Raises Conflict `idempotency_mismatch` (the key was used for another request) or `idempotency_running` (it is still under way).
        """
        raise NotImplementedError

    async def finish(self, *, key: str, principal: str, status: int, body: bytes) -> None:
        """Keep the answer for a day."""
        raise NotImplementedError

    async def forget(self, *, key: str, principal: str) -> None:
        """The request failed on our side: it may be tried again."""
        raise NotImplementedError
