"""What the data plane counted. Always cumulative counts, never rates: a difference of two readings is what happened between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import add, sub

from agent_servicing.core import latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Requests of one kind. `routed` is counted when a request is assigned, everything else when it is answered.

    `errors` are 5xx, refused connections and timeouts; 4xx and client aborts are not. `histogram` holds the successful ones.
    `conversations` came to this generation with one of these requests, new or from another one, counted as they are assigned: one that
    stays counts once, one that left and comes back counts again.
    """

    routed: int = 0
    answered: int = 0
    errors: int = 0
    conversations: int = 0
    histogram: tuple[int, ...] = latency.EMPTY

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            routed=self.routed + other.routed,
            answered=self.answered + other.answered,
            errors=self.errors + other.errors,
            conversations=self.conversations + other.conversations,
            histogram=tuple(map(add, self.histogram, other.histogram)),
        )

    def since(self, earlier: "Counts") -> "Counts":
        """What was counted after `earlier`. Counters that went backwards were reset: then all of the later reading is new."""
        if self.routed < earlier.routed or self.answered < earlier.answered:
            return self
        buckets = tuple(map(sub, self.histogram, earlier.histogram))
        routed = self.routed - earlier.routed
        return Counts(
            routed=routed,
            answered=self.answered - earlier.answered,
            errors=max(0, self.errors - earlier.errors),
            # Each came with a request: more than there were of those is a counter that was begun anew.
            conversations=min(routed, max(0, self.conversations - earlier.conversations)),
            histogram=tuple(max(0, count) for count in buckets) if min(buckets) < 0 else buckets,
        )

    @property
    def error_rate(self) -> float | None:
        """Errors in percent of answered requests, None when nothing was answered."""
        return 100 * self.errors / self.answered if self.answered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCounters:
    """`new`: requests the share decided on; `pinned`: requests of conversations that already belonged here."""

    new: Counts = Counts()
    pinned: Counts = Counts()

    @property
    def total(self) -> Counts:
        return self.new + self.pinned

    def since(self, earlier: "GenerationCounters") -> "GenerationCounters":
        return GenerationCounters(new=self.new.since(earlier.new), pinned=self.pinned.since(earlier.pinned))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCounters:
    """Per instance, from the proxy: requests sent there, its errors, requests in flight now."""

    requests: int = 0
    errors: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading for one agent. `unserved` counts requests that found no instance and got our own 503, `limited` those beyond the agent's
    rate limit, which got our 429. Neither belongs to a generation.
    """

    at: datetime
    generations: Mapping[int, GenerationCounters] = field(default_factory=dict)
    instances: Mapping[str, InstanceCounters] = field(default_factory=dict)
    unserved: int = 0
    limited: int = 0

    def generation(self, number: int | None) -> GenerationCounters:
        return self.generations.get(number, GenerationCounters()) if number is not None else GenerationCounters()

    def since(self, earlier: "Counters") -> "Counters":
        return replace(
            self,
            generations={n: c.since(earlier.generation(n)) for n, c in self.generations.items()},
            unserved=self.unserved - earlier.unserved if self.unserved >= earlier.unserved else self.unserved,
            limited=self.limited - earlier.limited if self.limited >= earlier.limited else self.limited,
        )
