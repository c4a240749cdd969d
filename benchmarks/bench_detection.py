"""(i) How soon a bad version is found and taken back: real server, real HAProxy, 25 % of 100 requests/s, counted from the end of the warm-up.

Two ways: the version is bad from its first request on, counted from the moment its requests count (the deployment's stored blocks); or it
turns bad after some seconds of good service, counted by the load's own log. Failures are drawn by seed and request.

AT_ONCE LATER: runs of each with 8.2 % and with 30 %.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from common import a_scratch_server, report, summary
from quick import QuickAgent
from steady import Asked, Steady, load_average

from tests.e2e.harness import Server, wait_for

RUNS = {"at once": int(sys.argv[1]) if len(sys.argv) > 1 else 12, "later": int(sys.argv[2]) if len(sys.argv) > 2 else 6}
WAYS = [("at once", 8.2), ("at once", 30.0), ("later", 8.2), ("later", 30.0)]
RATE, SHARE, OLD_PERCENT = 100.0, 25, 0.5
WARMUP_SECONDS, GOOD_SECONDS = 2.0, 3.0
"""How long a version that turns bad later is watched while it is good; its warm-up is over then."""
LONGEST_SECONDS = 3600.0


def main() -> None:
    loads = [load_average()]
    # What a rollback leaves behind goes at once, so that the next upgrade starts afresh.
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        agent = QuickAgent(server, "Turning", instances=2)
        agent.wait()
        server.post("/agents/Turning/versions/refresh", expect=200)
        steady = Steady(server.router_url, "Turning", rate=RATE, seconds=LONGEST_SECONDS)
        runs: list[tuple[str, Run]] = []
        for when, percent in WAYS:
            for number in range(RUNS[when]):
                run = one(server, agent, percent, seed=number, later=when == "later")
                runs.append((f"{percent:g} % {when}", run))
                print(f"{runs[-1][0]}: {run.done['rollback']['reason']}", file=sys.stderr, flush=True)
            loads.append(load_average())
        asked = steady.end()
    span = asked[-1].sent - asked[0].sent
    figures: dict[str, Any] = {
        "what": "to the verdict, and from the verdict to the last answer of the bad version",
        "asked_per_second": round(len(asked) / span, 1),
        "requests": len(asked),
        "lost": Counter(str(a.status) for a in asked if a.lost),
        "load_average": loads,
    }
    for name in dict.fromkeys(name for name, _ in runs):
        mine = [figure(asked, run) for its, run in runs if its == name]
        figures[name] = {key: summary([m[key] for m in mine]) for key in mine[0]}
    figures["reasons"] = [f"{name}: {run.done['rollback']['reason']}" for name, run in runs]
    report("detection", figures)


class Run(NamedTuple):
    """`bad`: since when its failures count. `done`: the deployment taken back."""

    bad: float
    done: dict[str, Any]

    @property
    def found(self) -> float:
        return datetime.fromisoformat(self.done["rollback"]["triggered_at"]).timestamp()

    @property
    def ended(self) -> float:
        return datetime.fromisoformat(self.done["finished_at"]).timestamp()


def one(server: Server, agent: QuickAgent, percent: float, *, seed: int, later: bool) -> Run:
    agent.fail(seed, old=OLD_PERCENT, new=OLD_PERCENT if later else percent)
    blue_green = {"steps": [SHARE, 100], "monitor_seconds": 600}
    name = server.upgrade("1.1.0", agent="Turning", blue_green=blue_green, warmup_seconds=WARMUP_SECONDS, keep_warm_seconds=0)
    bad = 0.0
    if later:
        server.stage(name, f"monitor_metrics_{SHARE}", agent="Turning")
        time.sleep(GOOD_SECONDS)
        agent.fail(seed, old=OLD_PERCENT, new=percent)
        bad = time.time()
    done = server.outcome(name, agent="Turning")
    assert done["status"] == "rolled_back", done
    assert done["rollback"]["metric"] == "error_rate", done["rollback"]
    wait_for("the new version to be gone", lambda: {i["version"] for i in instances(server)} == {"1.0.0"})
    run = Run(bad, done)
    return run if later else run._replace(bad=run.found - judged_seconds(server, name))


def judged_seconds(server: Server, name: str) -> float:
    """How long its requests counted before the verdict: the stored blocks after the warm-up."""
    blocks = server.get(f"/agents/Turning/upgrades/{name}/analysis")["blocks"]
    return float(sum(b["seconds"] for b in blocks if not b["warm_up"] and b["candidate_new"]["answered"]))


def figure(asked: Sequence[Asked], run: Run) -> dict[str, float]:
    between = [a for a in asked if run.bad <= a.sent and a.answered <= run.found]
    candidate = [a for a in between if a.version == "1.1.0"]
    last = max(a.answered for a in asked if a.version == "1.1.0" and run.bad <= a.sent <= run.ended)
    return {
        "candidate_requests": len(candidate),
        "seconds_to_verdict": run.found - run.bad,
        "candidate_errors_percent": 100 * sum(a.status == 500 for a in candidate) / max(1, len(candidate)),
        "share_percent": 100 * len(candidate) / max(1, len(between)),
        "verdict_to_last_answer_seconds": max(0.0, last - run.found),
        "to_all_on_stable_seconds": last - run.bad,
    }


def instances(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/agents/Turning/instances")["instances"]
    return found


if __name__ == "__main__":
    main()
