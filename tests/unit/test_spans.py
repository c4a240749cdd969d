"""Spans of time as people read them: in an operator's page and terminal, in notes and sentences."""

import pytest

from agent_servicing.core.spans import in_words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3513, "59 min"), (5400, "2 h"), (90_000, "25 h")]
)
def test_a_span_is_said_in_the_unit_that_is_read_at_a_glance(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
