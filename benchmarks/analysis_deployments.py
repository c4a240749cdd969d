"""One simulated deployment judged, and the list of all of them, for `analysis.py`."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent_servicing.core.analysis import Policy, begin, observe, verdict
from agent_servicing.core.status import Verdict
from benchmarks import analysis_traffic as sim
from benchmarks.analysis_rivals import RIVALS

POLICY = Policy(error_rate_threshold=5.0, latency_threshold_ms=300.0)
WARM_UP_SECONDS = 45.0
RATES = (2, 5, 50, 1000)


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
