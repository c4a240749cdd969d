"""From what HAProxy does to what it should do: the runtime commands, in an order in which no request is lost. Pure.

Newcomers are made reachable first, then the agent's one row changes (that is the shift), then leavers are drained or taken out.
"""

from collections.abc import Iterator, Mapping

from agent_servicing.adapters.haproxy_rows import (
    AGENTS,
    BUCKET_RADIX,
    HOSTS,
    LABELS,
    PINS,
    Plan,
    Rows,
    Server,
    Servers,
    backends_of,
    encode,
    server_name,
    slot_name,
)
from agent_servicing.core import latency


def changes(plan: Plan, rows: Rows, servers: Servers) -> list[str]:
    """Commands after which HAProxy carries out `plan`, given its maps and the servers of the plan's slot."""
    wanted = encode(plan)
    states = _states(plan)
    present = {name: (server, servers.get(name[0], {}).get(name[1])) for name, server in states.items()}
    about_servers = {k: v for k, v in wanted[LABELS].items() if "@" in v}
    about_generations = {k: v for k, v in wanted[LABELS].items() if "@" not in v}
    return [
        *_put(LABELS, about_servers, rows[LABELS]),
        *(c for name, (server, now) in present.items() if server.state == "ready" for c in _serve(name, server, now)),
        *_put(LABELS, about_generations, rows[LABELS]),
        *_put(PINS, wanted[PINS], rows[PINS]),
        *_put(HOSTS, wanted[HOSTS], rows[HOSTS]),
        *_put(AGENTS, wanted[AGENTS], rows[AGENTS]),
        *(c for name, (server, now) in present.items() if server.state == "drain" for c in _serve(name, server, now)),
        *_leave(plan.slot, set(states), servers),
        *_drop(PINS, [k for k in rows[PINS] if k.startswith(f"{slot_name(plan.slot)}.") and k not in wanted[PINS]]),
        *_drop(LABELS, [k for k in rows[LABELS] if _owned(k, plan.slot) and k not in wanted[LABELS]]),
    ]


def removal(plan: Plan, rows: Rows, servers: Servers) -> list[str]:
    """Commands after which HAProxy does not know the agent. Labels of single servers stay for answers that are still under way."""
    agent = plan.routing.agent
    labels = [k for k in rows[LABELS] if _owned(k, plan.slot)] + [f"tallies/{agent}"]
    return [
        *_drop(AGENTS, [agent]),
        *_drop(HOSTS, [k for k, v in rows[HOSTS].items() if v == agent]),
        *_drop(PINS, [k for k in rows[PINS] if k.startswith(f"{slot_name(plan.slot)}.")]),
        *_drop(LABELS, [k for k in labels if k in rows[LABELS]]),
        *_leave(plan.slot, set(), servers),
    ]


def forgotten_counters(tally: int) -> Iterator[str]:
    """Commands that drop everything counted under `tally`."""
    for number in (2 * tally, 2 * tally + 1):
        yield f"clear table tallies key {number}"
        for bucket in range(latency.BUCKETS):
            yield f"clear table latencies key {number * BUCKET_RADIX + bucket}"


def _states(plan: Plan) -> dict[tuple[str, int], Server]:
    found = {}
    for route in plan.routing.generations:
        place, backend = plan.places[route.generation], plan.backend(route.generation)
        for target in route.backends:
            name = (backend, place.servers[target.instance])
            found[name] = Server(host=target.host, port=target.port, state=target.state)
    return found


def _serve(name: tuple[str, int], server: Server, now: Server | None) -> Iterator[str]:
    path = f"{name[0]}/{server_name(*name)}"
    moved = now is None or (now.host, now.port) != (server.host, server.port)
    if moved and now is not None and now.state != "maint":
        yield f"set server {path} state maint"
    if moved:
        yield f"set server {path} addr {server.host} port {server.port}"
    if moved or (now is not None and now.state != server.state):
        yield f"set server {path} state {server.state}"


def _leave(slot: int, staying: set[tuple[str, int]], servers: Servers) -> Iterator[str]:
    for backend in backends_of(slot):
        for number, server in servers.get(backend, {}).items():
            if server.state != "maint" and (backend, number) not in staying:
                yield f"set server {backend}/{server_name(backend, number)} state maint"


def _put(name: str, wanted: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    for key, value in wanted.items():
        if key not in present:
            yield f"add map {name} {key} {value}"
        elif present[key] != value:
            yield f"set map {name} {key} {value}"


def _drop(name: str, keys: list[str]) -> Iterator[str]:
    return (f"del map {name} {key}" for key in keys)


def _owned(key: str, slot: int) -> bool:
    """Rows about the slot's backends; those of single servers are not among them."""
    return key.partition("/")[0] in backends_of(slot)
