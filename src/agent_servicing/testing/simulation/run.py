"""Plays stories: one by its seed, or many in search of a seed that breaks a law. Called by the tests, the benchmark and `make sim`."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from agent_servicing.core.events import EPHEMERAL
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.clock import START
from agent_servicing.testing.simulation import loop
from agent_servicing.testing.simulation.moments import Breach, Violation
from agent_servicing.testing.simulation.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one story."""

    seed: int
    strategy: str
    breach: Breach | None
    turns: int
    steps: int
    kills: int
    deployments: int
    seconds: float
    timeline: tuple[str, ...] = ()
    options: str = ""

    @property
    def replay(self) -> str:
        return f"make sim SEED={self.seed} STRATEGY={self.strategy}" + (f' ARGS="{self.options}"' if self.options else "")


def strategy_of(seed: int) -> str:
    """When none is named, the strategies of the registry take turns."""
    names = sorted(UPGRADES)
    return names[seed % len(names)]


async def play(seed: int, strategy: str | None = None, *, snapshots: bool = False, patches: bool = False) -> Outcome:
    """One story, to its end or to the first breach of a law."""
    chosen = strategy or strategy_of(seed)
    story = Story(seed, chosen, patches=patches)
    story.operators.snapshots = snapshots
    breach = await story.play()
    world = story.world
    return Outcome(
        seed=seed,
        strategy=chosen,
        breach=breach,
        turns=world.turns,
        steps=world.steps,
        kills=world.kills,
        deployments=len(world.store.history),
        seconds=world.seconds,
        timeline=tuple(_timeline(story)),
        options=" ".join(name for name, chosen in (("--snapshots", snapshots), ("--patches", patches)) if chosen),
    )


async def _play_each(seeds: range, strategy: str | None, snapshots: bool, patches: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for seed in seeds:
        outcomes.append(await play(seed, strategy, snapshots=snapshots, patches=patches))
        if outcomes[-1].breach is not None:
            break
    return outcomes


def play_all(seeds: range, strategy: str | None = None, *, snapshots: bool = False, patches: bool = False) -> list[Outcome]:
    """Stories one after the other, until one breaks a law. With `snapshots` every upgrade begins by copying the state; with `patches`
    configurations are changed as well."""
    with quiet():
        return loop.run(partial(_play_each, seeds, strategy, snapshots, patches))


def simulate(seed: int, strategy: str | None = None) -> Outcome:
    """Raises `Violation` with the law, the moment and the replay command."""
    (outcome,) = play_all(range(seed, seed + 1), strategy)
    if outcome.breach is not None:
        raise Violation(verdict(outcome))
    return outcome


def verdict(outcome: Outcome) -> str:
    """One sentence about a story."""
    breach = outcome.breach
    if breach is None:
        return f"seed {outcome.seed} ({outcome.strategy}): every law held for {outcome.seconds:.0f} s in {outcome.turns} turns"
    return (
        f"seed {outcome.seed} ({outcome.strategy}) broke {breach.law} at {breach.seconds:.3f} s, step {outcome.steps}, {breach.agent}: "
        f"{breach.sentence}. Replay: {outcome.replay}"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """The engine logs every fault it meets; here there are thousands."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def _timeline(story: Story) -> Iterator[str]:
    """What was done and what the product told, in order; readings are left out."""
    world = story.world
    told = [
        (
            (event.at - START).total_seconds() - sum(jump.seconds for jump in world.jumps if jump.events <= n),
            f"{event.agent}: {event.deployment or ''} {event.type} {_shown(event.data)}",
        )
        for n, event in enumerate(world.store.events)
        if event.type not in EPHEMERAL
    ]
    lines = [*world.told, *told]
    yield from (f"{at:10.3f}  {text}" for at, text in sorted(lines, key=lambda line: line[0]))


def _shown(data: Mapping[str, object]) -> str:
    kept = ("stage", "instance", "status", "percent", "problem", "note", "instances", "to_version")
    return " ".join(f"{name}={data[name]!r}" for name in kept if data.get(name) not in (None, ""))
