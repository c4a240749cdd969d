"""The hash chain: every change of history is found, and nothing else is."""

import json
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_servicing.core.audit import (
    GENESIS,
    Anchor,
    Around,
    Break,
    Chain,
    Finding,
    Link,
    Record,
    StoredEvent,
    canonical,
    digest,
    sealed,
    what_broke,
    what_is_missing,
)
from agent_servicing.core.audit_text import record_of, shown
from agent_servicing.core.events import Event
from agent_servicing.testing.clock import START

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def history(length: int) -> list[Record]:
    entries: list[Record] = []
    for number in range(1, length + 1):
        event = Event(type="upgrade", at=START + timedelta(seconds=number), agent="A", actor="ada", audit=True, data={"number": number})
        previous = entries[-1].digest if entries else GENESIS
        entries.append(sealed(event, previous=str(previous), entry=number, seq=2 * number, event_id=f"evt-{number}"))
    return entries


def checked(entries: list[Record], *, written: Anchor) -> Finding | None:
    """What a whole check says, as the service and the offline check make it."""
    chain = Chain().follow(entries)
    if chain.broken is None:
        return None if chain.ends_at(written) else what_is_missing(chain, written)
    at = entries.index(chain.broken)
    elsewhere, twin = (
        next((e for e in entries if e.entry == number and e is not chain.broken), None)
        for number in (chain.entries + 1, chain.broken.entry)
    )
    follows = entries[at + 1] if at + 1 < len(entries) else None
    return what_broke(chain, Around(follows=follows, elsewhere=elsewhere, twin=twin, written=written.entries))


def found(entries: list[Record], original: list[Record]) -> tuple[Break, str | None] | None:
    finding = checked(entries, written=Anchor(entries=len(original), head=str(original[-1].digest)))
    return (finding.kind, finding.event_id) if finding else None


def forged(record: Record, **changes: Any) -> Record:
    """Changed, with a hash that fits."""
    changed = record._replace(**changes)
    return changed._replace(digest=digest(changed))


def test_an_untouched_history_is_valid_to_its_end() -> None:
    entries = history(5)
    assert found(entries, entries) is None


def test_checking_in_batches_is_the_same_as_checking_at_once() -> None:
    entries = history(7)
    chain = Chain()
    for start in range(0, 7, 3):
        chain = chain.follow(entries[start : start + 3])
    assert chain == Chain().follow(entries)


def test_a_check_can_begin_behind_what_was_archived() -> None:
    entries = history(7)
    chain = Chain(entries=3, head=str(entries[2].digest)).follow(entries[3:])
    assert chain.ends_at(Anchor(entries=7, head=str(entries[6].digest)))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "rollback"},
        {"actor": "eve"},
        {"reason": "something else"},
        {"agent": "B"},
        {"agent": None},
        {"deployment": "upg-9"},
        {"data": '{"number":99}'},
        {"at": "2020-01-01T00:00:00.000000+00:00"},
        {"event_id": "evt-9"},
        {"digest": None},
        {"digest": "0" * 64},
    ],
)
def test_a_changed_entry_is_named(change: dict[str, Any]) -> None:
    entries = history(5)
    tampered = [*entries[:2], entries[2]._replace(**change), *entries[3:]]
    assert found(tampered, entries) == (Break.CHANGED, change.get("event_id", "evt-3"))


def test_a_changed_entry_with_a_hash_made_to_fit_is_named_by_the_next_one() -> None:
    entries = history(5)
    assert found([*entries[:2], forged(entries[2], actor="eve"), *entries[3:]], entries) == (Break.CHANGED, "evt-3")


def test_the_newest_entry_replaced_with_a_hash_made_to_fit_is_found_by_what_was_counted() -> None:
    entries = history(5)
    assert found([*entries[:4], forged(entries[4], actor="eve")], entries) == (Break.CHANGED, "evt-5")


@pytest.mark.parametrize("gone", [slice(0, 1), slice(2, 3), slice(1, 4)])
def test_removed_entries_are_found_at_the_one_after_them(gone: slice) -> None:
    entries = history(5)
    left = [e for e in entries if e not in entries[gone]]
    assert found(left, entries) == (Break.DELETED, f"evt-{gone.stop + 1}")


def test_a_history_cut_at_its_end_is_found_by_the_count() -> None:
    entries = history(5)
    assert found(entries[:3], entries) == (Break.DELETED, "evt-3")


def test_a_history_without_any_entry_left_has_none_to_name() -> None:
    assert found([], history(3)) == (Break.DELETED, None)


def test_swapped_entries_are_called_reordered() -> None:
    entries = history(5)
    swapped = [entries[0], entries[2], entries[1], *entries[3:]]
    assert found(swapped, entries) == (Break.REORDERED, "evt-3")


def test_entries_that_swapped_their_places_in_the_log_too_are_called_reordered() -> None:
    entries = history(5)
    swapped = [entries[0], entries[2]._replace(seq=4), entries[1]._replace(seq=6), *entries[3:]]
    assert found(swapped, entries) == (Break.REORDERED, "evt-3")


def test_an_entry_moved_far_away_is_called_reordered() -> None:
    entries = history(5)
    assert found([*entries[1:], entries[0]], entries) == (Break.REORDERED, "evt-2")


@pytest.mark.parametrize("number", [1, 4, None, 99])
def test_an_entry_put_in_is_named_whatever_number_it_bears(number: int | None) -> None:
    entries = history(5)
    stranger = forged(entries[1], entry=number, event_id="evt-x", seq=5, previous=entries[1].digest)
    assert found([*entries[:2], stranger, *entries[2:]], entries) == (Break.INSERTED, "evt-x")


def test_of_two_entries_that_both_fit_the_second_is_named() -> None:
    entries = history(5)
    stranger = forged(entries[1], entry=3, event_id="evt-x", seq=5, previous=entries[1].digest)
    assert found([*entries[:2], stranger, *entries[2:]], entries) == (Break.INSERTED, "evt-3")


def test_an_entry_put_in_without_a_hash_that_fits_is_named_although_its_number_is_the_next() -> None:
    entries = history(5)
    stranger = entries[1]._replace(entry=3, event_id="evt-x", seq=5)
    assert found([*entries[:2], stranger, *entries[2:]], entries) == (Break.INSERTED, "evt-x")


def test_an_entry_added_at_the_end_is_found_by_the_count() -> None:
    entries = history(5)
    stranger = forged(entries[4], entry=6, event_id="evt-x", seq=11, previous=entries[4].digest)
    assert found([*entries, stranger], entries) == (Break.INSERTED, "evt-x")


def test_the_same_moment_in_another_zone_hashes_the_same() -> None:
    event = Event(type="upgrade", at=START, audit=True)
    elsewhere = replace(event, at=START.astimezone(timezone(timedelta(hours=5))))
    one, other = (sealed(e, previous=GENESIS, entry=1, seq=1, event_id="e") for e in (event, elsewhere))
    assert one == other


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"status": "success", "duration_seconds": 1.5, "impact": {"requests": 3}},
        {"status": None},
        {"reason": "hidden", "type": 7, "chain": {"entry": 1}, "status": "failed"},
        {"ü": "ß", "n": 1e300, "z": -0.0, "list": [1, {"a": None}]},
    ],
)
def test_what_is_shown_of_an_entry_is_enough_to_check_it(data: dict[str, object]) -> None:
    event = Event(type="upgrade", at=START + timedelta(microseconds=7), agent="A", deployment="upg-1", actor="ada", audit=True, data=data)
    record = sealed(event, previous=GENESIS, entry=1, seq=5, event_id="evt-1")
    stored = StoredEvent(seq=5, event_id="evt-1", event=event, link=Link(entry=1, previous=GENESIS, digest=str(record.digest)))
    seen = json.loads(json.dumps(shown(stored), default=lambda at: at.isoformat()))
    assert record_of(seen) == record
    assert (seen["reason"], seen["type"], seen["operator"]) == ("", "upgrade", "ada")


@pytest.mark.parametrize("change", [{"chain": None}, {"event_id": 5}, {"timestamp": "yesterday"}, {"chain": {"entry": True}}])
def test_what_is_no_entry_is_refused(change: dict[str, object]) -> None:
    event = Event(type="upgrade", at=START, audit=True)
    stored = StoredEvent(seq=5, event_id="evt-1", event=event, link=Link(entry=1, previous=GENESIS, digest="x"))
    seen = json.loads(json.dumps(shown(stored), default=lambda at: at.isoformat()))
    with pytest.raises(ValueError, match=r"chain|event_id|isoformat|previous"):
        record_of(seen | change)


def test_numbers_as_keys_sort_as_the_text_they_become() -> None:
    assert canonical({10: "a", 9: "b"}) == canonical({"10": "a", "9": "b"})


@given(json_values)
def test_canonical_text_is_stable_when_read_and_written_again(value: object) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), START])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical({"value": value})
