"""From the outcomes of simulated deployments to rates, bounds and tables, for `analysis.py`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from scipy.stats import beta

from benchmarks import analysis_traffic as sim
from benchmarks.analysis_deployments import RATES, Outcome
from benchmarks.analysis_rivals import RIVALS

JUDGE = "the judge"


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
            row["median_seconds"], row["p95_seconds"] = int(median(failed)), percentile(failed, 0.95)
        passed = [o.passing for o in group if o.passing is not None]
        row["passed"] = len(passed)
        row["median_passing_seconds"] = int(median(passed)) if passed else None
        rows.append(row)
    return rows


def accuracy(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """For each rule: precision, recall and accuracy in percent over the deployments that every rule saw."""
    seen = [o for o in outcomes if o.rivals]
    rows = {JUDGE: scores([(o.failing, o.onset) for o in outcomes])}
    if len(seen) < len(outcomes):
        rows[f"{JUDGE}, the rivals' deployments"] = scores([(o.failing, o.onset) for o in seen])
    return rows | {name: scores([(o.rivals[name], o.onset) for o in seen]) for name in RIVALS}


def scores(pairs: Sequence[tuple[int | None, int | None]]) -> dict[str, float]:
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


def targets(report: dict[str, Any], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def target(name: str, wanted: str, measured: str, met: bool) -> None:
        rows.append({"target": name, "wanted": wanted, "measured": measured, "met": met})

    worst = max((c for c in report["cells"] if c["scenario"] in sim.MUST_NOT), key=lambda c: c["upper_bound_percent"])
    text = f"{worst['upper_bound_percent']} % ({worst['rolled_back']} of {worst['runs']}, {worst['scenario']}, {worst['requests_per_second']}/s)"
    target("false rollbacks, worst must-not cell, 95 % upper bound", "<= 1 %", text, worst["upper_bound_percent"] <= 1)
    good = [c for c in report["cells"] if c["scenario"] in sim.MUST_NOT]
    back, runs = sum(c["rolled_back"] for c in good), sum(c["runs"] for c in good)
    target(
        "the same, all must-not cells together",
        "<= 1 %",
        f"{upper_bound(back, runs):.2f} % ({back} of {runs})",
        upper_bound(back, runs) <= 1,
    )
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
    text = f"{micro['median']} µs (best pass {micro['least']}), p95 {micro['p95']}"
    target("one observe and verdict at 50/s, processor time", "<= 100 µs median", text, micro["median"] <= 100)
    text = f"{same['identical']} of {same['deployments']} deployments, {same['block_ends_compared']} block ends"
    target("replay identical, through JSON", "all", text, same["identical"] == same["deployments"])
    return rows


def needs(outcomes: Iterable[Outcome]) -> dict[str, dict[str, float]]:
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
            "p95": percentile(requests, 0.95),
        }
    return rows


def percentile(values: Sequence[float], q: float) -> float:
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
