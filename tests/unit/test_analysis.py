"""The judge: limits on counts, with a minimum sample; exact where it computes, silent where it knows nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.core import latency
from agent_servicing.core.analysis import Policy, Sample, binomial_tail, judge
from agent_servicing.core.metrics import Counters, Counts, GenerationCounters
from agent_servicing.core.status import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_sample(answered: int, errors: int = 0, *, latency_ms: float = 10.0, second: int = 0) -> Sample:
    bucket = next(i for i, edge in enumerate(latency.EDGES_MS) if latency_ms <= edge)
    histogram = tuple(answered - errors if i == bucket else 0 for i in range(latency.BUCKETS))
    counts = Counts(routed=answered, answered=answered, errors=errors, histogram=histogram)
    return Sample(at=NOW + timedelta(seconds=second), seconds=1.0, candidate=counts, stable=Counts())


@pytest.mark.parametrize(
    ("answered", "errors", "verdict"),
    [
        (0, 0, Verdict.NO_DATA),
        (10, 0, Verdict.INCONCLUSIVE),
        (10, 10, Verdict.INCONCLUSIVE),
        (49, 0, Verdict.INCONCLUSIVE),
        (50, 0, Verdict.PASSING),
        (50, 3, Verdict.PASSING),
        (100, 12, Verdict.FAILING),
        (20, 8, Verdict.FAILING),
        (1000, 50, Verdict.PASSING),
        (1000, 82, Verdict.FAILING),
    ],
)
def test_the_verdict_on_a_window(answered: int, errors: int, verdict: Verdict) -> None:
    assert judge([a_sample(answered, errors)], Policy()).verdict is verdict


def test_a_failing_verdict_names_value_limit_sample_and_window() -> None:
    judgement = judge([a_sample(50, 10, second=n) for n in range(4)], Policy())
    assert (judgement.metric, judgement.value, judgement.threshold) == ("error_rate", 20.0, 5.0)
    assert (judgement.requests, judgement.window_seconds) == (200, 4.0)
    assert judgement.sentence == "Error rate threshold exceeded (20.0% > 5%)"


def test_latency_is_judged_by_its_quantile_of_successful_requests() -> None:
    policy = Policy(latency_threshold_ms=300)
    assert judge([a_sample(100, latency_ms=450)], policy).metric == "latency_ms"
    assert judge([a_sample(100, latency_ms=300)], policy).verdict is Verdict.PASSING
    tail = [a_sample(96, latency_ms=50), a_sample(4, latency_ms=900)]
    assert judge(tail, policy).verdict is Verdict.PASSING


def test_old_samples_leave_the_window() -> None:
    bad, good = [a_sample(100, 50)] * 10, [a_sample(100)] * 60
    assert judge(bad + good, Policy(window_seconds=60)).verdict is Verdict.PASSING


def test_without_automatic_rollback_nothing_is_failing() -> None:
    assert judge([a_sample(100, 100)], Policy(enabled=False)).verdict is not Verdict.FAILING


def test_what_is_missing_is_said_with_the_time_it_will_take() -> None:
    assert judge([a_sample(2, second=n) for n in range(10)], Policy()).sentence == "30 more requests needed, about 15 s at this rate"


@settings(max_examples=200)
@given(n=st.integers(1, 120), k=st.integers(0, 120), p=st.floats(0.001, 0.999))
def test_the_binomial_tail_agrees_with_exact_fractions(n: int, k: int, p: float) -> None:
    exact = Fraction(p)
    tail = sum(comb(n, i) * exact**i * (1 - exact) ** (n - i) for i in range(k, n + 1))
    assert binomial_tail(k, n, p) == pytest.approx(float(tail), rel=1e-8, abs=1e-12)


@given(st.lists(st.integers(0, 50), min_size=latency.BUCKETS, max_size=latency.BUCKETS), st.floats(0.5, 0.999))
def test_a_quantile_holds_as_many_answers_as_it_says(histogram: list[int], q: float) -> None:
    value = latency.quantile_ms(histogram, q)
    if value is None:
        assert sum(histogram) == 0
        return
    within = sum(count for edge, count in zip(latency.EDGES_MS, histogram, strict=False) if edge <= value)
    assert within >= q * sum(histogram) - 1e-6 or value == latency.EDGES_MS[-1]


def test_limits_an_operator_names_are_edges_of_the_histogram() -> None:
    for limit in (1, 2, 5, 10, 25, 50, 100, 150, 200, 250, 300, 400, 500, 750, 800, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000):
        assert limit in latency.EDGES_MS
    steps = [b / a for a, b in zip(latency.EDGES_MS, latency.EDGES_MS[1:], strict=False)]
    assert max(steps) < 1.2


def test_counters_that_were_reset_lose_nothing_and_count_nothing_twice() -> None:
    before = Counters(at=NOW, generations={1: GenerationCounters(new=Counts(routed=100, answered=100, errors=5))}, unserved=3)
    after = replace(before, generations={1: GenerationCounters(new=Counts(routed=7, answered=6, errors=1))}, unserved=1)
    delta = after.since(before)
    assert delta.generation(1).new == Counts(routed=7, answered=6, errors=1)
    assert delta.unserved == 1
