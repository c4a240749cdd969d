"""What the generations and instances of an agent are busy with, and how far those are that leave. Reads only; called by `web`."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import anyio

from agent_servicing.core.drains import GenerationWork, InstanceWork, World, generation_work, instance_work
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import AgentState, Instance, Probe
from agent_servicing.ports import Clock, Router
from agent_servicing.ports.counting import CountsConversations
from agent_servicing.services.config_reader import Known
from agent_servicing.services.transaction import known_state
from agent_servicing.store.database import Database
from agent_servicing.store.known import KnownStates

READ_TIMEOUT_SECONDS: Final = 5.0
"""Limit of one look at the data plane; what takes longer is not known."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkView:
    """Newest generation first, as are the instances."""

    state: AgentState
    generations: tuple[GenerationWork, ...]
    instances: tuple[InstanceWork, ...]


class Probes(Protocol):
    """Health checks that are newer than the ones on record; the engine's pulse has them."""

    def latest(self, agent: str) -> Mapping[str, Probe]: ...


class Generations:
    """`router`, `known` and `probes` None: nothing is known of that side."""

    def __init__(
        self,
        *,
        database: Database,
        states: KnownStates,
        clock: Clock,
        router: Router | None,
        known: Known | None,
        probes: Probes | None = None,
    ) -> None:
        self._database, self._states, self._clock = database, states, clock
        self._router, self._known, self._probes = router, known, probes

    async def work(self, agent: str) -> WorkView:
        """Raises NotFound `unknown_agent`. What a driver does not tell is None in the answer."""
        state = self._seen(await known_state(self._database, self._states, agent))
        world = await self._look(agent)
        numbered = {g.number: g for g in state.generations}
        ordered = sorted(state.instances, key=lambda i: (-i.generation, i.place, i.instance))
        work = tuple(instance_work(i, _manifest(state, i.version), world) for i in ordered)
        generations = (
            generation_work(
                numbered[number],
                stable=state.agent.stable,
                candidate=state.agent.candidate,
                manifest=_manifest(state, numbered[number].version),
                work=[each for each in work if each.instance.generation == number],
                world=world,
            )
            for number in sorted(numbered, reverse=True)
        )
        return WorkView(state=state, generations=tuple(generations), instances=work)

    def _seen(self, state: AgentState) -> AgentState:
        """With the times of health checks that changed nothing, and so were not written."""
        probes = self._probes.latest(state.agent.agent) if self._probes is not None else {}
        return replace(state, instances=tuple(_probed(instance, probes.get(instance.instance)) for instance in state.instances))

    async def _look(self, agent: str) -> World:
        reports = await _tried(self._known.known(agent)) if self._known is not None else None
        if self._router is None:
            return World(at=self._clock.now(), reports=reports)
        view = await _tried(self._router.observe(agent))
        counted = await _tried(self._router.conversations(agent)) if isinstance(self._router, CountsConversations) else None
        in_flight = view.in_flight if view is not None else None
        return World(at=self._clock.now(), in_flight=in_flight, reports=reports, conversations=counted)


def _probed(instance: Instance, probe: Probe | None) -> Instance:
    newer = probe is not None and (instance.probed_at is None or instance.probed_at < probe.at)
    return replace(instance, probed_at=probe.at) if probe is not None and newer else instance


async def _tried(reading: Awaitable[T]) -> T | None:
    try:
        with anyio.fail_after(READ_TIMEOUT_SECONDS):
            return await reading
    except (TemporaryError, PermanentError, TimeoutError):  # shown as not known, which it is
        return None


def _manifest(state: AgentState, version: str) -> Manifest:
    release = state.releases.get(version)
    return release.manifest if release else state.agent.manifest
