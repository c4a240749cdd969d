"""(d) Requests lost over many deployments under load: upgrade, roll back, upgrade …, some of them with the server killed in the middle."""

import sys
import time

from common import LoadProcess, a_scratch_server, report

from tests.e2e.harness import a_version, an_agent, wait_for

DEPLOYMENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
RATE = float(sys.argv[2]) if len(sys.argv) > 2 else 400.0
KILL_EVERY = 10


def main() -> None:
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        source = an_agent(server, instances=2)
        a_version(source, "1.1.0")
        server.post("/agents/Echo/versions/refresh", expect=200)
        load, began, kills, failed = LoadProcess(server.router_url, "Echo", rate=RATE, seconds=3600), time.monotonic(), 0, 0
        for n in range(DEPLOYMENTS):
            if n % 2 == 0:
                name = server.upgrade("1.1.0", blue_green={"steps": [25, 100], "monitor_seconds": 1}, keep_warm_seconds=0 if n % 4 else 600)
            else:
                name = server.post("/agents/Echo/rollback", {"reason": "benchmark"})["rollback_id"]
            if n % KILL_EVERY == KILL_EVERY // 2:
                wait_for("it to begin", lambda name=name: server.deployment(name)["status"] != "queued")
                server.kill()
                server.start()
                kills += 1
            failed += server.outcome(name)["status"] != "completed"
        seconds = time.monotonic() - began
        counts = load.end()
    figures = {
        "what": "requests lost by the data plane or by us",
        "deployments": DEPLOYMENTS,
        "deployments_not_completed": failed,
        "server_kills": kills,
        "seconds": round(seconds, 1),
        "requests_per_second": round(counts["sent"] / seconds, 1),
        **{name: counts[name] for name in ("sent", "ok", "failed", "lost", "skipped", "conversations")},
        "conversations_moved_by_a_rollback": sum(f["before"] == "1.1.0" for f in counts["flips"]),
        "conversations_moved_by_an_upgrade": sum(f["before"] == "1.0.0" for f in counts["flips"]),
    }
    report("lost_requests", figures)


if __name__ == "__main__":
    main()
