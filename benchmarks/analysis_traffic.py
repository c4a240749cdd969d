"""Synthetic traffic of two versions, one reading a second, for `analysis.py`: what the judge must not, must and may take back.

Latencies: a log-normal body and 3 % with a Pareto tail of infinite variance, p95 120 ms, on the product's own histogram edges. "Must not" and
"must" are our definitions; whoever wants a common outage to roll back sets `common_cause: rollback`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import erf, log

import numpy as np

from agent_servicing.core.analysis import Arm, Reading
from agent_servicing.core.latency import BUCKETS, EDGES_MS
from agent_servicing.core.metrics import Counts

SECONDS, FAST_SECONDS = 900, 345
"""How long a deployment is watched: below 50 requests/s, and from there on (three stages of 100 s after the warm-up)."""

P95_MS = 120.0
BODY_SIGMA, TAIL_SHARE, TAIL_POWER = 0.5, 0.03, 1.5
STABLE, CANDIDATE = 0, 1

MUST_NOT = ("healthy_0.3", "healthy_1", "host_offset", "outage_both", "outage_long", "clustered", "warmup", "always_4")
MUST = ("errors_8.2", "errors_30", "errors_100", "p95_350", "tail_8pct_2s", "leak", "late_8.2")
GREY = ("blip_3s", "errors_2", "errors_3", "p95_180")

EXTRA_MUST_NOT, EXTRA_MUST = ("slow_agent", "conversations"), ("hung_half", "conversations_8.2")

ONSET = {"leak": 1 / 3, "late_8.2": 1 / 2}
"""Part of a deployment after which a scenario turns bad; before it a rollback is a false one."""

WHAT = {
    "healthy_0.3": "both 0.3 % errors",
    "healthy_1": "both 1 % errors",
    "host_offset": "hosts 5 % apart in latency, drift in common",
    "outage_both": "outage of both: 25 % errors, four times as slow, 60 s and 30 s",
    "outage_long": "the same for 400 s",
    "clustered": "errors in clusters of about 10",
    "warmup": "the new one five times as slow with 5 % errors for 20 s",
    "always_4": "both always 4 % errors",
    "errors_8.2": "8.2 % errors against 0.5 %",
    "errors_30": "30 % errors",
    "errors_100": "everything fails",
    "p95_350": "p95 350 ms against 120 ms",
    "tail_8pct_2s": "8 % of requests take 2 s",
    "leak": "from 300 s errors rise to 30 %",
    "late_8.2": "8.2 % errors from 450 s on",
    "blip_3s": "3 s of 50 % errors, once",
    "errors_2": "2 % errors",
    "errors_3": "3 % errors",
    "p95_180": "p95 180 ms",
    "slow_agent": "answers take 10 to 30 s, so that they lag behind every change of the share",
    "conversations": "running conversations fail and dawdle more, and stable has most of them",
    "hung_half": "half of the new version's requests are never answered",
    "conversations_8.2": "as conversations, and the new version fails 8.2 % of new ones",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Per second: each version's error probability and latency factor; what else is special about it."""

    errors: np.ndarray
    factor: np.ndarray
    cluster: float = 0.0
    tail: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Counts by version and second. `histogram` holds successful requests only; `pinned` the requests of running conversations."""

    share: np.ndarray
    routed: np.ndarray
    answered: np.ndarray
    errors: np.ndarray
    histogram: np.ndarray
    pinned: "Traffic | None" = None

    def readings(self) -> Iterator[Reading]:
        nothing = [Counts()] * len(self.share)
        new = [self.counts(arm) for arm in (STABLE, CANDIDATE)]
        pinned = [self.pinned.counts(arm) for arm in (STABLE, CANDIDATE)] if self.pinned else [nothing, nothing]
        for second, share in enumerate(self.share.tolist()):
            stable, candidate = (Arm(new=new[arm][second], pinned=pinned[arm][second]) for arm in (STABLE, CANDIDATE))
            yield Reading(seconds=1.0, share=share, stable=stable, candidate=candidate)

    def counts(self, arm: int) -> list[Counts]:
        columns = (x[arm].tolist() for x in (self.routed, self.answered, self.errors, self.histogram))
        return [Counts(routed=r, answered=n, errors=e, histogram=tuple(h)) for r, n, e, h in zip(*columns, strict=True)]


def profile(name: str, seconds: int = SECONDS) -> np.ndarray:
    """Percent of the traffic that the candidate gets, by second."""
    share = np.full(seconds, 10.0 if name == "canary" else 25.0)
    if name == "25":
        share[:120] = 0.0  # the stable version alone: its latencies are known when the candidate comes
    if name in ("bg", "bg50"):
        share[seconds // 3 :] = 50.0
        if name == "bg":
            share[2 * seconds // 3 :] = 90.0
    return share


_BOTH = {"healthy_0.3": 0.003, "healthy_1": 0.01, "always_4": 0.04}
_CANDIDATE = {"errors_2": 0.02, "errors_3": 0.03, "errors_8.2": 0.082, "errors_30": 0.3, "errors_100": 1.0}
_SLOWER = {"p95_180": 180.0, "p95_350": 350.0}
_OUTAGES = {"outage_both": ((2 / 9, 2.6 / 9), (6.5 / 9, 6.8 / 9)), "outage_long": ((2.5 / 9, 6.5 / 9),)}


def scenario(name: str, rng: np.random.Generator, seconds: int = SECONDS) -> World:
    errors, factor = np.full((2, seconds), 0.005), np.ones((2, seconds))
    cluster, tail = 10.0 if name == "clustered" else 0.0, (0.08, 2000.0) if name == "tail_8pct_2s" else (0.0, 0.0)
    errors[:] = _BOTH.get(name, 0.005)
    errors[CANDIDATE] = _CANDIDATE.get(name, errors[CANDIDATE, 0])
    factor[CANDIDATE] *= _SLOWER.get(name, P95_MS) / P95_MS
    for start, end in _OUTAGES.get(name, ()):
        errors[:, round(start * seconds) : round(end * seconds)], factor[:, round(start * seconds) : round(end * seconds)] = 0.25, 4.0
    _unfold(name, errors, factor, rng)
    return World(errors=errors, factor=factor, cluster=cluster, tail=tail)


def _unfold(name: str, errors: np.ndarray, factor: np.ndarray, rng: np.random.Generator) -> None:
    """The scenarios in which something happens in time."""
    seconds = errors.shape[1]
    if name == "host_offset":
        factor[CANDIDATE] *= np.exp(0.05 * rng.standard_normal())
        factor *= np.exp(drift(rng, 0.03, seconds))
    elif name == "warmup":
        factor[CANDIDATE, :20], errors[CANDIDATE, :20] = 5.0, 0.05
    elif name == "leak":
        errors[CANDIDATE] += 0.295 * np.clip(1.5 * np.arange(seconds) / seconds - 0.5, 0, 1)
    elif name == "late_8.2":
        errors[CANDIDATE, seconds // 2 :] = 0.082
    elif name == "blip_3s":
        errors[CANDIDATE, 2 * seconds // 9 : 2 * seconds // 9 + 3] = 0.5


def drift(rng: np.random.Generator, sigma: float, seconds: int = SECONDS) -> np.ndarray:
    """A slow random walk that returns to zero; the same for both versions."""
    steps, level = sigma * rng.standard_normal(seconds), np.zeros(seconds)
    for second in range(1, seconds):
        level[second] = 0.98 * level[second - 1] + steps[second]
    return level


def traffic(world: World, rate: float, share: np.ndarray, rng: np.random.Generator) -> Traffic:
    requests = rng.poisson(rate, len(share))
    candidate = rng.binomial(requests, share / 100)
    return answers(world, np.stack([requests - candidate, candidate]), share, rng)


def special(name: str, rate: float, share: np.ndarray, rng: np.random.Generator) -> Traffic:
    """What needs more than one kind of requests, or answers that lag."""
    seconds = len(share)
    plain = scenario("healthy_0.3", rng, seconds)
    if name == "slow_agent":
        routed = traffic(plain, rate, share, rng).routed
        return replace(answers(plain, _later(routed, rng), share, rng), routed=routed)
    if name == "hung_half":
        routed = traffic(plain, rate, share, rng).routed
        answered = routed.copy()
        answered[CANDIDATE] = rng.binomial(routed[CANDIDATE], 0.5)
        return replace(answers(plain, answered, share, rng), routed=routed)
    if name == "conversations_8.2":
        plain = scenario("errors_8.2", rng, seconds)
    pinned = World(errors=np.full((2, seconds), 0.04), factor=np.full((2, seconds), 1.15))
    # Conversations stay with the version that they began with, so that the candidate has none at first.
    running = share / 100 * np.linspace(0, 1, seconds)
    requests = rng.poisson(rate * 0.7, seconds)
    candidate = rng.binomial(requests, running)
    old = answers(pinned, np.stack([requests - candidate, candidate]), share, rng)
    return replace(traffic(plain, rate * 0.3, share, rng), pinned=old)


def _later(routed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each request is answered 10 to 30 s after it was routed; whatever is open at the end stays open."""
    seconds = routed.shape[1]
    answered = np.zeros((2, seconds + 31), routed.dtype)
    for arm in (STABLE, CANDIDATE):
        for second in range(seconds):
            answered[arm, second + 10 : second + 31] += rng.multinomial(routed[arm, second], [1 / 21] * 21)
    # Stable has been serving for long: what was routed before the deployment is answered now.
    answered[STABLE, :20] += routed[STABLE, seconds - 20 :]
    return answered[:, :seconds]


def answers(world: World, answered: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> Traffic:
    """Outcomes and latencies of so many answers."""
    seconds = len(share)
    probability = world.errors[:, :seconds]
    if world.cluster:
        starts = rng.poisson(answered * probability / world.cluster)
        errors = np.zeros_like(answered)
        for arm, second in zip(*np.nonzero(starts), strict=True):
            errors[arm, second] = rng.geometric(1 / world.cluster, starts[arm, second]).sum()
        answered = np.maximum(answered, errors)  # the client's repetitions are requests, too
    else:
        errors = rng.binomial(answered, probability)
    histogram = np.zeros((2, seconds, BUCKETS), np.int64)
    for arm in (STABLE, CANDIDATE):
        shape = _probabilities(world.factor[arm, :seconds])
        if world.tail[0] and arm == CANDIDATE:
            shape *= 1 - world.tail[0]
            shape[:, int(np.searchsorted(EDGES_MS, world.tail[1]))] += world.tail[0]
        used = np.flatnonzero(shape.max(axis=0) > 1e-12)
        part = shape[:, used]
        histogram[arm][:, used] = rng.multinomial((answered - errors)[arm], part / part.sum(axis=1, keepdims=True))
    return Traffic(share=share, routed=answered, answered=answered, errors=errors, histogram=histogram)


def random_deployment(rng: np.random.Generator) -> tuple[Traffic, float, int | None]:
    """Every parameter drawn: traffic, rate, and the second from which the candidate is bad (None: it is not).

    Healthy and bad ones share the same nuisances. The share never leaves less than 10 % to stable, 50 % below 5 requests/s, as the product does.
    """
    rate = float(np.exp(rng.uniform(log(2), log(1000))))
    errors = np.full((2, SECONDS), np.exp(rng.uniform(log(0.0005), log(0.015))))
    factor = np.full((2, SECONDS), rng.uniform(0.4, 1.05))
    factor[CANDIDATE] *= np.exp(0.04 * rng.standard_normal())
    factor *= np.exp(drift(rng, rng.uniform(0, 0.03)))
    warm = int(rng.integers(0, 40))
    factor[CANDIDATE, :warm] *= rng.uniform(1, 6)
    errors[CANDIDATE, :warm] += rng.uniform(0, 0.08)
    if rng.random() < 0.3:
        start, length = int(rng.integers(60, 800)), int(rng.integers(20, 400))
        errors[:, start : start + length] += rng.uniform(0.03, 0.6)
        factor[:, start : start + length] *= rng.uniform(1, 6)
    onset, tail = None, (0.0, 0.0)
    if rng.random() < 0.5:
        onset = 0 if rng.random() < 0.6 else int(rng.integers(50, 450))
        kind = rng.choice(("errors", "latency", "tail", "leak"))
        if kind == "errors":
            errors[CANDIDATE, onset:] += np.exp(rng.uniform(log(0.06), log(0.9)))
        elif kind == "latency":
            factor[CANDIDATE, onset:] *= np.exp(rng.uniform(log(3.0), log(12.0)))
        elif kind == "tail":
            onset, tail = 0, (rng.uniform(0.07, 0.25), rng.uniform(600, 8000))
        else:
            ramp = np.clip((np.arange(SECONDS) - onset) / (SECONDS - onset), 0, 1)
            errors[CANDIDATE] += rng.uniform(0.15, 0.6) * ramp
    cluster = float(rng.uniform(2, 10)) if onset is None and rng.random() < 0.2 else 0.0
    world = World(errors=np.clip(errors, 0, 1), factor=factor, cluster=cluster, tail=tail)
    return traffic(world, rate, profile("bg" if rate >= 5 else "bg50"), rng), rate, onset


def _cumulative(ms: np.ndarray, middle: float) -> np.ndarray:
    body = np.array([0.5 * (1 + erf(log(x / middle) / BODY_SIGMA / 2**0.5)) for x in ms])
    tail = np.where(ms > 2 * middle, 1 - (np.maximum(ms, 1e-9) / (2 * middle)) ** -TAIL_POWER, 0.0)
    return (1 - TAIL_SHARE) * body + TAIL_SHARE * tail


def _middle() -> float:
    """The body's median that puts the 95th percentile at `P95_MS`."""
    low, high = 1.0, P95_MS
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _cumulative(np.array([P95_MS]), middle)[0] < 0.95 else (middle, high)
    return low


_GRID = np.linspace(log(0.01), log(1e7), 6000)
_CURVE = _cumulative(np.exp(_GRID), _middle())
_LOG_EDGES = np.log(EDGES_MS)


def _probabilities(factor: np.ndarray) -> np.ndarray:
    """Of each bucket, for each second's latency factor."""
    below = np.interp((_LOG_EDGES[None, :] - np.log(factor)[:, None]).ravel(), _GRID, _CURVE).reshape(len(factor), -1)
    return np.clip(np.diff(below, axis=1, prepend=0.0, append=1.0), 0.0, None)
