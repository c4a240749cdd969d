"""One sick instance is replaced, a sick version is taken back."""

import pytest

from agent_servicing.core.analysis import Policy, without_worst

POLICY = Policy(error_rate_threshold=5.0)
STABLE = (600, 3)


@pytest.mark.parametrize(
    ("what", "instances", "stable", "name"),
    [
        ("one of three fails half of its requests", {"a": (100, 1), "b": (100, 50), "c": (100, 0)}, STABLE, "b"),
        ("one of two", {"a": (100, 60), "b": (100, 1)}, STABLE, "a"),
        ("all of them fail alike", {"a": (100, 30), "b": (100, 33)}, STABLE, None),
        ("two of three fail", {"a": (100, 30), "b": (100, 30), "c": (100, 0)}, STABLE, None),
        ("the others have too few requests to be acquitted", {"a": (100, 60), "b": (15, 0)}, STABLE, None),
        ("there is only one", {"a": (100, 60)}, STABLE, None),
        ("none is bad", {"a": (100, 1), "b": (100, 0)}, STABLE, None),
        ("without a stable version the limit decides", {"a": (100, 60), "b": (100, 1)}, (0, 0), "a"),
        ("the rest is above the limit as well", {"a": (100, 60), "b": (100, 8)}, (0, 0), None),
        ("the sick one had no requests yet", {"a": (0, 0), "b": (100, 50), "c": (100, 0)}, STABLE, "b"),
    ],
)
def test_the_one_instance_without_which_nothing_is_wrong(
    what: str, instances: dict[str, tuple[int, int]], stable: tuple[int, int], name: str | None
) -> None:
    assert without_worst(instances, stable, POLICY) == name, what


def test_without_a_limit_on_errors_no_instance_is_to_blame() -> None:
    assert without_worst({"a": (100, 60), "b": (100, 0)}, STABLE, Policy(error_rate_threshold=None)) is None
