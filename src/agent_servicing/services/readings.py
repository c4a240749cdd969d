"""Recent readings of the data plane's counters, kept in memory: two of them make a rate. Used by `Fleet`; a restart begins anew."""

from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from agent_servicing.core import latency
from agent_servicing.core.metrics import Counters, Counts
from agent_servicing.core.model import AgentState
from agent_servicing.services.views import GenerationMetrics, InstanceMetrics, MetricsView

READINGS_KEPT: Final = 120
"""Readings per agent; at one in five seconds they reach ten minutes back, and bound the memory at about 1 MB for each agent with requests."""

READING_EVERY_SECONDS: Final = 5.0
"""Readings closer together replace each other's place at the end instead of pushing old ones out."""


class Readings:
    """Per agent, oldest first."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Counters]] = {}

    def add(self, agent: str, reading: Counters) -> None:
        kept = self._kept.setdefault(agent, deque(maxlen=READINGS_KEPT))
        if kept and reading.at < kept[-1].at:
            kept.clear()  # the clock was set back: spans across that moment would be wrong
        if not kept or (reading.at - kept[-1].at).total_seconds() >= READING_EVERY_SECONDS:
            kept.append(_sharing(reading, kept[-1]) if kept else reading)

    def before(self, agent: str, reading: Counters, window_seconds: float) -> Counters | None:
        """The latest reading that is at least so long before `reading`, else the oldest there is; None when none is earlier."""
        start = reading.at - timedelta(seconds=window_seconds)
        earlier = [kept for kept in self._kept.get(agent, ()) if kept.at < reading.at]
        old_enough = [kept for kept in earlier if kept.at <= start]
        return old_enough[-1] if old_enough else earlier[0] if earlier else None

    def keep_only(self, agents: set[str]) -> None:
        """Forget agents that are gone."""
        self._kept = {agent: kept for agent, kept in self._kept.items() if agent in agents}


def _sharing(reading: Counters, last: Counters) -> Counters:
    """The same reading; what did not change since `last` is held once, so that an agent without requests costs next to no memory."""
    same = {n: last.generations[n] if last.generations.get(n) == counted else counted for n, counted in reading.generations.items()}
    instances = last.instances if last.instances == reading.instances else reading.instances
    return replace(reading, generations=same, instances=instances)


def metrics_view(state: AgentState, reading: Counters, earlier: Counters | None) -> MetricsView:
    """What happened between the two readings; since the counters began when there is no earlier one."""
    seconds = (reading.at - earlier.at).total_seconds() if earlier else 0.0
    delta = reading.since(earlier) if earlier else reading
    versions = {g.number: g.version for g in state.generations}
    of_instance = {i.instance: i for i in state.instances}
    return MetricsView(
        agent=state.agent.agent,
        at=reading.at,
        window_seconds=round(seconds, 3),
        generations=tuple(
            _generation(state, number, versions[number], delta.generation(number).total, seconds) for number in sorted(versions)
        ),
        instances=tuple(
            InstanceMetrics(
                instance=name,
                generation=of_instance[name].generation if name in of_instance else None,
                version=of_instance[name].version if name in of_instance else None,
                requests=counts.requests,
                errors=counts.errors,
                in_flight=counts.in_flight,
            )
            for name, counts in sorted(reading.instances.items())
        ),
        unserved=delta.unserved,
        limited=delta.limited,
    )


def _generation(state: AgentState, number: int, version: str, counts: Counts, seconds: float) -> GenerationMetrics:
    agent, histogram = state.agent, counts.histogram
    role: Literal["stable", "candidate", "other"] = (
        "stable" if number == agent.stable else "candidate" if number == agent.candidate else "other"
    )
    share = {"stable": 100.0 - agent.share, "candidate": agent.share, "other": 0.0}[role]
    return GenerationMetrics(
        generation=number,
        version=version,
        role=role,
        traffic_percent=share,
        requests=counts.answered,
        errors=counts.errors,
        error_rate=_rounded(counts.error_rate),
        avg_latency_ms=_rounded(latency.mean_ms(histogram)),
        p50_latency_ms=latency.quantile_ms(histogram, 0.50),
        p95_latency_ms=latency.quantile_ms(histogram, 0.95),
        p99_latency_ms=latency.quantile_ms(histogram, 0.99),
        throughput=_rounded(counts.answered / seconds) if seconds > 0 else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
