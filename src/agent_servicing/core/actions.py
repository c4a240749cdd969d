"""What the engine may do to the world. Each is idempotent: doing it again after a crash changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.model import Process
from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRelease:
    """Install one version's artifact; returns at once, progress is observed."""

    agent: str
    version: str
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInstance:
    """`config` is what it starts with, `epoch` the state folder that it is given."""

    agent: str
    instance: str
    generation: int
    version: str
    config: ConfigDocument
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopInstance:
    """Ask it to end (SIGTERM); `kill` when it did not within its grace."""

    agent: str
    instance: str
    kill: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInstance:
    """Have all processes of this running instance use no more than this."""

    agent: str
    instance: str
    resources: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetInstance:
    """Drop what the runtime keeps of an ended instance but its logs."""

    agent: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRouting:
    routing: Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRouting:
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReleases:
    """Delete installed versions that are not in `keep`."""

    agent: str
    keep: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginVerification:
    """Run the version's own tests against its production address; returns at once, the outcome is observed under `key`."""

    agent: str
    version: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndVerification:
    """End what still runs of it and forget its outcome."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginSnapshot:
    """Copy the agent's state, as this version keeps it; returns at once, progress is observed under `key`. One of `instances` is asked for
    what only the agent itself can export.
    """

    agent: str
    version: str
    key: str
    epoch: int = 0
    instances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginRestore:
    """Unpack this snapshot as the state folder of that epoch; returns at once, progress is observed under `key`."""

    agent: str
    version: str
    key: str
    snapshot: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginConversion:
    """Have these instances convert what they wrote to that schema; returns at once, progress is observed under `key`."""

    agent: str
    version: str
    key: str
    schema: int
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginSetAside:
    """Count what was written since the snapshot into the folder of that epoch, by `version`; offer it to these instances, keep the rest.

    `complete`: nobody writes there any more. Returns at once, progress is observed under `key`.
    """

    agent: str
    version: str
    key: str
    snapshot: str
    epoch: int
    instances: tuple[str, ...]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Ask these instances (by name) whether they would accept these documents."""

    agent: str
    documents: Mapping[str, ConfigDocument]
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitConfig:
    """Have these instances use these documents."""

    agent: str
    documents: Mapping[str, ConfigDocument]
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortConfig:
    """Tell instances that were asked that it will not come."""

    agent: str
    documents: Mapping[str, ConfigDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """What an instance is told: in how many seconds its streams are to end, and why: its version was `replaced`, or it is itself `ending`."""

    seconds: float
    reason: Literal["replaced", "ending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceDrain:
    """Tell these instances (by name) that their streams are to end, or with None that they need not any more. Best effort.

    `processes`: where they are.
    """

    agent: str
    goodbyes: Mapping[str, Goodbye | None]
    processes: Mapping[str, Process]


Action = (
    PrepareRelease
    | StartInstance
    | StopInstance
    | LimitInstance
    | ForgetInstance
    | ApplyRouting
    | RemoveRouting
    | CollectReleases
    | BeginVerification
    | EndVerification
    | BeginSnapshot
    | BeginRestore
    | BeginConversion
    | BeginSetAside
    | PrepareConfig
    | CommitConfig
    | AbortConfig
    | AnnounceDrain
)
