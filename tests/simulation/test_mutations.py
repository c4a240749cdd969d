"""Every seeded bug is caught by the simulator, and by a law that guards against it."""

import pytest

from agent_servicing.testing.simulation.run import Outcome, play_all
from tests.simulation.mutations import CAUGHT_BY, MUTATIONS, mutated

ENOUGH = 300
"""Stories within which a bug must show when its known seed no longer shows it, because stories are drawn differently now."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_seeded_bug_is_caught(name: str) -> None:
    mutation = MUTATIONS[name]
    with mutated(mutation):
        outcome = _caught(*CAUGHT_BY.get(name, (0, mutation.strategy)), mutation.strategy)
    assert outcome is not None, f"not caught in {ENOUGH} stories"
    assert outcome.breach is not None
    assert outcome.breach.law in mutation.laws, f"caught by {outcome.breach.law}: {outcome.breach.sentence}"


def _caught(seed: int, strategy: str | None, of: str | None) -> Outcome | None:
    for seeds, chosen in ((range(seed, seed + 1), strategy), (range(ENOUGH), of)):
        last = play_all(seeds, chosen)[-1]
        if last.breach is not None:
            return last
    return None
