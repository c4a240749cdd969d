"""(o) Reading the API: 200 requests a second, each on its appointed moment, to a server with a thousand agents of three pretended instances each
(services, SQLite, engine and API are real). How long each kind of read took from the moment at which it was due, so that waiting behind a slow
one counts.

Takes about three minutes, most of it to install the thousand: `.venv/bin/python benchmarks/api_reads.py`, with nothing else going on.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
from common import percentile, report

AGENTS, INSTANCES = 1_000, 3
RATE = 200
SECONDS = 30.0
WARM_UP_SECONDS = 5.0
SEED = 20261126

READS = {
    "/fleet": 10,
    "/agents?limit=50": 10,
    "/agents/{agent}": 30,
    "/agents/{agent}/instances": 10,
    "/agents/{agent}/versions": 10,
    "/agents/{agent}/config": 10,
    "/agents/{agent}/upgrades?limit=20": 10,
    "/agents/{agent}/metrics": 5,
    "/audit?limit=50": 5,
    "/notifications?limit=20": 5,
    "/schedule": 5,
}
"""Kinds of reads and how often each comes, as the page and scripts ask; one agent in turn is drawn at random."""


def main() -> None:
    words = [sys.executable, str(Path(__file__).with_name("pretended_server.py")), str(AGENTS * INSTANCES), "", str(INSTANCES)]
    begun = time.perf_counter()
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            installed = time.perf_counter() - begun
            found = asyncio.run(load(ready["port"], ready["admin"]))
        finally:
            server.communicate("", timeout=60)
    report("api_reads", {"agents": AGENTS, "instances_of_each": INSTANCES, "installed_s": round(installed, 1), **found})


async def load(port: int, token: str) -> dict[str, Any]:
    drawn = random.Random(SEED)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    headers = {"Authorization": f"Bearer {token}"}
    seconds: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, int] = defaultdict(int)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/platform", headers=headers, limits=limits, timeout=30) as client:

        async def one(kind: str, due: float, counts: bool) -> None:
            answer = await client.get(kind.format(agent=f"Agent{drawn.randrange(AGENTS)}"))
            if answer.status_code != 200:
                wrong[f"{answer.status_code} {kind}"] += 1
            if counts:
                seconds[kind].append(time.perf_counter() - due)

        begun = time.perf_counter() + 0.1
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(RATE * (WARM_UP_SECONDS + SECONDS))):
                due = begun + number / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                kind = drawn.choices(list(READS), list(READS.values()))[0]
                tasks.create_task(one(kind, due, due - begun >= WARM_UP_SECONDS))
        took = time.perf_counter() - begun - WARM_UP_SECONDS
    every = [value for values in seconds.values() for value in values]
    return {
        "load_average": round(os.getloadavg()[0], 1),
        "requests": len(every),
        "per_second": round(len(every) / took, 1),
        "not_200": dict(wrong),
        "all_ms": in_ms(every),
        "by_kind_ms": {kind: in_ms(values) for kind, values in sorted(seconds.items())},
    }


def in_ms(values: list[float]) -> dict[str, float]:
    return {name: round(1000 * percentile(values, q), 1) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))}


if __name__ == "__main__":
    main()
