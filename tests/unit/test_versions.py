"""Order, ranges, upgrade checks, updates and rollback points, as tables and as properties against the `semver` package."""

from datetime import UTC, datetime, timedelta

import pytest
import semver as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.core.errors import Invalid
from agent_servicing.core.version_range import parse_range
from agent_servicing.core.versions import (
    ROLLBACK_POINTS,
    Change,
    Version,
    available_updates,
    by_kind,
    check_upgrade,
    next_patch,
    parse,
    rollback_points,
    step,
    try_parse,
    upgrade_path,
)

numbers = st.integers(0, 12)
words = st.from_regex(r"[A-Za-z-][0-9A-Za-z-]{0,3}", fullmatch=True)
identifiers = st.lists(st.one_of(numbers.map(str), words), max_size=3).map(tuple)
plain_versions = st.builds(lambda a, b, c, pre: Version(major=a, minor=b, patch=c, prerelease=pre), numbers, numbers, numbers, identifiers)
versions = st.builds(
    lambda v, build: Version(major=v.major, minor=v.minor, patch=v.patch, prerelease=v.prerelease, build=build), plain_versions, identifiers
)


@pytest.mark.parametrize("text", ["1.2.3", "0.0.0", "1.2.3-rc.1", "1.2.3+patch.1", "1.2.3-rc.1+patch.2", "10.20.30-x-y.7.z"])
def test_a_version_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text
    assert str(parse("v" + text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3+",
        "1.2.3-a..b",
        "latest",
        " 1.2.3",
        "1.2.3\n",
        "١.٢.٣",
        "vv1.2.3",
        "9" * 200,
    ],
)
def test_what_is_no_version_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Invalid, match=r"MAJOR\.MINOR\.PATCH") as caught:
        parse(text)
    assert caught.value.errors[0].path == "version"
    assert try_parse(text) is None


def test_the_example_of_the_semver_specification_is_in_order() -> None:
    written = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]
    assert sorted(map(parse, reversed(written))) == list(map(parse, written))


def test_a_custom_patch_comes_after_its_base_and_before_the_next_version() -> None:
    written = ["1.2.5-rc.1", "1.2.5-rc.1+patch.1", "1.2.5", "1.2.5+patch.1", "1.2.5+patch.2", "1.2.5+patch.10", "1.2.6-rc.1", "1.2.6"]
    assert sorted(map(parse, reversed(written))) == list(map(parse, written))


@settings(deadline=None)
@given(plain_versions, plain_versions)
def test_the_order_agrees_with_the_semver_package(a: Version, b: Version) -> None:
    assert (a > b) - (a < b) == oracle.Version.parse(str(a)).compare(str(b))


@settings(deadline=None)
@given(versions, versions, versions)
def test_the_order_is_total(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a < b and b < c) or a < c
    assert parse(str(a)) == a


@settings(deadline=None)
@given(versions, versions)
def test_a_step_says_where_it_leads(a: Version, b: Version) -> None:
    kind = step(a, b)
    assert (kind == "downgrade") == (b < a)
    assert (kind == "same") == (a == b)
    assert kind != "major" or a.major < b.major


@pytest.mark.parametrize(
    ("start", "end", "kind"),
    [
        ("1.2.5", "2.0.0", "major"),
        ("1.2.5", "2.0.0-rc.1", "major"),
        ("1.2.5", "1.3.0", "minor"),
        ("1.2.5", "1.2.6", "patch"),
        ("1.2.5", "1.2.5+patch.1", "patch"),
        ("2.0.0-rc.1", "2.0.0-rc.2", "prerelease"),
        ("2.0.0-rc.1", "2.0.0", "prerelease"),
        ("1.2.5", "1.2.5", "same"),
        ("1.2.5", "1.2.5-rc.1", "downgrade"),
        ("1.2.5+patch.1", "1.2.5", "downgrade"),
    ],
)
def test_steps_have_a_kind(start: str, end: str, kind: str) -> None:
    assert step(parse(start), parse(end)) == kind


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("", "0.0.1 9.9.9", ""),
        ("*", "0.0.1 9.9.9", ""),
        (">=1.2", "1.2.0 1.2.0+patch.1 3.0.0 1.3.0-rc.1", "1.1.9 1.2.0-rc.1"),
        (">=1.2,<2", "1.2.0 1.99.0", "2.0.0 2.0.0-rc.1 1.1.0"),
        (">= 1.2 < 2", "1.2.0 1.99.0", "2.0.0 1.1.0"),
        (">1", "2.0.0", "1.9.9 1.0.0"),
        (">1.2.3", "1.2.4", "1.2.3 1.2.3+patch.1"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0 1.3.0-rc.1"),
        ("<=1.2.3", "1.2.3 1.2.3+patch.1", "1.2.4"),
        ("<2.0.0-rc.2", "2.0.0-rc.1", "2.0.0-rc.2 2.0.0"),
        ("^1.2", "1.2.0 1.9.0", "2.0.0 2.0.0-rc.1 1.1.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("1.2", "1.2.0 1.2.9", "1.3.0"),
        ("=1.2.3", "1.2.3 1.2.3+patch.1", "1.2.4 1.2.3-rc.1"),
        ("v1.2.3", "1.2.3", "1.2.4"),
    ],
)
def test_ranges_allow_what_their_words_say(text: str, inside: str, outside: str) -> None:
    allowed = parse_range(text)
    assert [v for v in inside.split() if not allowed.allows(parse(v))] == []
    assert [v for v in outside.split() if allowed.allows(parse(v))] == []


@pytest.mark.parametrize("text", ["latest", ">=", "1.2.3.4", ">=1.2 || <1", ",", "^1.2-rc.1", ">*", "=>1", "1.2.3-01", "1" * 200])
def test_what_is_no_range_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Invalid, match="comparators"):
        parse_range(text)


@settings(deadline=None)
@given(plain_versions)
def test_a_caret_range_holds_its_own_version_and_never_the_next_major(version: Version) -> None:
    allowed = parse_range(f"^{version}")
    assert allowed.allows(version)
    assert not allowed.allows(Version(major=version.major + 1, minor=0, patch=0, prerelease=("0",)))


@settings(deadline=None)
@given(versions, versions)
def test_a_lower_bound_agrees_with_the_order_for_whoever_ignores_builds(bound: Version, version: Version) -> None:
    base = Version(major=bound.major, minor=bound.minor, patch=bound.patch, prerelease=bound.prerelease)
    assert parse_range(f">={base}").allows(version) == (version >= base)


def test_an_allowed_upgrade_meets_no_refusal() -> None:
    assert check_upgrade("1.2.5", "1.3.0", ">=1.2") == ()
    assert check_upgrade(None, "2.0.0", ">=1.2", ["everything"]) == ()


def test_a_downgrade_by_upgrade_is_refused_and_points_to_rollback() -> None:
    ((code, sentence, hint),) = check_upgrade("1.3.0", "1.2.5")
    assert code == "downgrade"
    assert "1.2.5" in sentence
    assert "rollback" in hint


def test_an_upgrade_to_the_running_version_is_refused() -> None:
    assert [refusal.code for refusal in check_upgrade("1.3.0", "v1.3.0")] == ["same_version"]


@pytest.mark.parametrize(("target", "notes"), [("2.0.0", []), ("2.0.0", ["renamed"]), ("1.4.0", ["renamed"])])
def test_what_breaks_needs_to_be_acknowledged(target: str, notes: list[str]) -> None:
    (refusal,) = check_upgrade("1.3.0", target, breaking=notes)
    assert refusal.code == "breaking_not_acknowledged"
    assert all(note in refusal.sentence for note in notes)
    assert check_upgrade("1.3.0", target, breaking=notes, acknowledged=True) == ()


def test_a_path_that_is_not_allowed_names_the_versions_in_between() -> None:
    known = {"1.2.0": "", "1.4.0": ">=1.2", "1.5.0": ">=1.4", "2.0.0": ">=1.4"}
    (refusal,) = check_upgrade("1.2.0", "2.0.0", ">=1.4", acknowledged=True, available=known)
    assert refusal.code == "path_not_allowed"
    assert refusal.hint == "upgrade to 1.4.0, then to 2.0.0"


def test_a_path_that_no_known_version_opens_says_so() -> None:
    (refusal,) = check_upgrade("1.2.0", "2.0.0", ">=1.4", acknowledged=True, available={"2.0.0": ">=1.4"})
    assert "no known version" in refusal.hint


def test_several_reasons_are_all_told() -> None:
    codes = [refusal.code for refusal in check_upgrade("1.2.0", "2.0.0", ">=1.4", ["gone"])]
    assert codes == ["breaking_not_acknowledged", "path_not_allowed"]


def test_the_shortest_path_is_found_with_the_newest_stops() -> None:
    known = {"1.1.0": "1.x", "1.2.0": "1.x", "2.0.0": ">=1.2", "3.0.0": ">=2"}
    assert upgrade_path("1.0.0", "3.0.0", known) == ("1.2.0", "2.0.0", "3.0.0")
    assert upgrade_path("1.0.0", "3.0.0", {"3.0.0": ">=2"}) == ()


def test_updates_come_newest_first_with_their_type() -> None:
    known = ["1.2.4", "1.2.5", "1.2.5+patch.1", "1.2.6", "1.3.0", "2.0.0-rc.1", "2.0.0"]
    assert available_updates("1.2.5", known) == (("2.0.0", "major"), ("1.3.0", "minor"), ("1.2.6", "patch"), ("1.2.5+patch.1", "patch"))


def test_prereleases_are_offered_only_to_who_runs_one() -> None:
    assert available_updates("1.0.0", ["1.1.0-rc.1"]) == ()
    assert available_updates("1.1.0-rc.1", ["1.1.0-rc.2", "1.1.0"]) == (("1.1.0", "patch"), ("1.1.0-rc.2", "patch"))


@settings(deadline=None)
@given(st.lists(plain_versions.map(str)), plain_versions.map(str))
def test_updates_are_newer_distinct_and_sorted(known: list[str], current: str) -> None:
    found = [parse(update.version) for update in available_updates(current, known)]
    assert found == sorted(set(found), reverse=True)
    assert all(version > parse(current) for version in found)


def test_rollback_points_are_the_last_five_other_versions_newest_first() -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    deployed = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.2.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0"]
    history = [(version, day + timedelta(days=number)) for number, version in enumerate(deployed)]
    points = rollback_points(history, "1.7.0")
    assert [point.version for point in points] == ["1.6.0", "1.5.0", "1.4.0", "1.2.0", "1.3.0"]
    assert points[3].deployed_at == day + timedelta(days=4)
    assert len(points) == ROLLBACK_POINTS


def test_an_agent_without_history_has_no_rollback_point() -> None:
    assert rollback_points([], None) == ()


def test_changes_are_grouped_in_the_order_of_their_weight() -> None:
    changes = [Change(kind="fixed", text="b"), Change(kind="breaking", text="a"), Change(kind="fixed", text="c")]
    assert list(by_kind(changes).items()) == [("breaking", ["a"]), ("fixed", ["b", "c"])]


@pytest.mark.parametrize(
    ("base", "taken", "expected"),
    [
        ("1.2.5", [], "1.2.5+patch.1"),
        ("1.2.5", ["1.2.5", "1.2.5+patch.1", "1.2.5+patch.7", "1.2.6+patch.9", "nonsense"], "1.2.5+patch.8"),
        ("1.2.5+patch.1", ["1.2.5+patch.1"], "1.2.5+patch.2"),
        ("1.2.5+patch.10", [], "1.2.5+patch.1"),
        ("1.2.5-rc.1", ["1.2.5+patch.3"], "1.2.5-rc.1+patch.1"),
        ("1.2.5+post.1", ["1.2.5+patch.3"], "1.2.5+post.1.patch.1"),
        ("1.2.5+post.1.patch.1", ["1.2.5+post.1.patch.1"], "1.2.5+post.1.patch.2"),
        ("1.2.5+patch.x", [], "1.2.5+patch.x.patch.1"),
        ("1.2.5", ["1.2.5+build.7"], "1.2.5+patch.1"),
    ],
)
def test_a_custom_patch_gets_the_next_number_on_its_base(base: str, taken: list[str], expected: str) -> None:
    assert next_patch(base, taken) == expected


def test_from_a_version_to_its_patch_one_may_always_go() -> None:
    assert check_upgrade("1.2.5", "1.2.5+patch.1", ">=1.0,<1.2.5") == ()
    assert check_upgrade("1.2.5+patch.1", "1.2.5+patch.2", "=1.1.0") == ()
    assert [r.code for r in check_upgrade("1.2.6", "1.2.7+patch.1", "=1.1.0")] == ["path_not_allowed"]
    assert upgrade_path("1.0.0", "1.2.5+patch.1", {"1.2.5": ">=1.0", "1.2.5+patch.1": "=1.1.0"}) == ("1.2.5", "1.2.5+patch.1")
