"""The next state while a decision is being made: a private copy of the snapshot, written by the steps of `decide`, then frozen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

from agent_servicing.core.actions import Action
from agent_servicing.core.analysis import Block
from agent_servicing.core.capacity import places
from agent_servicing.core.config.enforced import Enforced, enforced
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.patch import Patch
from agent_servicing.core.config.wanted import Documents, revision_of
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.core.impact import Footing
from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, AgentState, Deployment, Generation, Instance, Observation, Release, Snapshot
from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import Routing
from agent_servicing.core.status import AgentStatus, InstanceStatus

BLOCKS_STORED = 20_000
"""Blocks kept of one deployment: more than five hours of one a second. Its verdicts go on without, but cannot be replayed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBlock:
    """A block, whose it is, and when it was closed. `begun_anew`: how often that deployment's evidence was begun anew before."""

    deployment: str
    begun_anew: int
    at: datetime
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from one snapshot: the state to commit, what to do, what to tell, when to look again."""

    state: AgentState
    actions: tuple[Action, ...]
    events: tuple[Event, ...]
    intents_done: tuple[int, ...]
    next_in_seconds: float
    blocks: tuple[JudgedBlock, ...] = ()


class Draft:
    """Mutable only inside one call of `decide`."""

    def __init__(self, snapshot: Snapshot, limits: Limits) -> None:
        state = snapshot.state
        self.before = state
        self.world: Observation = snapshot.world
        self.gate = snapshot.gate
        self.limits = limits
        self.agent: Agent = state.agent
        self.generations: dict[int, Generation] = {g.number: g for g in state.generations}
        self.instances: dict[str, Instance] = {i.instance: i for i in state.instances}
        self.deployments: dict[str, Deployment] = {d.deployment: d for d in state.deployments}
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.intents_done: list[int] = []
        self.blocks: list[JudgedBlock] = []
        self.wake_in_seconds = limits.idle_interval_seconds
        self.patch: Patch | None = state.patch
        self._documents: Documents | None = None
        self.routed: tuple[tuple[object, ...], Routing] | None = None

    @property
    def now(self) -> datetime:
        return self.world.at

    @property
    def removing(self) -> bool:
        return self.agent.status is not AgentStatus.ACTIVE

    @property
    def active(self) -> Deployment | None:
        return next((d for d in self.deployments.values() if d.active), None)

    def since(self, moment: datetime | None) -> float:
        """Seconds from `moment` to now; 0 when there is none or the clock was set back."""
        return max(0.0, (self.now - moment).total_seconds()) if moment else 0.0

    def release(self, version: str) -> Release | None:
        return self.before.releases.get(version)

    def manifest(self, version: str) -> Manifest:
        release = self.release(version)
        return release.manifest if release else self.agent.manifest

    def document(self, instance: Instance, revision: str | None = None) -> ConfigDocument:
        """The configuration it is to have, by the revision in force for it unless another one is named."""
        name = revision_of(instance, self.generations, self.patch) if revision is None else revision
        return self._documents_now().of(instance, name)

    def enforced(self, generation: Generation, revision: str | None = None) -> Enforced:
        """What is enforced around this generation, by its own revision unless another one is named."""
        name = generation.config if revision is None else revision
        return enforced(self._documents_now().at(generation.version, name).around)

    def may_use(self, instance: Instance, revision: str | None = None) -> Resources:
        """The limits it is to have, by the revision in force for it unless another one is named."""
        return enforced(self.document(instance, revision).around).resources

    def _documents_now(self) -> Documents:
        patch = self.patch or self.before.patch
        if self._documents is None or self._documents.revision != (patch.revision if patch is not None else None):
            self._documents = Documents(self.before, patch)
        return self._documents

    def of(self, generation: int | None, *statuses: InstanceStatus) -> list[Instance]:
        """The generation's instances in these statuses (all when none is named), by name."""
        chosen = [i for i in self.instances.values() if i.generation == generation and (not statuses or i.status in statuses)]
        if len(chosen) > 1:
            chosen.sort(key=_name)
        return chosen

    def ready(self, generation: int | None) -> list[Instance]:
        return self.of(generation, InstanceStatus.READY)

    def footing(self) -> Footing | None:
        """What serves now; None while nothing does."""
        stable = self.generations.get(self.agent.stable or 0)
        if stable is None:
            return None
        return Footing(
            version=stable.version,
            generation=stable.number,
            config=stable.config,
            instances=len(self.ready(stable.number)),
            weight=100.0 - self.agent.share if self.agent.candidate is not None else 100.0,
            epoch=stable.epoch,
            schema=self.manifest(stable.version).state.writes,
        )

    def want(self, number: int | None, percent: float) -> None:
        """Ask for this part of the agent's instances of a generation."""
        generation = self.generations.get(number or 0)
        if generation is not None:
            self.put(replace(generation, part=percent, desired=places(self.agent.instances, percent)))

    def put(self, *items: Agent | Generation | Instance | Deployment) -> None:
        for item in items:
            match item:
                case Agent():
                    self.agent = item
                case Generation():
                    self.generations[item.number] = item
                case Instance():
                    self.instances[item.instance] = item
                case Deployment():
                    self.deployments[item.deployment] = item

    def do(self, *actions: Action) -> None:
        self.actions.extend(actions)

    def tell(
        self,
        kind: str,
        *,
        deployment: Deployment | None = None,
        actor: str = SYSTEM,
        reason: str = "",
        audit: bool = False,
        data: Mapping[str, object] | None = None,
        **more: object,
    ) -> None:
        name = deployment.deployment if deployment else None
        whole = {**(data or {}), **more}
        event = Event(type=kind, at=self.now, agent=self.agent.agent, deployment=name, actor=actor, reason=reason, audit=audit, data=whole)
        self.events.append(event)

    def keep_block(self, deployment: Deployment, block: Block) -> None:
        """To be stored with the deployment: what its verdicts can be replayed from."""
        if block.number < BLOCKS_STORED:
            anew = len(deployment.replaced)
            self.blocks.append(JudgedBlock(deployment=deployment.deployment, begun_anew=anew, at=self.now, block=block))

    def wake_in(self, seconds: float) -> None:
        self.wake_in_seconds = min(self.wake_in_seconds, seconds)

    def decision(self) -> Decision:
        deployments = tuple(self._counted(d) for d in self.deployments.values())
        state = replace(
            self.before,
            agent=self.agent,
            generations=tuple(self.generations[n] for n in sorted(self.generations)),
            instances=_ordered(self.instances.values()),
            deployments=deployments,
            intents=(),
            patch=self.patch,
        )
        return Decision(
            state=state,
            actions=tuple(self.actions),
            events=tuple(self.events),
            intents_done=tuple(self.intents_done),
            next_in_seconds=self.wake_in_seconds,
            blocks=tuple(self.blocks),
        )

    def _counted(self, deployment: Deployment) -> Deployment:
        before = next((d for d in self.before.deployments if d.deployment == deployment.deployment), None)
        visible = before is not None and (before.status, before.stages, before.message) == (
            deployment.status,
            deployment.stages,
            deployment.message,
        )
        return deployment if visible else replace(deployment, revision=deployment.revision + 1)


_name = attrgetter("instance")


def _ordered(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    return tuple(sorted(instances, key=lambda i: (i.generation, i.place, i.instance)))
