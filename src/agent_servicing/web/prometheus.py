"""The numbers behind `/metrics`: gauges read at each scrape, counters fed from the event log since this process was first scraped."""

from collections.abc import Iterator, Sequence
from typing import Final

import anyio
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from agent_servicing.core import events
from agent_servicing.core.errors import ServicingError, TemporaryError
from agent_servicing.services.views import AgentView, MetricsView, StoredEvent
from agent_servicing.web.context import EngineStats, WebContext

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

WINDOW_SECONDS: Final = 60.0
"""What the traffic gauges are averaged over; longer than the usual scrape interval, so that no second is missed."""

BATCH: Final = 2_000
BATCHES_MAX: Final = 60
"""Events read in one scrape at most: more than the log keeps of live events, after which a scrape is complete by the next one."""

DURATION_BUCKETS: Final = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 86400.0)

_CLOSING: Final = frozenset({events.AUDIT_INSTALL, events.AUDIT_UPGRADE, events.AUDIT_ROLLBACK, events.AUDIT_RESTART})

log = structlog.get_logger(__name__)


class Exporter:
    """One per application, with a registry of its own: nothing global, nothing of the Python process."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._lock = anyio.Lock()
        self._seen_seq: int | None = None
        self._counters = CollectorRegistry()
        self._closed = Counter(
            "servicing_deployments_closed", "Deployments that ended, by kind and outcome", ("kind", "outcome"), registry=self._counters
        )
        self._rollbacks = Counter("servicing_rollbacks", "Rollbacks by what caused them", ("cause",), registry=self._counters)
        self._durations = Histogram(
            "servicing_deployment_duration_seconds",
            "From start to end of a deployment",
            ("kind",),
            buckets=DURATION_BUCKETS,
            registry=self._counters,
        )
        self._unhealthy = Counter("servicing_instance_failures", "Instances found failed or unhealthy", ("agent",), registry=self._counters)

    async def render(self) -> bytes:
        """The whole exposition. Raises Unavailable when the database cannot be read."""
        async with self._lock:
            await self._follow()
            agents = list((await self._context.services.fleet.views()).values())
            gauges = CollectorRegistry()
            _fleet(gauges, agents)
            _traffic(gauges, [view for agent in agents if (view := await self._metrics(agent)) is not None])
            if self._context.engine is not None:
                gauges.register(_Engine(self._context.engine()))
            info = Gauge("servicing_info", "Version of the server", ("version",), registry=gauges)
            info.labels(self._context.version).set(1)
            return bytes(generate_latest(gauges) + generate_latest(self._counters))

    async def _follow(self) -> None:
        log_of_events = self._context.services.events
        if self._seen_seq is None:
            self._seen_seq = await log_of_events.last_seq()
        for _ in range(BATCHES_MAX):
            batch = await log_of_events.since(self._seen_seq, limit=BATCH)
            for stored in batch:
                self._count(stored)
                self._seen_seq = stored.seq
            if len(batch) < BATCH:
                return

    def _count(self, stored: StoredEvent) -> None:
        event, data = stored.event, stored.event.data
        if event.type == events.INSTANCE_UNHEALTHY:
            self._unhealthy.labels(event.agent or "").inc()
        elif event.type == events.ROLLBACK_TRIGGERED:
            automatic = str(data.get("metric") or "unhealthy")
            self._rollbacks.labels(automatic if data.get("auto_triggered") else "operator").inc()
        elif event.type in _CLOSING and event.audit:
            self._close(stored)

    def _close(self, stored: StoredEvent) -> None:
        event, data = stored.event, stored.event.data
        own = (event.deployment or "").startswith("rbk-")
        if event.type == events.AUDIT_ROLLBACK and not own:
            return  # the audit's second entry for an upgrade that was taken back; counted when it was triggered
        if own:
            self._rollbacks.labels("operator").inc()
        self._closed.labels(event.type, str(data.get("status") or "unknown")).inc()
        seconds = data.get("duration_seconds")
        if isinstance(seconds, int | float):
            self._durations.labels(event.type).observe(float(seconds))

    async def _metrics(self, agent: AgentView) -> MetricsView | None:
        """None when the data plane cannot be read: an absent series, never a zero."""
        name = agent.state.agent.agent
        try:
            return await self._context.services.fleet.metrics(name, WINDOW_SECONDS)
        except (ServicingError, TemporaryError) as error:
            log.info("metrics_unreadable", agent=name, problem=str(error))
            return None


def _fleet(registry: CollectorRegistry, agents: Sequence[AgentView]) -> None:
    health = Gauge("servicing_agents", "Agents by health", ("health",), registry=registry)
    instances = Gauge("servicing_instances", "Instances by status", ("agent", "version", "status"), registry=registry)
    wanted = Gauge("servicing_instances_desired", "Instances wanted", ("agent",), registry=registry)
    updates = Gauge("servicing_versions_available", "Versions newer than the running one", ("agent",), registry=registry)
    deployments = Gauge("servicing_deployments", "Deployments under way or waiting", ("kind", "status"), registry=registry)
    share = Gauge("servicing_candidate_share_percent", "Share of new requests that the candidate gets", ("agent",), registry=registry)
    for view in agents:
        health.labels(view.health.status).inc()
        for instance in view.state.instances:
            instances.labels(view.state.agent.agent, instance.version, instance.status.value).inc()
        for deployment in view.state.deployments:
            deployments.labels(deployment.kind.value, deployment.status.value).inc()
        wanted.labels(view.state.agent.agent).set(view.state.agent.instances)
        updates.labels(view.state.agent.agent).set(len(view.available))
        share.labels(view.state.agent.agent).set(view.state.agent.share)


def _traffic(registry: CollectorRegistry, views: Sequence[MetricsView]) -> None:
    names = ("agent", "version", "role")
    rate = Gauge("servicing_requests_per_second", "Answered requests in the last minute", names, registry=registry)
    errors = Gauge("servicing_error_rate_percent", "Errors in percent of answered requests in the last minute", names, registry=registry)
    latency = Gauge("servicing_latency_p95_milliseconds", "95th percentile of the last minute", names, registry=registry)
    unserved = Gauge("servicing_unserved_requests", "Requests of the last minute that found no instance", ("agent",), registry=registry)
    limited = Gauge("servicing_limited_requests", "Requests of the last minute beyond the rate limit", ("agent",), registry=registry)
    for view in views:
        unserved.labels(view.agent).set(view.unserved)
        limited.labels(view.agent).set(view.limited)
        for generation in view.generations:
            labels = (view.agent, generation.version, generation.role)
            for gauge, value in ((rate, generation.throughput), (errors, generation.error_rate), (latency, generation.p95_latency_ms)):
                if value is not None:
                    gauge.labels(*labels).set(value)


class _Engine(Collector):
    """The engine's running totals as counters; it counts itself, here they are only shown."""

    def __init__(self, stats: EngineStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("servicing_engine_reconciles", "Turns of the engine", value=self._stats.reconciles)
        yield CounterMetricFamily("servicing_engine_failures", "Turns that failed", value=self._stats.failures)
        yield CounterMetricFamily("servicing_engine_reconcile_seconds", "Time spent in turns", value=self._stats.reconcile_seconds)
