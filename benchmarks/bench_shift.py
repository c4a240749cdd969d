"""(b) From the API call to the first request at the new share: `promote` while the candidate has next to nothing, until it answers.

One connection asks as fast as it can; the time is from before the call is sent to the first answer of the new version.
"""

import sys
import threading
import time

import httpx
from common import a_scratch_server, report, summary

from tests.e2e.harness import a_version, an_agent

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
TINY = 0.01
"""Percent: one request in ten thousand, so that an answer of the candidate means that the share has changed."""


def main() -> None:
    seconds: list[float] = []
    with a_scratch_server() as server:
        source = an_agent(server, instances=1)
        versions = ["1.0.0", *(f"1.{n}.0" for n in range(1, RUNS + 1))]
        for version in versions[1:]:
            a_version(source, version)
        server.post("/agents/Echo/versions/refresh", expect=200)
        for version in versions[1:]:
            name = server.upgrade(version, blue_green={"steps": [TINY, 100], "monitor_seconds": 600}, keep_warm_seconds=0)
            server.stage(name, f"monitor_metrics_{TINY}")
            seconds.append(one(server, name, version))
            server.outcome(name)
    report("shift", {"what": "seconds from POST promote to the first answer of the new version", "seconds": summary(seconds)})


def one(server, name: str, version: str) -> float:
    seen, began = threading.Event(), 0.0
    at = [0.0]

    def ask() -> None:
        with httpx.Client() as client:
            while not seen.is_set():
                if client.get(f"{server.router_url}/Echo/").json()["version"] == version and began:
                    at[0] = time.perf_counter()
                    seen.set()

    thread = threading.Thread(target=ask)
    thread.start()
    began = time.perf_counter()
    server.post(f"/agents/Echo/upgrades/{name}/promote", {})
    seen.wait(60)
    seen.set()
    thread.join()
    return at[0] - began


if __name__ == "__main__":
    main()
