"""Rollback: back to an earlier version, at once. Called by `web`; never blocked by a pause, a queue or an upgrade under way."""

from typing import Literal

from agent_servicing.core.model import Deployment
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


class Rollback:
    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def request(
        self, agent: str, *, target_version: str | None, reason: str, actor: str, state: Literal["keep", "restore"] = "keep"
    ) -> Deployment:
        """Queue a rollback (`rbk-…`) to `target_version` (None: the previous one); the engine puts it before everything else.

        Raises NotFound `unknown_version` and Conflict `not_a_rollback_point` / `no_rollback_point`, each naming the valid points;
        Invalid `reason_missing`; Conflict `agent_busy` when another rollback is under way.
        """
        raise NotImplementedError
