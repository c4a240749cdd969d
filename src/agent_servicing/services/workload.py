"""What each instance is busy with and how long it may go on when it leaves: for whoever waits for a drain. Called by `web`.

Requests in flight are the data plane's count, streams and conversations the instance's own. What nobody counts is None, never zero.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import anyio

from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.metrics import Counters
from agent_servicing.core.model import AgentState, Generation, Instance
from agent_servicing.core.status import GenerationStatus, InstanceStatus
from agent_servicing.ports import Clock, Metrics
from agent_servicing.services.config_reader import Known

PATIENCE_SECONDS: Final = 2.0
"""A count that takes longer is left out: the list of instances is looked at when things are slow."""

OLD_SECONDS: Final = 30.0
"""An instance says every ten seconds what it is busy with; what is older is not known any more."""

Phase = Literal["starting", "ramping", "active", "draining", "drained", "warm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWork:
    """`in_flight` holds streams too. `drain_seconds_left`: until what is still open is cut; None while it does not leave."""

    in_flight: int | None = None
    active_streams: int | None = None
    open_conversations: int | None = None
    drain_seconds_left: float | None = None


class Workload:
    """`known` None: instances say nothing of themselves."""

    def __init__(self, *, metrics: Metrics, clock: Clock, known: Known | None) -> None:
        self._metrics, self._clock, self._known = metrics, clock, known

    async def of(self, state: AgentState) -> Mapping[str, InstanceWork]:
        """By instance; never fails, at worst nothing is known."""
        agent, now = state.agent.agent, self._clock.now()
        counters: Counters | None = None
        with suppress(TemporaryError, PermanentError, TimeoutError):
            with anyio.fail_after(PATIENCE_SECONDS):
                counters = await self._metrics.counters(agent)
        reports = await self._known.known(agent) if self._known is not None else {}
        return {i.instance: _work(state, i, counters, reports.get(i.instance), now) for i in state.instances}


def phase_of(state: AgentState, generation: Generation) -> Phase:
    """Where a generation stands between its first request and its last."""
    if generation.number == state.agent.stable:
        return "active"
    if generation.number == state.agent.candidate:
        return "ramping"
    match generation.status:
        case GenerationStatus.DRAINING:
            return "draining"
        case GenerationStatus.WARM:
            return "warm"
        case GenerationStatus.STOPPING:
            mine = [i for i in state.instances if i.generation == generation.number]
            return "drained" if all(i.stopping_since is not None for i in mine) else "draining"
        case _:
            return "starting"


def conversation_seconds_left(manifest: Manifest, generation: Generation, now: datetime) -> float | None:
    """Until open conversations of a generation that drains move on; None when it does not."""
    if generation.status is not GenerationStatus.DRAINING or generation.draining_since is None or not manifest.conversation_key:
        return None
    return _left(manifest.drain.conversation_timeout_seconds, generation.draining_since, now)


def _work(state: AgentState, instance: Instance, counters: Counters | None, report: ConfigReport | None, now: datetime) -> InstanceWork:
    counted = counters.instances.get(instance.instance) if counters is not None else None
    fresh = report is not None and (now - report.at).total_seconds() <= OLD_SECONDS
    load = report.load if report is not None and fresh else None
    leaves = instance.status is InstanceStatus.DRAINING and instance.draining_at is not None
    return InstanceWork(
        in_flight=counted.in_flight if counted is not None else None,
        active_streams=load.active_streams if load is not None else None,
        open_conversations=load.open_conversations if load is not None else None,
        drain_seconds_left=_drain_left(state, instance, load.active_streams if load is not None else None, now) if leaves else None,
    )


def _drain_left(state: AgentState, instance: Instance, streams: int | None, now: datetime) -> float | None:
    if instance.draining_at is None:
        return None
    release = state.releases.get(instance.version)
    drain = (release.manifest if release else state.agent.manifest).drain
    budget = drain.timeout_seconds if streams == 0 else drain.stream_budget_seconds
    return _left(budget, instance.draining_at, now)


def _left(budget_seconds: float, since: datetime, now: datetime) -> float:
    return round(max(0.0, budget_seconds - (now - since).total_seconds()), 1)
