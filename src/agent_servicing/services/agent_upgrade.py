"""Upgrades: plan, request, watch, and the operator's verbs on one under way. Called by `web`; the engine does the work."""

from dataclasses import dataclass, field
from datetime import datetime

from agent_servicing.core.model import Deployment, IfBusy
from agent_servicing.core.status import Verb
from agent_servicing.ports import Clock, EventBus, Ids
from agent_servicing.services.views import DeploymentPage, Plan
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoRollback:
    """The operator's limits: error rate in percent of the candidate's requests, latency in ms at p95; None switches a limit off."""

    enabled: bool = True
    error_rate_threshold: float | None = 5.0
    latency_threshold_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """What an operator asks for; None means the default of `DeploymentSpec`, `Policy` or the settings. `schedule` and `bake_until` are UTC."""

    target_version: str
    strategy: str = "blue-green"
    reason: str = ""
    schedule: datetime | None = None
    auto_rollback: AutoRollback = field(default_factory=AutoRollback)
    steps: tuple[float, ...] | None = None
    monitor_seconds: float | None = None
    bake_seconds: float | None = None
    bake_until: datetime | None = None
    hold_seconds: float | None = None
    keep_warm_seconds: float | None = None
    min_requests: int | None = None
    acknowledge_breaking: bool = False
    when_busy: IfBusy = "queue"


class AgentUpgrade:
    """Use cases on deployments of every kind. Reads serve `upg-…` and `rbk-…` alike."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, bus: EventBus, settings: Settings) -> None:
        self._database, self._clock, self._ids, self._bus, self._settings = database, clock, ids, bus, settings

    async def plan(self, agent: str, request: UpgradeRequest) -> Plan:
        """Dry run: what would be done, or why not; writes nothing. Raises only NotFound `unknown_agent`."""
        raise NotImplementedError

    async def request(self, agent: str, request: UpgradeRequest, *, actor: str) -> Deployment:
        """Queue or schedule it; the first refusal of the plan is raised (Invalid, Conflict or NotFound)."""
        raise NotImplementedError

    async def get(self, agent: str, deployment: str) -> Deployment:
        """Raises NotFound `unknown_deployment`."""
        raise NotImplementedError

    async def find(self, deployment: str) -> Deployment:
        """By its id alone. Raises NotFound `unknown_deployment`."""
        raise NotImplementedError

    async def list(self, agent: str | None = None, *, limit: int = 50, cursor: str | None = None) -> DeploymentPage:
        """Newest first, of one agent or of all; also of agents that were removed."""
        raise NotImplementedError

    async def verb(
        self,
        agent: str,
        deployment: str,
        verb: Verb,
        *,
        actor: str,
        reason: str = "",
        full: bool = False,
        if_state: str | None = None,
        if_version: int | None = None,
    ) -> Deployment:
        """Ask for pause, resume, promote or cancel. `if_version` is the deployment's `revision`.

        A waiting deployment is cancelled at once; everything else is done by the engine. Raises Conflict (`state_mismatch`,
        `version_mismatch`, `wrong_state`) with `details["deployment"]` holding the current Deployment.
        """
        raise NotImplementedError
