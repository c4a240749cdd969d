"""Who gets which requests: the routing of one agent as a value, and the one function that decides the share actually set.

The engine computes a `Routing`, a router driver makes the data plane equal to it and reads it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent_servicing.core.manifest import ConversationKey

MAX_GENERATIONS = 3
"""How many generations of one agent may be live at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One instance in the data plane. `drain` finishes what it has and still serves when nothing else can."""

    instance: str
    host: str
    port: int
    state: Literal["ready", "drain"] = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRoute:
    """The instances of one generation, ordered by name."""

    generation: int
    version: str
    backends: tuple[Backend, ...] = ()

    @property
    def ready(self) -> int:
        return sum(backend.state == "ready" for backend in self.backends)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests an agent takes: a bucket of `burst` requests that `requests_per_second` fills again."""

    requests_per_second: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The whole routing of one agent.

    A request without a pin goes to `candidate` with `share` percent probability (by hash of the conversation when it has one, so that
    raising the share moves nobody back), else to `stable`. A conversation stays with the generation that first answered it, unless
    `redirects` sends that generation's conversations to another one. A pin to a generation that is not here is forgotten.

    `rate_limit` counts the requests of all generations together; what is beyond it is refused before any of them gets it, and belongs to
    no generation's counts. `request_timeout_seconds` (whole milliseconds) is how long an instance may take until its answer begins; an
    answer that has begun is never cut by it.
    """

    agent: str
    conversation_key: ConversationKey | None = None
    generations: tuple[GenerationRoute, ...] = ()
    stable: int | None = None
    candidate: int | None = None
    share: float = 0.0
    redirects: Mapping[int, int] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    request_timeout_seconds: float | None = None

    def generation(self, number: int | None) -> GenerationRoute | None:
        return next((g for g in self.generations if g.generation == number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingView:
    """What the data plane says it does. `routing` is None when it does not know the agent; `epoch` changes when its counters start anew."""

    routing: Routing | None
    epoch: str = ""
    in_flight: Mapping[str, int] = field(default_factory=dict)


def redirected(redirects: Mapping[int, int], old: int, new: int) -> Mapping[int, int]:
    """Open conversations of `old` go to `new` from now on, and with them those that had been sent to `old`."""
    return {**{k: new if v == old else v for k, v in redirects.items() if k != new}, old: new}


def effective_share(*, wanted: float, candidate_ready: int, stable_ready: int, needed: int, shrunk: bool = False) -> float:
    """The share in percent that the candidate really gets: what is wanted, never more than its ready instances can carry.

    `needed` is how many instances carry all of the traffic. No ready instance means no traffic, whatever was wanted; a side that
    stands alone carries everything, because anything is better than an error. The stable side is not capped by its size: when it has
    lost instances, the rest must carry the load anyway. Only where it was made smaller on purpose (`shrunk`) does the candidate keep
    what the stable instances cannot carry yet; all but one of them suffice for everything, as whenever one is replaced.
    """
    if not 0 <= wanted <= 100:
        raise AssertionError(f"share {wanted} is not a percentage")
    if candidate_ready <= 0:
        return 0.0
    if stable_ready <= 0:
        return 100.0
    if needed <= 0:
        return wanted
    most = 100.0 * min(candidate_ready, needed) / needed
    least = 100.0 * (1 - min(1.0, stable_ready / max(1, needed - 1))) if shrunk else 0.0
    return min(most, max(wanted, least))
