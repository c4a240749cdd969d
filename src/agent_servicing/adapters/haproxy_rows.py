"""How the routing of one agent is written in HAProxy's maps, and read back. Pure; used by the router and by the metrics driver.

agents.map   WowMemory -> 2500|s00g0:34:12|s00g1:36:13|header:X-Conversation-Id|00|30|0,1|25.0|20000:180000:50.0|1500
             threshold, target of stable, target of candidate, conversation key, slot, id of its unserved requests, columns in
             the order of the generations, share, rate limit, request timeout in ms. A target is backend:counter id:generation; a rate
             limit is microseconds per request:how far ahead requests may be:requests per second. What every request needs comes first.
hosts.map    wowmemory. -> WowMemory
pins.map     00.17 -> s00g0:34:12           where conversations of a generation go, by its tally, which no other generation of any agent has
             00.12> -> 13                   the redirect that asked for it, which only `decode` reads
labels.map   s00g0 -> 12|1.2.5|17|1:0:0     generation, version, tally, servers with the counts at which their instance began
             s00g0i1 -> WowMemory@1.2.5/g12-1-0
             s00g0/last -> s00g0i2          the draining server that answers when nothing else can
             tallies/WowMemory -> 11=16,12=17
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import MAX_GENERATIONS, Backend, GenerationRoute, RateLimit, Routing

AGENTS, HOSTS, PINS, LABELS = "agents.map", "hosts.map", "pins.map", "labels.map"
MAPS = (AGENTS, HOSTS, PINS, LABELS)

BUCKET_RADIX = 128
"""Counter ids of the histogram: generation id times this, plus the bucket."""

AHEAD_SECONDS_MAX = 1100
"""Largest time that a burst may be ahead, a little more than a configuration allows: whole microseconds are rounded. Times of requests are
kept in 32 bits of microseconds, which start anew after 4295 s."""

UNKNOWN_LATENCY = 127
"""Bucket of responses whose time is not known because the clock was set back."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")

Rows = Mapping[str, Mapping[str, str]]
"""Contents of the maps: file name -> key -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one generation lives: its column of the agent's slot, its counters, the server and the starting counts of each instance."""

    column: int
    tally: int
    servers: Mapping[str, int] = field(default_factory=dict)
    began: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One agent's routing and the places it takes. `tally` counts its unserved requests, `tallies` generations that may be gone already."""

    routing: Routing
    slot: int
    tally: int
    places: Mapping[int, Place] = field(default_factory=dict)
    tallies: Mapping[int, int] = field(default_factory=dict)

    def backend(self, generation: int) -> str:
        return backend_name(self.slot, self.places[generation].column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server as HAProxy reports it; `state` is ready, drain or maint. Counts are those of the slot, whoever was in it."""

    host: str
    port: int
    state: str
    in_flight: int = 0
    requests: int = 0
    errors: int = 0


Servers = Mapping[str, Mapping[int, Server]]
"""Backend -> number of the server -> what HAProxy says about it."""


def slot_name(slot: int) -> str:
    return f"{slot:02d}"


def slot_of_row(row: str) -> int:
    """The slot that an agent's row names."""
    return int(row.split("|")[4])


def unserved_id(row: str) -> int:
    """The counter of an agent's unserved requests."""
    return int(row.split("|")[5])


def read_members(row: str) -> dict[int, tuple[int, int]]:
    """The numbers of the servers in service of a backend's row, with the requests and errors counted before their instance came."""
    members = (member.split(":") for member in row.rpartition("|")[2].split(",") if member)
    return {int(number): (int(requests), int(errors)) for number, requests, errors in members}


def read_tallies(text: str) -> dict[int, int]:
    """Generation to tally, from the row `tallies/AGENT`."""
    pairs = (pair.split("=") for pair in text.split(",") if pair)
    return {int(number): int(tally) for number, tally in pairs}


def backend_name(slot: int, column: int) -> str:
    return f"s{slot:02d}g{column}"


def server_name(backend: str, number: int) -> str:
    """Unique on the whole data plane, so that a response can be labelled by its server alone."""
    return f"{backend}i{number}"


def backends_of(slot: int) -> list[str]:
    return [backend_name(slot, column) for column in range(MAX_GENERATIONS)]


def check(routing: Routing) -> None:
    """Refuse what cannot be written into a map or is no routing: `PermanentError`."""
    numbers = [g.generation for g in routing.generations]
    if len(numbers) > MAX_GENERATIONS or len(set(numbers)) != len(numbers):
        raise PermanentError(f"{routing.agent}: at most {MAX_GENERATIONS} different generations, not {numbers}")
    for side in (routing.stable, routing.candidate):
        if side is not None and side not in numbers:
            raise PermanentError(f"{routing.agent}: generation {side} takes traffic but is not among {numbers}")
    if not 0 <= routing.share <= 100:
        raise PermanentError(f"{routing.agent}: a share of {routing.share} is not a percentage")
    _check_limits(routing)
    for host in {b.host for g in routing.generations for b in g.backends}:
        try:
            ip_address(host)
        except ValueError as error:
            raise PermanentError(f"{routing.agent}: {host!r} is not an IP address") from error
    words = [routing.agent, *(g.version for g in routing.generations), *(b.instance for g in routing.generations for b in g.backends)]
    words += [routing.conversation_key.name] if routing.conversation_key else []
    for word in words:
        if not _WORD.fullmatch(word):
            raise PermanentError(f"{routing.agent}: {word!r} cannot be used as a name in the data plane (letters, digits and . _ + - only)")


def _check_limits(routing: Routing) -> None:
    limit, seconds = routing.rate_limit, routing.request_timeout_seconds
    if limit is not None and not (0 < limit.requests_per_second <= 1_000_000 and limit.burst >= 1):
        raise PermanentError(f"{routing.agent}: {limit} is not a rate that can be limited to")
    if limit is not None and limit.burst * _every(limit) > AHEAD_SECONDS_MAX * 1_000_000:
        raise PermanentError(f"{routing.agent}: a burst of {limit.burst} takes longer than {AHEAD_SECONDS_MAX} s to come back")
    if seconds is not None and not 0.001 <= seconds <= 24 * 3600:
        raise PermanentError(f"{routing.agent}: {seconds} s is not a time that a request may take")


def encode(plan: Plan) -> dict[str, dict[str, str]]:
    """The rows of one agent in every map."""
    routing, slot = plan.routing, slot_name(plan.slot)
    columns = ",".join(str(plan.places[g.generation].column) for g in routing.generations)
    row = (
        str(round(routing.share * 100) if routing.candidate is not None else 0),
        _target(plan, routing.stable),
        _target(plan, routing.candidate),
        str(routing.conversation_key or "-"),
        slot,
        str(2 * plan.tally),
        columns,
        repr(routing.share),
        _limit_text(routing.rate_limit),
        str(round(routing.request_timeout_seconds * 1000)) if routing.request_timeout_seconds is not None else "",
    )
    return {
        AGENTS: {routing.agent: "|".join(row)},
        HOSTS: {f"{routing.agent.lower()}.": routing.agent},
        PINS: _pins(plan, slot),
        LABELS: _labels(plan),
    }


def decode(agent: str, rows: Rows, servers: Servers) -> Plan | None:
    """The plan that HAProxy carries out for `agent`: its maps and, per backend, its servers by name. None when it does not know the agent."""
    row = rows[AGENTS].get(agent)
    if row is None:
        return None
    threshold, stable, candidate, key, slot_text, unserved, columns, share, limit, timeout = row.split("|")
    slot, labels = int(slot_text), rows[LABELS]
    generations: list[GenerationRoute] = []
    places: dict[int, Place] = {}
    for column in (int(c) for c in columns.split(",") if c):
        backend = backend_name(slot, column)
        if backend in labels:
            route, place = _generation(column, backend, labels, servers.get(backend, {}))
            generations.append(route)
            places[route.generation] = place
    routing = Routing(
        agent=agent,
        conversation_key=_key(key),
        generations=tuple(generations),
        stable=_number(stable),
        candidate=_number(candidate),
        share=_share(int(threshold), float(share), bool(candidate)),
        redirects=_redirects(slot_text, rows[PINS]),
        rate_limit=_limit(limit),
        request_timeout_seconds=int(timeout) / 1000 if timeout else None,
    )
    tallies = read_tallies(labels.get(f"tallies/{agent}", ""))
    return Plan(routing=routing, slot=slot, tally=int(unserved) // 2, places=places, tallies=tallies)


def forget_counts(plan: Plan) -> Plan:
    """The same plan for a HAProxy whose counters start at zero."""
    return replace(plan, places={n: replace(p, began={}) for n, p in plan.places.items()})


def _target(plan: Plan, generation: int | None) -> str:
    if generation is None or generation not in plan.places:
        return ""
    return f"{plan.backend(generation)}:{2 * plan.places[generation].tally}:{generation}"


def _number(target: str) -> int | None:
    return int(target.rpartition(":")[2]) if target else None


def _pins(plan: Plan, slot: str) -> dict[str, str]:
    redirects = plan.routing.redirects
    tallies = {**plan.tallies, **{n: place.tally for n, place in plan.places.items()}}
    targets = {n: _target(plan, _follow(n, redirects)) for n in sorted({*plan.places, *redirects})}
    # No row where a redirect leads nowhere: such a pin is forgotten.
    rows = {f"{slot}.{tallies[n]}": target for n, target in targets.items() if target and n in tallies}
    return rows | {f"{slot}.{source}>": str(target) for source, target in redirects.items()}


def _follow(source: int, redirects: Mapping[int, int]) -> int:
    seen = {source}
    while (source := redirects.get(source, source)) not in seen:
        seen.add(source)
    return source


def _labels(plan: Plan) -> dict[str, str]:
    agent, labels = plan.routing.agent, {}
    for route in plan.routing.generations:
        place, backend = plan.places[route.generation], plan.backend(route.generation)
        members = []
        for target in route.backends:
            server = place.servers[target.instance]
            requests, errors = place.began.get(target.instance, (0, 0))
            members.append(f"{server}:{requests}:{errors}")
            labels[server_name(backend, server)] = f"{agent}@{route.version}/{target.instance}"
        labels[backend] = f"{route.generation}|{route.version}|{place.tally}|{','.join(members)}"
        last = next((b for b in route.backends if b.state == "drain"), None)
        if last is not None:
            labels[f"{backend}/last"] = server_name(backend, place.servers[last.instance])
    if plan.tallies:
        labels[f"tallies/{agent}"] = ",".join(f"{n}={tally}" for n, tally in plan.tallies.items())
    return labels


def _generation(column: int, backend: str, labels: Mapping[str, str], servers: Mapping[int, Server]) -> tuple[GenerationRoute, Place]:
    number, version, tally, _ = labels[backend].split("|")
    backends: list[Backend] = []
    numbers: dict[str, int] = {}
    began: dict[str, tuple[int, int]] = {}
    for slot, counts in read_members(labels[backend]).items():
        instance = labels.get(server_name(backend, slot), "").rpartition("/")[2]
        server = servers.get(slot)
        if server is None or not instance:
            continue
        numbers[instance], began[instance] = slot, counts
        if server.state == "ready" or server.state == "drain":
            backends.append(Backend(instance=instance, host=server.host, port=server.port, state=server.state))  # type: ignore[arg-type]
    route = GenerationRoute(generation=int(number), version=version, backends=tuple(backends))
    return route, Place(column=column, tally=int(tally), servers=numbers, began={n: b for n, b in began.items() if b != (0, 0)})


def _key(text: str) -> ConversationKey | None:
    kind, _, name = text.partition(":")
    if kind == "header" or kind == "cookie" or kind == "query":
        return ConversationKey(kind=kind, name=name)  # type: ignore[arg-type]
    return None


def _share(threshold: int, wanted: float, has_candidate: bool) -> float:
    """What the threshold says; the exact number that was asked for when it says the same to the last digit it can."""
    return wanted if not has_candidate or round(wanted * 100) == threshold else threshold / 100


def _every(limit: RateLimit) -> int:
    """Microseconds from one request to the next."""
    return round(1_000_000 / limit.requests_per_second)


def _limit_text(limit: RateLimit | None) -> str:
    if limit is None:
        return ""
    return f"{_every(limit)}:{_every(limit) * (limit.burst - 1)}:{limit.requests_per_second!r}"


def _limit(text: str) -> RateLimit | None:
    """What the first two numbers say, which are those that requests are measured by; the exact rate when it says the same."""
    if not text:
        return None
    every, tolerance, rate = (part(number) for part, number in zip((int, int, float), text.split(":"), strict=True))
    said = RateLimit(requests_per_second=rate, burst=int(tolerance) // max(1, int(every)) + 1)
    return said if _every(said) == every else replace(said, requests_per_second=1_000_000 / max(1, every))


def _redirects(slot: str, pins: Mapping[str, str]) -> dict[int, int]:
    found = {}
    for key, value in pins.items():
        owner, _, source = key.partition(".")
        if owner == slot and source.endswith(">"):
            found[int(source[:-1])] = int(value)
    return found
