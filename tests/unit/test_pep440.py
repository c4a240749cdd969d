"""Python's versions as semantic versions, and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version as PythonVersion

from agent_servicing.adapters.sources.pep440 import to_python, to_semver
from agent_servicing.core.semver import parse


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("1", "1.0.0"),
        ("1.4", "1.4.0"),
        ("0.7.0", "0.7.0"),
        ("v1.2.3", "1.2.3"),
        ("2.0.0b1", "2.0.0-beta.1"),
        ("2.0a2", "2.0.0-alpha.2"),
        ("2.0.0-rc.3", "2.0.0-rc.3"),
        ("1.0.post1", "1.0.0+post.1"),
        ("1.0.dev3", "1.0.0-0.dev.3"),
        ("1.2.3.4", "1.2.3+r.4"),
        ("1.2.3.0", "1.2.3"),
        ("2024.1.15", "2024.1.15"),
    ],
)
def test_a_release_has_one_semantic_version(release: str, version: str) -> None:
    found = to_semver(release)
    assert str(found) == version
    assert found is not None
    assert PythonVersion(to_python(found) or "") == PythonVersion(release)


@pytest.mark.parametrize("release", ["1!2.0", "1.0+cu118", "1.0rc1.post1", "1.0.post1.dev2", "1.0a1.dev1", "1.2.3.4rc1", "nonsense"])
def test_what_would_be_out_of_order_is_left_out(release: str) -> None:
    assert to_semver(release) is None


@pytest.mark.parametrize("version", ["1.2.3+patch.1", "1.2.3-nightly.1", "1.2.3-rc.1+post.1"])
def test_a_semantic_version_of_another_origin_is_no_release(version: str) -> None:
    assert to_python(parse(version)) is None


numbers = st.integers(0, 30)
releases = st.builds(
    lambda parts, suffix: ".".join(map(str, parts)) + suffix,
    st.lists(numbers, min_size=1, max_size=3),
    st.one_of(
        st.just(""),
        st.builds(lambda phase, number: f"{phase}{number}", st.sampled_from(["a", "b", "rc"]), numbers),
        st.builds(lambda kind, number: f".{kind}{number}", st.sampled_from(["post", "dev"]), numbers),
    ),
)


@settings(deadline=None)
@given(releases, releases)
def test_the_order_of_releases_is_kept(one: str, other: str) -> None:
    a, b = to_semver(one), to_semver(other)
    assert a is not None
    assert b is not None
    x, y = PythonVersion(one), PythonVersion(other)
    assert (a > b) - (a < b) == (x > y) - (x < y)


@settings(deadline=None)
@given(releases)
def test_every_rename_can_be_undone(release: str) -> None:
    found = to_semver(release)
    assert found is not None
    assert PythonVersion(to_python(found) or "") == PythonVersion(release)
