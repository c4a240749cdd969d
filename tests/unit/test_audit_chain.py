"""The hash chain: every change of history is found, and nothing else is."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_servicing.core.audit import GENESIS, Chain, StoredEvent, canonical, digest
from agent_servicing.core.events import Event
from agent_servicing.testing.clock import START

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def history(length: int) -> list[StoredEvent]:
    entries, head = [], GENESIS
    for number in range(length):
        event = Event(type="upgrade", at=START + timedelta(seconds=number), agent="A", actor="ada", audit=True, data={"number": number})
        head = digest(head, seq=number + 1, event_id=f"evt-{number}", event=event)
        entries.append(StoredEvent(seq=number + 1, event_id=f"evt-{number}", event=event, digest=head))
    return entries


def test_an_untouched_history_is_valid_to_its_end() -> None:
    entries = history(5)
    chain = Chain().follow(entries)
    assert chain.ends_at(entries=5, head=entries[-1].digest or "")


def test_checking_in_batches_is_the_same_as_checking_at_once() -> None:
    entries = history(7)
    chain = Chain()
    for start in range(0, 7, 3):
        chain = chain.follow(entries[start : start + 3])
    assert chain == Chain().follow(entries)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "rollback"},
        {"actor": "eve"},
        {"reason": "something else"},
        {"agent": "B"},
        {"deployment": "upg-9"},
        {"data": {"number": 99}},
        {"at": START},
    ],
)
def test_a_changed_entry_is_named(change: dict[str, object]) -> None:
    entries = history(5)
    entries[2] = replace(entries[2], event=replace(entries[2].event, **change))  # type: ignore[arg-type]
    assert Chain().follow(entries).broken_at == "evt-2"


def test_an_entry_with_a_made_up_hash_is_named_at_the_next_one_at_the_latest() -> None:
    entries = history(5)
    forged = replace(entries[2].event, actor="eve")
    entries[2] = replace(entries[2], event=forged, digest=digest(entries[1].digest or "", seq=3, event_id="evt-2", event=forged))
    assert Chain().follow(entries).broken_at == "evt-3"


def test_a_removed_entry_is_found_at_the_one_after_it() -> None:
    entries = history(5)
    del entries[2]
    assert Chain().follow(entries).broken_at == "evt-3"


def test_swapped_entries_are_found() -> None:
    entries = history(5)
    entries[1], entries[2] = entries[2], entries[1]
    assert Chain().follow(entries).broken_at == "evt-2"


def test_an_entry_without_a_hash_does_not_pass() -> None:
    entries = history(2)
    entries[1] = replace(entries[1], digest=None)
    assert Chain().follow(entries).broken_at == "evt-1"


def test_a_history_cut_at_its_end_is_found_by_the_count() -> None:
    entries = history(5)
    assert not Chain().follow(entries[:4]).ends_at(entries=5, head=entries[4].digest or "")


def test_the_same_moment_in_another_zone_hashes_the_same() -> None:
    event = Event(type="upgrade", at=START, audit=True)
    elsewhere = replace(event, at=START.astimezone(timezone(timedelta(hours=5))))
    assert digest(GENESIS, seq=1, event_id="e", event=event) == digest(GENESIS, seq=1, event_id="e", event=elsewhere)


def test_numbers_as_keys_sort_as_the_text_they_become() -> None:
    assert canonical({10: "a", 9: "b"}) == canonical({"10": "a", "9": "b"})


@given(json_values)
def test_canonical_text_is_stable_when_read_and_written_again(value: object) -> None:
    import json

    assert canonical(json.loads(canonical(value))) == canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), START])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical({"value": value})
