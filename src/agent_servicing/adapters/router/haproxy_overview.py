"""One look at the routing of every agent, for the pulse: what HAProxy says, decoded anew only when it says something else than last time."""

from collections import defaultdict
from collections.abc import Mapping

from agent_servicing.adapters.haproxy_reading import SHOW_MAPS, read_maps, read_servers, read_serving
from agent_servicing.adapters.haproxy_rows import AGENTS, HOSTS, LABELS, PINS, Rows, Servers, backends_of, decode, slot_name, slot_of_row
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.core.routing import Routing

SHOW_SERVING = "show stat -1 4 -1 no-maint"
"""Servers in use only: what it costs grows with instances, not with the slots that are declared beforehand."""


class Overview:
    """Keeps the last answer; a routing that did not change is the same object again."""

    def __init__(self, link: HaproxySocket) -> None:
        self._link = link
        self._seen: tuple[list[str], Servers] | None = None
        self._routings: dict[str, Routing] = {}

    async def read(self) -> Mapping[str, Routing]:
        """Raises `TemporaryError` when HAProxy does not answer."""
        *maps, stat = await self._link.ask(*SHOW_MAPS, SHOW_SERVING)
        servers, doubtful = read_serving(stat)
        seen = maps, {**servers, **await self._look_closer(sorted(doubtful))}
        if seen != self._seen:
            last = self._routings
            fresh = _routings(read_maps(maps), seen[1])
            self._routings = {agent: last[agent] if last.get(agent) == routing else routing for agent, routing in fresh.items()}
            self._seen = seen
        return self._routings

    async def _look_closer(self, backends: list[str]) -> Servers:
        """The servers in use of `backends`, with what they were told to do even while they fail their checks."""
        states = await self._link.ask(*(f"show servers state {backend}" for backend in backends))
        told = {backend: read_servers(state, "") for backend, state in zip(backends, states, strict=True)}
        return {backend: {number: s for number, s in servers.items() if s.state != "maint"} for backend, servers in told.items()}


def _routings(rows: Rows, servers: Servers) -> dict[str, Routing]:
    """Each agent decoded from its own rows only, so that a thousand agents are read through once and not a thousand times."""
    pins: dict[str, dict[str, str]] = defaultdict(dict)
    for key, value in rows[PINS].items():
        pins[key.partition(".")[0]][key] = value
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for key, value in rows[LABELS].items():
        labels[key.partition("g")[0].removeprefix("s")][key] = value
    found = {}
    for agent, row in rows[AGENTS].items():
        slot = slot_of_row(row)
        own = {AGENTS: {agent: row}, HOSTS: {}, PINS: pins[slot_name(slot)], LABELS: labels[slot_name(slot)]}
        plan = decode(agent, own, {backend: servers.get(backend, {}) for backend in backends_of(slot)})
        if plan is not None:
            found[agent] = plan.routing
    return found
