"""Stories in which configurations are changed while everything else goes on: no law breaks, and seeded bugs are caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent_servicing.core import decide
from agent_servicing.core.config import endings, rollout
from agent_servicing.core.config.patch import Patch
from agent_servicing.core.draft import Draft
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation.run import play_all, verdict
from tests.simulation.mutations import Mutation, mutated

STORIES = 60
ENOUGH = 200


@pytest.mark.parametrize("strategy", sorted(UPGRADES))
def test_no_law_is_broken_when_configurations_are_changed(strategy: str) -> None:
    outcomes = play_all(range(STORIES), strategy, patches=True)
    assert [verdict(outcome) for outcome in outcomes if outcome.breach is not None] == []
    told = [line for outcome in outcomes for line in outcome.timeline]
    for kind in ("config_applied", "config_refused", "config_reverted", "config_drifted", "somebody edits", "is asked for (safe)"):
        assert any(kind in line for line in told), kind


def _a_no_is_a_yes(right: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return replace(found, result="prepared") if found.result == "refused" else found

    return wrong


def _kept_all_the_same(right: Callable[[Draft, Patch, str], None]) -> Callable[[Draft, Patch, str], None]:
    def wrong(draft: Draft, patch: Patch, why: str) -> None:
        right(draft, patch, why)
        for generation in list(draft.generations.values()):
            if generation.config in patch.before.values():
                draft.put(replace(generation, config=patch.revision))

    return wrong


def _silent(right: Callable[..., None]) -> Callable[..., None]:
    def wrong(draft: Draft, *arguments: Any) -> None:
        right(draft, *arguments)
        draft.events = [event for event in draft.events if not event.audit]

    return wrong


BUGS = {
    "a no counts as a yes": Mutation(
        changes={(rollout, "_asked"): _a_no_is_a_yes(rollout._asked)}, laws=frozenset({"one_refusal_and_nobody_gets_it"})
    ),
    "nobody repairs what drifts": Mutation(
        changes={(decide, "repair"): lambda _: None}, laws=frozenset({"everybody_has_what_is_in_force"})
    ),
    "what was taken back is kept": Mutation(
        changes={(rollout, "take_back"): _kept_all_the_same(rollout.take_back)},
        laws=frozenset({"what_was_refused_is_not_offered_again", "everybody_has_what_is_in_force"}),
    ),
    "nobody gives up waiting for an answer": Mutation(
        changes={(rollout, "_late"): lambda *_: False}, laws=frozenset({"every_change_ends"})
    ),
    "an end without a closing entry": Mutation(changes={(endings, "_tell"): _silent(endings._tell)}, laws=frozenset({"every_change_ends"})),
}  # fmt: skip


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_about_configurations_is_caught(name: str) -> None:
    with mutated(BUGS[name]):
        last = play_all(range(ENOUGH), "blue-green", patches=True)[-1]
    assert last.breach is not None
    assert last.breach.law in BUGS[name].laws, f"caught by {last.breach.law}: {last.breach.sentence}"
