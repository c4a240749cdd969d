"""Benchmark (a): requests/s and latency through our routing rules against the same HAProxy with a bare configuration, in one run.

    python benchmarks/bench_dataplane.py [--rounds 9] [--seconds 4] [--connections 32]

Both proxies stand before the same two fast backends and keep connections alive the same way. Rounds alternate, so that a noisy machine
disturbs both alike; the ratio is the median of the ratios of single rounds. Processor time per request is the proxies' own. A third
proxy has our retries, timeouts and X-Forwarded-For but no rules: it tells the price of those from the price of routing and counting.
Needs wrk, or hey. Writes benchmarks/results/dataplane.json.
"""

import argparse
import json
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import anyio
import psutil

from agent_servicing.adapters.metrics.haproxy import HaproxyMetrics
from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.router.haproxy_config import MAX_THREADS, defaults
from agent_servicing.adapters.router.haproxy_process import find_binary, free_port
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import Backend, GenerationRoute, Routing
from agent_servicing.settings import Settings

AGENT = "WowMemory"
KEY = ConversationKey(kind="header", name="X-Conversation-Id")
RESULTS = Path(__file__).parent / "results" / "dataplane.json"
BARE_COMMON = """
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 300s
  http-reuse always
  balance leastconn
"""


@dataclass(frozen=True)
class Round:
    """One measurement; latencies in ms, processor time in microseconds per request."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Case:
    name: str
    url: str
    headers: tuple[str, ...]
    worker: psutil.Process


def backend_config(ports: Sequence[int]) -> str:
    binds = "".join(f"  bind 127.0.0.1:{port}\n" for port in ports)
    answer = "  http-request return status 200 content-type text/plain string hello\n"
    return f"global\n  nbthread 1\n{BARE_COMMON}frontend answers\n{binds}{answer}"


def bare_config(port: int, ports: Sequence[int], threads: int) -> str:
    servers = "".join(f"  server i{i} 127.0.0.1:{p} check\n" for i, p in enumerate(ports))
    front = f"frontend bare\n  bind 127.0.0.1:{port}\n  default_backend all\n"
    return f"global\n  nbthread {threads}\n{BARE_COMMON}{front}backend all\n{servers}"


def options_config(port: int, ports: Sequence[int], threads: int) -> str:
    common = "\n".join(defaults())
    servers = "".join(f"  server i{i} 127.0.0.1:{p}\n" for i, p in enumerate(ports))
    front = f"frontend options\n  bind 127.0.0.1:{port}\n  option forwardfor\n  default_backend all\n"
    return f"global\n  nbthread {threads}\n{common}\n{front}backend all\n{servers}"


@contextmanager
def haproxy(folder: Path, name: str, config: str) -> Iterator[psutil.Process]:
    (folder / f"{name}.cfg").write_text(config)
    # In a session of its own, as a daemon is: the kernel shares processor time out by session.
    process = subprocess.Popen([find_binary(None), "-db", "-f", str(folder / f"{name}.cfg")], start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def measure(case: Case, seconds: float, connections: int) -> Round:
    before = sum(case.worker.cpu_times()[:2])
    load = wrk if shutil.which("wrk") else hey
    count, rate, p50, p99 = load(case, seconds, connections)
    spent = sum(case.worker.cpu_times()[:2]) - before
    return Round(requests_per_second=rate, p50_ms=p50, p99_ms=p99, cpu_us=1e6 * spent / count)


def wrk(case: Case, seconds: float, connections: int) -> tuple[float, float, float, float]:
    headers = [part for header in case.headers for part in ("-H", header)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", *headers, case.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"requests failed:\n{text}")
    (count,) = re.findall(r"(\d+) requests in", text)
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    p50, p99 = (_ms(re.findall(rf"\s{q}%\s+([\d.]+)(us|ms|s)", text)[0]) for q in (50, 99))
    return float(count), float(rate), p50, p99


def hey(case: Case, seconds: float, connections: int) -> tuple[float, float, float, float]:
    headers = [part for header in case.headers for part in ("-H", header)]
    command = ["hey", "-c", str(connections), "-z", f"{seconds:g}s", *headers, case.url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    (count,) = re.findall(r"\[200\]\s+(\d+) responses", text)
    p50, p99 = (1000 * float(re.findall(rf"{q}% in ([\d.]+) secs", text)[0]) for q in (50, 99))
    return float(count), float(rate), p50, p99


def _ms(found: tuple[str, str]) -> float:
    return float(found[0]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[1]]


def median(rounds: Sequence[Round]) -> Round:
    return Round(**{name: statistics.median(getattr(r, name) for r in rounds) for name in Round.__dataclass_fields__})


async def reading_ms(router: HaproxyRouter) -> float:
    """Median time of one reading of all counters, nothing cached."""
    clock, times = SystemClock(), []
    for _ in range(20):
        begun = clock.monotonic()
        await HaproxyMetrics(router).counters(AGENT)
        times.append(1000 * (clock.monotonic() - begun))
    return statistics.median(times)


async def shift_ms(router: HaproxyRouter, routing: Routing) -> float:
    """Median time of one change of the share, written to disk included."""
    clock, times = SystemClock(), []
    for share in range(20):
        begun = clock.monotonic()
        await router.apply(Routing(**{f: getattr(routing, f) for f in Routing.__dataclass_fields__ if f != "share"}, share=float(share)))
        times.append(1000 * (clock.monotonic() - begun))
    return statistics.median(times)


async def run(rounds: int, seconds: float, connections: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare_port, options_port, *ports = (free_port("127.0.0.1") for _ in range(4))
        threads = min(MAX_THREADS, psutil.cpu_count() or 1)
        with (
            haproxy(folder, "answers", backend_config(ports)),
            haproxy(folder, "bare", bare_config(bare_port, ports, threads)) as bare,
            haproxy(folder, "options", options_config(options_port, ports, threads)) as options,
        ):
            settings = Settings(data_dir=folder, router_port=0)
            async with HaproxyRouter.open(settings, SystemClock()) as router:
                try:
                    routing = await set_up(router, ports)
                    worker = psutil.Process(router.pid).children()[0]
                    url = f"{router.url}/{AGENT}/hello"
                    cases = [
                        Case("bare", f"http://127.0.0.1:{bare_port}/{AGENT}/hello", (), bare),
                        Case("our options, no rules", f"http://127.0.0.1:{options_port}/{AGENT}/hello", (), options),
                        Case("rules", url, (), worker),
                        Case("rules, pinned conversation", url, (f"{KEY.name}: conversation-1",), worker),
                    ]
                    results = await anyio.to_thread.run_sync(partial(alternate, cases, rounds, seconds, connections))
                    return report(results, rounds, seconds, connections) | {
                        "counters_ms": round(await reading_ms(router), 2),
                        "shift_ms": round(await shift_ms(router, routing), 2),
                    }
                finally:
                    await router.shutdown()


async def set_up(router: HaproxyRouter, ports: Sequence[int]) -> Routing:
    """Four agents, as many as the demo has; the measured one is in the middle of an upgrade."""
    generations = tuple(
        GenerationRoute(generation=n, version=f"1.{n}.0", backends=(Backend(instance=f"g{n}-1-0", host="127.0.0.1", port=port),))
        for n, port in enumerate(ports, start=1)
    )
    for name in ("WowCache", "WowDomain", "WowOrchestrator", AGENT):
        routing = Routing(agent=name, conversation_key=KEY, generations=generations, stable=1, candidate=2, share=25.0)
        await router.apply(routing)
    return routing


def alternate(cases: Sequence[Case], rounds: int, seconds: float, connections: int) -> dict[str, list[Round]]:
    results: dict[str, list[Round]] = {case.name: [] for case in cases}
    for case in cases:
        measure(case, 1, connections)
    for number in range(rounds):
        # Each case is first, second and third equally often.
        for case in cases[number % len(cases) :] + cases[: number % len(cases)]:
            results[case.name].append(measure(case, seconds, connections))
    return results


def report(results: dict[str, list[Round]], rounds: int, seconds: float, connections: int) -> dict[str, object]:
    bare = results["bare"]
    print(f"{'':28}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'cpu us/req':>12}{'ratio':>8}")
    ratios = {}
    for name, measured in results.items():
        ratios[name] = statistics.median(m.requests_per_second / b.requests_per_second for m, b in zip(measured, bare, strict=True))
        middle = median(measured)
        print(
            f"{name:28}{middle.requests_per_second:12.0f}{middle.p50_ms:9.2f}{middle.p99_ms:9.2f}{middle.cpu_us:12.2f}{ratios[name]:8.3f}"
        )
    return {
        "method": {"rounds": rounds, "seconds": seconds, "connections": connections, "aim": 0.90},
        "machine": {"processors": psutil.cpu_count(), "system": platform.platform()},
        "ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "median": {name: asdict(median(measured)) for name, measured in results.items()},
        "rounds": {name: [asdict(m) for m in measured] for name, measured in results.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if not (shutil.which("wrk") or shutil.which("hey")):
        raise SystemExit("This benchmark needs wrk or hey on PATH.")
    outcome = anyio.run(run, options.rounds, options.seconds, options.connections)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(outcome, indent=1) + "\n")
    print(f"counters read in {outcome['counters_ms']} ms, share changed in {outcome['shift_ms']} ms; raw numbers in {RESULTS.name}")


if __name__ == "__main__":
    main()
