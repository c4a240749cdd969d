"""(c) Time of an operator's rollback, warm (the old version still runs) and cold (it has to be started; it is installed).

From before the POST is sent: to the last answer of the version that is left (`traffic`), and to the deployment's end (`completed`).
"""

import sys
import threading
import time

import httpx
from common import a_scratch_server, report, summary

from tests.e2e.harness import a_version, an_agent, wait_for

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
WARM, COLD = 600.0, 0.0


def main() -> None:
    # What a rollback leaves behind goes at once, so that the next upgrade starts afresh.
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        source = an_agent(server, instances=2)
        a_version(source, "1.1.0")
        server.post("/agents/Echo/versions/refresh", expect=200)
        warm = [one(server, WARM) for _ in range(RUNS)]
        cold = [one(server, COLD) for _ in range(max(1, RUNS // 5))]
    figures = {
        "what": "seconds from POST rollback",
        "warm_traffic": summary([t for t, _ in warm]),
        "warm_completed": summary([c for _, c in warm]),
        "cold_traffic": summary([t for t, _ in cold]),
        "cold_completed": summary([c for _, c in cold]),
    }
    report("rollback", figures)


def one(server, keep_warm_seconds: float) -> tuple[float, float]:
    quick = {"blue_green": {"steps": [100], "monitor_seconds": 0}, "keep_warm_seconds": keep_warm_seconds}
    assert server.outcome(server.upgrade("1.1.0", **quick))["status"] == "completed"
    if keep_warm_seconds == COLD:
        wait_for("the old version to be gone", lambda: {i["version"] for i in instances(server)} == {"1.1.0"})
    last_bad, stop = [0.0], threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not stop.is_set():
                if client.get(f"{server.router_url}/Echo/").json()["version"] == "1.1.0":
                    last_bad[0] = time.perf_counter()

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.perf_counter()
    name = server.post("/agents/Echo/rollback", {"reason": "benchmark"})["rollback_id"]
    done = server.outcome(name)
    ended = time.perf_counter()
    stop.set()
    asking.join()
    assert done["status"] == "completed", done
    if keep_warm_seconds == COLD:
        wait_for("the new version to be gone", lambda: {i["version"] for i in instances(server)} == {"1.0.0"})
    return last_bad[0] - began, ended - began


def instances(server) -> list[dict[str, object]]:
    return server.get("/agents/Echo/instances")["instances"]


if __name__ == "__main__":
    main()
