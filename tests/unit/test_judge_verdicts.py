"""What the judge says in situations told in words. The numbers are in docs/guides/analysis.md; here is what must not be mistaken for what."""

from dataclasses import replace

import pytest

from agent_servicing.core.analysis import Arm, CustomMetric, Policy, Reading, begin, observe, verdict
from agent_servicing.core.metrics import Counts
from agent_servicing.core.status import Verdict
from tests.unit.judge_world import BOTH, ERRORS_ONLY, Version, a_reading, counts, traffic, watched

GOOD = Version(rate=30, errors=0.003)
CANDIDATE = Version(rate=10, errors=0.003)


@pytest.mark.parametrize(
    ("what", "candidate", "stable", "rule"),
    [
        ("a third of the requests fails", Version(errors=0.3), GOOD, "error_rate_"),
        ("8.2 % against 0.3 %", Version(errors=0.082), GOOD, "error_rate_relative"),
        ("3 % is below the limit, but ten times as much as before", Version(errors=0.03), GOOD, "error_rate_relative"),
        ("one request in eight takes a second", Version(slow=0.125), GOOD, "latency_relative"),
        ("everything takes 450 ms instead of 50", Version(ms=450), GOOD, "latency_"),
        ("half of the requests is never answered", Version(answered=0.5), GOOD, "no_answers"),
        ("30 % where the old version always had 4 %", Version(errors=0.3), Version(rate=30, errors=0.04), "error_rate_"),
        ("30 % where the old version fails 8 %", Version(errors=0.3), Version(rate=30, errors=0.08), "error_rate_"),
    ],
)
def test_a_worse_version_is_failing(what: str, candidate: Version, stable: Version, rule: str) -> None:
    judgement = watched(traffic(candidate, stable, seconds=900))[1]
    assert judgement.verdict is Verdict.FAILING, what
    assert judgement.rule.startswith(rule)
    assert judgement.failing_odds >= BOTH.needed_odds


@pytest.mark.parametrize(
    ("what", "candidate", "stable"),
    [
        ("both are good", CANDIDATE, GOOD),
        ("both always had 4 %", Version(errors=0.04), Version(rate=30, errors=0.04)),
        ("an outage of something that both need", Version(errors=0.25, ms=200), Version(rate=30, errors=0.25, ms=200)),
        ("both fail completely", Version(errors=1.0), Version(rate=30, errors=1.0)),
        ("twice as many errors, yet both below every limit", Version(errors=0.002), Version(rate=30, errors=0.001)),
        ("a little slower within one bucket of the histogram", Version(ms=55), Version(rate=30, ms=50)),
        ("both always took 450 ms", Version(ms=450), Version(rate=30, ms=450)),
        ("few answers so far on either side", Version(answered=0.5), Version(rate=30, answered=0.5)),
        ("running conversations fail more, and stable has most of them", Version(errors=0.01), Version(rate=30, errors=0.01, pinned=0.9)),
    ],
)
def test_what_is_no_worse_is_never_failing(what: str, candidate: Version, stable: Version) -> None:
    judgement = watched(traffic(candidate, stable, seconds=900))[1]
    assert judgement.verdict is not Verdict.FAILING, (what, judgement.sentence)


def test_a_good_version_passes_once_it_is_proven_and_has_dwelt() -> None:
    evidence, judgement, _ = watched(traffic(CANDIDATE, GOOD, seconds=59))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    evidence, judgement, _ = watched(traffic(CANDIDATE, GOOD, seconds=30, begin_at=59), evidence=evidence)
    assert judgement.verdict is Verdict.PASSING
    assert "error rate below 2% and p95 below 150 ms proven at 20:1" in judgement.sentence


def test_the_dwell_is_what_the_caller_says() -> None:
    policy = replace(BOTH, dwell_seconds=35.0)
    assert watched(traffic(CANDIDATE, GOOD, seconds=40), policy)[1].verdict is Verdict.PASSING


def test_at_a_new_share_the_proofs_begin_anew_but_what_speaks_against_it_stays() -> None:
    evidence = watched(traffic(Version(rate=10, errors=0.02), GOOD, seconds=120))[0]
    before = evidence.criterion("error_rate")
    assert before is not None
    evidence, block = observe(evidence, next(traffic(CANDIDATE, GOOD, seconds=1, share=50.0)), BOTH)
    after = evidence.criterion("error_rate")
    assert block is not None
    assert after is not None
    assert (evidence.counted.stage_seconds, evidence.counted.stage_requests) == (1.0, 10)
    assert max(abs(p) for p in after.proof) < 1
    assert after.worse_odds > 0.5 * before.worse_odds


def test_a_failing_version_above_the_limit_is_told_as_the_operator_named_the_limit() -> None:
    judgement = watched(traffic(Version(rate=10, errors=0.08), Version(rate=30, errors=0.005), seconds=300))[1]
    assert judgement.sentence.startswith("Error rate threshold exceeded (8.")
    assert "% > 5%); the old version has 0." in judgement.sentence
    assert (judgement.metric, judgement.threshold) == ("error_rate", 5.0)
    assert judgement.value == pytest.approx(8, abs=1.5)
    assert judgement.stable_value == pytest.approx(0.5, abs=0.4)
    judgement = watched(traffic(Version(rate=10, ms=400), GOOD, seconds=300))[1]
    assert judgement.sentence.startswith("Latency threshold exceeded (p95 400 ms > 300 ms); the old version has 50 ms; ")
    assert (judgement.metric, judgement.value, judgement.stable_value) == ("latency_ms", 400.0, 50.0)


def test_a_version_below_the_limit_is_told_as_worse_than_the_old_one() -> None:
    judgement = watched(traffic(Version(rate=10, errors=0.03), GOOD, seconds=600))[1]
    assert judgement.sentence.startswith("Error rate is worse than the old version's (")


def test_a_break_after_long_good_service_is_told_with_its_own_numbers() -> None:
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=600))[0]
    judgement = watched(traffic(Version(errors=0.2), GOOD, seconds=120, begin_at=600), evidence=evidence)[1]
    assert judgement.verdict is Verdict.FAILING
    assert judgement.value == pytest.approx(20, abs=5)
    assert judgement.window_seconds < 60


@pytest.mark.parametrize("rate", [0.5, 2.0, 10.0, 200.0])
def test_a_version_that_fails_everything_is_noticed_in_the_warm_up(rate: float) -> None:
    readings = traffic(Version(rate=rate, errors=1.0), Version(rate=3 * rate), seconds=44)
    evidence, judgement, _ = watched(readings, warmup_seconds=45)
    assert judgement.rule == "warm_up_errors"
    assert judgement.sentence.startswith("Error rate threshold exceeded (100.0% > 5%); during the warm-up")
    assert evidence.counted.warm_requests <= 10 or evidence.counted.carried_seconds <= 5


def test_a_rough_start_is_forgiven() -> None:
    rough = traffic(Version(rate=10, errors=0.05, ms=400), GOOD, seconds=45)
    evidence, judgement, blocks = watched(rough, warmup_seconds=45)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert all(block.warm_up for block in blocks)
    assert evidence.counted.requests == 0
    assert watched(traffic(CANDIDATE, GOOD, seconds=90, begin_at=45), evidence=evidence)[1].verdict is Verdict.PASSING


def test_the_warm_up_begins_with_the_first_request_not_with_the_deployment() -> None:
    evidence = watched(traffic(Version(rate=0), GOOD, seconds=100), warmup_seconds=30)[0]
    assert evidence.warming
    assert verdict(evidence, BOTH).verdict is Verdict.NO_DATA
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=29, begin_at=100), evidence=evidence)[0]
    assert evidence.warming
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=1, begin_at=129), evidence=evidence)[0]
    assert not evidence.warming


def test_waiting_for_the_first_request_leaves_few_blocks_behind() -> None:
    assert len(watched(traffic(Version(rate=0), GOOD, seconds=100), warmup_seconds=30)[2]) == 10


def test_an_outage_of_both_is_called_a_common_cause_and_passes() -> None:
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=100))[0]
    outage = traffic(Version(errors=0.25), Version(rate=30, errors=0.25), seconds=200, begin_at=100)
    evidence, judgement, _ = watched(outage, evidence=evidence)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.common_cause
    assert judgement.sentence.startswith("common cause: the old version is failing too (errors)")
    evidence, judgement, _ = watched(traffic(CANDIDATE, GOOD, seconds=60, begin_at=300), evidence=evidence)
    assert judgement.verdict is Verdict.PASSING


def test_an_outage_rolls_back_if_the_operator_wants_the_limits_literally() -> None:
    literal = replace(BOTH, common_cause="rollback")
    outage = traffic(Version(errors=0.25), Version(rate=30, errors=0.25), seconds=200)
    assert watched(outage, literal)[1].rule == "error_rate_absolute"


def test_a_version_that_mends_a_failing_one_passes() -> None:
    mended = traffic(CANDIDATE, Version(rate=30, errors=0.3), seconds=120)
    assert watched(mended)[1].verdict is Verdict.PASSING


def test_with_regression_on_hold_only_the_limits_count() -> None:
    hold = replace(BOTH, regression="hold")
    assert watched(traffic(Version(errors=0.03), GOOD, seconds=900), hold)[1].verdict is Verdict.INCONCLUSIVE
    assert watched(traffic(Version(errors=0.12), GOOD, seconds=900), hold)[1].rule == "error_rate_absolute"


def test_without_automatic_rollback_nothing_is_failing_and_nothing_bad_passes() -> None:
    off = replace(BOTH, enabled=False)
    judgement = watched(traffic(Version(errors=0.3), GOOD, seconds=200), off)[1]
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.sentence.endswith("; automatic rollback is off")


def test_without_a_stable_version_the_limits_hold_as_they_stand() -> None:
    alone = traffic(Version(errors=0.3), Version(rate=0), seconds=300, share=100.0)
    judgement = watched(alone)[1]
    assert judgement.rule == "error_rate_absolute"
    assert "no old version to compare with" in judgement.sentence
    hung = watched(traffic(Version(answered=0.2), Version(rate=0), seconds=600, share=100.0))[1]
    assert hung.rule == "no_answers"
    assert "the old one" not in hung.sentence


def test_a_stable_version_that_was_failing_when_it_left_excuses_nothing() -> None:
    evidence = watched(traffic(Version(errors=0.3), Version(rate=30, errors=0.3), seconds=60))[0]
    judgement = watched(traffic(Version(errors=0.3), Version(rate=0), seconds=300, share=100.0, begin_at=60), evidence=evidence)[1]
    assert judgement.rule == "error_rate_absolute"


def test_missing_data_never_passes() -> None:
    assert verdict(begin(BOTH, 45), BOTH).verdict is Verdict.NO_DATA
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=120))[0]
    silent, judgement, _ = watched(traffic(Version(rate=0), GOOD, seconds=70, begin_at=120), evidence=evidence)
    assert judgement.verdict is Verdict.NO_DATA
    assert judgement.sentence == "no data: the new version has answered nothing for 70 s"
    assert watched(traffic(CANDIDATE, GOOD, seconds=30, begin_at=190), evidence=silent)[1].verdict is Verdict.PASSING


def test_what_is_missing_is_said_with_the_time_it_will_take() -> None:
    judgement = watched(traffic(Version(rate=0.5), GOOD, seconds=40))[1]
    assert judgement.missing_requests == 30
    assert judgement.sentence.startswith("30 more requests needed, about 60 s at this rate")
    judgement = watched(traffic(Version(rate=2), GOOD, seconds=40))[1]
    assert judgement.missing_requests is not None
    assert 50 < judgement.missing_requests < 150
    assert judgement.sentence.startswith(f"about {judgement.missing_requests} more requests needed, about")


def test_the_estimate_of_what_is_missing_is_about_right() -> None:
    evidence, judgement, _ = watched(traffic(Version(rate=10, errors=0.0), GOOD, seconds=10), replace(ERRORS_ONLY, dwell_seconds=0))
    missing, seconds = judgement.missing_requests, 10
    assert missing is not None
    while judgement.verdict is not Verdict.PASSING:
        evidence, judgement, _ = watched(
            traffic(Version(rate=10, errors=0.0), GOOD, seconds=1, begin_at=seconds),
            replace(ERRORS_ONLY, dwell_seconds=0),
            evidence=evidence,
        )
        seconds += 1
    assert 10 * (seconds - 10) == pytest.approx(missing, abs=20)


def test_a_metric_of_the_agents_own_is_judged_like_errors() -> None:
    policy = replace(ERRORS_ONLY, custom=(CustomMetric(name="quality", rollback_percent=20, promote_percent=10),))
    poor, fine = Version(bad_quality=0.4), Version(rate=30, bad_quality=0.05)
    judgement = watched(traffic(poor, fine, seconds=300), policy)[1]
    assert judgement.rule == "custom:quality"
    assert judgement.sentence.startswith("quality threshold exceeded (")
    assert watched(traffic(Version(bad_quality=0.03), fine, seconds=200), policy)[1].verdict is Verdict.PASSING
    unreported = watched(traffic(Version(), fine, seconds=200), policy)[1]
    assert unreported.verdict is Verdict.INCONCLUSIVE


def test_a_threshold_of_none_switches_the_criterion_off() -> None:
    bad = Version(errors=1.0, ms=5000)
    off = Policy(error_rate_threshold=None, latency_threshold_ms=None)
    assert watched(traffic(bad, GOOD, seconds=200), off, warmup_seconds=45)[1].verdict is Verdict.PASSING
    assert watched(traffic(Version(ms=5000), GOOD, seconds=200), ERRORS_ONLY)[1].verdict is Verdict.PASSING


def test_limits_of_zero_and_of_a_hundred_percent_can_be_judged() -> None:
    assert watched(traffic(Version(errors=0.05), GOOD, seconds=300), replace(BOTH, error_rate_threshold=0.0))[1].verdict is Verdict.FAILING
    assert watched(traffic(CANDIDATE, GOOD, seconds=300), replace(BOTH, error_rate_threshold=100.0))[1].verdict is Verdict.PASSING


def test_a_limit_between_two_edges_counts_only_what_is_certainly_slower() -> None:
    policy = replace(BOTH, latency_threshold_ms=320.0, promote_latency_ms=310.0, regression="hold")
    between = watched(traffic(Version(ms=350), GOOD, seconds=300), policy)[1]
    assert between.verdict is Verdict.INCONCLUSIVE  # in the bucket from 300 to 350 ms: neither proven slower nor proven faster
    assert watched(traffic(Version(ms=400), GOOD, seconds=300), policy)[1].verdict is Verdict.FAILING


def test_one_burst_is_not_a_verdict() -> None:
    evidence = watched(traffic(CANDIDATE, GOOD, seconds=100))[0]
    burst = a_reading(counts(100, 30), counts(30))
    evidence, _ = observe(evidence, burst, BOTH)
    assert verdict(evidence, BOTH).verdict is not Verdict.FAILING
    assert watched(traffic(CANDIDATE, GOOD, seconds=300, begin_at=101), evidence=evidence)[1].verdict is Verdict.PASSING


def test_bursts_of_both_versions_are_told() -> None:
    readings = [a_reading(counts(10, 8 * int(second % 30 == 5)), counts(30, 10 * int(second % 10 == 1))) for second in range(400)]
    evidence, judgement, _ = watched(readings, ERRORS_ONLY)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert evidence.criteria[0].dispersion.factor > 5
    assert "fails in bursts (errors), so that one failure says" in judgement.sentence


def test_a_version_that_fails_always_is_found_though_the_old_one_fails_in_bursts() -> None:
    readings = [a_reading(counts(10, 4), counts(30, 10 * int(second % 20 == 1))) for second in range(400)]
    evidence, judgement, _ = watched(readings, ERRORS_ONLY)
    assert judgement.verdict is Verdict.FAILING
    assert evidence.counted.judged_seconds < 60


def test_healthy_running_conversations_do_not_hide_failing_new_ones() -> None:
    fine = Counts(routed=7, answered=7, histogram=counts(7).histogram)
    stable = Arm(new=counts(9), pinned=counts(21))
    readings = (
        Reading(seconds=1.0, share=25.0, candidate=Arm(new=counts(3, int(second % 3 == 0)), pinned=fine), stable=stable)
        for second in range(300)
    )
    assert watched(readings)[1].rule == "error_rate_relative"


def test_answers_that_lag_behind_a_change_of_the_share_are_not_missing() -> None:
    """Each takes 20 s: after the step from 25 to 50 % the candidate is asked twice as often as it answers, stable the other way round."""
    readings = [
        a_reading(
            counts(0 if second < 20 else 5 if second < 320 else 10, routed=5 if second < 300 else 10, ms=20_000),
            counts(15 if second < 320 else 10, routed=15 if second < 300 else 10, ms=20_000),
            share=25.0 if second < 300 else 50.0,
        )
        for second in range(600)
    ]
    evidence, judgement, _ = watched(readings, ERRORS_ONLY)
    assert judgement.verdict is Verdict.PASSING
    assert sum(evidence.answers.fewer) < 1


def test_the_evidence_is_shown_as_bars() -> None:
    judgement = watched(traffic(CANDIDATE, GOOD, seconds=100))[1]
    assert [bar.name for bar in judgement.evidence] == [
        "warm_up_errors",
        "error_rate_relative",
        "error_rate_absolute",
        "latency_relative",
        "latency_absolute",
        "no_answers",
        "error_rate_proof",
        "latency_proof",
    ]
    assert {bar.needed for bar in judgement.evidence} == {1000.0, 400.0, 20.0}
    assert judgement.suspicion < 20


def test_suspicion_comes_before_the_verdict() -> None:
    seen = []
    evidence = begin(BOTH, 0)
    for reading in traffic(Version(errors=0.1), GOOD, seconds=100):
        evidence, _ = observe(evidence, reading, BOTH)
        judgement = verdict(evidence, BOTH)
        seen.append(judgement)
        if judgement.verdict is Verdict.FAILING:
            break
    assert any(j.suspicion >= 20 and j.verdict is Verdict.INCONCLUSIVE for j in seen)


@pytest.mark.parametrize(
    ("policy", "error", "latency_ms", "needed"),
    [
        (Policy(), 2.0, None, 400.0),
        (Policy(error_rate_threshold=1.0), 0.4, None, 400.0),
        (Policy(error_rate_threshold=None, latency_threshold_ms=250.0), None, 125.0, 400.0),
        (Policy(latency_threshold_ms=300.0, promote_error_rate=1.0, promote_latency_ms=200.0), 1.0, 200.0, 400.0),
        (Policy(latency_threshold_ms=300.0, custom=(CustomMetric(name="cost", rollback_percent=9, promote_percent=5),)), 2.0, 150.0, 600.0),
        (Policy(alpha=0.04), 2.0, None, 100.0),
    ],
)
def test_limits_that_are_left_open_are_derived(policy: Policy, error: float | None, latency_ms: float | None, needed: float) -> None:
    assert (policy.error_promote_limit, policy.latency_promote_limit_ms) == (error, latency_ms)
    assert policy.needed_odds == pytest.approx(needed)


def test_nothing_at_all_is_a_reading_too() -> None:
    evidence, block = observe(begin(BOTH, 45), a_reading(Counts(), Counts()), BOTH, closing=True)
    assert block is not None
    assert verdict(evidence, BOTH).sentence == "no requests yet"
