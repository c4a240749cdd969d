"""What the simulator knows of one agent beside the product: its users, what was asked for it, and what has befallen it."""

from dataclasses import dataclass, field

from agent_servicing.core.manifest import Manifest
from agent_servicing.core.status import DeploymentKind
from agent_servicing.testing.simulation.plane import Users

NEVER = float("-inf")


@dataclass(slots=True, kw_only=True)
class Ask:
    """One deployment somebody asked for. `calm_at` is the world's calm time then; `begun` is set when the engine took it up or ended it."""

    deployment: str
    kind: DeploymentKind
    calm_at: float
    begun: bool = False
    promoted: bool = False
    closings: int = 0
    calm_at_retreat: float | None = None


@dataclass(slots=True, kw_only=True)
class Site:
    """`floor` is how many instances served when all was well; `hurt` means that faults took some of them and they are not all back.

    `dirty`: routing was set and not yet committed. `banished` generations were taken back. `marks`: what the candidate had truly
    answered, and how much of it wrongly, when a stage began; `begun_at`: the virtual second at which it did. `free_since`: from which
    calm second on nothing holds its queue. `unnoticed`: instances that fell and at which calm second. `patches` are the changes of the
    configuration that were asked for, `given` those that an instance was given, `closed` how often each was told to have ended.
    """

    agent: str
    manifest: Manifest
    users: Users
    versions: int = 1
    floor: int = 0
    hurt: bool = False
    fallen_at: dict[int, float] = field(default_factory=dict)
    scaled_at: float = NEVER
    removing: bool = False
    dirty: bool = False
    unserved: int = 0
    asked: dict[str, Ask] = field(default_factory=dict)
    banished: set[int] = field(default_factory=set)
    marks: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    begun_at: dict[tuple[str, int], float] = field(default_factory=dict)
    refused: bool = False
    free_since: float | None = None
    unnoticed: dict[str, float] = field(default_factory=dict)
    patches: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    closed: dict[str, int] = field(default_factory=dict)

    def truth(self, generation: int) -> tuple[int, int]:
        """What a generation really answered since the beginning: requests, errors."""
        tallies = [t for t in (self.users.truth.new.get(generation), self.users.truth.pinned.get(generation)) if t]
        return sum(t.answered for t in tallies), sum(t.errors for t in tallies)

    def lasted(self, deployment: str, index: int, seconds: float) -> float:
        """How long a stage has really been under way at that virtual second, whatever the wall clock says."""
        return seconds - self.begun_at.get((deployment, index), seconds)
