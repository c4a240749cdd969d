"""The judge on simulated deployments, beside other rules on the same traffic; every target of its design, met or not.

    python benchmarks/analysis.py --runs 300 --processes 2

The default (100 runs for each cell) takes under ten minutes on one core; a cell without a false rollback is bounded by 1 % from 300 runs on.
The judge is the product's own; the rivals are re-implementations of their rules (`analysis_rivals.py`), not the products.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent_servicing.core.analysis import Block, Evidence, begin, observe, replay, verdict  # noqa: E402 (the folder of the benchmarks is put on the path first)
from benchmarks import analysis_traffic as sim  # noqa: E402 (the folder of the benchmarks is put on the path first)
from benchmarks.analysis_deployments import POLICY, WARM_UP_SECONDS, Outcome, run, tasks  # noqa: E402 (the folder of the benchmarks is put on the path first)
from benchmarks.analysis_report import accuracy, by_rate, cells, correct, needs, percentile, scores, table, targets  # noqa: E402 (the folder of the benchmarks is put on the path first)


def update_microseconds(passes: int = 9) -> dict[str, float]:
    """One `observe` and one `verdict` on a reading of one second at 50 requests/s, in processor time, for the machine is shared.

    Each pass has traffic of its own, so that nothing is remembered from the one before; the median of each, and of these the least and
    the median.
    """
    medians: list[float] = []
    slow: list[float] = []
    for seed in range(passes):
        rng = np.random.default_rng(7 + seed)
        readings = list(sim.traffic(sim.scenario("healthy_0.3", rng), 50, sim.profile("bg"), rng).readings())
        evidence, spent = begin(POLICY, WARM_UP_SECONDS), []
        for reading in readings:
            start = time.thread_time()
            evidence, _ = observe(evidence, reading, POLICY)
            verdict(evidence, POLICY)
            spent.append(1e6 * (time.thread_time() - start))
        medians.append(median(spent))
        slow.append(percentile(spent, 0.95))
    return {"least": round(min(medians), 1), "median": round(median(medians), 1), "p95": round(median(slow), 1)}


def replayed(deployments: int) -> dict[str, int]:
    """How many deployments give the same evidence again from their stored blocks, through JSON, at every block's end."""
    blocks_as_json, evidence_as_json = TypeAdapter(tuple[Block, ...]), TypeAdapter(Evidence)
    same = ends = 0
    for seed in range(deployments):
        rng = np.random.default_rng([seed, 99])
        traffic, _, _ = sim.random_deployment(rng)
        live, blocks, snapshots = begin(POLICY, WARM_UP_SECONDS), [], []
        for reading in traffic.readings():
            live, block = observe(live, reading, POLICY)
            if block is not None:
                blocks.append(block)
                snapshots.append(replace(live, open=None))
        stored = blocks_as_json.validate_json(blocks_as_json.dump_json(tuple(blocks)))
        picked = range(len(stored) // 5, len(stored), max(1, len(stored) // 5))
        equal = all(replay(stored[: i + 1], POLICY, WARM_UP_SECONDS) == snapshots[i] for i in picked)
        equal &= evidence_as_json.validate_json(evidence_as_json.dump_json(live)) == live
        same, ends = same + equal, ends + len(picked)
    return {"deployments": deployments, "identical": same, "block_ends_compared": ends}


def measure(runs: int, processes: int, minutes: float) -> dict[str, Any]:
    start = time.perf_counter()
    report: dict[str, Any] = {"benchmark": "analysis", "runs": runs, "update_microseconds": update_microseconds(), "replay": replayed(20)}
    print(json.dumps(report), flush=True)
    outcomes: list[Outcome] = []
    todo = tasks(runs)
    with Pool(processes) as pool:
        for outcome in pool.imap(run, todo, chunksize=8):
            outcomes.append(outcome)
            if time.perf_counter() - start > 60 * minutes:
                break
        pool.terminate()
    report["deployments_planned"] = len(todo)
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.task.kind].append(outcome)
    report["cells"] = cells(kinds["cell"])
    report["extra"] = cells(kinds["extra"])
    report["random"] = accuracy(kinds["random"])
    report["needs"] = needs(kinds["needs"])
    report["by_rate"] = by_rate(kinds["cell"])
    report["profiles"] = {k: scores([(o.failing, o.onset) for o in v]) for k, v in kinds.items() if k.startswith("profile")}
    report["false_rollbacks"] = [
        {"kind": o.task.kind, "scenario": o.task.scenario, "rate": o.task.rate, "seed": o.task.seed, "second": o.failing, "rule": o.rule}
        for o in outcomes
        if o.failing is not None and not correct(o.failing, o.onset) and o.task.scenario not in sim.GREY
    ]
    report["targets"] = targets(report, outcomes)
    report["deployments"], report["seconds"] = len(outcomes), round(time.perf_counter() - start)
    report["on"] = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "processes": processes}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="deployments for each must-not cell; the other counts follow from it")
    parser.add_argument("--quick", action="store_true", help="6 runs for each cell, to see that it works; nothing is kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after so long and report what was done until then")
    options = parser.parse_args()
    report = measure(6 if options.quick else options.runs, options.processes, options.minutes)
    if not options.quick:
        results = ROOT / "benchmarks" / "results"
        results.mkdir(parents=True, exist_ok=True)
        (results / "analysis.json").write_text(json.dumps(report, indent=1) + "\n")
    print(table(report["cells"]), end="\n\n")
    print(table(report["extra"]), end="\n\n")
    print(table([{"rule": name, **scores} for name, scores in report["random"].items()]), end="\n\n")
    for name, rates in report["by_rate"].items():
        print(name, json.dumps(rates))
    print(json.dumps(report["profiles"]))
    print(json.dumps(report["false_rollbacks"]), end="\n\n")
    print(table(report["targets"]))
    print(f"{report['deployments']} deployments in {report['seconds']} s")


if __name__ == "__main__":
    main()
