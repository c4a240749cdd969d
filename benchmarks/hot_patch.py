"""(k) Hot patches: from PATCH to the last acknowledgement. Ten real instances under load, by signal and by the SDK; 10, 100 and 1 000 subscribers
that speak the SDK's protocol, over the local bus and NATS; and beside it a file that is polled every 30 s, which is what people have today.
"""

import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import ROOT, LoadProcess, a_scratch_server, report, summary

RUNS = 10
POLL_SECONDS = 30.0

sys.path.insert(0, str(ROOT))
from tests.e2e.test_hot_patch import an_agent, patch, pids  # noqa: E402
from tests.nats_server import a_nats_server  # noqa: E402


def real(reload: str, profile: str) -> dict[str, Any]:
    """Ten processes of this level; what the caller waited for, and what was lost meanwhile."""
    with a_scratch_server() as server:
        an_agent(server, "Ten", reload, instances=10)
        before = pids(server, "Ten")
        load = LoadProcess(server.router_url, "Ten", rate=50, seconds=120)
        seconds = []
        for number in range(RUNS):
            began = time.perf_counter()
            view = patch(server, "Ten", {"timeout_seconds": 100 + number}, profile=profile)
            seconds.append(time.perf_counter() - began)
            assert [i["result"] for i in view["instances"]] == ["applied"] * 10
        counts = load.end()
        return {"seconds": summary(seconds), "same_processes": before == pids(server, "Ten"), "load": counts}


class Subscriber:
    """One instance: a subscription and a connection for reports, as the SDK has them."""

    def __init__(self, port: int, agent: str, token: str) -> None:
        self.port, self.base, self.token = port, f"/api/platform/agents/{agent}/link", token
        self.applied, self.prepared, self.acked_at, self.revision = None, None, 0.0, ""

    def request(self, method: str, body: str = "") -> bytes:
        head = f"{method} {self.base} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        up_reader, up = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.request("GET"))
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
        length = 0
        while (line := await reader.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await reader.readexactly(length)
        if committed:
            self.acked_at, self.revision = time.perf_counter(), message["revision"]


@contextlib.contextmanager
def a_pretended_server(instances: int, bus: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    words = [sys.executable, str(Path(__file__).with_name("hot_patch_server.py")), str(instances), bus]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("{"))
        yield process, json.loads(line)
        process.communicate("", timeout=60)


async def patched(port: int, admin: str, agent: str, seconds: int) -> None:
    body = json.dumps({"config_updates": {"timeout_seconds": seconds}, "reason": "bench", "profile": "instant"})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"PATCH /api/platform/agents/{agent}/config HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer[:600]


async def simulated(info: dict[str, Any]) -> dict[str, Any]:
    everybody = [Subscriber(info["port"], agent, token) for agent, several in info["tokens"].items() for token in several.values()]
    tasks = [asyncio.ensure_future(one.run()) for one in everybody]
    while not all(one.applied for one in everybody):
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks), "a subscription ended"
    await asyncio.sleep(3)
    first, half, last, answered = [], [], [], []
    for number in range(RUNS):
        began = time.perf_counter()
        await asyncio.gather(*(patched(info["port"], info["admin"], agent, 100 + number) for agent in info["tokens"]))
        answered.append(time.perf_counter() - began)
        acks = sorted(one.acked_at - began for one in everybody)
        assert acks[0] > 0, "somebody acknowledged nothing"
        first.append(acks[0])
        half.append(acks[len(acks) // 2])
        last.append(acks[-1])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"first_ack": summary(first), "half_acked": summary(half), "last_ack": summary(last), "answered": summary(answered)}


def polled(instances: int) -> dict[str, float]:
    """The same job with a file that everybody looks at every 30 s: arithmetic, with instances that began at random moments."""
    dice = random.Random(7)
    last = [max(dice.uniform(0, POLL_SECONDS) for _ in range(instances)) for _ in range(200)]
    return {"last_s_p50": round(statistics.median(last), 1), "acknowledged": 0}


def main() -> None:
    quick = "--quick" in sys.argv
    figures: dict[str, Any] = {}
    for reload in ("signal:HUP", "sdk"):
        for profile in ("instant", "fast"):
            figures[f"10 real, {reload}, {profile}"] = real(reload, profile)
            print(reload, profile, json.dumps(figures[f"10 real, {reload}, {profile}"]["seconds"]), flush=True)
    for instances in (10, 100) if quick else (10, 100, 1000):
        with a_nats_server() as nats:
            for bus in ("", nats.url):
                with a_pretended_server(instances, bus) as (_, info):
                    found = asyncio.run(simulated(info))
                figures[f"{instances} subscribers, {'nats' if bus else 'local'}"] = found
                print(instances, "nats" if bus else "local", json.dumps(found["last_ack"]), flush=True)
        figures[f"{instances} with a file polled every {POLL_SECONDS:g} s"] = polled(instances)
    report("hot_patch", figures)


if __name__ == "__main__":
    main()
