"""Hundreds of stories for each strategy of the registry: whatever happens, no law is broken and everything ends.

A seed that breaks one is printed with the command that plays it again, and stays in `regressions.py`.
"""

import pytest

from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation.moments import Violation
from agent_servicing.testing.simulation.run import Outcome, play_all, simulate, verdict
from tests.simulation.mutations import CAUGHT_BY, MUTATIONS, mutated
from tests.simulation.regressions import REGRESSIONS

SEEDS = 100
CHUNK = 20


@pytest.mark.parametrize("strategy", sorted(UPGRADES))
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_law_is_broken_in_any_story(strategy: str, first: int) -> None:
    outcomes = play_all(range(first, first + CHUNK), strategy)
    assert [verdict(outcome) for outcome in outcomes if outcome.breach is not None] == []
    assert sum(outcome.deployments for outcome in outcomes) > CHUNK


@pytest.mark.parametrize(("seed", "strategy"), REGRESSIONS)
def test_what_once_broke_a_law_does_so_no_more(seed: int, strategy: str) -> None:
    simulate(seed, strategy)


def test_a_seed_is_the_same_story_every_time() -> None:
    def told(outcome: Outcome) -> tuple[object, ...]:
        return outcome.timeline, outcome.turns, outcome.steps, outcome.seconds

    (first,), (second,) = play_all(range(7, 8), "blue-green"), play_all(range(7, 8), "blue-green")
    assert told(first) == told(second)
    assert len(first.timeline) > 10


def test_a_broken_law_is_reported_with_the_command_that_shows_it() -> None:
    name = "the store ignores leases"
    seed, strategy = CAUGHT_BY[name]
    with mutated(MUTATIONS[name]), pytest.raises(Violation, match=f"stale_commits.*Replay: make sim SEED={seed} STRATEGY={strategy}"):
        simulate(seed, strategy)
