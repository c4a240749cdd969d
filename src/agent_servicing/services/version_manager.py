"""Version management: what versions there are, what changed between two, where one can go back to. Called by `web`, `fleet` and the refresh timer."""

from collections.abc import Mapping

from agent_servicing.ports import Clock, EventBus, Ids, VersionSource
from agent_servicing.services.views import ChangesView, VersionsView
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


class VersionManager:
    """Keeps the table of versions in step with the agents' sources. `sources` maps a source kind (git, pypi, path) to its driver."""

    def __init__(
        self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings, sources: Mapping[str, VersionSource]
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._sources = sources

    async def refresh(self, agent: str) -> list[str]:
        """Ask the source once; returns the versions not known before, newest first.

        Raises NotFound `unknown_agent`, Invalid `source_unusable`, Unavailable when the source does not answer now.
        """
        raise NotImplementedError

    async def refresh_all(self) -> None:
        """Refresh every agent, one after the other; a source that fails is noted on its agent and does not stop the others."""
        raise NotImplementedError

    async def list(self, agent: str) -> VersionsView:
        """Story §1."""
        raise NotImplementedError

    async def changes(self, agent: str, from_: str, to: str) -> ChangesView:
        """Everything that differs between two known versions. Raises NotFound `unknown_version`."""
        raise NotImplementedError
