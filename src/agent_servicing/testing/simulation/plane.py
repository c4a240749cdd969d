"""The users of the simulated world: requests and conversations, answered by the rules of the real data plane. The world lets them flow."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random

from agent_servicing.core import latency
from agent_servicing.core.routing import GenerationRoute, Routing
from agent_servicing.testing.simulation.parts import SimMetrics, SimRouter, SimRuntime, Tallies, Tally, spread


@dataclass(slots=True, kw_only=True)
class Served:
    """What became of one request of a conversation."""

    conversation: int
    pin: int | None
    by: int | None
    routing: Routing


@dataclass(slots=True, kw_only=True)
class Users:
    """The users of one agent: so many requests a second, and conversations that each ask now and then until they end."""

    agent: str
    rate: float
    conversations: int
    router: SimRouter
    metrics: SimMetrics
    runtime: SimRuntime
    dice: Random
    pins: dict[int, int | None] = field(default_factory=dict)
    truth: Tallies = field(default_factory=Tallies)
    unserved: int = 0
    answered_at: dict[int, float] = field(default_factory=dict)
    on_served: Callable[[Served], None] = lambda _: None
    _due: float = 0.0
    _asked: float = 0.0
    _carried: dict[int, float] = field(default_factory=dict)
    _next: int = 0

    def flow(self, seconds: float) -> None:
        """So much time passes. Requests that nobody can take are counted, never lost silently."""
        routing = self.router.routings.get(self.agent)
        if routing is None:
            return
        self._due += seconds * self.rate
        whole = int(self._due)
        self._due -= whole
        if whole:
            self._requests(routing, whole)
        if self.conversations:
            self._asked += seconds * self.conversations / 2
            while self._asked >= 1:
                self._asked -= 1
                self._converse(routing)

    def usable(self, route: GenerationRoute | None) -> bool:
        """What the data plane's own checks make of it: one server in service that takes connections."""
        return route is not None and any(b.state == "ready" and self.runtime.listens(self.agent, b.instance) for b in route.backends)

    def _requests(self, routing: Routing, requests: int) -> None:
        for number, share in spread(routing).items():
            exact = requests * share / 100 + self._carried.get(number, 0.0)
            whole = int(exact + 1e-9)
            self._carried[number] = exact - whole
            if whole:
                self._answer(routing, self._serving(routing, number), whole, pinned=False)

    def _converse(self, routing: Routing) -> None:
        place = self.dice.randrange(self.conversations)
        if place not in self.pins or self.dice.random() < 0.03:
            self.pins[place] = None
        pin = self.pins[place]
        target = routing.redirects.get(pin, pin) if pin is not None else None
        kept = routing.generation(target) is not None
        if not kept:
            target = routing.candidate if routing.candidate is not None and self.dice.random() * 100 < routing.share else routing.stable
        by = self._serving(routing, target)
        self.on_served(Served(conversation=place, pin=pin, by=by, routing=routing))
        self._answer(routing, by, 1, pinned=kept and by == target, came=by != pin)
        if by is not None:
            self.pins[place] = by

    def _serving(self, routing: Routing, number: int | None) -> int | None:
        """The generation that answers: the chosen one, else stable, else candidate, else a draining server of either."""
        if self.usable(routing.generation(number)):
            return number
        for other in (routing.stable, routing.candidate):
            if self.usable(routing.generation(other)):
                return other
        for other in (routing.stable, routing.candidate):
            route = routing.generation(other)
            if route is not None and any(self.runtime.listens(self.agent, b.instance) for b in route.backends):
                return other
        return None

    def _answer(self, routing: Routing, number: int | None, requests: int, *, pinned: bool, came: bool = False) -> None:
        route = routing.generation(number)
        if number is None or route is None:
            self.unserved += requests
            self.metrics.tallies(self.agent).unserved += requests
            return
        temper = self.runtime.temper(route.version)
        listening = [b.instance for b in route.backends if self.runtime.listens(self.agent, b.instance)]
        hung = sum(1 for i in listening if (body := self.runtime.body(self.agent, i)) and body.hung)
        errors = round(requests * max(temper.error_share, hung / len(listening)))
        bucket = _bucket(temper.latency_ms)
        seen = self.metrics.tallies(self.agent)
        for tallies in (self.truth, seen):
            side = tallies.pinned if pinned else tallies.new
            tally = side.get(number)
            if tally is None:
                tally = side[number] = Tally()
            tally.add(requests, errors, bucket, came=came)
        self.answered_at[number] = self.runtime.clock.monotonic()


@cache
def _bucket(latency_ms: float) -> int:
    return next((i for i, edge in enumerate(latency.EDGES_MS) if latency_ms <= edge), latency.BUCKETS - 1)
