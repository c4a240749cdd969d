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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pool
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from scipy.stats import beta

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agent_servicing.core.analysis import Block, Evidence, Policy, begin, observe, replay, verdict  # noqa: E402
from agent_servicing.core.status import Verdict  # noqa: E402
from benchmarks import analysis_traffic as sim  # noqa: E402
from benchmarks.analysis_rivals import RIVALS  # noqa: E402

POLICY = Policy(error_rate_threshold=5.0, latency_threshold_ms=300.0)
WARM_UP_SECONDS = 45.0
RATES = (2, 5, 50, 1000)
JUDGE = "the judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One deployment: what runs, how often a second, how the traffic moves. `rivals` are asked too when set."""

    kind: str
    scenario: str
    rate: float
    profile: str
    seed: int
    seconds: int = sim.SECONDS
    warmup_seconds: float = WARM_UP_SECONDS
    rivals: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Seconds of the first failing and of the first and last passing verdict; `requests` of the candidate until failing."""

    task: Task
    failing: int | None
    rule: str
    requests: int
    passing: int | None
    last_passing: int | None
    onset: int | None
    rivals: dict[str, int | None]


def profile_of(rate: float) -> str:
    """What the product does: a live control of a tenth, of half below 5 requests/s."""
    return "bg" if rate >= 5 else "bg50"


def seconds_of(scenario: str, rate: float) -> int:
    return sim.FAST_SECONDS if rate >= 50 and scenario != "outage_long" else sim.SECONDS


def run(task: Task) -> Outcome:
    rng = np.random.default_rng([task.seed, sum(map(ord, task.scenario)), int(task.rate)])
    share, policy = sim.profile(task.profile, task.seconds), POLICY
    onset = round(sim.ONSET.get(task.scenario, 0) * task.seconds) if task.scenario in (*sim.MUST, *sim.EXTRA_MUST) else None
    if task.scenario == "random":
        traffic, _, onset = sim.random_deployment(rng)
    elif task.kind == "extra":
        traffic = sim.special(task.scenario, task.rate, share, rng)
        policy = replace(POLICY, latency_threshold_ms=None)
    else:
        traffic = sim.traffic(sim.scenario(task.scenario, rng, task.seconds), task.rate, share, rng)
    failing, rule, requests, passing, last = judged(traffic, policy, task.warmup_seconds)
    rivals = {name: decide(traffic) for name, decide in RIVALS.items()} if task.rivals else {}
    return Outcome(task=task, failing=failing, rule=rule, requests=requests, passing=passing, last_passing=last, onset=onset, rivals=rivals)


def judged(traffic: sim.Traffic, policy: Policy, warmup_seconds: float) -> tuple[int | None, str, int, int | None, int | None]:
    evidence, passing, last = begin(policy, warmup_seconds), None, None
    for second, reading in enumerate(traffic.readings(), start=1):
        evidence, block = observe(evidence, reading, policy)
        if block is None:
            continue
        judgement = verdict(evidence, policy)
        if judgement.verdict is Verdict.FAILING:
            requests = evidence.counted.requests or evidence.counted.warm_requests
            return second, judgement.rule, requests, passing, last
        if judgement.verdict is Verdict.PASSING:
            passing, last = passing or second, second
    return None, "", evidence.counted.requests, passing, last


def tasks(runs: int) -> list[Task]:
    few = {"rivals": max(1, runs // 20), "must": max(1, runs // 8), "grey": max(1, runs // 25)}
    found = [task for rate in RATES for task in _cells(runs, rate, few)]
    for rate, profile in ((2, "bg"), (2, "canary"), (50, "canary")):
        for scenario in (*sim.MUST_NOT, *sim.MUST):
            same = {"kind": f"profile {profile} {rate}/s", "scenario": scenario, "rate": rate, "profile": profile}
            found += [Task(**same, seed=10_000 + n, seconds=seconds_of(scenario, rate)) for n in range(few["grey"])]
    found += [
        Task(kind="random", scenario="random", rate=0, profile="", seed=20_000 + n, rivals=n < runs // 2) for n in range(3 * runs // 2)
    ]
    for scenario in ("errors_8.2", "errors_30", "p95_350"):
        same = {"kind": "needs", "scenario": scenario, "rate": 20, "profile": "25", "warmup_seconds": 0.0}
        found += [Task(**same, seed=30_000 + n) for n in range(2 * runs // 3)]
    for scenario in (*sim.EXTRA_MUST_NOT, *sim.EXTRA_MUST):
        for rate in (5, 50):
            same = {"kind": "extra", "scenario": scenario, "rate": rate, "profile": "bg", "seconds": seconds_of(scenario, rate)}
            found += [Task(**same, seed=40_000 + n) for n in range(few["grey"])]
    return _mixed(found)


def _mixed(tasks: Sequence[Task]) -> list[Task]:
    """So ordered that a run cut short has done the same part of everything."""
    groups: dict[tuple[str, str, float], list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.kind, task.scenario, task.rate].append(task)
    placed = [((n + 0.5) / len(group), task) for group in groups.values() for n, task in enumerate(group)]
    return [task for _, task in sorted(placed, key=lambda pair: pair[0])]


def _cells(runs: int, rate: float, few: dict[str, int]) -> Iterator[Task]:
    for scenario in (*sim.MUST_NOT, *sim.MUST, *sim.GREY):
        count = runs if scenario in sim.MUST_NOT else few["must" if scenario in sim.MUST else "grey"]
        same = {"kind": "cell", "scenario": scenario, "rate": rate, "profile": profile_of(rate)}
        for seed in range(count):
            # Some rivals need 300 s by design, so that none of them is compared on less than 900 s.
            compared = seed < few["rivals"]
            yield Task(**same, seed=seed, rivals=compared, seconds=sim.SECONDS if compared else seconds_of(scenario, rate))


def upper_bound(failures: int, runs: int) -> float:
    """95 %, one-sided, exact; in percent."""
    return 100.0 * float(beta.ppf(0.95, failures + 1, runs - failures)) if failures < runs else 100.0


def correct(failing: int | None, onset: int | None) -> bool:
    """Healthy ones are never taken back, bad ones after they have turned bad."""
    return failing is None if onset is None else failing is not None and failing > onset


def cells(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.task.scenario, outcome.task.rate].append(outcome)
    rows = []
    for (scenario, rate), group in sorted(groups.items(), key=lambda item: (_order(item[0][0]), item[0][1])):
        failed = [o.failing for o in group if o.failing is not None]
        row: dict[str, Any] = {"scenario": scenario, "requests_per_second": rate, "profile": group[0].task.profile, "runs": len(group)}
        row["rolled_back"] = len(failed)
        if scenario in (*sim.MUST_NOT, *sim.EXTRA_MUST_NOT):
            row["upper_bound_percent"] = round(upper_bound(len(failed), len(group)), 2)
        elif failed:
            row["median_seconds"], row["p95_seconds"] = int(median(failed)), _percentile(failed, 0.95)
        passed = [o.passing for o in group if o.passing is not None]
        row["passed"] = len(passed)
        row["median_passing_seconds"] = int(median(passed)) if passed else None
        rows.append(row)
    return rows


def accuracy(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """For each rule: precision, recall and accuracy in percent over the deployments that every rule saw."""
    seen = [o for o in outcomes if o.rivals]
    rows = {JUDGE: _scores([(o.failing, o.onset) for o in outcomes])}
    if len(seen) < len(outcomes):
        rows[f"{JUDGE}, the rivals' deployments"] = _scores([(o.failing, o.onset) for o in seen])
    return rows | {name: _scores([(o.rivals[name], o.onset) for o in seen]) for name in RIVALS}


def _scores(pairs: Sequence[tuple[int | None, int | None]]) -> dict[str, float]:
    fired = [(f, o) for f, o in pairs if f is not None]
    true = sum(correct(f, o) for f, o in fired)
    bad = sum(o is not None for _, o in pairs)
    return {
        "deployments": len(pairs),
        "precision": round(100 * true / max(1, len(fired)), 2),
        "recall": round(100 * true / max(1, bad), 2),
        "accuracy": round(100 * sum(correct(f, o) for f, o in pairs) / len(pairs), 2),
    }


def by_rate(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """The scenario cells as every rule saw them: false rollbacks and balanced accuracy, by requests per second."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for rate in sorted({o.task.rate for o in outcomes}):
        seen = [o for o in outcomes if o.task.rate == rate and o.rivals]
        for name in (JUDGE, *RIVALS):
            pairs = [(o.failing if name == JUDGE else o.rivals[name], o) for o in seen]
            good = [f is None for f, o in pairs if o.task.scenario in sim.MUST_NOT]
            bad = [correct(f, o.onset) for f, o in pairs if o.task.scenario in sim.MUST]
            late = [f for f, o in pairs if o.task.scenario == "errors_8.2" and f is not None]
            table.setdefault(name, {})[f"{rate:g}/s"] = {
                "false_rollbacks_percent": round(100 * (1 - sum(good) / max(1, len(good))), 1),
                "detected_percent": round(100 * sum(bad) / max(1, len(bad)), 1),
                "errors_8.2_median_seconds": int(median(late)) if late else -1,
            }
    return table


def update_microseconds(passes: int = 5) -> dict[str, float]:
    """One `observe` and one `verdict` on a reading of one second at 50 requests/s; the best of a few passes, for the machine is shared."""
    rng = np.random.default_rng(7)
    readings = list(sim.traffic(sim.scenario("healthy_0.3", rng), 50, sim.profile("bg"), rng).readings())
    best: list[float] = []
    for _ in range(passes):
        evidence, spent = begin(POLICY, WARM_UP_SECONDS), []
        for reading in readings:
            start = time.perf_counter()
            evidence, _ = observe(evidence, reading, POLICY)
            verdict(evidence, POLICY)
            spent.append(1e6 * (time.perf_counter() - start))
        best = spent if not best else [min(pair) for pair in zip(best, spent, strict=True)]
    return {"median": round(median(best), 1), "p95": round(_percentile(best, 0.95), 1)}


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


def targets(report: dict[str, Any], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def target(name: str, wanted: str, measured: str, met: bool) -> None:
        rows.append({"target": name, "wanted": wanted, "measured": measured, "met": met})

    worst = max((c for c in report["cells"] if c["scenario"] in sim.MUST_NOT), key=lambda c: c["upper_bound_percent"])
    text = f"{worst['upper_bound_percent']} % ({worst['rolled_back']} of {worst['runs']}, {worst['scenario']}, {worst['requests_per_second']}/s)"
    target("false rollbacks, worst must-not cell, 95 % upper bound", "<= 1 %", text, worst["upper_bound_percent"] <= 1)
    held = report["random"][JUDGE]
    text = f"{held['precision']} / {held['recall']} / {held['accuracy']} % of {held['deployments']}"
    target(
        "random deployments: precision / recall / accuracy",
        ">= 99 % each",
        text,
        min(held[k] for k in ("precision", "recall", "accuracy")) >= 99,
    )
    for scenario, most, most95 in (("errors_8.2", 160, 320), ("errors_30", 45, None), ("p95_350", 45, None)):
        need = report["needs"][scenario]
        wanted = f"median <= {most}" + (f", p95 <= {most95}" if most95 else "")
        met = need["median"] <= most and (most95 is None or need["p95"] <= most95)
        target(f"{sim.WHAT[scenario]}, requests at 25/75", wanted, f"{need['median']}, p95 {need['p95']}", met and need["missed"] == 0)
    for rate in RATES:
        group = [o for o in outcomes if o.task.kind == "cell" and o.task.scenario == "errors_100" and o.task.rate == rate]
        requests, seconds = max(o.requests for o in group), max(o.failing or 10**6 for o in group)
        slow = rate <= 5
        target(
            f"everything fails in the warm-up, {rate}/s, worst of {len(group)}",
            "<= 10 requests" if slow else "<= 5 s",
            f"{requests} requests, {seconds} s",
            requests <= 10 if slow else seconds <= 5,
        )
    long = [o for o in outcomes if o.task.kind == "cell" and o.task.scenario == "outage_long"]
    back = sum(o.failing is not None for o in long)
    fast = [o for o in long if o.task.rate >= 50]
    again = sum((o.last_passing or 0) > 650 for o in fast)
    text = f"{back} of {len(long)}; passing again within 250 s after it: {again} of {len(fast)} at >= 50/s"
    target("long outage of both (400 s)", "0 rollbacks in 1 000, resumes by itself", text, back == 0 and again == len(fast))
    micro, same = report["update_microseconds"], report["replay"]
    target("one observe and verdict at 50/s", "<= 100 µs median", f"{micro['median']} µs, p95 {micro['p95']}", micro["median"] <= 100)
    text = f"{same['identical']} of {same['deployments']} deployments, {same['block_ends_compared']} block ends"
    target("replay identical, through JSON", "all", text, same["identical"] == same["deployments"])
    return rows


def _needs(outcomes: Iterable[Outcome]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.task.scenario].append(outcome)
    rows = {}
    for scenario, group in groups.items():
        requests = [o.requests for o in group if o.failing is not None]
        rows[scenario] = {
            "runs": len(group),
            "missed": len(group) - len(requests),
            "median": int(median(requests)),
            "p95": _percentile(requests, 0.95),
        }
    return rows


def _percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank, so that every figure was really measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(q * len(ordered) + 0.5) - 1))]


def _order(scenario: str) -> int:
    return (*sim.MUST_NOT, *sim.MUST, *sim.GREY, *sim.EXTRA_MUST_NOT, *sim.EXTRA_MUST).index(scenario)


def table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_shown(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "-" if value is None else ("yes" if value else "no") if isinstance(value, bool) else str(value)


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
    report["needs"] = _needs(kinds["needs"])
    report["by_rate"] = by_rate(kinds["cell"])
    report["profiles"] = {k: _scores([(o.failing, o.onset) for o in v]) for k, v in kinds.items() if k.startswith("profile")}
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
