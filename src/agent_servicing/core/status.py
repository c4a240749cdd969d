"""Every status and the few questions asked of them. The names are public: the API, the page and the audit show them as they stand here."""

from enum import StrEnum


class AgentStatus(StrEnum):
    ACTIVE = "active"
    REMOVING = "removing"
    REMOVED = "removed"


class GenerationStatus(StrEnum):
    """A generation is `live` while it may take new conversations, then `draining`, then `warm` (idle, kept for a fast rollback), then `stopping`."""

    LIVE = "live"
    DRAINING = "draining"
    WARM = "warm"
    STOPPING = "stopping"


class InstanceStatus(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class DeploymentKind(StrEnum):
    INSTALL = "install"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    RESTART = "restart"


class DeploymentStatus(StrEnum):
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    BAKING = "baking"
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    FAILED = "failed"


PLACED = frozenset({DeploymentKind.UPGRADE, DeploymentKind.RESTART})
"""Kinds that freezes, windows, locks and the limit hold, and that take one of its places. Rollbacks and first installations never wait."""

WAITING = frozenset({DeploymentStatus.QUEUED, DeploymentStatus.SCHEDULED})
ACTIVE = frozenset({DeploymentStatus.IN_PROGRESS, DeploymentStatus.PAUSED, DeploymentStatus.BAKING, DeploymentStatus.ROLLING_BACK})
TERMINAL = frozenset({DeploymentStatus.COMPLETED, DeploymentStatus.ROLLED_BACK, DeploymentStatus.CANCELLED, DeploymentStatus.FAILED})


class WaitingFor(StrEnum):
    """What lets a deployment that has not begun begin. `turn`: others of its agent that come first."""

    APPROVAL = "approval"
    SCHEDULE = "schedule"
    TURN = "turn"
    LOCK = "lock"
    LINE = "line"
    FREEZE = "freeze"
    WINDOW = "window"
    PLACE = "place"
    STAGING = "staging"


class StageStatus(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Verdict(StrEnum):
    PASSING = "passing"
    FAILING = "failing"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"


class PreparationStatus(StrEnum):
    """How far the artifact of one version is on its way to being startable."""

    ABSENT = "absent"
    INSTALLING = "installing"
    READY = "ready"
    FAILED = "failed"


class VerificationStatus(StrEnum):
    """What the agent's own tests say of a version that has all the traffic. `unavailable`: they could not be run, which says nothing of it."""

    ABSENT = "absent"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class Verb(StrEnum):
    """What an operator can ask of a deployment or an agent; services write these down as intents, only the engine acts."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    CANCEL = "cancel"
    OVERRIDE = "override"
    REVERT_CONFIG = "revert_config"
    SCALE = "scale"
    REMOVE = "remove"
