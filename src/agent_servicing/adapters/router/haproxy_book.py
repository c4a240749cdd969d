"""Which slot, column, server and counter every agent, generation and instance has. Pure: the router asks `place`, then carries it out.

A server that still answers somebody is not given to another instance, and a counter number is never used for anything else.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from agent_servicing.adapters.haproxy_rows import Place, Plan, Server, Servers, backend_name
from agent_servicing.adapters.router.haproxy_config import Structure
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.routing import MAX_GENERATIONS, GenerationRoute, Routing

GENERATIONS_COUNTED = 6
"""Generations of one agent whose counts are kept, gone ones included; older counts are dropped."""

AGENT_SLOTS_MAX = 2048
INSTANCE_SLOTS_MAX = 256
KEYS_MAX = 32
"""Bounds on growth: beyond them one HAProxy is the wrong tool, and a mistake is more likely than a wish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Every agent's plan. `next_tally` counts up for ever."""

    structure: Structure
    agents: Mapping[str, Plan] = field(default_factory=dict)
    next_tally: int = 1

    def slot_of(self, agent: str) -> int:
        """The slot the agent has, or would get."""
        if agent in self.agents:
            return self.agents[agent].slot
        taken = {plan.slot for plan in self.agents.values()}
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def place(book: Book, routing: Routing, servers: Servers) -> Book:
    """The book with `routing` in it; its structure has grown when the slots did not suffice. `servers` are those of the agent's slot."""
    slot = book.slot_of(routing.agent)
    old, next_tally = book.agents.get(routing.agent), book.next_tally
    if old is None:
        old = Plan(routing=Routing(agent=routing.agent), slot=slot, tally=next_tally)
        next_tally += 1
    places: dict[int, Place] = {}
    tallies = dict(old.tallies)
    for route in routing.generations:
        if route.generation not in tallies:
            tallies[route.generation] = next_tally
            next_tally += 1
        column = _column(old, route.generation, [g.generation for g in routing.generations], places, servers)
        before = old.places.get(route.generation)
        members = servers.get(backend_name(slot, column), {})
        places[route.generation] = _house(route, before, tallies[route.generation], column, members, book.structure.instance_slots)
    kept = _newest(tallies, places)
    plan = Plan(routing=routing, slot=slot, tally=old.tally, places=places, tallies=kept)
    agents = {**book.agents, routing.agent: plan}
    return replace(book, agents=agents, next_tally=next_tally, structure=_grown(book.structure, plan))


def without(book: Book, agent: str) -> Book:
    return replace(book, agents={name: plan for name, plan in book.agents.items() if name != agent})


def counters_of(plan: Plan | None) -> frozenset[int]:
    """Every tally the plan counts with."""
    return frozenset() if plan is None else frozenset({plan.tally, *plan.tallies.values()})


def _column(old: Plan, generation: int, wanted: Collection[int], taken: Mapping[int, Place], servers: Servers) -> int:
    """The column it has; else a free one, an idle one for choice."""
    if generation in old.places:
        return old.places[generation].column
    kept = {p.column for n, p in old.places.items() if n in wanted} | {p.column for p in taken.values()}
    free = [column for column in range(MAX_GENERATIONS) if column not in kept]

    def work(column: int) -> tuple[int, bool]:
        backend = servers.get(backend_name(old.slot, column), {})
        return sum(server.in_flight for server in backend.values()), any(p.column == column for p in old.places.values())

    return min(free, key=work)


def _house(route: GenerationRoute, before: Place | None, tally: int, column: int, servers: Mapping[int, Server], slots: int) -> Place:
    """Servers for the instances: those they have, else free ones."""
    had = dict(before.servers) if before else {}
    numbers = {b.instance: had[b.instance] for b in route.backends if b.instance in had}
    began = {name: start for name, start in (before.began.items() if before else ()) if name in numbers}
    free = _free(set(numbers.values()), set(had.values()), servers, slots)
    for backend in route.backends:
        if backend.instance in numbers:
            continue
        number = numbers[backend.instance] = next(free)
        earlier = servers.get(number)
        if earlier is not None and (earlier.requests or earlier.errors):
            began[backend.instance] = (earlier.requests, earlier.errors)
    return Place(column=column, tally=tally, servers=numbers, began=began)


def _free(staying: set[int], had: set[int], servers: Mapping[int, Server], slots: int) -> Iterator[int]:
    """Server numbers in the order to take them: unused ones, then idle ones whose instance leaves right now, then new ones beyond `slots`."""
    busy = {number for number, server in servers.items() if server.in_flight}
    everything = range(1, slots + 1)
    yield from (n for n in everything if n not in busy and n not in staying and n not in had)
    yield from (n for n in everything if n not in busy and n not in staying and n in had)
    yield from count(slots + 1)


def _newest(tallies: Mapping[int, int], places: Mapping[int, Place]) -> dict[int, int]:
    gone = sorted((n for n in tallies if n not in places), reverse=True)[: max(0, GENERATIONS_COUNTED - len(places))]
    return {n: tallies[n] for n in sorted({*gone, *places})}


def _grown(structure: Structure, plan: Plan) -> Structure:
    agents = _enough(structure.agent_slots, plan.slot + 1, AGENT_SLOTS_MAX, "agents")
    highest = max((number for p in plan.places.values() for number in p.servers.values()), default=0)
    instances = _enough(structure.instance_slots, highest, INSTANCE_SLOTS_MAX, "instances of one generation")
    keys = structure.keys
    wanted = plan.routing.conversation_key
    if wanted is not None and wanted not in keys:
        keys = (*keys, wanted)
        if len(keys) > KEYS_MAX:
            raise PermanentError(f"at most {KEYS_MAX} different conversation keys can be used on one data plane, {wanted} is one too many")
    if (agents, instances, keys) == (structure.agent_slots, structure.instance_slots, structure.keys):
        return structure
    return replace(structure, agent_slots=agents, instance_slots=instances, keys=keys)


def _enough(have: int, needed: int, limit: int, what: str) -> int:
    if needed <= have:
        return have
    if needed > limit:
        raise PermanentError(f"at most {limit} {what} fit on one data plane")
    return min(limit, max(2 * have, needed))
