"""What the benchmarks share: a real server with echo agents, a load in a process of its own, percentiles, and results as JSON."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.harness import Server, a_server  # noqa: E402  (the folder of the tests is no package of ours)

RESULTS = ROOT / "benchmarks" / "results"


@contextmanager
def a_scratch_server(**environ: str) -> Iterator[Server]:
    """A server in a temporary folder on free ports; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="servicing-bench-") as folder, a_server(Path(folder), **environ) as server:
        yield server


class LoadProcess:
    """Requests at a steady rate to one agent, in a process of its own, until `end`, which returns the counts."""

    def __init__(self, router_url: str, agent: str, *, rate: float, seconds: float) -> None:
        words = [sys.executable, str(ROOT / "benchmarks" / "load.py"), router_url, agent, str(rate), str(seconds)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self) -> dict[str, Any]:
        out, _ = self._process.communicate("stop\n", timeout=120)
        counts: dict[str, Any] = json.loads(out)
        return counts


def percentile(values: Sequence[float], q: float) -> float:
    """The nearest-rank percentile; no interpolation, so that every figure was really measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(q * len(ordered) + 0.5) - 1))]


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "runs": len(values),
        "min": round(min(values), 4),
        "p50": round(percentile(values, 0.5), 4),
        "p95": round(percentile(values, 0.95), 4),
        "max": round(max(values), 4),
    }


def report(name: str, figures: dict[str, Any]) -> None:
    """Print the figures and keep them, with what machine they are from, under benchmarks/results."""
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"benchmark": name, "on": machine, **figures}, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
