"""HAProxy's configuration as text: the router calls `render` at a start or reload, never for a change of members or shares. Pure.

What changes while HAProxy runs lives in the maps (adapters/haproxy_rows.py), in the servers' addresses and in stick tables; what is
fixed here is how many slots there are and which conversation keys are known.
"""

import hashlib
import ipaddress
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from agent_servicing.adapters.haproxy_rows import AGENTS, BUCKET_RADIX, HOSTS, LABELS, PINS, UNKNOWN_LATENCY, backends_of, server_name
from agent_servicing.adapters.router import haproxy_rules
from agent_servicing.core import latency
from agent_servicing.core.manifest import ConversationKey

CONFIG, LATENCY, SAVED_PINS, TIMEOUT, COOKIES = "haproxy.cfg", "latency.map", "saved-pins.map", "timeout.lua", "cookies.lua"

CONNECT_SECONDS = 2
"""An instance that does not take a connection within this is tried again elsewhere."""

RESPONSE_SECONDS = 300
"""Longest silence of an instance before or within a response. Agents think long; a stream should send something every few minutes."""

TUNNEL_SECONDS = 3600
"""Longest silence of a WebSocket, and of a client that waits."""

HEADER_SECONDS = 30
"""Time for a client to send its request's headers."""

KEEP_ALIVE_SECONDS = 60
"""How long an idle client connection is kept."""

HARD_STOP_SECONDS = 7 * 24 * 3600
"""After a reload, an old worker ends with its last stream, and at the latest after this: as long as the longest budget a manifest may give.
It also holds streams of instances that nobody is replacing, so no shorter time would be right for all of them."""

POOL_PURGE_MS = 50
"""How often surplus idle connections to instances are closed. Keeps them younger than the shortest usual keep-alive timeout (uvicorn's
5 s), so that no request is sent on a connection that its instance is about to close."""

DESCRIPTORS = 20_480
"""Bound of open files, hence of connections (about 10 000) and memory."""

PINS_MAX = 100_000
"""Conversations remembered at once; the longest idle ones are forgotten first."""

PINS_HOURS = 12
"""A conversation that was silent for this long is forgotten."""

LIMITS_MINUTES = 30
"""The bucket of an agent that nobody asked for this long is forgotten, and with that full; longer than any burst takes to come back."""

COUNTERS_PER_AGENT = 4096
"""Counters kept per agent slot: about 100 buckets x 2 kinds x the generations remembered."""

MAX_THREADS = 4
"""Threads of the data plane: enough for about 100 000 requests/s, and agents need the other cores."""

_SERVER = "check inter 1s fastinter 200ms downinter 200ms rise 1 fall 2 observe layer4 error-limit 3 on-error mark-down"
"""A crashed instance is out after three refused connections or two failed checks; the engine does the real health checks over HTTP."""

DIGEST_VARIABLE, STRUCTURE_VARIABLE = "SERVICING_DIGEST", "SERVICING_STRUCTURE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Everything that only a reload can change."""

    host: str
    port: int
    agent_slots: int
    instance_slots: int
    keys: tuple[ConversationKey, ...] = (ConversationKey(kind="header", name="X-Conversation-Id"),)
    threads: int = 2


def digest(structure: Structure) -> str:
    """Identifies the configuration apart from the members of the moment; the running HAProxy is asked for it."""
    return hashlib.sha256(_text(structure, {}, "").encode()).hexdigest()[:16]


def render(structure: Structure, servers: Mapping[str, Mapping[int, str]]) -> str:
    """The configuration with `servers` (backend -> server number -> host:port) in service from the first moment."""
    return _text(structure, servers, digest(structure))


def structure_to_text(structure: Structure) -> str:
    """As one word of printable characters, for the environment of HAProxy and the state file."""
    content = {
        "host": structure.host,
        "port": structure.port,
        "agent_slots": structure.agent_slots,
        "instance_slots": structure.instance_slots,
        "keys": [str(key) for key in structure.keys],
        "threads": structure.threads,
    }
    return json.dumps(content, separators=(",", ":"))


def structure_from_text(text: str) -> Structure:
    """Raises ValueError, KeyError or TypeError when `text` is nothing that `structure_to_text` wrote."""
    content = json.loads(text)
    keys = tuple(ConversationKey(kind=kind, name=name) for kind, _, name in (key.partition(":") for key in content.pop("keys")))
    return Structure(keys=keys, **content)


@cache
def latency_map() -> str:
    """Microseconds, read as an IPv4 address, to a bucket: each bucket is a few address prefixes, found in one tree descent."""
    lines: list[str] = []
    lower = 0
    for bucket, upper in enumerate([*(round(edge * 1000) for edge in latency.EDGES_MS), 2**31 - 1]):
        networks = ipaddress.summarize_address_range(ipaddress.IPv4Address(lower), ipaddress.IPv4Address(upper))
        lines += [f"{network} {bucket}" for network in networks]
        lower = upper + 1
    # Negative differences end up in the upper half: the clock was set back while the request was under way.
    lines.append(f"128.0.0.0/1 {UNKNOWN_LATENCY}")
    return "\n".join(lines) + "\n"


def _text(structure: Structure, servers: Mapping[str, Mapping[int, str]], config_digest: str) -> str:
    lines = [
        *_global(structure, config_digest),
        *defaults(),
        *_tables(structure),
        *_frontend(structure),
    ]
    for slot in range(structure.agent_slots):
        for backend in backends_of(slot):
            lines += _backend(backend, structure.instance_slots, servers.get(backend, {}))
    return "\n".join(lines) + "\n"


def _global(structure: Structure, config_digest: str) -> list[str]:
    return [
        "global",
        "  stats socket unix@admin.sock mode 600 level admin",
        "  stats timeout 30s",
        f"  fd-hard-limit {DESCRIPTORS}",
        f"  nbthread {structure.threads}",
        f"  hard-stop-after {HARD_STOP_SECONDS}s",
        # The pin, the generation's counts, the histogram, and the agent's rate.
        "  tune.stick-counters 4",
        f"  lua-load-per-thread {TIMEOUT}",
        f"  lua-load-per-thread {COOKIES}",
        f"  setenv {DIGEST_VARIABLE} '{config_digest}'",
        f"  setenv {STRUCTURE_VARIABLE} '{structure_to_text(structure)}'",
    ]


def defaults() -> list[str]:
    """Timeouts, retries, reuse of connections, error pages; also what the benchmark gives the proxy without rules."""
    return [
        "defaults",
        "  mode http",
        f"  timeout connect {CONNECT_SECONDS}s",
        f"  timeout client {TUNNEL_SECONDS}s",
        f"  timeout server {RESPONSE_SECONDS}s",
        f"  timeout tunnel {TUNNEL_SECONDS}s",
        f"  timeout http-request {HEADER_SECONDS}s",
        f"  timeout http-keep-alive {KEEP_ALIVE_SECONDS}s",
        "  timeout queue 5s",
        "  timeout check 2s",
        # A request is repeated only while no byte of it was sent, or when its method makes repeating harmless (see the rules).
        "  retries 3",
        "  retry-on conn-failure empty-response",
        "  option redispatch 1",
        # A client that left is told to the agent, so that it can stop thinking; and its answer counts as nobody's error.
        "  option abortonclose",
        "  option idle-close-on-response",
        "  option http-no-delay",
        "  http-reuse always",
        "  balance leastconn",
        f"  default-server {_SERVER} pool-purge-delay {POOL_PURGE_MS}ms",
        *haproxy_rules.error_pages(),
    ]


def _tables(structure: Structure) -> list[str]:
    size = structure.agent_slots * COUNTERS_PER_AGENT
    return [
        "backend pins",
        f"  stick-table type string len 24 size {PINS_MAX} expire {PINS_HOURS}h store gpt0",
        "backend tallies",
        f"  stick-table type integer size {size} store conn_cnt,gpc(3)",
        "backend latencies",
        f"  stick-table type integer size {size} store conn_cnt",
        "backend limits",
        f"  stick-table type integer size {structure.agent_slots} expire {LIMITS_MINUTES}m store gpt0",
    ]


def _frontend(structure: Structure) -> list[str]:
    address = f"[{structure.host}]" if ":" in structure.host else structure.host
    maps = haproxy_rules.Maps(agents=AGENTS, hosts=HOSTS, pins=PINS, labels=LABELS, saved_pins=SAVED_PINS, latency=LATENCY)
    return [
        "frontend agents",
        f"  bind {address}:{structure.port}",
        *(f"  {rule}" for rule in haproxy_rules.frontend(structure.keys, maps, radix=BUCKET_RADIX, unknown=UNKNOWN_LATENCY)),
    ]


def _backend(name: str, slots: int, servers: Mapping[int, str]) -> Iterator[str]:
    yield f"backend {name}"
    yield f"  {haproxy_rules.LAST_RESORT}"
    yield from (f"  {rule}" for rule in haproxy_rules.ANSWER_IN_TIME)
    first = 1
    for number in [*sorted(servers), slots + 1]:
        if first < number:
            yield f"  server-template {name}i {first}-{number - 1} 127.0.0.1:1 disabled"
        if number in servers:
            yield f"  server {server_name(name, number)} {servers[number]}"
        first = number + 1
