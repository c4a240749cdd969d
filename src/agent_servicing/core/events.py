"""What happened, as facts. Written in the transaction of the change; audit, timeline, live view and notifications all read the same log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

SYSTEM: Final = "system"
"""The actor of what nobody asked for: automatic decisions."""

# Live events, under the names of the WebSocket contract.
STAGE_STARTED: Final = "stage_started"
STAGE_COMPLETED: Final = "stage_completed"
STAGE_FAILED: Final = "stage_failed"
METRICS_UPDATE: Final = "metrics_update"
TRAFFIC_SHIFTED: Final = "traffic_shifted"
PAUSED: Final = "paused"
RESUMED: Final = "resumed"
PROMOTED: Final = "promoted"
ANALYSIS_OVERRIDDEN: Final = "analysis_overridden"
ROLLBACK_TRIGGERED: Final = "rollback_triggered"
ROLLBACK_COMPLETED: Final = "rollback_completed"
COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"
STARTED: Final = "started"
VERSION_AVAILABLE: Final = "version_available"
INSTANCE_UNHEALTHY: Final = "instance_unhealthy"
INSTANCE_READY: Final = "instance_ready"
INSTANCE_STOPPED: Final = "instance_stopped"
GENERATION_DRAINING: Final = "generation_draining"
GENERATION_WARM: Final = "generation_warm"
GENERATION_STOPPING: Final = "generation_stopping"
GENERATION_RESUMED: Final = "generation_resumed"
CRASH_LOOP: Final = "crash_loop"
AGENT_REMOVED: Final = "agent_removed"
SCALED: Final = "scaled"
HELD: Final = "held"
CONFIG_STARTED: Final = "config_started"
CONFIG_APPLIED: Final = "config_applied"
CONFIG_REFUSED: Final = "config_refused"
CONFIG_REVERTED: Final = "config_reverted"
CONFIG_DRIFTED: Final = "config_drifted"
SCHEDULE_MISSED: Final = "schedule_missed"
STAGING_STARTED: Final = "staging_started"
STAGING_CASE: Final = "staging_case"
STAGING_SUITE: Final = "staging_suite"
STAGING_COMPLETED: Final = "staging_completed"

# Audit types: one closing entry for each act, written with its outcome, and one for each request and verb.
AUDIT_UPGRADE: Final = "upgrade"
AUDIT_ROLLBACK: Final = "rollback"
AUDIT_INSTALL: Final = "install"
AUDIT_RESTART: Final = "restart"
AUDIT_REQUESTED: Final = "requested"
AUDIT_CONFIG_PATCH: Final = "config_patch"
AUDIT_STAGING: Final = "staging"
AUDIT_STAGING_CASE: Final = "staging_case_run"

EPHEMERAL: Final = frozenset({METRICS_UPDATE})
"""Events that are replayed to reconnecting viewers but are no part of the audit chain and are pruned after a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. `audit` entries are hash-chained and kept; `data` holds plain JSON values only."""

    type: str
    at: datetime
    agent: str | None = None
    deployment: str | None = None
    actor: str = SYSTEM
    reason: str = ""
    audit: bool = False
    data: Mapping[str, object] = field(default_factory=dict)
