"""Operators press every button at any time while instances die and the parts stop answering; seeded, so that a failure can be replayed.

`make unit ARGS="tests/simulation -k accidents"` runs it; the seed is the parameter in the test's name.
"""

import random
from collections.abc import Callable

import pytest

from agent_servicing.core.manifest import ConversationKey, Drain, Run
from agent_servicing.core.status import DeploymentKind, Verb
from tests.unit.world import AGENT, World, a_manifest

pytestmark = pytest.mark.anyio

VERSIONS = tuple(f"1.{minor}.0" for minor in range(8))
SETTLED = 20_000
"""Turns within which everything must have ended after the last accident."""


class Accidents:
    """One seed's story: an installed agent, then some hundred turns in which anything may happen, then peace."""

    def __init__(self, seed: int, *, crashes: bool) -> None:
        self.dice = random.Random(seed)
        self.crashes = crashes
        self.crashed = False
        self.requested: list[str] = []
        self.next = 1
        dice = self.dice
        self.world = World(
            requests_per_second=dice.choice([0, 3, 50, 200]),
            manifest=a_manifest(
                conversation_key=ConversationKey(kind="header", name="X-Conversation-Id") if dice.random() < 0.5 else None,
                run=Run(command=("serve",), instances=dice.choice([1, 2, 3])),
                drain=Drain(conversation_timeout_seconds=dice.choice([0, 20])),
            ),
        )
        for version in VERSIONS[1:]:
            behaviour = self.world.runtime.behaviour(version)
            behaviour.installs, behaviour.healthy = dice.random() > 0.1, dice.random() > 0.1
            behaviour.crashes, behaviour.ignores_sigterm = dice.random() < 0.1, dice.random() < 0.2
            behaviour.error_share = dice.choice([0, 0, 0, 0.02, 0.3])

    async def run(self) -> None:
        world = await self.world.installed(VERSIONS[0])
        world.after_step = self.check
        for _ in range(self.dice.randint(50, 600)):
            self.happen()
            await world.step()
        await self.peace()
        self.check_settled()

    def happen(self) -> None:
        acts: list[tuple[float, Callable[[], None]]] = [
            (0.010, self.upgrade),
            (0.006, self.roll_back),
            (0.002, self.restart),
            (0.024, self.press),
            (0.003, lambda: self.world.intend(Verb.SCALE, value=self.dice.randint(1, 4))),
            (0.027, self.unplug),
            (0.005, self.crash),
        ]
        chance = self.dice.random()
        for probability, act in acts:
            if chance < probability:
                act()
                return
            chance -= probability

    def upgrade(self) -> None:
        if self.next < len(VERSIONS):
            choose = self.dice.choice
            options = {"monitor_seconds": choose([0, 3, 30]), "hold_seconds": choose([5, 60]), "keep_warm_seconds": choose([0, 5, 300])}
            bake = choose([0, 0, 5])
            self.requested.append(self.world.request(DeploymentKind.UPGRADE, VERSIONS[self.next], bake_seconds=bake, **options))
            self.next += 1

    def roll_back(self) -> None:
        target = self.dice.choice(VERSIONS[: self.next])
        self.requested.append(self.world.request(DeploymentKind.ROLLBACK, target, keep_warm_seconds=self.dice.choice([0, 60])))

    def restart(self) -> None:
        version = self.world.state.agent.version
        assert version is not None
        self.requested.append(self.world.request(DeploymentKind.RESTART, version, strategy="restart"))

    def press(self) -> None:
        if self.world.state.deployments:
            verb = self.dice.choice([Verb.PAUSE, Verb.RESUME, Verb.RESUME, Verb.PROMOTE, Verb.CANCEL])
            self.world.intend(verb, self.dice.choice(self.world.state.deployments).deployment, value=self.dice.choice([0, 1]))

    def unplug(self) -> None:
        part = self.dice.choice([self.world.runtime, self.world.router, self.world.metrics])
        part.reachable = self.dice.random() < 0.5

    def crash(self) -> None:
        alive = sorted(p.instance for p in self.world.runtime.processes[AGENT].values() if p.alive)
        if self.crashes and alive:
            self.crashed = True
            self.world.runtime.crash(AGENT, self.dice.choice(alive))

    async def peace(self) -> None:
        world = self.world
        world.runtime.reachable = world.router.reachable = world.metrics.reachable = True
        for behaviour in world.runtime.behaviours.values():
            behaviour.crashes = False
        for turn in range(SETTLED):
            if not world.state.deployments and len(world.state.generations) == 1 and turn > 1_000:
                return
            if turn % 200 == 0:
                for deployment in world.state.deployments:
                    world.intend(Verb.RESUME, deployment.deployment)
            await world.step()
        raise AssertionError(f"never settled: {world.state.deployments} {world.state.generations}")

    def check(self, world: World) -> None:
        """Holds after every turn."""
        assert len(world.state.generations) <= 3
        assert sum(d.active for d in world.state.deployments) <= 1
        if not self.crashed:
            assert world.metrics.unserved.get(AGENT, 0) == 0
            assert any(g.ready for g in world.router.routings[AGENT].generations)

    def check_settled(self) -> None:
        """Holds once nothing happens any more: one generation, complete, with all of the traffic; nothing left over, nothing forgotten."""
        state, routing = self.world.state, self.world.router.routings[AGENT]
        (generation,) = state.generations
        assert (generation.version, generation.number) == (state.agent.version, state.agent.stable)
        assert len(self.world.runtime.processes[AGENT]) == len(state.instances) == state.agent.instances
        assert (routing.stable, routing.candidate, routing.redirects) == (generation.number, None, {})
        assert routing.generations[0].ready == state.agent.instances
        assert set(self.requested) <= set(self.world.finished)


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_operators_and_parts_do_traffic_is_served_and_everything_ends(seed: int) -> None:
    await Accidents(seed, crashes=False).run()


@pytest.mark.parametrize("seed", range(100, 110))
async def test_after_instances_died_everything_ends_as_well(seed: int) -> None:
    await Accidents(seed, crashes=True).run()
