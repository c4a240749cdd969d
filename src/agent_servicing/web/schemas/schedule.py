"""Bodies and answers of the schedule, the queue and the lock."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.calendars import CRON_CHARACTERS_MAX, DURATION_SECONDS_MAX, DURATION_SECONDS_MIN
from agent_servicing.services.agent_lock import LOCK_SECONDS_MAX, LOCK_SECONDS_MIN
from agent_servicing.services.planning import QUEUE_MAX
from agent_servicing.services.schedule import LIMIT_MAX, RULES_MAX
from agent_servicing.services.upcoming import DAYS_MAX
from agent_servicing.web.schemas.common import Body, Name, Reason, Text, Time, View, example
from agent_servicing.web.schemas.deployments import DeploymentView, VerbBody
from agent_servicing.web.schemas.queries import Query
from agent_servicing.web.schemas.upgrade import Seconds

Cron = Annotated[Name, Field(max_length=CRON_CHARACTERS_MAX)]
RuleDuration = Annotated[float, Field(ge=DURATION_SECONDS_MIN, le=DURATION_SECONDS_MAX)]


class RuleBody(Body):
    """A freeze or a maintenance window: once (`starts_at`, `ends_at`) or recurring (`cron`, `duration_seconds`, `time_zone`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "window",
                    "name": "nights",
                    "cron": "0 22 * * *",
                    "duration_seconds": 28800,
                    "time_zone": "Europe/Berlin",
                    "reason": "Least traffic",
                },
                {
                    "kind": "freeze",
                    "name": "Christmas",
                    "starts_at": "2026-12-23T18:00:00+01:00",
                    "ends_at": "2026-12-27T08:00:00+01:00",
                    "reason": "Nobody is in",
                },
            ]
        }
    )

    kind: Literal["freeze", "window"]
    name: Name
    reason: Reason
    agents: list[Name] = Field(default_factory=list, max_length=RULES_MAX, description="Only these; empty: all agents")
    starts_at: Time | None = None
    ends_at: Time | None = None
    cron: Cron | None = Field(default=None, description="Five fields: minute, hour, day of month, month, day of week")
    duration_seconds: RuleDuration | None = Field(default=None, description="Real time from each start on")
    time_zone: Name = Field(default="UTC", description="In which `cron` is read, such as Europe/Berlin")


class StopBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Incident 4711", pause_running=False))

    reason: Reason
    pause_running: bool = Field(default=False, description="Also pause what is under way; resuming the line does not resume it")


class ResumeBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Incident 4711 is over"))

    reason: Text = ""


class LimitBody(Body):
    model_config = ConfigDict(json_schema_extra=example(max_concurrent_deployments=3, reason="The build machine is small"))

    max_concurrent_deployments: Annotated[int, Field(ge=0, le=LIMIT_MAX)] | None = Field(
        description="Upgrades and restarts at once over all agents; 0 is no limit, null the server's setting"
    )
    reason: Text = ""


class LockBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Migrating its state by hand", expires_in_seconds=7200))

    reason: Reason
    expires_in_seconds: Annotated[float, Field(ge=LOCK_SECONDS_MIN, le=LOCK_SECONDS_MAX)] | None = Field(
        default=None, description="Omitted: four hours"
    )
    take_over_from: Name | None = Field(
        default=None,
        description="For admins: end the lock of this holder, and hold it instead, in one act; 409 when it is another's meanwhile",
    )


class MoveBody(VerbBody):
    model_config = ConfigDict(json_schema_extra=example(position=1, reason="The fix first", if_version=0))

    position: int = Field(ge=1, le=2 * QUEUE_MAX, description="1 is next; rollbacks stay before everything else")


class RescheduleBody(VerbBody):
    model_config = ConfigDict(json_schema_extra=example(schedule="2026-01-03T02:00:00Z", reason="One night later"))

    schedule: Time | None = Field(description="The new start; null: as soon as possible")
    start_grace_seconds: Seconds | None = Field(default=None, description="How late it may start when nobody looked at its time")


class UpcomingQuery(Query):
    days: int = Field(7, ge=1, le=DAYS_MAX)


_STOP = {"operator": "ada", "reason": "Incident 4711", "since": "2026-01-02T02:00:00Z"}
_LOCK: dict[str, Any] = {
    "agent_id": "WowMemory",
    "holder": "ada",
    "reason": "Migrating its state by hand",
    "since": "2026-01-02T02:00:00Z",
    "expires_at": "2026-01-02T04:00:00Z",
}
_RULE: dict[str, Any] = {
    "rule_id": "win-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "kind": "window",
    "name": "nights",
    "reason": "Least traffic",
    "operator": "ada",
    "created_at": "2026-01-02T02:00:00Z",
    "agents": [],
    "starts_at": None,
    "ends_at": None,
    "cron": "0 22 * * *",
    "duration_seconds": 28800,
    "time_zone": "Europe/Berlin",
    "active": False,
    "until": None,
    "next_start": "2026-01-02T21:00:00Z",
    "over": False,
    "warnings": [],
}


class RuleView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_RULE]})

    rule_id: str
    kind: str
    name: str
    reason: str
    operator: str
    created_at: datetime
    agents: list[str] = Field(description="Empty: all agents")
    starts_at: datetime | None
    ends_at: datetime | None
    cron: str | None
    duration_seconds: float | None
    time_zone: str
    active: bool = Field(description="Whether it holds now")
    until: datetime | None = Field(description="While it holds: until when")
    next_start: datetime | None = Field(description="When it next begins; null when not within a year")
    over: bool = Field(description="It was for one time, which has passed")
    warnings: list[str] = Field(description="Agents that this rule leaves no opening; filled when it is made")


class StopView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [{**_STOP, "paused": []}]})

    operator: str
    reason: str
    since: datetime
    paused: list[str] = Field(default_factory=list, description="Deployments that were asked to pause; filled when the line is stopped")


class LimitView(View):
    model_config = ConfigDict(json_schema_extra=example(max_concurrent_deployments=10, default=10, is_default=True, under_way=1, waiting=2))

    max_concurrent_deployments: int = Field(description="0: no limit")
    default: int = Field(description="The server's setting")
    is_default: bool
    under_way: int = Field(description="Upgrades and restarts that take a place now")
    waiting: int = Field(description="Deployments that wait, for whatever reason, scheduled ones included")


_LIMIT = {"max_concurrent_deployments": 10, "default": 10, "is_default": True, "under_way": 1, "waiting": 2}


class ScheduleView(View):
    """The line as it is."""

    model_config = ConfigDict(json_schema_extra=example(rules=[_RULE], stopped=None, limit=_LIMIT))

    rules: list[RuleView] = Field(description="Freezes and windows, those that are over last")
    stopped: StopView | None
    limit: LimitView


class PlannedView(View):
    upgrade_id: str
    agent_id: str
    kind: str
    status: str
    to_version: str
    operator: str
    scheduled_at: datetime | None
    expected_start: datetime | None = Field(description="When the calendar lets it begin; null when nobody knows")
    expected_end: datetime | None
    conflicts: list[str] = Field(description="What stands against it, as sentences")


class SpanView(View):
    rule_id: str
    kind: str
    name: str
    agents: list[str]
    starts_at: datetime
    ends_at: datetime


class UpcomingView(View):
    """What is planned, and when freezes and windows hold."""

    model_config = ConfigDict(
        json_schema_extra=example(
            starts_at="2026-01-02T00:00:00Z",
            ends_at="2026-01-09T00:00:00Z",
            deployments=[
                {
                    "upgrade_id": "upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
                    "agent_id": "WowMemory",
                    "kind": "upgrade",
                    "status": "scheduled",
                    "to_version": "1.3.0",
                    "operator": "ada",
                    "scheduled_at": "2026-01-02T12:00:00Z",
                    "expected_start": "2026-01-02T21:00:00Z",
                    "expected_end": "2026-01-02T21:15:00Z",
                    "conflicts": [
                        "outside the maintenance window; 'nights' opens 2026-01-02 21:00 UTC; it waits until 2026-01-02 21:00 UTC"
                    ],
                }
            ],
            spans=[
                {
                    "rule_id": _RULE["rule_id"],
                    "kind": "window",
                    "name": "nights",
                    "agents": [],
                    "starts_at": "2026-01-02T21:00:00Z",
                    "ends_at": "2026-01-03T05:00:00Z",
                }
            ],
        )
    )

    starts_at: datetime
    ends_at: datetime
    deployments: list[PlannedView]
    spans: list[SpanView]


class LockView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_LOCK]})

    agent_id: str
    holder: str
    reason: str
    since: datetime
    expires_at: datetime


class LockState(View):
    model_config = ConfigDict(json_schema_extra=example(agent_id="WowMemory", lock=_LOCK))

    agent_id: str
    lock: LockView | None


class GateView(View):
    """Whether an upgrade of this agent may begin now, as far as the calendar goes."""

    open: bool
    reason: str = Field(description="Why not")
    until: datetime | None = Field(description="When to look again; null when nobody knows")


class PlacesView(View):
    limit: int = Field(description="0: no limit")
    under_way: int


class AgentQueueView(View):
    """Who has the agent, and who comes next."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            holder=None,
            lock=_LOCK,
            gate={"open": True, "reason": "", "until": None},
            places={"limit": 10, "under_way": 1},
            queue=[],
            scheduled=[],
        )
    )

    agent_id: str
    holder: DeploymentView | None = Field(description="What is under way: `operator`, `reason` and `started_at` say whose it is")
    lock: LockView | None
    gate: GateView
    places: PlacesView
    queue: list[DeploymentView] = Field(description="In the order in which they begin; `message` says what each waits for")
    scheduled: list[DeploymentView] = Field(description="Those whose time has not come, the earliest first")
