"""(e) What the server costs when nothing happens: processor time and memory with four agents, and the data plane's memory."""

import sys
import time

import psutil
from common import a_scratch_server, report

from tests.e2e.harness import an_agent

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0


def main() -> None:
    with a_scratch_server() as server:
        for n in range(4):
            an_agent(server, agent=f"Echo-{n}", instances=2)
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        time.sleep(5)
        before, began = process.cpu_times(), time.perf_counter()
        time.sleep(SECONDS)
        after, seconds = process.cpu_times(), time.perf_counter() - began
        used = after.user + after.system - before.user - before.system
        proxies = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "haproxy" and of(server, p)]
        figures = {
            "what": "the server with four agents of two instances each, no requests",
            "cpu_percent_of_one_core": round(100 * used / seconds, 2),
            "server_rss_mb": round(process.memory_info().rss / 2**20, 1),
            "haproxy_rss_mb": round(sum(p.memory_info().rss for p in proxies) / 2**20, 1),
            "seconds": round(seconds, 1),
        }
    report("idle", figures)


def of(server, process: psutil.Process) -> bool:
    """HAProxy runs in its folder below the data directory."""
    try:
        return process.cwd().startswith(str(server.data_dir))
    except psutil.Error:
        return False


if __name__ == "__main__":
    main()
