"""The statistics of staging: SciPy agrees with the arithmetic, and seeded traffic shows how often the comparison is wrong."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from agent_servicing.core.staging.compare import PAIRS_MAX, Pairs, compare, hodges_lehmann, more_errors, more_often
from agent_servicing.core.staging.load import judge, knee, ramp
from agent_servicing.core.staging.model import CaseStatus, LoadReport, LoadStep, SuiteResult
from agent_servicing.core.staging.recall import mismatch

PASSED, FAILED, INCONCLUSIVE, SKIPPED = CaseStatus.PASSED, CaseStatus.FAILED, CaseStatus.INCONCLUSIVE, CaseStatus.SKIPPED


def pairs(old: Sequence[float], new: Sequence[float], name: str = "GET /", *, errors: tuple[int, int] = (0, 0)) -> Pairs:
    return Pairs(
        name=name,
        pairs=tuple(zip(old, new, strict=True)),
        sent=len(old) + max(errors),
        old_errors=errors[0],
        new_errors=errors[1],
    )


def drawn(seed: int, n: int = PAIRS_MAX, slower: float = 1.0) -> tuple[list[float], list[float]]:
    """Log-normal latencies around 5 ms, as wide as those of a busy machine; the pairs share nothing, which is the worst case."""
    random = np.random.default_rng(seed)
    return (5 * np.exp(random.normal(0, 0.5, n))).tolist(), (5 * slower * np.exp(random.normal(0, 0.5, n))).tolist()


def verdict(*measured: Pairs) -> SuiteResult:
    return compare(measured, old="1.0.0", new="1.1.0", tolerance_percent=10)[0]


@pytest.mark.parametrize("n", [12, 40, 90])
def test_the_estimate_is_hodges_and_lehmanns_and_its_interval_is_wilcoxons(n: int) -> None:
    values: NDArray[np.float64] = np.random.default_rng(n).normal(0.3, 1, n)
    middle, low, high = hodges_lehmann(values.tolist(), 0.95)
    walsh = np.array([(values[i] + values[j]) / 2 for i in range(n) for j in range(i, n)])
    assert middle == pytest.approx(float(np.median(walsh)))
    # The ends of the interval are where the test begins to reject: just inside its p is above 5 %, well outside below.
    for end, outwards in ((low, -1), (high, 1)):
        inside = stats.wilcoxon(values - (end - outwards * 0.02), method="approx").pvalue
        outside = stats.wilcoxon(values - (end + outwards * 0.1), method="approx").pvalue
        assert outside < 0.055 < inside * 1.2, (end, inside, outside)


@pytest.mark.parametrize(("old", "new", "sent"), [(0, 0, 100), (0, 5, 100), (3, 9, 300), (10, 10, 50), (0, 50, 50), (7, 2, 200)])
def test_fishers_test_is_fishers(old: int, new: int, sent: int) -> None:
    expected = stats.fisher_exact([[new, sent - new], [old, sent - old]], alternative="greater").pvalue
    assert more_errors(old, new, sent) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("new", "old"), [(0, 0), (5, 0), (30, 12), (12, 30)])
def test_the_sign_test_is_the_sign_test(new: int, old: int) -> None:
    expected = stats.binomtest(new, new + old, 0.5, alternative="greater").pvalue if new + old else 1.0
    assert more_often(new, old) == pytest.approx(expected)


def test_a_fifth_slower_is_found_and_no_change_passes() -> None:
    """Of a few seeded comparisons; the benchmark has the rates from thousands."""
    same = [verdict(pairs(*drawn(seed))).status for seed in range(8)]
    slower = [verdict(pairs(*drawn(100 + seed, slower=1.2))).status for seed in range(8)]
    assert same.count(PASSED) >= 7, same
    assert slower.count(FAILED) >= 7, slower


def test_faster_is_not_an_issue() -> None:
    result = verdict(pairs(*drawn(1, slower=0.5)))
    assert result.status is PASSED
    assert "-5" in result.message


def test_a_sample_too_small_or_too_wide_proves_nothing() -> None:
    assert verdict(pairs(*drawn(1, n=10))).status is INCONCLUSIVE
    assert "only 10 pairs" in verdict(pairs(*drawn(1, n=10))).message
    assert verdict(pairs(*drawn(3, n=30))).status is INCONCLUSIVE
    assert verdict(pairs([], [], errors=(0, 0))).status is INCONCLUSIVE
    assert verdict().status is INCONCLUSIVE


def test_one_slow_request_among_many_is_found_where_the_whole_hides_it() -> None:
    many = [pairs(*drawn(seed, n=60), name=f"GET /{seed}") for seed in range(9)]
    slow = pairs(*drawn(50, n=60, slower=1.8), name="POST /slow")
    result = verdict(*many, slow)
    failed = [case.name for case in result.cases if case.status is FAILED]
    assert failed == ["latency of POST /slow"]


def test_a_heavy_tail_is_found_though_the_middle_is_the_same() -> None:
    old, new = drawn(5)
    stretched = [latency * (6 if number % 8 == 0 else 1) for number, latency in enumerate(new)]
    result = verdict(pairs(old, stretched))
    assert next(case for case in result.cases if case.name == "latency of the slowest").status is FAILED


@pytest.mark.parametrize(("errors", "status"), [((0, 0), PASSED), ((3, 4), PASSED), ((0, 9), FAILED), ((9, 0), PASSED), ((20, 60), FAILED)])
def test_more_wrong_answers_than_before_fail(errors: tuple[int, int], status: CaseStatus) -> None:
    assert verdict(pairs(*drawn(7), errors=errors)).status is status


def a_step(rate: float, *, achieved: float = 1.0, errors: int = 0, p50: float = 4, p95: float = 10) -> LoadStep:
    return LoadStep(target_rps=rate, achieved_rps=achieved * rate, sent=100, errors=errors, p50_ms=p50, p95_ms=p95, p99_ms=2 * p95)


def test_the_knee_is_the_last_step_that_was_held() -> None:
    assert knee([a_step(10), a_step(20), a_step(30, achieved=0.8), a_step(40)]) == 20
    assert knee([a_step(10), a_step(20, errors=2)]) == 10
    assert knee([a_step(10), a_step(20, p95=900)]) == 10
    assert knee([a_step(10, achieved=0.1)]) is None
    assert knee([]) is None


def test_the_ramp_goes_to_the_target_and_beyond_but_not_beyond_what_can_be_sent() -> None:
    assert ramp(40) == (10, 20, 30, 40, 60, 80, 120)
    assert max(ramp(800)) == 800


def load(
    held: Sequence[float], *, failed: float | None, old: Sequence[float] | None = None, old_failed: float | None = None
) -> SuiteResult:
    def steps(rates: Sequence[float], bad: float | None) -> tuple[LoadStep, ...]:
        return (*(a_step(rate) for rate in rates), *((a_step(bad, achieved=0.5),) if bad else ()))

    new, before = steps(held, failed), steps(old or (), old_failed)
    return judge(LoadReport(target_rps=40, steps=new, knee_rps=knee(new), old_steps=before, old_knee_rps=knee(before)))


def test_who_holds_the_target_passes_and_says_where_the_knee_is() -> None:
    assert load([10, 20, 30, 40, 60], failed=80).message == "holds 40 requests/s with p95 10.0 ms; its knee is at 60"
    assert load([10, 20, 30, 40], failed=None).message.endswith("its knee is at 40 or more")


def test_who_does_not_hold_it_fails_unless_the_old_version_does_not_either() -> None:
    assert load([10, 20], failed=30).status is FAILED
    assert load([10, 20], failed=30, old=[10, 20, 30, 40]).status is FAILED
    assert load([10], failed=20, old=[10, 20], old_failed=30).status is FAILED
    assert load([10, 20], failed=30, old=[10, 20], old_failed=30).status is PASSED
    assert load([], failed=10, old=[], old_failed=10).status is PASSED


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": {"b": [1, {"c": "x"}]}}, {"a": {"b": [1, {"c": "x", "d": 0}]}}, ""),
        ({"a": 1}, {"b": 1}, "the answer has no a"),
        ({"a": 1}, {"a": 2}, "the answer.a is 2 instead of 1"),
        ([1, 2], [1], "the answer has 1 entries instead of 2"),
        ({"a": [1]}, {"a": [2]}, "the answer.a[0] is 2 instead of 1"),
        ({"a": True}, {"a": 1}, "the answer.a is 1 instead of True"),
        ({"a": {}}, {"a": "text"}, "the answer.a is 'text' instead of an object"),
        ([], "text", "the answer is 'text' instead of a list"),
    ],
)
def test_a_golden_answer_has_at_least_what_is_expected(expected: object, found: object, said: str) -> None:
    assert mismatch(expected, found) == said
