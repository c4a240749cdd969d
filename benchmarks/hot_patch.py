"""(k) Hot patches: from PATCH to the last acknowledgement. Ten real instances under load, by signal and by the SDK, and their server killed once;
10, 100 and 1 000 subscribers that speak the SDK's protocol, over the local bus and NATS, all of whom then come back at one moment; and beside
it the same job by a file that is polled every 30 s, which is what people have today. `--quick` leaves the thousand out.

Takes about five minutes: `.venv/bin/python benchmarks/hot_patch.py`, with nothing else going on.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from common import ROOT, LoadProcess, a_scratch_server, report, summary

RUNS = {10: 10, 100: 10, 1000: 6}
"""Patches for so many subscribers."""

REAL_RUNS = {"instant": 20, "fast": 5}
POLL_SECONDS = 30.0

sys.path.insert(0, str(ROOT))
from tests.e2e.harness import Server, wait_for  # noqa: E402 (the folder of the tests is put on the path first)
from tests.e2e.test_hot_patch import an_agent, pids, statuses  # noqa: E402 (the folder of the tests is put on the path first)
from tests.nats_server import a_nats_server  # noqa: E402 (the folder of the tests is put on the path first)


def real(reload: str, profile: str) -> dict[str, Any]:
    """Ten processes of this level; what the caller waited for, without requests and with, and what was lost meanwhile."""
    with a_scratch_server() as server, server.api() as api:
        an_agent(server, "Ten", reload, instances=10)
        before = pids(server, "Ten")
        quiet = several(api, REAL_RUNS[profile], 100, profile)
        load = LoadProcess(server.router_url, "Ten", rate=50, seconds=120)
        seconds = several(api, REAL_RUNS[profile], 130, profile)
        away = restarted(server) if (reload, profile) == ("sdk", "instant") else None
        counts = load.end()
        same = before == pids(server, "Ten")
        found = {"without_requests": quiet, "seconds": seconds, "same_processes": same, "sent": counts["sent"], "lost": counts["lost"]}
        return {**found, **({"server_killed": away} if away else {})}


def several(api: httpx.Client, runs: int, first: int, profile: str) -> dict[str, float]:
    """Seconds from sending a PATCH to its answer, which comes when all ten have acknowledged."""
    seconds = []
    for number in range(runs):
        body = {"config_updates": {"timeout_seconds": first + number}, "reason": "bench", "profile": profile}
        began = time.perf_counter()
        answer = api.patch("/agents/Ten/config", json=body)
        seconds.append(time.perf_counter() - began)
        assert [i["result"] for i in answer.json()["instances"]] == ["applied"] * 10, answer.text
    return summary(seconds)


def restarted(server: Server) -> dict[str, float]:
    """The server killed and started under them: until all ten have said what they have, and then the next patch."""
    server.kill()
    server.start()
    began = time.perf_counter()
    wait_for("reports", lambda: statuses(server, "Ten") == {"in_sync"})
    back = time.perf_counter() - began
    with server.api() as api:
        began = time.perf_counter()
        answer = api.patch("/agents/Ten/config", json={"config_updates": {"timeout_seconds": 200}, "reason": "bench", "profile": "instant"})
        assert answer.status_code == 200, answer.text
        return {"in_sync_s": round(back, 2), "next_patch_s": round(time.perf_counter() - began, 3)}


class Subscriber:
    """One instance: a subscription and a connection for reports, as the SDK has them."""

    def __init__(self, port: int, agent: str, token: str) -> None:
        self.port, self.base, self.token = port, f"/api/platform/agents/{agent}/link", token
        self.applied, self.prepared, self.acked_at, self.revision = None, None, 0.0, ""

    def request(self, method: str, body: str = "") -> bytes:
        head = (
            f"{method} {self.base} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
        )
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        up_reader, up = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.request("GET"))
        status = await reader.readline()
        assert b" 200 " in status, status
        event = ""
        try:
            while line := await reader.readline():
                text = line.decode().strip()
                if text.startswith("event:"):
                    event = text[6:].strip()
                elif text.startswith("data:") and event == "config":
                    await self.told(json.loads(text[5:]), up_reader, up)
        finally:
            writer.close()
            up.close()

    async def told(self, message: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = {"revision": message["revision"], "hash": message["hash"]}
        committed = message["phase"] == "commit"
        self.applied, self.prepared = (held, None) if committed else (self.applied, held)
        attempt = {**held, "phase": message["phase"], "result": "applied" if committed else "prepared", "errors": []}
        config = {"applied": self.applied, "prepared": self.prepared, "last_good": None, "last_attempt": attempt, "pending": []}
        writer.write(self.request("POST", json.dumps({"level": "sdk", "config": config})))
        status, length = await reader.readline(), 0
        assert b" 200 " in status, status
        while (line := await reader.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await reader.readexactly(length)
        if committed:
            self.acked_at, self.revision = time.perf_counter(), message["revision"]


@contextlib.contextmanager
def a_pretended_server(instances: int, bus: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    words = [sys.executable, str(Path(__file__).with_name("pretended_server.py")), str(instances), bus]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("{"))
        yield process, json.loads(line)
        process.communicate("", timeout=60)


async def patched(port: int, admin: str, agent: str, seconds: int) -> None:
    body = json.dumps({"config_updates": {"timeout_seconds": seconds}, "reason": "bench", "profile": "instant"})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"PATCH /api/platform/agents/{agent}/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\nConnection: close\r\n"
    )
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer[:600]


def subscribers(info: dict[str, Any]) -> tuple[list[Subscriber], list[asyncio.Future[None]]]:
    everybody = [Subscriber(info["port"], agent, token) for agent, several in info["tokens"].items() for token in several.values()]
    return everybody, [asyncio.ensure_future(one.run()) for one in everybody]


async def told(everybody: list[Subscriber], tasks: list[asyncio.Future[None]]) -> None:
    while not all(one.applied for one in everybody):
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks), next(task for task in tasks if task.done())


async def gone(tasks: list[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def patched_everywhere(info: dict[str, Any], everybody: list[Subscriber], seconds: int) -> tuple[float, list[float]]:
    """Seconds until every PATCH was answered, and those until each acknowledgement."""
    began = time.perf_counter()
    await asyncio.gather(*(patched(info["port"], info["admin"], agent, seconds) for agent in info["tokens"]))
    answered, acks = time.perf_counter() - began, sorted(one.acked_at - began for one in everybody)
    assert acks[0] > 0, "somebody acknowledged nothing"
    return answered, acks


async def simulated(info: dict[str, Any]) -> dict[str, Any]:
    everybody, tasks = subscribers(info)
    await told(everybody, tasks)
    await asyncio.sleep(3)
    first, half, last, answered = [], [], [], []
    for number in range(RUNS[len(everybody)]):
        seconds, acks = await patched_everywhere(info, everybody, 100 + number)
        answered.append(seconds)
        first.append(acks[0])
        half.append(acks[len(acks) // 2])
        last.append(acks[-1])
    figures = {"first_ack": summary(first), "half_acked": summary(half), "last_ack": summary(last), "answered": summary(answered)}
    await gone(tasks)
    began = time.perf_counter()
    everybody, tasks = subscribers(info)  # all at one moment, without the SDK's jitter; one that is refused ends the benchmark
    await told(everybody, tasks)
    back = time.perf_counter() - began
    _, acks = await patched_everywhere(info, everybody, 250)
    await gone(tasks)
    return {**figures, "storm": {"all_back_s": round(back, 3), "next_patch_last_ack_s": round(acks[-1], 3)}}


async def polled() -> dict[str, Any]:
    """The same job with a file at which everybody looks every 30 s, having begun at random moments: until the last one has seen it."""
    dice = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text("{}")

        async def poll(pause: float) -> float:
            await asyncio.sleep(pause)
            while not (found := json.loads(file.read_text())):  # noqa: ASYNC110 (polling is what is measured)
                await asyncio.sleep(POLL_SECONDS)
            return time.time() - float(found["at"])

        groups = {count: [asyncio.ensure_future(poll(dice.uniform(0, POLL_SECONDS))) for _ in range(count)] for count in RUNS}
        await asyncio.sleep(POLL_SECONDS + 1)  # everybody has looked once
        file.with_suffix(".new").write_text(json.dumps({"at": time.time()}))
        file.with_suffix(".new").replace(file)
        seen = {count: await asyncio.gather(*group) for count, group in groups.items()}
    return {f"{count} with a file polled every {POLL_SECONDS:g} s": {"seconds": summary(s), "acknowledged": 0} for count, s in seen.items()}


def main() -> None:
    quick = "--quick" in sys.argv
    figures: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    for profile in REAL_RUNS:
        for reload in ("signal:HUP", "sdk"):
            found = figures[f"10 real, {reload}, {profile}"] = real(reload, profile)
            print(reload, profile, json.dumps(found), flush=True)
    for instances in [count for count in RUNS if count < 1000 or not quick]:
        with a_nats_server() as nats:
            for bus in ("", nats.url):
                with a_pretended_server(instances, bus) as (_, info):
                    found = asyncio.run(simulated(info))
                figures[f"{instances} subscribers, {'nats' if bus else 'local'}"] = found
                print(instances, "nats" if bus else "local", json.dumps([found["last_ack"], found["storm"]]), flush=True)
    figures |= asyncio.run(polled())
    report("hot_patch", {**figures, "load_after": os.getloadavg()[0]})
    table(figures)


def table(figures: dict[str, Any]) -> None:
    """The same for people: until the last one has it, median and longest."""
    print(f"\n{'':40} {'median s':>9} {'max s':>7} {'runs':>5}")
    for name, found in figures.items():
        if isinstance(found, dict):
            seconds = found.get("last_ack") or found["seconds"]
            last = seconds["max"] if "polled" in name else seconds["p50"]  # of a poll every instance is a run
            print(f"{name:40} {last:9.3f} {seconds['max']:7.3f} {1 if 'polled' in name else seconds['runs']:5}")


if __name__ == "__main__":
    main()
