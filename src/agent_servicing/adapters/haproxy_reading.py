"""What HAProxy says about itself, as values: maps, servers, tables, processes. Text in, dataclasses out; pure."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent_servicing.adapters.haproxy_rows import MAPS, Server

_MAINTENANCE, _DRAIN = 0x01 | 0x02 | 0x20, 0x08
"""Bits of srv_admin_state: in maintenance by command, with a tracked server, by name resolution; draining by command."""

_ENTRY = re.compile(r"key=(\S+) use=\d+ exp=\d+(?: shard=\d+)? (.*)")

SHOW_MAPS = tuple(f"show map {name}" for name in MAPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The process tree of one HAProxy; `old` are workers that finish what they have after a reload."""

    master: int
    worker: int | None
    old: tuple[int, ...] = ()


def read_map(text: str) -> dict[str, str]:
    """`show map`: lines of address, key, value."""
    rows = {}
    for line in text.splitlines():
        parts = line.split(" ", 2)
        if len(parts) >= 2 and parts[0].startswith("0x"):
            rows[parts[1]] = parts[2] if len(parts) == 3 else ""
    return rows


def read_maps(answers: list[str]) -> dict[str, dict[str, str]]:
    """The answers to `SHOW_MAPS`, by file name."""
    return {name: read_map(text) for name, text in zip(MAPS, answers, strict=True)}


def show_servers(backend: str) -> tuple[str, str]:
    """The two commands whose answers `read_servers` wants."""
    return f"show servers state {backend}", f"show stat {backend} 4 -1"


def read_servers(state: str, stat: str) -> dict[int, Server]:
    """Servers of one backend by number, from `show servers state` and `show stat`. Empty when HAProxy does not know the backend."""
    counts = read_stat(stat)
    servers = {}
    for line in state.splitlines():
        part = line.split()
        if len(part) < 19 or line.startswith("#"):
            continue
        name, host, admin, port = part[3], part[4], int(part[6]), int(part[18])
        label = "maint" if admin & _MAINTENANCE else "drain" if admin & _DRAIN else "ready"
        in_flight, requests, errors = counts.get(name, (0, 0, 0))
        servers[_number(name)] = Server(host=host, port=port, state=label, in_flight=in_flight, requests=requests, errors=errors)
    return servers


def _number(server: str) -> int:
    return int(server.rpartition("i")[2])


def read_stat(text: str) -> dict[str, tuple[int, int, int]]:
    """`show stat` for servers: by name, requests in flight, requests so far, failed attempts so far.

    Failed are 5xx answers, refused connections and answers that broke off; HAProxy counts one of the latter twice when nobody else could be
    asked. Good for finding a bad instance; the exact counts are those of the generation.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        return {}
    header = lines[0].removeprefix("# ").split(",")
    flight, total, *failures = (header.index(name) for name in ("scur", "stot", "hrsp_5xx", "econ", "eresp"))
    found = {}
    for line in lines[1:]:
        # Free text stands only in later columns, so that no comma here is part of a value.
        row = line.split(",", 60)
        errors = sum(int(row[column] or 0) for column in failures)
        found[row[1]] = (int(row[flight] or 0), int(row[total] or 0), errors)
    return found


def read_serving(text: str) -> tuple[dict[str, dict[int, Server]], set[str]]:
    """`show stat -1 4 -1 no-maint`: every server in use, by backend and number, without its counts; and the backends it leaves in doubt.

    HAProxy names one state only: of a server that fails its checks it says so, and not whether it drains as well. `read_servers` knows.
    """
    rows = csv.reader(text.removeprefix("# ").splitlines())
    header = next(rows, [])
    if "addr" not in header:
        return {}, set()
    status, address = header.index("status"), header.index("addr")
    found: dict[str, dict[int, Server]] = {}
    doubtful: set[str] = set()
    for row in rows:
        if len(row) <= address or row[status].startswith("MAINT"):
            continue
        if row[status].startswith("DOWN"):
            doubtful.add(row[0])
        host, _, port = row[address].rpartition(":")
        state = "drain" if row[status].startswith("DRAIN") else "ready"
        server = Server(host=host.strip("[]"), port=int(port or 0), state=state)
        found.setdefault(row[0], {})[_number(row[1])] = server
    return found, doubtful


def read_table(text: str) -> dict[str, dict[str, int]]:
    """`show table`: entries by key, each with its numbers by name."""
    entries = {}
    for line in text.splitlines():
        match = _ENTRY.search(line)
        if match:
            entries[match[1]] = {k: int(v) for k, _, v in (pair.partition("=") for pair in match[2].split())}
    return entries


def read_processes(text: str) -> Processes | None:
    """`show proc` of the master; None when it is no such answer."""
    master = worker = None
    old: list[int] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("#"):
            section = line
            continue
        part = line.split()
        if len(part) > 1 and part[1] == "master":
            master = int(part[0])
        elif len(part) > 1 and part[1] == "worker":
            if section == "# workers":
                worker = int(part[0])
            else:
                old.append(int(part[0]))
    return None if master is None else Processes(master=master, worker=worker, old=tuple(old))


def read_environment(text: str) -> str | None:
    """`show env NAME`: the value, None when it is not set."""
    name, found, value = text.strip().partition("=")
    return value if found and " " not in name else None


def read_info(text: str) -> Mapping[str, str]:
    """`show info` as names and values."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
