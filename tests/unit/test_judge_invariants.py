"""What holds for the judge whatever happens: checked with drawn traffic, against exact formulae, and on many seeded null cases."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.stats import binom, hypergeom

from agent_servicing.core import latency
from agent_servicing.core.analysis import (
    Arm,
    Block,
    Criterion,
    CustomMetric,
    Evidence,
    Judgement,
    Policy,
    Reading,
    Tally,
    begin,
    observe,
    replay,
    verdict,
    wealth,
)
from agent_servicing.core.analysis.blocks import block_of, merged
from agent_servicing.core.analysis.dispersion import BURST_MAX, CALM_MOST, STEADY, Dispersion, scattered
from agent_servicing.core.metrics import Counts
from tests.unit.judge_world import BOTH

CUSTOM = replace(BOTH, custom=(CustomMetric(name="quality", rollback_percent=20, promote_percent=10),))

_policy = TypeAdapter(Policy)
_evidence = TypeAdapter(Evidence)
_blocks = TypeAdapter(tuple[Block, ...])
_judgement = TypeAdapter(Judgement)


@st.composite
def some_counts(draw: st.DrawFn, most: int = 12) -> Counts:
    buckets = draw(st.dictionaries(st.integers(0, latency.BUCKETS - 1), st.integers(1, most), max_size=4))
    errors, lost = draw(st.integers(0, most)), draw(st.integers(0, 3))
    answered = errors + sum(buckets.values())
    histogram = tuple(buckets.get(bucket, 0) for bucket in range(latency.BUCKETS))
    return Counts(routed=answered + lost, answered=answered, errors=errors, histogram=histogram)


arms = st.builds(
    Arm,
    new=some_counts(),
    pinned=some_counts(4),
    custom=st.one_of(
        st.just({}), st.builds(lambda bad, good: {"quality": Tally(total=bad + good, bad=bad)}, st.integers(0, 5), st.integers(0, 9))
    ),
)

readings = st.lists(
    st.builds(
        Reading,
        seconds=st.floats(0.5, 6, allow_nan=False),
        share=st.sampled_from([25.0, 25.0, 25.0, 50.0]),
        candidate=arms,
        stable=arms,
    ),
    min_size=1,
    max_size=25,
)


def run(sequence: list[Reading], policy: Policy, warmup_seconds: float = 0.0) -> tuple[list[Evidence], list[Block]]:
    """Evidence and block at each block's end."""
    evidence, ends, blocks = begin(policy, warmup_seconds), [], []
    for reading in sequence:
        evidence, block = observe(evidence, reading, policy)
        if block is not None:
            ends.append(replace(evidence, open=None))
            blocks.append(block)
    return ends, blocks


@settings(max_examples=25, deadline=None)
@given(sequence=readings, warmup_seconds=st.sampled_from([0.0, 8.0]))
def test_stored_blocks_give_the_same_evidence_again_bit_for_bit(sequence: list[Reading], warmup_seconds: float) -> None:
    ends, blocks = run(sequence, CUSTOM, warmup_seconds)
    stored = _blocks.validate_json(_blocks.dump_json(tuple(blocks)))
    assert stored == tuple(blocks)
    assert [block.number for block in stored] == list(range(len(stored)))
    for count, live in enumerate(ends, start=1):
        again = replay(stored[:count], CUSTOM, warmup_seconds)
        assert again == live
        assert verdict(again, CUSTOM) == verdict(live, CUSTOM)


@settings(max_examples=25, deadline=None)
@given(sequence=readings)
def test_evidence_survives_storage_at_any_moment(sequence: list[Reading]) -> None:
    live = stored = begin(CUSTOM, 5.0)
    for reading in sequence:
        live, _ = observe(live, reading, CUSTOM)
        stored = _evidence.validate_json(_evidence.dump_json(stored))
        stored, _ = observe(stored, reading, CUSTOM)
        assert stored == live
    judgement = verdict(live, CUSTOM)
    assert _judgement.validate_json(_judgement.dump_json(judgement)) == judgement


def test_a_policy_survives_storage() -> None:
    policy = replace(CUSTOM, promote_error_rate=0.1 + 0.2, alpha=1 / 3, regression="hold")
    assert _policy.validate_json(_policy.dump_json(policy)) == policy
    assert _policy.validate_json(b"{}") == Policy()


@settings(max_examples=25, deadline=None)
@given(sequence=st.lists(st.tuples(arms, arms), min_size=2, max_size=8))
def test_how_a_block_was_read_does_not_matter(sequence: list[tuple[Arm, Arm]]) -> None:
    parts = [Reading(seconds=1.0, share=25.0, candidate=c, stable=s) for c, s in sequence]
    whole = block_of(parts[0], number=0, warm_up=False)
    for part in parts[1:]:
        whole = merged(whole, block_of(part, number=0, warm_up=False))
    backwards = block_of(parts[-1], number=0, warm_up=False)
    for part in reversed(parts[:-1]):
        backwards = merged(backwards, block_of(part, number=0, warm_up=False))
    assert replay([whole], CUSTOM, 0.0) == replay([backwards], CUSTOM, 0.0)


@settings(max_examples=25, deadline=None)
@given(sequence=readings)
def test_two_versions_that_do_the_same_are_never_told_apart(sequence: list[Reading]) -> None:
    """Relabelling: with equal counts on both sides the comparison has nothing to say, whatever these counts are."""
    for end in run([replace(reading, stable=reading.candidate) for reading in sequence], BOTH)[0]:
        assert all(c.worse_odds <= 1 + 1e-9 and c.veto_odds <= 1 + 1e-9 for c in end.criteria)


@settings(max_examples=25, deadline=None)
@given(sequence=readings, at=st.integers(0, 24))
def test_one_more_failure_never_looks_better(sequence: list[Reading], at: int) -> None:
    at %= len(sequence)
    new = sequence[at].candidate.new
    if not new.answered - new.errors:
        return
    failed = next(i for i, count in enumerate(new.histogram) if count)
    histogram = tuple(count - (i == failed) for i, count in enumerate(new.histogram))
    worse = replace(new, errors=new.errors + 1, histogram=histogram)
    changed = [*sequence]
    changed[at] = replace(sequence[at], candidate=replace(sequence[at].candidate, new=worse))
    errors_only = replace(BOTH, latency_threshold_ms=None)
    for before, after in zip(run(sequence, errors_only)[0], run(changed, errors_only)[0], strict=True):
        b, a = before.criteria[0], after.criteria[0]
        assert sum(a.above_rollback) >= sum(b.above_rollback) - 1e-9
        assert sum(a.above_promote) >= sum(b.above_promote) - 1e-9
        assert a.worse_odds >= b.worse_odds * (1 - 1e-9)
        assert wealth.proof_odds(a.proof) <= wealth.proof_odds(b.proof) + 1e-9


@settings(max_examples=25, deadline=None)
@given(sequence=readings)
def test_evidence_stays_finite_and_cash_is_never_spent_twice(sequence: list[Reading]) -> None:
    for end in run(sequence * 4, CUSTOM)[0][-1:]:
        for criterion in end.criteria:
            for bets in (criterion.above_rollback, criterion.above_promote, *criterion.worse):
                assert all(0 <= part <= 1e6 + 1 for part in bets)
                assert bets[-1] <= 1


@given(n=st.integers(1, 400), bad=st.integers(0, 400), limit=st.floats(0.001, 0.5))
def test_the_evidence_against_a_limit_is_a_likelihood_ratio(n: int, bad: int, limit: float) -> None:
    bad = min(bad, n)
    for gain, multiple in zip(wealth.against_limit(bad, n, limit), wealth.WORSE, strict=True):
        odds = limit / (1 - limit) * multiple
        expected = binom.logpmf(bad, n, odds / (1 + odds)) - binom.logpmf(bad, n, limit)
        assert gain == pytest.approx(expected, abs=1e-6 * (1 + abs(expected)))


@given(
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400), st.integers(1, 400)),
    ratio=st.sampled_from([1.0, 1.25, 1.5]),
)
def test_the_evidence_against_stable_weighs_only_whose_the_events_are(counts: tuple[int, int, int, int], ratio: float) -> None:
    a, b, n, m = counts
    for gain, times in zip(wealth.against_stable([counts], ratio), wealth.TIMES, strict=True):
        null, other = ratio * n / (ratio * n + m), ratio * times * n / (ratio * times * n + m)
        expected = binom.logpmf(a, a + b, other) - binom.logpmf(a, a + b, null)
        assert gain == pytest.approx(expected, abs=1e-6 * (1 + abs(expected)))


@pytest.mark.parametrize(("events", "n", "m"), [(3, 5, 15), (8, 25, 75), (30, 50, 50), (12, 90, 10)])
def test_a_comparison_of_equals_is_a_losing_bet(events: int, n: int, m: int) -> None:
    """Given the events of a block whose requests all fail alike, their split is hypergeometric; no alternative may gain on average."""
    law = hypergeom(n + m, events, n)
    for k in range(len(wealth.TIMES)):
        mean = sum(law.pmf(a) * exp(wealth.against_stable([(a, events - a, n, m)], 1.0)[k]) for a in range(min(events, n) + 1))
        assert mean <= 1 + 1e-9


@pytest.mark.parametrize(("what", "limit", "p"), [("the roll-back limit", 0.05, 0.05), ("the promote limit", 0.02, 0.02)])
def test_at_the_edge_of_a_limit_evidence_crosses_no_more_often_than_promised(what: str, limit: float, p: float) -> None:
    """Ville: at 1 % edge the odds reach 20:1 in at most 5 % of runs, however long one looks."""
    rng = np.random.default_rng(11)
    crossed = 0
    for counts in rng.binomial(8, p, (300, 250)).tolist():
        bets = wealth.STARTING
        for bad in counts:
            bets = wealth.grown(bets, 0.001, wealth.against_limit(bad, 8, limit))
            if sum(bets) >= 20:
                crossed += 1
                break
    assert crossed <= binom.ppf(0.999, 300, 1 / 20), what


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_at_the_edge_of_the_margin_too_though_the_rate_in_common_jumps(ratio: float) -> None:
    rng = np.random.default_rng(12)
    crossed = 0
    for _ in range(300):
        common = np.where((np.arange(200) % 70) < 20, 0.2, 0.01)  # outages of both
        share = np.where(np.arange(200) < 100, 5, 20)
        mine, other = rng.binomial(share, common * ratio), rng.binomial(25 - share, common)
        bets = wealth.STARTING
        for a, b, n in zip(mine.tolist(), other.tolist(), share.tolist(), strict=True):
            bets = wealth.grown(bets, 0.001, wealth.against_stable([(a, b, n, 25 - n)], ratio))
            if sum(bets) >= 20:
                crossed += 1
                break
    assert crossed <= binom.ppf(0.999, 300, 1 / 20)


def test_failures_in_clusters_cross_no_more_often_once_their_bursts_are_known() -> None:
    """Failures in clusters of about eight, then an outage of both: as if independent, far more runs cross 20:1 than one of twenty."""
    rng = np.random.default_rng(15)
    crossed = {"weakened": 0, "as they are": 0}
    rates = np.where((np.arange(260) > 120) & (np.arange(260) < 200), 0.25, 0.02)
    for _ in range(200):
        mine, other = ([min(n, int(rng.geometric(1 / 8, k).sum())) for k in rng.poisson(n * rates / 8)] for n in (40, 80))
        for name in crossed:
            bets, state = wealth.STARTING, STEADY
            for second, (a, b) in enumerate(zip(mine, other, strict=True)):
                if second >= 120:
                    bets = wealth.grown(
                        bets, 0.001, wealth.against_stable([(a, b, 40, 80)], 1.0), state.factor if name == "weakened" else 1.0
                    )
                state = scattered(state, b, 80)
                if sum(bets) >= 20:
                    crossed[name] += 1
                    break
    assert crossed["weakened"] <= binom.ppf(0.999, 200, 1 / 20)
    assert crossed["as they are"] > 3 * binom.ppf(0.999, 200, 1 / 20)


def test_a_proof_at_the_edge_of_the_promote_limit_comes_in_one_run_of_twenty_at_most() -> None:
    rng = np.random.default_rng(13)
    proven = 0
    for counts in rng.binomial(10, 0.02, (300, 200)).tolist():
        proof = (0.0,) * len(wealth.BETTER)
        for bad in counts:
            proof = wealth.proved(proof, bad, 10, 0.02)
            if wealth.proof_odds(proof) >= 20:
                proven += 1
                break
    assert proven <= binom.ppf(0.999, 300, 1 / 20)


def test_a_quantile_that_falls_on_an_edge_is_decided_by_whole_counts() -> None:
    reading = Reading(seconds=10.0, share=25.0, candidate=Arm(), stable=Arm(new=_hundred(bucket_75=10, above=20)))
    evidence = replay([block_of(reading, number=0, warm_up=False)], BOTH, 0.0)
    assert evidence.reference.buckets() == (10, 20, 20)


def test_a_block_is_closed_before_the_share_changes_or_when_the_caller_says_so() -> None:
    one = Arm(new=Counts(routed=1, answered=1, histogram=_one_at(10)))
    reading = Reading(seconds=1.0, share=25.0, candidate=one, stable=one)
    evidence, block = observe(begin(BOTH, 0.0), reading, BOTH)
    assert block is None
    after, block = observe(evidence, replace(reading, share=50.0), BOTH)
    assert block is not None
    assert (block.share, block.candidate_answered) == (25.0, 1)
    assert after.open is not None
    assert (after.open.share, after.open.number) == (50.0, 1)
    after, block = observe(evidence, reading, BOTH, closing=True)
    assert block is not None
    assert (block.candidate_answered, after.open) == (2, None)


def test_a_block_ends_with_five_answers_of_each_or_after_ten_seconds() -> None:
    one = Arm(new=Counts(routed=1, answered=1, histogram=_one_at(10)))
    many = Arm(new=Counts(routed=9, answered=9, histogram=tuple(9 * x for x in _one_at(10))))
    slow, fast = (
        run([Reading(seconds=1.0, share=25.0, candidate=Arm(), stable=many)] * 20, BOTH)[1],
        run([Reading(seconds=1.0, share=25.0, candidate=one, stable=many)] * 20, BOTH)[1],
    )
    assert [b.seconds for b in slow] == [10.0, 10.0]
    assert [b.seconds for b in fast] == [5.0] * 4


def _one_at(bucket: int) -> tuple[int, ...]:
    return tuple(int(i == bucket) for i in range(latency.BUCKETS))


def _hundred(*, bucket_75: int, above: int) -> Counts:
    histogram = tuple(75 if i == bucket_75 else 25 if i == above else 0 for i in range(latency.BUCKETS))
    return Counts(routed=100, answered=100, histogram=histogram)


@given(events=st.integers(1, 30), n=st.integers(16, 60), m=st.integers(16, 60))
def test_failures_that_might_hit_any_request_are_as_scattered_as_chance_has_them(events: int, n: int, m: int) -> None:
    """Given how many events two neighbours had, their split is hypergeometric, and on average nothing is left over."""
    law = hypergeom(n + m, events, m)
    moved = [(law.pmf(f), scattered(Dispersion(bad=events - f, total=n), f, m)) for f in range(max(0, events - n), min(events, m) + 1)]
    assert sum(p * d.scatter for p, d in moved) == pytest.approx(sum(p * d.chance for p, d in moved))


@given(blocks=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40))
def test_bursts_weaken_evidence_by_a_bounded_factor_and_few_events_by_none(blocks: list[tuple[int, int]]) -> None:
    state, events = STEADY, 0
    for bad, good in blocks:
        if bad + good:
            state, events = scattered(state, bad, bad + good), events + bad
        assert state.factor == 1.0 or CALM_MOST <= state.factor <= BURST_MAX
        assert events > 2 or state.factor == 1.0


@pytest.mark.parametrize(("cluster", "least", "most"), [(1, 1.0, 1.8), (5, 5.0, 15.0), (10, 9.0, 20.0)])
def test_the_factor_is_about_what_clusters_make_of_a_variance(cluster: int, least: float, most: float) -> None:
    """Geometric clusters of mean c have a variance of 2c - 1 times their mean; an outage in the middle changes little about that."""
    rng = np.random.default_rng(14)
    for _ in range(5):
        state = STEADY
        for rate in [0.01] * 300 + [0.25] * 100:
            starts = rng.binomial(40, rate / cluster)
            bad = min(40, int(rng.geometric(1 / cluster, starts).sum()))
            state = scattered(state, bad, 40)
        assert least <= state.factor <= most


@pytest.mark.parametrize("bursts", [1.0, 3.0, 20.0])
def test_weakened_evidence_is_still_a_losing_bet(bursts: float) -> None:
    for limit in (0.02, 0.05):
        law = binom(12, limit)
        mean = np.sum([law.pmf(e) * np.array(wealth.limit_factors(e, 12, limit, bursts)) for e in range(13)], axis=0)
        assert max(mean) <= 1 + 1e-9


def test_only_blocks_of_the_past_and_of_stable_weaken_a_bet() -> None:
    """In the block in which stable's first burst comes the bets are as they would be without it, but for the comparison."""
    calm, burst = Counts(routed=200, answered=200), Counts(routed=200, answered=200, errors=60)
    bad = Counts(routed=50, answered=50, errors=6)

    def after(*blocks: tuple[Counts, Counts]) -> Criterion:
        sequence = [Reading(seconds=1.0, share=25.0, candidate=Arm(new=c), stable=Arm(new=s)) for c, s in blocks]
        return run(sequence, replace(BOTH, latency_threshold_ms=None))[0][-1].criteria[0]

    before, there = after((calm, calm), (bad, calm)), after((calm, calm), (bad, burst))
    assert before.above_promote == there.above_promote
    assert before.dispersion.factor == 1.0 < there.dispersion.factor
    assert sum(after((calm, calm), (bad, burst), (bad, calm)).above_promote) < sum(
        after((calm, calm), (bad, calm), (bad, calm)).above_promote
    )
    assert after((burst, calm), (bad, calm)).dispersion.factor == 1.0


def test_the_log_of_a_proof_is_what_it_says() -> None:
    assert wealth.proof_odds((0.0,) * 6) == 1.0
    assert wealth.proof_odds((log(20.0),) * 6) == pytest.approx(20)
