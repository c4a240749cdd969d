"""The people who change configurations, in stories that have such: they write what the service writes, when the service would take it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

from agent_servicing.core.config.layers import Layers, Override
from agent_servicing.core.config.patch import Patch, Profile
from agent_servicing.core.model import AgentState
from agent_servicing.core.status import Verb
from agent_servicing.testing.channel import Manners
from agent_servicing.testing.simulation.channel import SimChannel
from agent_servicing.testing.simulation.operators import Operators
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.simulation.world import World

KEY = "level"
"""The one value that is changed; every change gives it a number of its own."""


@dataclass(slots=True, kw_only=True)
class Patchers:
    """`act` is one thing somebody does about a configuration, or that happens to one."""

    world: World
    dice: Random
    operators: Operators
    numbers: int = 0

    def act(self, site: Site) -> None:
        acts: list[Callable[[Site], None]] = [self.patch, self.patch, self.patch, self.take_back, self.edit, self.upset]
        self.dice.choice(acts)(site)

    def patch(self, site: Site) -> None:
        state = self._free(site)
        if state is None:
            return
        self.numbers += 1
        dice, now = self.dice, self.world.clock.now()
        parent = self._in_force(state)
        before = state.layers.get(parent, Layers()).without_expired(now)
        layers = replace(before, agent={KEY: self.numbers})
        if dice.random() < 0.1:
            layers = replace(before, overrides=(Override(values={KEY: self.numbers}, expires_at=now + timedelta(seconds=8)),))
        profile: Profile = dice.choice(["fast", "fast", "instant", "safe"])
        patch = Patch(
            revision=f"cfg-{state.agent.version}-p{self.numbers}",
            parent=parent,
            layers=layers,
            profile=profile,
            actor="somebody",
            reason="a story",
            requested_at=now,
            since=now,
            look_seconds=dice.choice([0.0, 1.0, 3.0]),
            share_percent=dice.choice([25.0, 50.0]),
        )
        self._temper(patch.revision)
        site.patches.append(patch.revision)
        self.world.store.patch(site.agent, patch, now)
        self.world.tell(f"{site.agent}: {patch.revision} is asked for ({profile})")

    def take_back(self, site: Site) -> None:
        row = self.world.store.rows.get(site.agent)
        if row is not None and row.state.patch is not None and row.state.patch.open:
            self.operators.intend(site, Verb.REVERT_CONFIG)

    def edit(self, site: Site) -> None:
        """Somebody changes what an instance has, behind the server's back."""
        channel, alive = self._channel, self._alive(site)
        if alive:
            name = self.dice.choice(alive)
            channel.starts_with(name)
            if name in channel.applied:
                channel.applied[name] = replace(channel.applied[name], values={KEY: -1})
                self.world.tell(f"{site.agent}: somebody edits the configuration of {name}")

    def upset(self, site: Site) -> None:
        """An instance does not take everything for a while."""
        channel, alive = self._channel, self._alive(site)
        if not alive:
            return
        name = self.dice.choice(alive)
        channel.manners[name] = self.dice.choice(
            [
                Manners(accepts=False),
                Manners(accepts=None),
                Manners(applies=False),
                Manners(applies=None),
                Manners(lies=True),
                Manners(seconds=0.4),
            ]
        )
        self.world.tell(f"{site.agent}: {name} takes configurations as {channel.manners[name]}")

        def calm() -> None:
            channel.manners.pop(name, None)

        self.world.later(self.dice.choice([2.0, 10.0]), calm)

    def mend(self) -> None:
        """Peace: everybody takes what they are given. What somebody refused they refused for good."""
        self._channel.manners.clear()
        self._channel.poison.clear()

    @property
    def _channel(self) -> SimChannel:
        channel = self.world.channel
        if channel is None:
            raise AssertionError("this world has no configurations")
        return channel

    def _temper(self, revision: str) -> None:
        if self.dice.random() < 0.15:
            self._channel.poison.add(revision)

    def _free(self, site: Site) -> AgentState | None:
        """The agent as the service would find it, None when it would refuse."""
        row = self.world.store.rows.get(site.agent)
        if row is None or site.removing or row.asked is not None or row.state.agent.version is None:
            return None
        state = row.state
        busy = state.patch is not None and state.patch.open
        bringing = any(d.config is not None for d in self.world.store.deployments(site.agent))
        mixed = len({g.config for g in state.generations if g.answering}) > 1
        return None if busy or bringing or mixed else state

    def _in_force(self, state: AgentState) -> str:
        stable = next((g for g in state.generations if g.number == state.agent.stable), None)
        return stable.config if stable is not None else ""

    def _alive(self, site: Site) -> list[str]:
        return sorted(name for name in self.world.runtime.processes.get(site.agent, {}) if self.world.runtime.alive(site.agent, name))
