"""(j) Rolling over ten instances of an agent that starts at once, with and without traffic; and ten upgrades at once against one alone.

ROLLS FLEETS: how often each. Seconds are the server's own: from the first request it took to the last completion.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from common import a_scratch_server, percentile, report, summary
from quick import QuickAgent
from steady import Steady, load_average

from tests.e2e.harness import Server, wait_for

ROLLS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
FLEETS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
INSTANCES, RATE, LOOKS_PER_SECOND = 10, 50.0, 20.0
AGENTS, OF_EACH = 10, 2
LONGEST_SECONDS = 3600.0
LONGEST_DEPLOYMENT_SECONDS = 180.0
ROLLING = {"strategy": "rolling", "rolling": {"batch_size": 1, "pause_seconds": 0}}
STRATEGIES = {"rolling": ROLLING, "blue-green": {"strategy": "blue-green", "blue_green": {"steps": [25, 50, 100], "monitor_seconds": 0}}}


def main() -> None:
    loads = [load_average()]
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        agent = QuickAgent(server, "Roller", instances=INSTANCES, versions=1 + 2 * ROLLS)
        agent.wait()
        server.post("/agents/Roller/versions/refresh", expect=200)
        quiet = [roll(server) for _ in range(ROLLS)]
        loads.append(load_average())
        steady = Steady(server.router_url, "Roller", rate=RATE, seconds=LONGEST_SECONDS)
        busy = [roll(server) for _ in range(ROLLS)]
        asked = steady.end()
        loads.append(load_average())
    figures: dict[str, Any] = {
        "what": "rolling over ten instances, one at a time; ten deployments at once against one alone",
        "rolling_without_traffic": described(quiet),
        "rolling_with_traffic": {
            **described(busy),
            "requests": len(asked),
            "asked_per_second": round(len(asked) / (asked[-1].sent - asked[0].sent), 1),
            "lost": sum(a.lost for a in asked),
        },
    }
    with a_scratch_server(SERVICING_KEEP_WARM_SECONDS="0") as server:
        names = [f"Agent{number}" for number in range(AGENTS)]
        agents = [QuickAgent(server, name, instances=OF_EACH, versions=1 + 2 * FLEETS * len(STRATEGIES)) for name in names]
        for one in agents:
            one.wait()
            server.post(f"/agents/{one.agent}/versions/refresh", expect=200)
        for strategy, options in STRATEGIES.items():
            alone: list[float] = []
            together: list[float] = []
            turns: list[dict[str, Any]] = []
            for _ in range(FLEETS):
                alone.append(at_once(server, names[:1], options, turns))
                together.append(at_once(server, names, options, turns))
            ratio = percentile(together, 0.5) / percentile(alone, 0.5)
            figures[f"ten_at_once_{strategy}"] = {
                "alone_seconds": summary(alone),
                "together_seconds": summary(together),
                "ratio_of_medians": round(ratio, 2),
                "turns": turns,
            }
            loads.append(load_average())
    figures["load_average"] = loads
    report("rolling", figures)


# --- one agent of ten instances ------------------------------------------------------------------------------------------------------


def roll(server: Server) -> dict[str, Any]:
    target = following(server, "Roller")
    looked: list[int] = []
    up: list[int] = []
    with server.api() as api, server.api() as other_api:

        def look() -> None:
            found = api.get("/agents/Roller/instances").json()["instances"]
            looked.append(sum(i["status"] == "ready" for i in found))

        with Looking(look), Looking(lambda: up.append(servers_up(server))):
            done = ended(other_api, "Roller", begun(other_api, "Roller", target, ROLLING))
    wait_for("the old ones to be gone", lambda: {i["version"] for i in server.get("/agents/Roller/instances")["instances"]} == {target})
    return {
        "seconds": span([done]),
        "least_ready": min(looked),
        "least_up": min(up),
        "looks": len(looked),
        "unserved": done["impact"]["unserved"],
        "stages": {s["stage"]: round(s["duration_seconds"] or 0.0, 2) for s in done["stages"]},
    }


def described(rolls: list[dict[str, Any]]) -> dict[str, Any]:
    batches = [seconds for r in rolls for name, seconds in r["stages"].items() if name.startswith("replace_batch")]
    return {
        "seconds": summary([r["seconds"] for r in rolls]),
        "least_ready_instances": min(r["least_ready"] for r in rolls),
        "least_up_in_data_plane": min(r["least_up"] for r in rolls),
        "looks": sum(r["looks"] for r in rolls),
        "unserved": sum(r["unserved"] for r in rolls),
        "batch_seconds": summary(batches),
        "stages_of_the_last": rolls[-1]["stages"],
    }


class Looking:
    """Looks so many times a second while the block runs, in a thread."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look, self._stop = look, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(1 / LOOKS_PER_SECOND):
            self._look()

    def __enter__(self) -> None:
        self._look()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def servers_up(server: Server) -> int:
    """Servers of any agent that HAProxy sends new requests to. Its own health checks are among what decides that."""
    place = next(server.data_dir.glob("*/admin.sock"))
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(5)
        talk.connect(str(place))
        talk.sendall(b"show stat -1 4 -1\n")
        text = b"".join(iter(lambda: talk.recv(65536), b"")).decode()
    return sum(line.split(",")[17].startswith(("UP", "no check")) for line in text.splitlines() if line and not line.startswith("#"))


def begun(api: httpx.Client, agent: str, target: str, options: dict[str, Any]) -> str:
    body = {"target_version": target, "reason": "benchmark", "keep_warm_seconds": 0, **options}
    answer = api.post(f"/agents/{agent}/upgrade", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["upgrade_id"])


def ended(api: httpx.Client, agent: str, name: str) -> dict[str, Any]:
    """The deployment once it completed; asked seldom, because whoever asks takes processor time from who is measured."""

    def found() -> dict[str, Any] | None:
        seen: dict[str, Any] = api.get(f"/agents/{agent}/upgrades/{name}").json()
        return seen if seen["finished_at"] else None

    until = time.monotonic() + LONGEST_DEPLOYMENT_SECONDS
    while time.monotonic() < until:
        if done := found():
            assert done["status"] == "completed", done
            return done
        time.sleep(0.5)
    raise AssertionError(f"{name} did not end")


def span(done: list[dict[str, Any]]) -> float:
    first = min(datetime.fromisoformat(d["requested_at"]) for d in done)
    return (max(datetime.fromisoformat(d["finished_at"]) for d in done) - first).total_seconds()


def _token(server: Server) -> dict[str, str]:
    return {"Authorization": f"Bearer {(server.data_dir / 'admin.token').read_text().strip()}"}


# --- many agents ---------------------------------------------------------------------------------------------------------------------


def at_once(server: Server, agents: list[str], options: dict[str, Any], turns: list[dict[str, Any]]) -> float:
    """Seconds from the first request to the last completion, by the server's own times of completion."""
    targets = {agent: following(server, agent) for agent in agents}
    before = engine(server)
    with server.api() as api:
        names = {agent: begun(api, agent, target, options) for agent, target in targets.items()}
        done = {agent: ended(api, agent, name) for agent, name in names.items()}
    after, seconds = engine(server), span(list(done.values()))
    count = after["turns"] - before["turns"]
    busy = after["seconds"] - before["seconds"]
    turns.append(
        {
            "agents": len(agents),
            "seconds": round(seconds, 2),
            "turns": count,
            "seconds_in_turns": round(busy, 2),
            "processor_seconds": round(after["cpu"] - before["cpu"], 2),
            "stages_of_the_last": {s["stage"]: round(s["duration_seconds"] or 0.0, 2) for s in list(done.values())[-1]["stages"]},
        }
    )
    for agent in agents:
        wait_for("the old ones to be gone", partial(whole, server, agent))
    return seconds


def whole(server: Server, agent: str) -> bool:
    return len(server.get(f"/agents/{agent}/instances")["instances"]) == OF_EACH


def following(server: Server, agent: str) -> str:
    """The version after the one that runs."""
    return f"1.{int(server.get(f'/agents/{agent}')['current_version'].split('.')[1]) + 1}.0"


def engine(server: Server) -> dict[str, float]:
    """What `/metrics` says of the engine, and the server's processor time."""
    with httpx.Client() as client:
        text = client.get(server.info["api_url"] + "/metrics", headers=_token(server)).text
    values = {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if line and not line.startswith("#")}
    stat = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split() if server.process else []
    return {
        "turns": values["servicing_engine_reconciles_total"],
        "seconds": values["servicing_engine_reconcile_seconds_total"],
        "cpu": sum(map(int, stat[11:13])) / 100,
    }


if __name__ == "__main__":
    main()
