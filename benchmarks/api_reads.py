"""(p) Reading the API with a thousand agents of three pretended instances each; services, SQLite, engine and API are real.

First each kind of read alone, one after the other: the processor time that it costs the server, which a busy machine does not change. Then
50, 100 and 200 reads a second in a mix, each on its appointed moment: how long each took from the moment at which it was due, so that waiting
behind a slow one counts, and so does a client that was late. Once more while somebody writes: what was read before is then read again.

About four minutes: `.venv/bin/python benchmarks/api_reads.py`, with nothing else going on.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop
from common import percentile, report

AGENTS, INSTANCES = 1_000, 3
RATES = (50, 100, 200)
WRITES_PER_SECOND = 2
"""In the round with writes: an operator's lock on one agent or another, set and taken off."""

SECONDS = 20.0
WARM_UP_SECONDS = 5.0
ALONE = 50
"""Reads of each kind for its cost."""

CONNECTIONS = 64
LONGEST_ANSWER_SECONDS = 60.0
IDLE_SECONDS = 20.0
SEED = 20261126
API = "/api/platform"

READS = {
    f"{API}/fleet": 10,
    f"{API}/agents?limit=20": 10,
    f"{API}/agents?limit=50&sort=health": 5,
    f"{API}/agents?limit=50&q=team-3": 5,
    f"{API}/agents?limit=6&attention=true": 5,
    f"{API}/fleet/names": 2,
    f"{API}/deployments?limit=50": 5,
    f"{API}/deployments?limit=6&state=open": 5,
    f"{API}/agents/{{agent}}": 25,
    f"{API}/agents/{{agent}}/instances": 10,
    f"{API}/agents/{{agent}}/versions": 10,
    f"{API}/agents/{{agent}}/config": 5,
    f"{API}/agents/{{agent}}/upgrades?limit=20": 10,
    f"{API}/agents/{{agent}}/metrics": 5,
    f"{API}/audit?limit=50": 5,
    f"{API}/notifications?limit=20": 5,
    f"{API}/schedule/upcoming?days=14": 3,
    f"{API}/schedule": 3,
    "/healthz": 2,
}
"""Kinds of reads and how often each comes, as the page and scripts ask; one agent in turn is drawn at random."""


def main() -> None:
    program = str(Path(__file__).with_name("pretended_server.py"))
    words = [sys.executable, program, "--copies", str(AGENTS), "--of-an-agent", str(INSTANCES), "--reload", "restart"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            found = uvloop.run(measured(psutil.Process(server.pid), ready["port"], ready["admin"]))
        finally:
            server.communicate("", timeout=60)
    report("api_reads", {"agents": AGENTS, "instances_of_each": INSTANCES, **found})


async def measured(server: psutil.Process, port: int, token: str) -> dict[str, Any]:
    drawn = random.Random(SEED)
    headers = {"Authorization": f"Bearer {token}"}
    wires = partial(Wire, port, token)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        await client.get(f"{API}/fleet")
        idle = await idle_share(server)
        costs = {kind: await cost(server, client, kind, drawn, idle) for kind in READS}
        return {
            "idle_percent_of_one_core": round(100 * idle, 1),
            "processor_ms_of_each_alone": costs,
            "processor_ms_of_the_mix": round(sum(costs[kind] * weight for kind, weight in READS.items()) / sum(READS.values()), 2),
            "at_a_rate": {str(rate): await load(server, wires, drawn, rate) for rate in RATES},
            "writes_per_second": WRITES_PER_SECOND,
            "at_a_rate_with_writes": {str(rate): await load_with_writes(server, client, wires, drawn, rate) for rate in RATES},
        }


def used(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


async def idle_share(server: psutil.Process) -> float:
    """Of one core, when nobody asks: health checks, turns, readings."""
    before, began = used(server), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    return (used(server) - before) / (time.perf_counter() - began)


async def cost(server: psutil.Process, client: httpx.AsyncClient, kind: str, drawn: random.Random, idle: float) -> float:
    """Milliseconds of processor time for one, without what the server does anyway."""
    before, began = used(server), time.perf_counter()
    for _ in range(ALONE):
        (await client.get(kind.format(agent=f"Agent{drawn.randrange(AGENTS)}"))).raise_for_status()
    spent = used(server) - before - idle * (time.perf_counter() - began)
    return round(1000 * spent / ALONE, 2)


class Wire:
    """Reads over kept connections and nothing else: a client with everything needs as much of its core for them as the server."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._head = port, f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def get(self, path: str) -> int:
        """The status of the answer."""
        async with self._free, asyncio.timeout(LONGEST_ANSWER_SECONDS):
            while self._idle:
                with suppress(OSError, asyncio.IncompleteReadError):  # kept for longer than the server keeps it: then the next one
                    return await self._exchange(path, *self._idle.pop())
            return await self._exchange(path, *await asyncio.open_connection("127.0.0.1", self._port))

    async def _exchange(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(f"GET {path} HTTP/1.1\r\n{self._head}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        self._idle.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def load_with_writes(
    server: psutil.Process, client: httpx.AsyncClient, wires: Callable[[], Wire], drawn: random.Random, rate: int
) -> dict[str, Any]:
    async def write() -> None:
        for number in count():
            path = f"{API}/agents/Agent{number // 2 % AGENTS}/lock"
            lock = {"reason": "bench", "expires_in_seconds": 600}
            (await (client.delete(path) if number % 2 else client.post(path, json=lock))).raise_for_status()
            await asyncio.sleep(1 / WRITES_PER_SECOND)

    writing = asyncio.create_task(write())
    try:
        return await load(server, wires, drawn, rate)
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def load(server: psutil.Process, wires: Callable[[], Wire], drawn: random.Random, rate: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = defaultdict(list)
    late: list[float] = []
    wrong: dict[str, int] = defaultdict(int)

    async def one(kind: str, due: float, counts: bool) -> None:
        try:
            status = await wire.get(kind.format(agent=f"Agent{drawn.randrange(AGENTS)}"))
        except TimeoutError:
            wrong["no answer"] += 1
            return
        if status != 200:
            wrong[f"{status} {kind}"] += 1
        if counts:
            seconds[kind].append(time.perf_counter() - due)

    begun, before = time.perf_counter() + 0.1, used(server)
    with closing(wires()) as wire:
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * (WARM_UP_SECONDS + SECONDS))):
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                late.append(time.perf_counter() - due)
                kind = drawn.choices(list(READS), list(READS.values()))[0]
                tasks.create_task(one(kind, due, due - begun >= WARM_UP_SECONDS))
    took = time.perf_counter() - begun
    every = [value for values in seconds.values() for value in values]
    return {
        "load_average": round(os.getloadavg()[0], 1),
        "requests": len(every),
        "answered_per_second": round(rate * (WARM_UP_SECONDS + SECONDS) / took, 1),
        "server_percent_of_one_core": round(100 * (used(server) - before) / took, 1),
        "client_late_ms": in_ms(late),
        "not_200": dict(wrong),
        "all_ms": in_ms(every or [float("inf")]),
        "by_kind_ms": {kind: in_ms(values) for kind, values in sorted(seconds.items())},
    }


def in_ms(values: list[float]) -> dict[str, float]:
    return {name: round(1000 * percentile(values, q), 1) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))}


if __name__ == "__main__":
    main()
