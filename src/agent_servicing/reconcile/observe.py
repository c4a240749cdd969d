"""Looks at the world for one agent. What cannot be read becomes None, never an empty answer; the decision knows the difference."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar, assert_never

import anyio
import structlog

from agent_servicing.core.analysis import Tally
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.config.wanted import wanted
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import AgentState, Instance, Observation, Preparation, Probe, Process, Verification
from agent_servicing.core.reports import Limit
from agent_servicing.core.stages import ConvertState, RestoreState, SetAside, SnapshotState
from agent_servicing.core.state import Saving, SavingStatus
from agent_servicing.core.status import InstanceStatus, VerificationStatus
from agent_servicing.ports import AgentClient, Clock, ConfigChannel, ConfigTarget, Metrics, Reports, Router, Runtime, Verifier
from agent_servicing.ports.state import Restores, Snapshots

log = structlog.get_logger(__name__)

READ_TIMEOUT_SECONDS = 5.0
"""Longest wait for one reading; a data plane on this machine answers in milliseconds."""

STARTING_PROBE_SECONDS = 0.25
"""While an instance starts it is asked at least this often, so that a quick start is not made slow by a leisurely health interval."""

NOTHING_KNOWN: Final[Mapping[str, Probe]] = MappingProxyType({})

T = TypeVar("T")


def config_targets(state: AgentState, processes: Mapping[str, Process], documents: Mapping[str, ConfigDocument]) -> list[ConfigTarget]:
    """The running instances among `documents`, each with its own, of versions that can be given a configuration while they run."""
    versions = {instance.instance: instance.version for instance in state.instances}
    found = []
    for name, document in documents.items():
        process, release = processes.get(name), state.releases.get(versions.get(name, ""))
        manifest = release.manifest if release else state.agent.manifest
        if process is not None and process.alive and manifest.config.reload != "restart":
            found.append(ConfigTarget(agent=state.agent.agent, manifest=manifest, process=process, document=document))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Reads the four sources for one agent."""

    runtime: Runtime
    router: Router
    metrics: Metrics
    client: AgentClient
    clock: Clock
    verifier: Verifier | None = None
    reports: Reports | None = None
    channel: ConfigChannel | None = None
    snapshots: Snapshots | None = None
    restores: Restores | None = None

    async def observe(self, state: AgentState, known: Mapping[str, Probe] = NOTHING_KNOWN) -> Observation:
        """`known` are health checks already made while the agent rested; those are not made again before their interval is over."""
        agent = state.agent.agent
        processes = await self._read("processes", agent, lambda: self.runtime.observe(agent))
        preparations: dict[str, Preparation] = {}
        for version in state.releases:
            preparation = await self._read("preparation", agent, partial(self.runtime.preparation, agent, version))
            if preparation is not None:
                preparations[version] = preparation
        probes = await self._probe(state, processes or {}, known)
        # Routing before counters: a share that is read as set was set before what is then counted.
        routing = await self._read("routing", agent, lambda: self.router.observe(agent))
        counters = await self._read("counters", agent, lambda: self.metrics.counters(agent))
        return Observation(
            at=self.clock.now(),
            processes=processes,
            probes=probes,
            routing=routing,
            counters=counters,
            preparations=preparations,
            verification=await self._verification(state),
            saving=await self._saving(state),
            reports=await self._reports(state),
            configs=await self._configs(state, processes),
        )

    async def _configs(self, state: AgentState, processes: Mapping[str, Process] | None) -> Mapping[str, ConfigReport] | None:
        """What running instances say of their configuration; those of a version that only reads it at its start are not asked."""
        if self.channel is None or processes is None:
            return None
        targets = config_targets(state, processes, wanted(state))
        if not targets:
            return {}
        return await self._read("configs", state.agent.agent, partial(self.channel.reports, targets))

    async def _reports(self, state: AgentState) -> Mapping[int, Mapping[str, Tally]] | None:
        """What instances reported since the deployment under way began, where its policy asks for that."""
        deployment = next((d for d in state.deployments if d.active), None)
        if deployment is None or self.reports is None or not deployment.spec.policy.custom or deployment.started_at is None:
            return None
        limits = [Limit(name=m.name, above=m.above, below=m.below) for m in deployment.spec.policy.custom]
        agent, since = state.agent.agent, deployment.started_at
        return await self._read("reports", agent, partial(self.reports.tallies, agent, limits, since))

    async def _verification(self, state: AgentState) -> Verification | None:
        """Of the deployment that is being verified, if one is."""
        key = next((d.deployment for d in state.deployments if d.active and d.being_verified), None)
        if key is None:
            return None
        if self.verifier is None:
            return Verification(status=VerificationStatus.UNAVAILABLE, detail="this server has no driver for tests")
        return await self._read("verification", state.agent.agent, partial(self.verifier.outcome, key))

    async def _saving(self, state: AgentState) -> Saving | None:
        """Of the deployment in a stage about the state, if there is one."""
        key, stage = next(((d.deployment, d.state_stage) for d in state.deployments if d.active), (None, None))
        if key is None or stage is None:
            return None
        if self.snapshots is None or self.restores is None:
            return Saving(status=SavingStatus.FAILED, detail="this server has no driver for snapshots")
        agent = state.agent.agent
        match stage:
            case SnapshotState():
                reading = partial(self.snapshots.outcome, agent, key)
            case RestoreState():
                reading = partial(self.restores.restored, agent, key)
            case ConvertState():
                reading = partial(self.restores.converted, agent, key)
            case SetAside():
                reading = partial(self.restores.counted, agent, key)
            case _:
                assert_never(stage)
        return await self._read("state", agent, reading)

    async def _read(self, what: str, agent: str, reading: Callable[[], Awaitable[T]]) -> T | None:
        try:
            with anyio.fail_after(READ_TIMEOUT_SECONDS):
                return await reading()
        except (TemporaryError, PermanentError, TimeoutError) as error:
            log.warning("not_observed", agent=agent, what=what, problem=str(error) or type(error).__name__)
            return None

    async def _probe(self, state: AgentState, processes: Mapping[str, Process], known: Mapping[str, Probe]) -> Mapping[str, Probe]:
        """Health checks that are due, all at once; each is bounded by the client."""
        names = {instance.instance for instance in state.instances}
        probes = {name: probe for name, probe in known.items() if name in names}

        async def one(instance: Instance, process: Process) -> None:
            release = state.releases.get(instance.version)
            manifest = release.manifest if release else state.agent.manifest
            probes[instance.instance] = await self.client.probe(manifest, process)

        async with anyio.create_task_group() as tasks:
            for instance in state.instances:
                process = processes.get(instance.instance)
                seen = known.get(instance.instance)
                last = instance if seen is None else replace(instance, probed_at=seen.at)
                if process is not None and process.alive and self._due(state, last):
                    tasks.start_soon(one, instance, process)
        return probes

    def _due(self, state: AgentState, instance: Instance) -> bool:
        if instance.status not in (InstanceStatus.STARTING, InstanceStatus.READY):
            return False
        release = state.releases.get(instance.version)
        interval = (release.manifest if release else state.agent.manifest).health.interval_seconds
        if instance.status is InstanceStatus.STARTING:
            interval = min(interval, STARTING_PROBE_SECONDS)
        if instance.probed_at is None:
            return True
        since = (self.clock.now() - instance.probed_at).total_seconds()
        return since < 0 or since >= interval * 0.9
