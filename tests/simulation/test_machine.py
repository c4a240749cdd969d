"""Hypothesis presses every verb in every state and lets it be as unlucky as it likes; the same world, the same laws, shrunk to the shortest story."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent_servicing.core.status import Verb
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation import loop
from agent_servicing.testing.simulation.faults import Fault
from agent_servicing.testing.simulation.operators import VERBS
from agent_servicing.testing.simulation.parts import Temper
from agent_servicing.testing.simulation.run import quiet
from agent_servicing.testing.simulation.story import Story

WAITS = st.sampled_from([0.05, 0.5, 3.0, 12.0])


class Operated(RuleBasedStateMachine):
    """One agent, or two; what happens is chosen by Hypothesis, everything else is drawn from the seed it chose."""

    @initialize(seed=st.integers(min_value=0, max_value=50))
    def begin(self, seed: int) -> None:
        self.story = Story(seed, None)
        self.world, self.site, self.operators = self.story.world, self.story.sites[0], self.story.operators
        self.run(self.story.install)

    def run(self, act: Any) -> None:
        with quiet():
            loop.run(act)

    def live(self, seconds: float) -> None:
        self.run(lambda: self.world.live(self.world.seconds + seconds))

    @rule(strategy=st.sampled_from(sorted(UPGRADES)), wait=WAITS, errors=st.sampled_from([0.0, 0.0, 0.3]))
    def upgrade(self, strategy: str, wait: float, errors: float) -> None:
        self.world.runtime.behaviours[f"1.{self.site.versions}.0"] = Temper(error_share=errors)
        self.operators.strategy = strategy
        self.operators.upgrade(self.site)
        self.live(wait)

    @rule(verb=st.sampled_from(VERBS), wait=WAITS)
    def press(self, verb: Verb, wait: float) -> None:
        self.operators.press(self.site, verb)
        self.live(wait)

    @rule(wait=WAITS)
    def roll_back(self, wait: float) -> None:
        self.operators.roll_back(self.site)
        self.live(wait)

    @rule(wait=WAITS)
    def restart(self, wait: float) -> None:
        self.operators.restart(self.site)
        self.live(wait)

    @rule(instances=st.integers(min_value=1, max_value=4), wait=WAITS)
    def scale(self, instances: int, wait: float) -> None:
        self.operators.intend(self.site, Verb.SCALE, value=instances)
        self.live(wait)

    @rule(which=st.integers(min_value=0, max_value=9), wait=WAITS)
    def fell(self, which: int, wait: float) -> None:
        alive = [name for name in sorted(self.world.runtime.processes[self.site.agent]) if self.world.runtime.alive(self.site.agent, name)]
        if alive:
            self.world.runtime.fell(self.site.agent, alive[which % len(alive)])
        self.live(wait)

    @rule(kind=st.sampled_from(Fault), wait=WAITS)
    def trouble(self, kind: Fault, wait: float) -> None:
        weather = self.world.weather
        weather.kinds, weather.chance = frozenset({kind}), 0.2
        self.live(wait)
        weather.chance = 0.0

    @invariant()
    def every_law_holds(self) -> None:
        if hasattr(self, "world"):
            assert self.world.breach is None, self.world.breach

    def teardown(self) -> None:
        if hasattr(self, "world") and self.world.breach is None:
            # Peace is for versions too: while old and new fail alike, a watch rightly waits for longer than a story lasts.
            tempers = self.world.runtime.behaviours
            tempers.update({version: replace(temper, error_share=0.0) for version, temper in tempers.items()})
            self.run(self.story.peace)
            self.every_law_holds()


Operated.TestCase.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TestOperated = Operated.TestCase


def test_a_lease_that_could_not_be_given_back_runs_out_and_then_what_fell_is_noticed() -> None:
    """What Hypothesis found: the database is away when the turn fails and when the lease is to be given back."""
    story = Operated()
    story.begin(seed=0)
    story.trouble(kind=Fault.CRASH_BEFORE, wait=0.05)
    story.upgrade(errors=0.0, strategy="blue-green", wait=0.05)
    story.fell(wait=0.05, which=0)
    story.trouble(kind=Fault.ERROR_BEFORE, wait=0.05)
    assert any("release: error before" in line for _, line in story.world.told)
    story.teardown()
