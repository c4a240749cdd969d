"""(i) How soon a version that turns bad is found and taken back: real server, real HAProxy, 25 % of 100 requests/s, the warm-up over.

The agent fails a part of its requests, drawn by seed and request, from a moment on that is written down; the load's own log tells what the
candidate answered since. Numbers of runs for 8.2 and 30 %: RUNS RUNS.
"""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from common import a_scratch_server, report, summary
from quick import QuickAgent
from steady import Asked, Steady, load_average

from tests.e2e.harness import Server, wait_for

RUNS = {8.2: int(sys.argv[1]) if len(sys.argv) > 1 else 12, 30.0: int(sys.argv[2]) if len(sys.argv) > 2 else 12}
RATE, SHARE, OLD_PERCENT = 100.0, 25, 0.5
WARMUP_SECONDS, GOOD_SECONDS = 2.0, 1.0
"""The version is good in the warm-up and for a moment after it."""
LONGEST_SECONDS = 3600.0
LONGEST_RETREAT_SECONDS = 3.0
"""After the verdict; the next run begins later than that."""


def main() -> None:
    loads = [load_average()]
    # What a rollback leaves behind goes at once, so that the next upgrade starts afresh.
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        agent = QuickAgent(server, "Turning", instances=2)
        agent.wait()
        server.post("/agents/Turning/versions/refresh", expect=200)
        steady = Steady(server.router_url, "Turning", rate=RATE, seconds=LONGEST_SECONDS)
        runs = []
        for percent, count in RUNS.items():
            for number in range(count):
                runs.append((percent, *one(server, agent, percent, seed=number)))
                print(f"{percent} % run {number}: {runs[-1][-1]['rollback']['reason']}", file=sys.stderr, flush=True)
            loads.append(load_average())
        asked = steady.end()
    span = asked[-1].sent - asked[0].sent
    figures: dict[str, Any] = {
        "what": "from turning bad to the verdict, and from the verdict to the last answer of the bad version",
        "asked_per_second": round(len(asked) / span, 1),
        "requests": len(asked),
        "lost": sum(a.lost for a in asked),
        "load_average": loads,
    }
    for percent in RUNS:
        mine = [figure(asked, bad, done) for rate, bad, done in runs if rate == percent]
        figures[f"{percent:g} %"] = {name: summary([m[name] for m in mine]) for name in mine[0]} if mine else {}
    figures["reasons"] = [done["rollback"]["reason"] for _, _, done in runs]
    report("detection", figures)


def one(server: Server, agent: QuickAgent, percent: float, *, seed: int) -> tuple[float, dict[str, Any]]:
    """When it turned bad, and the deployment once it was taken back."""
    agent.fail(seed, old=OLD_PERCENT, new=OLD_PERCENT)
    blue_green = {"steps": [SHARE, 100], "monitor_seconds": 600}
    name = server.upgrade("1.1.0", agent="Turning", blue_green=blue_green, warmup_seconds=WARMUP_SECONDS, keep_warm_seconds=0)
    server.stage(name, f"monitor_metrics_{SHARE}", agent="Turning")
    time.sleep(WARMUP_SECONDS + GOOD_SECONDS)
    agent.fail(seed, old=OLD_PERCENT, new=percent)
    bad = time.time()
    done = server.outcome(name, agent="Turning")
    assert done["status"] == "rolled_back", done
    assert done["rollback"]["metric"] == "error_rate", done["rollback"]
    wait_for("the new version to be gone", lambda: {i["version"] for i in instances(server)} == {"1.0.0"})
    return bad, done


def figure(asked: Sequence[Asked], bad: float, done: dict[str, Any]) -> dict[str, float]:
    found = datetime.fromisoformat(done["rollback"]["triggered_at"]).timestamp()
    between = [a for a in asked if bad <= a.sent and a.answered <= found]
    candidate = [a for a in between if a.version == "1.1.0"]
    last = max(a.answered for a in asked if a.version == "1.1.0" and bad <= a.sent <= found + LONGEST_RETREAT_SECONDS)
    return {
        "candidate_requests": len(candidate),
        "seconds_to_verdict": found - bad,
        "candidate_errors_percent": 100 * sum(a.status == 500 for a in candidate) / max(1, len(candidate)),
        "share_percent": 100 * len(candidate) / max(1, len(between)),
        "verdict_to_last_answer_seconds": max(0.0, last - found),
        "bad_to_all_on_stable_seconds": last - bad,
        "users_failed": sum(a.status == 500 and a.version == "1.1.0" and bad <= a.sent <= last for a in asked),
    }


def instances(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/agents/Turning/instances")["instances"]
    return found


if __name__ == "__main__":
    main()
