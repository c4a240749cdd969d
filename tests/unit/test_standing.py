"""Which update is recommended: tables of versions in, one piece of advice out."""

import pytest

from agent_servicing.core.standing import Candidate, Hints, Standing, hints

DEPRECATED, WITHDRAWN = Standing.DEPRECATED, Standing.WITHDRAWN


def some(*versions: str, **flags: object) -> list[Candidate]:
    return [Candidate(version=version, **flags) for version in versions]  # type: ignore[arg-type]


def advised(candidates: list[Candidate], standing: Standing = Standing.AVAILABLE) -> tuple[str, str, str] | None:
    advice = hints("1.2.5", candidates, standing=standing).recommended
    return (advice.version, advice.type, advice.urgency) if advice else None


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (some("1.2.6", "1.3.0", "1.3.1"), ("1.3.1", "minor", "normal")),
        (some("1.2.6", "1.3.0", "2.0.0"), ("1.3.0", "minor", "normal")),
        (some("2.0.0"), None),
        (some("1.2.5", "1.2.4"), None),
        ([], None),
        (some("1.2.6") + some("1.3.0", breaking=True), ("1.2.6", "patch", "normal")),
        (some("1.2.6") + some("1.3.0", reachable=False), ("1.2.6", "patch", "normal")),
        (some("1.2.6") + some("1.2.7", standing=DEPRECATED) + some("1.2.8", standing=WITHDRAWN), ("1.2.6", "patch", "normal")),
        (some("1.3.0-rc.1"), None),
        (some("1.2.5+patch.1"), ("1.2.5+patch.1", "patch", "normal")),
    ],
)
def test_the_newest_that_breaks_nothing_is_recommended(candidates: list[Candidate], expected: tuple[str, str, str] | None) -> None:
    assert advised(candidates) == expected


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        (some("1.2.7", "1.3.0") + some("1.2.6", security=True), ("1.2.7", "patch", "security")),
        (some("1.2.6", "1.4.0") + some("1.3.0", security=True), ("1.4.0", "minor", "security")),
        (some("1.2.6", "1.3.0") + some("2.0.0", security=True), ("2.0.0", "major", "security")),
        (some("1.2.6", security=True) + some("1.3.0", critical=True), ("1.3.0", "minor", "critical")),
        (some("1.2.6", security=True) + some("1.2.7", breaking=True), ("1.2.6", "patch", "security")),
        (some("1.2.6", security=True, standing=WITHDRAWN) + some("1.3.0"), ("1.3.0", "minor", "normal")),
    ],
)
def test_what_closes_holes_comes_first_with_the_smallest_step(candidates: list[Candidate], expected: tuple[str, str, str]) -> None:
    assert advised(candidates) == expected


def test_the_reason_names_what_is_closed_and_what_is_left() -> None:
    advice = hints("1.2.5", some("1.2.6", "1.2.7", "1.3.0", security=True)).recommended
    assert advice is not None
    assert advice.reason == "closes security problems (of 1.2.6, 1.2.7) with the smallest step; 1.3.0 has more of them"


def test_away_from_a_withdrawn_version_even_by_a_major_step() -> None:
    assert advised(some("1.2.6", "1.3.0"), WITHDRAWN) == ("1.2.6", "patch", "withdrawn")
    assert advised(some("2.0.0"), WITHDRAWN) == ("2.0.0", "major", "withdrawn")
    assert advised([], WITHDRAWN) is None


def test_the_newest_of_each_step_is_named_and_nothing_before_there_is_a_version() -> None:
    found = hints("1.2.5", some("1.2.6", "1.2.7", "1.3.0", "2.0.0", "3.0.0") + some("4.0.0", standing=WITHDRAWN))
    assert (found.patch, found.minor, found.major) == ("1.2.7", "1.3.0", "3.0.0")
    assert hints(None, some("1.0.0")) == Hints()
