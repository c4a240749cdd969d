"""Stories in which every upgrade copies the state, and rollbacks put copies back or convert: no law breaks, and seeded bugs are caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent_servicing.core import begin, state_stages
from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Deployment, Generation
from agent_servicing.core.progress import Progress
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation.run import play_all, verdict
from tests.simulation.mutations import Mutation, mutated

STORIES = 30


@pytest.mark.parametrize("strategy", sorted(UPGRADES))
def test_no_law_is_broken_when_the_state_is_copied_restored_and_converted(strategy: str) -> None:
    outcomes = play_all(range(STORIES), strategy, snapshots=True)
    assert [verdict(outcome) for outcome in outcomes if outcome.breach is not None] == []
    told = [line for outcome in outcomes for line in outcome.timeline]
    for stage in ("snapshot_state", "restore_state", "set_state_aside", "convert_state"):
        assert any(f"stage='{stage}" in line for line in told), stage


def _unpacked_at_once(*_: Any) -> Progress:
    return Progress(done=True)


def _any_that_runs(right: Callable[[Draft, Deployment], Generation | None]) -> Callable[[Draft, Deployment], Generation | None]:
    """As if the spec said nothing of a restore: what is warm is taken, with the state it has."""

    def wrong(draft: Draft, deployment: Deployment) -> Generation | None:
        found = right(draft, replace(deployment, spec=replace(deployment.spec, restore=None)))
        if found is not None and deployment.spec.restore is not None:
            found = replace(found, epoch=draft.agent.next_epoch)
            draft.put(found)
        return found

    return wrong


BUGS = {
    "instances start before the snapshot is unpacked": (
        Mutation(changes={(state_stages, "_restored"): _unpacked_at_once}, laws=frozenset({"nobody_uses_half_a_state"}))
    ),
    "a running generation is given another state": (
        Mutation(
            changes={(begin, "_candidate"): _any_that_runs(begin._candidate)},
            laws=frozenset({"a_generation_keeps_its_state", "nobody_uses_half_a_state"}),
        )
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_about_state_is_caught(name: str) -> None:
    with mutated(BUGS[name]):
        last = play_all(range(100), "blue-green", snapshots=True)[-1]
    assert last.breach is not None
    assert last.breach.law in BUGS[name].laws, f"caught by {last.breach.law}: {last.breach.sentence}"
