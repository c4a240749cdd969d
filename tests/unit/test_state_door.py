"""The door between two versions' state: whether one can come back through it."""

import pytest

from agent_servicing.core.manifest import StateSpec
from agent_servicing.core.state import door

NONE = StateSpec()
SILENT = StateSpec(directory="state")
CONVERTS = StateSpec(directory="state", writes=3, reads=(2, 3), converts=(2,))


def keeps(writes: int, *reads: int) -> StateSpec:
    return StateSpec(directory="state", writes=writes, reads=reads)


@pytest.mark.parametrize(
    ("old", "new", "verdict", "word"),
    [
        (NONE, NONE, "two_way", "neither"),
        (NONE, keeps(2), "two_way", "old version keeps no state"),
        (keeps(2), NONE, "two_way", "new version keeps no state"),
        (keeps(3), keeps(3), "two_way", "schema 3"),
        (keeps(2, 2, 3), keeps(3, 2, 3), "two_way", "schemas 2 and 3"),
        (keeps(2, 2), keeps(3, 2, 3), "one_way", "old version cannot read state schema 3"),
        (keeps(2, 2, 3), keeps(3, 3), "one_way", "new version cannot read state schema 2"),
        (keeps(2, 2), CONVERTS, "two_way_by_migration", "convert its state schema 3 back to 2"),
        (keeps(1, 1), CONVERTS, "one_way", "new version cannot read state schema 1"),
        (SILENT, keeps(3), "unknown", "does not say"),
        (keeps(3), SILENT, "unknown", "does not say"),
    ],
)
def test_the_verdict_follows_from_what_each_version_reads_and_writes(old: StateSpec, new: StateSpec, verdict: str, word: str) -> None:
    found, sentence = door(old, new)
    assert found == verdict
    assert word in sentence
