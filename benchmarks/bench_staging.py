"""Measures staging: how long a verdict takes, and how often the comparison of two versions is wrong.

`--simulated` (many repetitions of the statistics on drawn latencies) and `--real` (a server, two versions of an agent, whole runs); without
either, both. Prints a table and writes `results/staging.json`.
"""

import argparse
import json
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent_servicing.core.staging.compare import PAIRS_MAX, Pairs, compare  # noqa: E402  (after the path)
from tests.e2e.harness import Server, a_server, wait_for  # noqa: E402  (after the path)

RESULT = Path(__file__).with_name("results") / "staging.json"

Draw = Callable[[np.random.Generator, int], Any]
SHAPES: dict[str, Draw] = {
    "narrow (log-normal, sigma 0.2)": lambda random, n: 5 * np.exp(random.normal(0, 0.2, n)),
    "wide (log-normal, sigma 0.5)": lambda random, n: 5 * np.exp(random.normal(0, 0.5, n)),
    "gamma, shape 4": lambda random, n: random.gamma(4, 1.25, n),
    "5 % ten times slower": lambda random, n: 5 * np.exp(random.normal(0, 0.2, n)) * np.where(random.random(n) < 0.05, 10, 1),
    "two speeds, half each": lambda random, n: np.where(random.random(n) < 0.5, 3, 9) * np.exp(random.normal(0, 0.15, n)),
}

PROGRAM = textwrap.dedent("""
    import asyncio, hashlib, json, os
    FACTOR = json.load(open(os.path.join(os.path.dirname(__file__), "factor.json")))

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        await receive()
        if scope["path"] != "/healthz":
            await asyncio.sleep(0.003 * FACTOR)
            value = b"x"
            for _ in range(int(3000 * FACTOR)):
                value = hashlib.sha256(value).digest()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})
""")

MANIFEST = """
[agent]
id = "Bench"
[source]
path = "{source}"
[run]
command = ["{python}", "-m", "uvicorn", "program:app", "--host", "{{host}}", "--port", "{{port}}", "--log-level", "error", "--no-access-log"]
instances = 1
[health]
path = "/healthz"
interval_seconds = 0.5
[tests]
smoke = ["{python}", "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()", "{{url}}"]
[[tests.requests]]
path = "/work"
"""


def simulated(repetitions: int) -> dict[str, Any]:
    """For each shape of latencies: how many of the comparisons failed, passed and stayed open, without a change and 20 % slower."""
    random, found = np.random.default_rng(20260102), {}
    for name, draw in SHAPES.items():
        found[name] = {str(slower): _counted(random, draw, slower, repetitions) for slower in (1.0, 1.2)}
        print(f"{name:32} no change {found[name]['1.0']}  20 % slower {found[name]['1.2']}", flush=True)
    return found


def _counted(random: np.random.Generator, draw: Draw, slower: float, repetitions: int) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for _ in range(repetitions):
        old, new = draw(random, PAIRS_MAX).tolist(), (slower * draw(random, PAIRS_MAX)).tolist()
        pairs = Pairs(name="GET /", pairs=tuple(zip(old, new, strict=True)), sent=PAIRS_MAX)
        counts[compare([pairs], old="1.0.0", new="1.1.0", tolerance_percent=10)[0].status.value] += 1
    return dict(counts)


def real(repetitions: int) -> dict[str, Any]:
    """Whole runs (smoke, performance, load) of a version without a change and of one that is 20 % slower."""
    with tempfile.TemporaryDirectory() as folder, a_server(Path(folder)) as server:
        source = Path(folder) / "source"
        for version, factor in (("1.0.0", 1.0), ("1.1.0", 1.0), ("1.2.0", 1.2)):
            (source / version).mkdir(parents=True)
            (source / version / "program.py").write_text(PROGRAM)
            (source / version / "factor.json").write_text(json.dumps(factor))
        manifest = MANIFEST.format(source=source, python=sys.executable)
        added = server.post("/agents", {"manifest": manifest, "version": "1.0.0"}, expect=201)
        assert server.outcome(added["upgrade_id"], agent="Bench")["status"] == "completed"
        whole = [_run(server, "1.1.0", ["smoke", "performance", "load"]) for _ in range(max(1, repetitions // 4))]
        same = [_run(server, "1.1.0", ["performance"]) for _ in range(repetitions)]
        slower = [_run(server, "1.2.0", ["performance"]) for _ in range(repetitions)]
    return {"smoke + performance + load": whole, "no change": same, "20 % slower": slower}


def _run(server: Server, version: str, suites: list[str]) -> dict[str, Any]:
    began = time.monotonic()
    name = server.post("/agents/Bench/staging", {"version": version, "suites": suites})["run_id"]

    def ended() -> dict[str, Any] | None:
        view: dict[str, Any] = server.get(f"/agents/Bench/staging/{name}")
        return view if view["status"] in ("completed", "failed") else None

    view = wait_for(name, ended, seconds=300)
    overall = (view["comparison"] or {}).get("overall") or {}
    found = {
        "seconds": round(time.monotonic() - began, 1),
        "recommendation": view["recommendation"],
        "performance": next((suite["status"] for suite in view["suites"] if suite["suite"] == "performance"), None),
        "ratio": round(overall.get("ratio", 0), 3),
        "knee_rps": (view["load"] or {}).get("knee_rps"),
    }
    print(version, found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--repetitions", type=int, default=1000, help="simulated comparisons of each kind")
    parser.add_argument("--runs", type=int, default=20, help="real comparisons of each kind")
    given = parser.parse_args()
    both = not given.simulated and not given.real
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if given.simulated or both:
        found["simulated"] = {"repetitions": given.repetitions, "of": simulated(given.repetitions)}
    if given.real or both:
        found["real"] = real(given.runs)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
