"""Bodies and answers of the fleet: agents, instances, logs, metrics, totals."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from agent_servicing.manifest import MANIFEST_MAX_CHARS
from agent_servicing.services.fleet import INSTANCES_MAX
from agent_servicing.services.views import AttentionWord
from agent_servicing.web.schemas.common import Body, Name, NextCursor, Reason, SeenBody, Text, View, example, storable
from agent_servicing.web.schemas.deployments import DeploymentView

_TOML = """[agent]
id = "WowMemory"
[source]
git = "file:///srv/wow-memory.git"
[run]
command = ["uvicorn", "wow_memory:app", "--host", "{host}", "--port", "{port}"]
instances = 3
[health]
path = "/healthz"
"""


_HEALTH = {"status": "healthy", "desired": 3, "ready": 3, "starting": 0, "draining": 0, "failed": 0, "stopped": 0}
_SUMMARY: dict[str, Any] = {
    "agent_id": "WowMemory",
    "description": "Remembers",
    "owner": "team@example.com",
    "status": "active",
    "current_version": "1.2.5",
    "current_deployed_at": "2025-12-15T10:00:00Z",
    "instances": 3,
    "health": _HEALTH,
    "update_available": True,
    "update_urgency": "normal",
    "current_standing": "available",
    "attention": [],
    "available_versions": [{"version": "1.3.0", "type": "minor", "security": False, "critical": False, "deprecated": False}],
    "deployment": None,
}
_DETAIL: dict[str, Any] = {
    **_SUMMARY,
    "created_at": "2025-12-01T08:00:00Z",
    "runtime": "process",
    "source": {"kind": "git", "location": "file:///srv/wow-memory.git"},
    "conversation_key": "header:X-Conversation-Id",
    "traffic": {"1.2.5": 100.0},
    "generations": [
        {
            "generation": 1,
            "version": "1.2.5",
            "status": "live",
            "role": "stable",
            "phase": "active",
            "conversation_seconds_left": None,
            "desired": 3,
            "ready": 3,
            "crash_looping": False,
            "created_at": "2025-12-15T09:59:00Z",
            "warm_until": None,
        }
    ],
    "rollback_points": ["1.2.4"],
    "queue": [],
    "manifest": _TOML,
}


ManifestText = Annotated[str, Field(min_length=1, max_length=MANIFEST_MAX_CHARS)]
ManifestValue = Annotated[dict[str, Any] | ManifestText, AfterValidator(storable)]


class AddAgentBody(Body):
    """An agent's manifest as an object or as the text of its `agent.toml`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"manifest": _TOML, "manifest_path": "/srv/wow-memory/agent.toml", "version": "1.2.5"},
                {
                    "manifest": {
                        "agent": {"id": "WowMemory"},
                        "source": {"git": "file:///srv/wow-memory.git"},
                        "run": {"command": ["uvicorn", "wow_memory:app", "--host", "{host}", "--port", "{port}"]},
                    }
                },
            ]
        }
    )

    manifest: ManifestValue = Field(description="Tables of `agent.toml` as an object, or its text")
    manifest_path: Annotated[Text, Field(min_length=1)] | None = Field(
        None, description="Where the manifest lies on the server's machine: relative sources are resolved against its folder"
    )
    version: Name | None = Field(default=None, description="First version to install; omitted: the newest stable one")
    reason: Text = ""


class ScaleBody(SeenBody):
    model_config = ConfigDict(json_schema_extra=example(instances=5, reason="Black Friday"))

    instances: int = Field(ge=1, le=INSTANCES_MAX)
    reason: Text = ""


class RestartBody(SeenBody):
    model_config = ConfigDict(json_schema_extra=example(reason="Picks up the new certificate"))

    reason: Reason
    override_freeze: bool = Field(default=False, description="For admins: begin in spite of freezes, windows and a stopped line")


class AvailableView(View):
    version: str
    type: str
    security: bool
    critical: bool
    deprecated: bool


class HealthView(View):
    """Instances of the serving generation by status."""

    status: str
    desired: int
    ready: int
    starting: int
    draining: int
    failed: int
    stopped: int


class GenerationView(View):
    generation: int
    version: str
    status: str
    role: str = Field(description="stable, candidate or other")
    phase: str = Field(description="starting, ramping, active, draining (open conversations or requests end there), drained or warm")
    conversation_seconds_left: float | None = Field(
        description="Until open conversations move on; null while the generation does not drain"
    )
    desired: int
    ready: int
    crash_looping: bool
    created_at: datetime
    warm_until: datetime | None


class AgentSummary(View):
    """One line of the dashboard."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SUMMARY]})

    agent_id: str
    description: str
    owner: str
    status: str
    current_version: str | None
    current_deployed_at: datetime | None
    instances: int
    health: HealthView
    update_available: bool
    update_urgency: str | None = Field(
        description="critical, security, withdrawn (the running version is) or normal; null without an update"
    )
    current_standing: str = Field(description="Of the running version: available, deprecated or withdrawn")
    attention: list[AttentionWord] = Field(
        description="Why somebody should look at it: health (not whole), went_wrong (its newest deployment failed or was taken back by the "
        "engine within a day), security_update, withdrawn (the running version is), paused (its deployment is)"
    )
    available_versions: list[AvailableView]
    deployment: DeploymentView | None = Field(description="The newest one of any status")


class AgentDetail(AgentSummary):
    """One agent whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DETAIL]})

    created_at: datetime
    runtime: str
    source: dict[str, str]
    conversation_key: str | None
    traffic: dict[str, float] = Field(description="Share of new requests in percent by version")
    generations: list[GenerationView]
    rollback_points: list[str]
    queue: list[str] = Field(description="Deployments under way or waiting, oldest first")
    manifest: str = Field(description="What the developer wrote")


class AgentList(View):
    model_config = ConfigDict(json_schema_extra=example(agents=[_SUMMARY], next_cursor=None, total=1))

    agents: list[AgentSummary]
    next_cursor: NextCursor
    total: int = Field(description="How many there are on all pages")


class AgentNames(View):
    model_config = ConfigDict(json_schema_extra=example(agents=["WowCache", "WowMemory"], complete=True))

    agents: list[str]
    complete: bool


class AgentAdded(AgentDetail):
    """A new agent; `deployment` is the installation of its first version, whose id is `upgrade_id`."""

    model_config = ConfigDict(json_schema_extra=example(**{**_DETAIL, "upgrade_id": "upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF"}))

    upgrade_id: str


class AgentAccepted(View):
    """Accepted: the engine does it. `GET /agents/{id}` shows how far it is."""

    model_config = ConfigDict(json_schema_extra=example(agent_id="WowMemory", status="active", instances=5))

    agent_id: str
    status: str
    instances: int


class InstanceView(View):
    instance: str
    version: str
    generation: int
    status: str
    role: str
    place: int
    host: str | None
    port: int | None
    pid: int | None
    created_at: datetime
    started_at: datetime | None
    ready_at: datetime | None
    exit_code: int | None
    reason: str
    probed_at: datetime | None = Field(description="The last health check that is on record; null: none yet")
    healthy_in_a_row: int = Field(description="Counted up to the manifest's `healthy_after`")
    unhealthy_in_a_row: int = Field(description="Counted up to the manifest's `unhealthy_after`")
    crashes: int = Field(description="Of its generation, within the last five minutes; each was started anew")
    in_flight: int | None = Field(description="Requests that the data plane has open there now, streams among them; null: not known")
    active_streams: int | None = Field(description="What the instance counts itself (SDK, HTTP contract); null: not known")
    open_conversations: int | None = Field(description="As above")
    drain_seconds_left: float | None = Field(description="Until what is still open is cut; null while the instance does not leave")
    says: str = Field(description="What it says of itself: ready, busy, draining, drained …; empty when it says nothing")


class InstanceList(View):
    model_config = ConfigDict(
        json_schema_extra=example(
            instances=[
                {
                    "instance": "g1-1-0",
                    "version": "1.2.5",
                    "generation": 1,
                    "status": "ready",
                    "role": "stable",
                    "place": 1,
                    "host": "127.0.0.1",
                    "port": 40001,
                    "pid": 4711,
                    "created_at": "2025-12-15T09:59:00Z",
                    "started_at": "2025-12-15T09:59:01Z",
                    "ready_at": "2025-12-15T09:59:03Z",
                    "exit_code": None,
                    "reason": "",
                    "probed_at": "2025-12-15T10:02:00Z",
                    "healthy_in_a_row": 2,
                    "unhealthy_in_a_row": 0,
                    "crashes": 0,
                    "in_flight": 3,
                    "active_streams": 1,
                    "open_conversations": 12,
                    "drain_seconds_left": None,
                    "says": "ready",
                }
            ]
        )
    )

    instances: list[InstanceView]


class LogLineView(View):
    instance: str
    line: str


class LogView(View):
    model_config = ConfigDict(json_schema_extra=example(agent_id="WowMemory", lines=[{"instance": "g1-1-0", "line": "ready"}]))

    agent_id: str
    lines: list[LogLineView]


class GenerationMetricsView(View):
    generation: int
    version: str
    role: str
    traffic_percent: float | None
    requests: int
    errors: int
    error_rate: float | None
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    throughput: float | None


class InstanceMetricsView(View):
    instance: str
    generation: int | None
    version: str | None
    requests: int
    errors: int
    in_flight: int


class AgentMetrics(View):
    """What the data plane counted; null means no data, never zero."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            at="2026-01-02T02:00:00Z",
            window_seconds=60.0,
            generations=[
                {
                    "generation": 1,
                    "version": "1.2.5",
                    "role": "stable",
                    "traffic_percent": 100.0,
                    "requests": 3000,
                    "errors": 3,
                    "error_rate": 0.1,
                    "avg_latency_ms": 12.0,
                    "p50_latency_ms": 11.0,
                    "p95_latency_ms": 25.0,
                    "p99_latency_ms": 40.0,
                    "throughput": 50.0,
                }
            ],
            instances=[{"instance": "g1-1-0", "generation": 1, "version": "1.2.5", "requests": 1000, "errors": 1, "in_flight": 0}],
            unserved=0,
            limited=0,
        )
    )

    agent_id: str
    at: datetime
    window_seconds: float
    generations: list[GenerationMetricsView]
    instances: list[InstanceMetricsView]
    unserved: int = Field(description="Requests that found no instance")
    limited: int = Field(description="Requests beyond the agent's rate limit, refused by the router; no generation's errors")


class FleetView(View):
    """Totals of this moment. `updates_available` and what stands below it count agents, not versions."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agents=4,
            healthy=4,
            degraded=0,
            down=0,
            instances_ready=12,
            instances_desired=12,
            deployments_active=1,
            deployments_waiting=0,
            updates_available=2,
            security_updates=1,
            critical_updates=0,
            withdrawn_running=0,
        )
    )

    agents: int
    healthy: int
    degraded: int
    down: int
    instances_ready: int
    instances_desired: int
    deployments_active: int
    deployments_waiting: int
    updates_available: int
    security_updates: int
    critical_updates: int
    withdrawn_running: int = Field(description="Agents whose running version is withdrawn")
