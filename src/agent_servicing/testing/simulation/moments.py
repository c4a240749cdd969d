"""The moments at which laws are checked: what the watchers show to the invariants."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent_servicing.core.model import AgentState, Deployment, Instance, Intent
from agent_servicing.core.routing import Routing
from agent_servicing.core.stages import StageRecord
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.ports import Commit, Lease


class Violation(AssertionError):
    """A law was broken; the message holds the seed, the moment and how to see it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """`law` is the name of the invariant."""

    law: str
    sentence: str
    agent: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The store's row as a commit found it: `events` is how many there were, `current` whether the lease is the one in force."""

    state: AgentState
    deployments: Mapping[str, Deployment]
    intents: tuple[Intent, ...]
    events: int
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One commit: what was there, what was to be written, whether it was. `began_at`: the virtual second at which its turn began."""

    lease: Lease
    before: Before
    commit: Commit
    written: bool
    began_at: float = 0.0

    @property
    def state(self) -> AgentState:
        return self.commit.state

    def changed(self) -> list[tuple[Deployment | None, Deployment]]:
        return [(self.before.deployments.get(d.deployment), d) for d in self.commit.state.deployments]

    @property
    def taken(self) -> list[Intent]:
        """The operators' intents that the engine took with this commit."""
        return [i for i in self.before.intents if i.intent in self.commit.intents_done]

    @property
    def handover(self) -> Deployment | None:
        """The deployment whose candidate became the stable generation just now."""
        old, new = self.before.state.agent.stable, self.commit.state.agent.stable
        if old is None or new is None or old == new:
            return None
        return next((d for d in self.commit.state.deployments if d.candidate == new and d.active), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The engine signals an instance. `instance` is what the store knows of it, None for an orphan."""

    state: AgentState
    name: str
    instance: Instance | None
    in_service: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The engine orders a routing. `needed` is how many instances carry everything: the smallest number in question now.

    `well` are those that answer and that the store does not know to have failed a probe.
    """

    routing: Routing
    needed: int
    well: frozenset[str]


def guarded(deployment: Deployment) -> bool:
    """Whether verdicts, deadlines and verbs can still take it back."""
    watched = (DeploymentStatus.IN_PROGRESS, DeploymentStatus.PAUSED, DeploymentStatus.BAKING)
    return deployment.status in watched and not deployment.handed_over


def stages(deployment: Deployment) -> list[tuple[int, StageRecord]]:
    return list(enumerate(deployment.stages))


def returns(deployment: Deployment) -> bool:
    """Whether it brings traffic back to an older version."""
    back = (DeploymentStatus.ROLLING_BACK, DeploymentStatus.ROLLED_BACK, DeploymentStatus.CANCELLED, DeploymentStatus.FAILED)
    return deployment.kind is DeploymentKind.ROLLBACK or deployment.status in back
