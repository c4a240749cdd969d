"""The fleet: adding, scaling, restarting and removing agents, and how they are doing. Called by `web`; writes rows and intents, never acts."""

from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, Deployment
from agent_servicing.ports import Clock, EventBus, Ids, Metrics, Runtime
from agent_servicing.services.version_manager import VersionManager
from agent_servicing.services.views import AgentView, FleetTotals, LogLine, MetricsView
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


class Fleet:
    """Use cases on whole agents. Every write is one transaction (rows, intent, audit event), then a wake-up on the bus."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        bus: EventBus,
        settings: Settings,
        versions: VersionManager,
        runtime: Runtime,
        metrics: Metrics,
    ) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings
        self._versions, self._runtime = versions, runtime

    async def add(self, manifest: Manifest, *, version: str | None, actor: str, reason: str = "") -> tuple[Agent, Deployment]:
        """Take on an agent and install `version` (None: the newest stable one its source has).

        Raises Conflict `agent_exists`, NotFound `unknown_version` naming what there is, Invalid when the source has none or cannot be read.
        """
        raise NotImplementedError

    async def list(self) -> list[AgentView]:
        """Every agent, by id."""
        raise NotImplementedError

    async def get(self, agent: str) -> AgentView:
        """Raises NotFound `unknown_agent`."""
        raise NotImplementedError

    async def scale(self, agent: str, instances: int, *, actor: str, reason: str = "") -> None:
        """Ask for so many instances (1 to `settings.instance_slots`)."""
        raise NotImplementedError

    async def remove(self, agent: str, *, actor: str, reason: str = "") -> None:
        """Ask for its removal: instances drain and end, then its row goes; history stays."""
        raise NotImplementedError

    async def restart(self, agent: str, *, actor: str, reason: str = "") -> Deployment:
        """Replace every instance by a new one of the same version, without downtime. Raises Conflict `agent_busy` or `nothing_deployed`."""
        raise NotImplementedError

    async def metrics(self, agent: str, window_seconds: float = 60.0) -> MetricsView:
        """What was counted in about the last `window_seconds`. Raises Unavailable when the data plane cannot be read."""
        raise NotImplementedError

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> list[LogLine]:
        """The last lines (1–5000) of one instance or all of them, oldest first."""
        raise NotImplementedError

    async def totals(self) -> FleetTotals:
        """Totals for the dashboard."""
        raise NotImplementedError
