"""The load of the benchmarks as a process: URL AGENT RATE SECONDS. Ends with its time or a line on stdin; prints its counts as JSON."""

import json
import sys
from dataclasses import asdict

import anyio

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.manifest import TestRequest
from agent_servicing.testing.loads import Load
from agent_servicing.testing.traffic import Traffic


async def main(url: str, agent: str, rate: float, seconds: float) -> None:
    requests = (TestRequest(method="POST", path="/work", json={"text": "x"}), TestRequest(path="/work"))
    loads = (Load(agent=agent, requests=requests), Load(agent=agent, requests=requests, conversation_header="X-Conversation-Id"))
    traffic = Traffic(url, loads, requests_per_second=rate, clock=SystemClock(), ids=RandomIds())

    async def until_told() -> None:
        with anyio.move_on_after(seconds):
            await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        traffic.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_told)
        await traffic.run()
        tasks.cancel_scope.cancel()
    counts = traffic.snapshot()
    print(json.dumps({**asdict(counts), "lost": counts.lost}, default=str), flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    import os

    os._exit(0)  # a thread may still wait for a line
