"""Bodies and answers of configurations and their changes. Field names are the story's where it names them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from agent_servicing.services.config_planning import LOOK_SECONDS_MAX, OVERRIDE_SECONDS_MAX, PLACE_MAX
from agent_servicing.web.schemas.common import Body, Name, NextCursor, Reason, View, example, storable

_CHANGES: dict[str, Any] = {"max_context_size_gb": {"old": 10, "new": 5}, "timeout_seconds": {"old": 30, "new": 60}}
_RESULT: dict[str, Any] = {
    "instance": "g7-1-1",
    "version": "1.2.5",
    "config_version": "cfg-1.2.5-p1",
    "status": "in_sync",
    "result": "applied",
    "applied_at": "2026-01-01T12:05:00Z",
    "level": "sdk",
    "known_by": "acknowledged by the agent's SDK with the hash it uses",
    "seen_at": "2026-01-01T12:05:09Z",
    "pending": [],
    "problems": [],
}
_REVISION: dict[str, Any] = {
    "config_version": "cfg-1.2.5-p1",
    "parent": "cfg-1.2.5-p0",
    "version": "1.2.5",
    "status": "applied",
    "profile": "fast",
    "operator": "admin",
    "reason": "Temporary fix for memory crash",
    "requested_at": "2026-01-01T12:04:58Z",
    "applied_at": "2026-01-01T12:05:00Z",
    "downtime_seconds": 0,
    "config_changes": _CHANGES,
    "message": "",
}

Updates = Annotated[dict[str, Any], Field(min_length=0), AfterValidator(storable)]


class ConfigPatchBody(Body):
    """A JSON merge patch: objects are merged key by key, null takes a key back to the layer below it."""

    model_config = ConfigDict(
        json_schema_extra=example(config_updates={"max_context_size_gb": 5, "timeout_seconds": 60}, reason="Temporary fix for memory crash")
    )

    config_updates: Updates
    reason: Reason
    profile: Literal["fast", "safe", "instant"] = Field(
        default="fast",
        description="fast: one instance, a short look, then all. safe: a part of them, compared for a while. instant: all at once",
    )
    dry_run: bool = Field(default=False, description="Only say what it would do; nothing is changed")
    if_version: Name | None = Field(
        default=None, description="The `config_version` the caller saw; 409 with the difference when it is another"
    )
    places: list[Annotated[int, Field(ge=1, le=PLACE_MAX)]] = Field(default=[], max_length=PLACE_MAX, description="Only these instances")
    expires_seconds: float | None = Field(default=None, ge=1, le=OVERRIDE_SECONDS_MAX, description="Goes back by itself after so long")
    monitor_seconds: float | None = Field(default=None, ge=0, le=LOOK_SECONDS_MAX, description="How long the first ones are looked at")
    percent: float = Field(default=25.0, gt=0, le=100, description="safe: the part of the instances that gets it first")
    restart: Literal["rolling", "later"] = Field(default="rolling", description="For keys that are read at the start only")


class ConfigValidateBody(Body):
    model_config = ConfigDict(json_schema_extra=example(config_updates={"timeout_seconds": 60}))

    config_updates: Updates


class ConfigRollbackBody(Body):
    model_config = ConfigDict(json_schema_extra=example(config_version="cfg-1.2.5-p1", reason="the new limit was too low"))

    config_version: Name | None = Field(default=None, description="The revision to bring back; omitted: the one before")
    reason: Reason


class InstanceProblem(View):
    path: str = Field(description="Dotted key, empty for the whole")
    message: str


class InstanceConfigView(View):
    """How one instance stands. `known_by` says how far that can be trusted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RESULT]})

    instance: str
    version: str
    config_version: str
    status: str = Field(
        description="in_sync, applying, pending_restart, pending_conversation, drifted, stale, at_start (reads it only then) or unknown"
    )
    result: str | None = Field(description="Of the last change: prepared, applied, refused, failed, unanswered, reverted, gone")
    applied_at: datetime | None
    level: str | None = Field(description="sdk, http, script, file or runtime")
    known_by: str
    seen_at: datetime | None
    pending: list[str]
    problems: list[InstanceProblem]


class RevisionModel(View):
    """One change of the configuration, past or under way."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REVISION]})

    config_version: str
    parent: str
    version: str = Field(description="The agent's version that served when it was asked for")
    status: str = Field(description="preparing, trying, applying, applied, reverting, reverted, refused or restarting")
    profile: str
    operator: str
    reason: str
    requested_at: datetime
    applied_at: datetime | None
    downtime_seconds: float | None = Field(description="Measured from the data plane's counters; null when they could not be read")
    config_changes: dict[str, Any] = Field(description="By dotted key, `old` and `new`; secrets are masked")
    message: str
    restored_from: str | None = Field(default=None, description="The revision whose content it brought back")
    upgrade_id: str | None = Field(default=None, description="The rolling restart that brings it, if one does")
    instances: dict[str, Any] = Field(default={}, description="What each instance made of it")


class ConfigKeyView(View):
    key: str
    value: Any = Field(description="Masked when it is a secret")
    layer: str = Field(description="Who set it: schema, version, agent, place or override")
    scope: str = Field(description="When a change takes effect: hot, next-conversation or restart")
    secret: bool
    description: str
    applied_by: str = Field(
        description="Who makes a change take effect: agent, router (for all instances at once) or runtime (while they run)"
    )


class OverrideView(View):
    keys: list[str]
    expires_at: datetime
    reason: str


class ConfigModel(View):
    """The configuration in force."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            version="1.2.5",
            config_version="cfg-1.2.5-p1",
            config={"max_context_size_gb": 5, "timeout_seconds": 60},
            keys=[
                {
                    "key": "timeout_seconds",
                    "value": 60,
                    "layer": "agent",
                    "scope": "hot",
                    "secret": False,
                    "description": "Longest wait",
                    "applied_by": "agent",
                }
            ],
            reload="sdk",
            schema=None,
            reserved_schema={"type": "object", "properties": {"log_level": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR"]}}},
            overrides=[],
            instances=[_RESULT],
            change=_REVISION,
        )
    )

    agent_id: str
    version: str | None
    config_version: str
    config: dict[str, Any] = Field(description="Every value in force; secrets are masked")
    keys: list[ConfigKeyView]
    reload: str = Field(description="How a change reaches a running instance: sdk, signal:NAME, http:/PATH or restart")
    config_schema: dict[str, Any] | None = Field(serialization_alias="schema", description="The version's JSON Schema")
    reserved_schema: dict[str, Any] = Field(description="The JSON Schema of what may stand below `servicing`, for every agent")
    overrides: list[OverrideView]
    instances: list[InstanceConfigView]
    change: RevisionModel | None = Field(description="The change under way, else the last one")


class ConfigPatchView(View):
    """What became of a change."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            config_version="cfg-1.2.5-p1",
            status="applied",
            by="hot_patch",
            applied_at="2026-01-01T12:05:00Z",
            agent_reloaded=True,
            downtime_seconds=0,
            config_changes=_CHANGES,
            applied_by={"max_context_size_gb": "agent", "timeout_seconds": "agent"},
            warnings=[],
            instances=[_RESULT],
            upgrade_id=None,
            message="",
        )
    )

    agent_id: str
    config_version: str
    status: str = Field(
        description="applied, unchanged, planned (dry run), or how far it is: preparing, trying, applying, reverting, restarting"
    )
    by: Literal["hot_patch", "rolling_restart"]
    applied_at: datetime | None
    agent_reloaded: bool = Field(description="Whether running instances use it now")
    downtime_seconds: float | None = Field(description="Measured from the data plane's counters; null when they could not be read")
    config_changes: dict[str, Any]
    applied_by: dict[str, str] = Field(
        description="By dotted key, who makes it take effect: agent, restart (the rolling one), router (for all instances at once) or "
        "runtime (for running instances and new ones)"
    )
    warnings: list[str]
    instances: list[InstanceConfigView]
    upgrade_id: str | None = Field(description="The rolling restart that brings it, if one does")
    message: str


class RevisionList(View):
    model_config = ConfigDict(json_schema_extra=example(revisions=[_REVISION], next_cursor=None))

    revisions: list[RevisionModel] = Field(description="Newest first; refused ones too")
    next_cursor: NextCursor
