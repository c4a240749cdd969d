"""The share that is really set: never traffic to nobody, never more than can be carried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_servicing.core.routing import effective_share

counts = st.integers(min_value=0, max_value=50)
percent = st.floats(min_value=0, max_value=100, allow_nan=False)


@given(wanted=percent, ready=counts, stable=counts, needed=st.integers(min_value=1, max_value=50))
def test_a_share_is_a_percentage_and_nobody_ready_gets_nothing(wanted: float, ready: int, stable: int, needed: int) -> None:
    share = effective_share(wanted=wanted, candidate_ready=ready, stable_ready=stable, needed=needed)
    assert 0 <= share <= 100
    if ready == 0:
        assert share == 0
    if ready and stable == 0:
        assert share == 100
    if ready and stable:
        assert share <= wanted
        assert share <= 100 * ready / needed + 1e-9


@given(a=percent, b=percent, ready=counts, stable=counts, needed=st.integers(min_value=1, max_value=50))
def test_asking_for_more_never_gives_less(a: float, b: float, ready: int, stable: int, needed: int) -> None:
    low, high = sorted((a, b))
    shares = [effective_share(wanted=w, candidate_ready=ready, stable_ready=stable, needed=needed) for w in (low, high)]
    assert shares[0] <= shares[1]


def test_a_share_beyond_one_hundred_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        effective_share(wanted=101, candidate_ready=1, stable_ready=1, needed=1)
