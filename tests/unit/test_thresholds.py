"""Which limits hold when nobody, some or all of them have said something."""

from typing import Any

import pytest

from agent_servicing.core.analysis import Policy
from agent_servicing.core.thresholds import NAMES, NOTHING_SET, Defaults, Said, in_force
from agent_servicing.services.specs import limit_problems, with_thresholds


def found(request: Said, own: Said, general: Said) -> dict[str, tuple[float | None, str]]:
    return {name: (each.value, each.origin) for name, each in in_force(Defaults(agent=own, all=general), request).items()}


def test_while_nothing_is_set_and_nothing_is_said_the_policy_is_the_built_in_one() -> None:
    assert with_thresholds(Policy(), in_force(NOTHING_SET)) == Policy()
    assert {each.origin for name, each in in_force(NOTHING_SET).items() if not name.startswith("promote")} == {"built_in"}


@pytest.mark.parametrize(
    ("request_", "own", "general", "wanted"),
    [
        ({}, {}, {}, (None, "built_in")),
        ({}, {}, {"latency_threshold_ms": 400}, (400, "all")),
        ({}, {"latency_threshold_ms": 300}, {"latency_threshold_ms": 400}, (300, "agent")),
        ({"latency_threshold_ms": 200}, {"latency_threshold_ms": 300}, {"latency_threshold_ms": 400}, (200, "request")),
        ({"latency_threshold_ms": None}, {"latency_threshold_ms": 300}, {}, (None, "request")),
        ({}, {"latency_threshold_ms": None}, {"latency_threshold_ms": 400}, (None, "agent")),
    ],
)
def test_the_nearest_place_that_says_a_limit_counts_and_no_limit_is_said_too(
    request_: Said, own: Said, general: Said, wanted: tuple[float | None, str]
) -> None:
    assert found(request_, own, general)["latency_threshold_ms"] == wanted


@pytest.mark.parametrize(
    ("request_", "own", "general", "wanted"),
    [
        ({}, {}, {"error_rate_threshold": 4, "promote_error_rate": 3}, (3, "all")),
        ({}, {"promote_error_rate": 2}, {"error_rate_threshold": 4, "promote_error_rate": 3}, (2, "agent")),
        ({"error_rate_threshold": 1}, {}, {"error_rate_threshold": 4, "promote_error_rate": 3}, (None, "derived")),
        ({}, {"error_rate_threshold": None}, {"error_rate_threshold": 4, "promote_error_rate": 3}, (None, "derived")),
        ({"promote_error_rate": None}, {}, {"error_rate_threshold": 4, "promote_error_rate": 3}, (None, "derived")),
    ],
)
def test_a_promote_limit_that_was_meant_for_another_threshold_is_derived_instead(
    request_: Said, own: Said, general: Said, wanted: tuple[float | None, str]
) -> None:
    assert found(request_, own, general)["promote_error_rate"] == wanted


def test_a_promote_limit_above_the_threshold_that_others_set_contradicts_it() -> None:
    policy = with_thresholds(Policy(), in_force(Defaults(agent={"promote_error_rate": 4}, all={"error_rate_threshold": 3})))
    assert [path for path, _ in limit_problems(policy)] == ["promote_error_rate"]


def test_every_limit_is_one_of_the_policy() -> None:
    policy: Any = Policy()
    assert all(hasattr(policy, name) for name in NAMES)
