"""(h) The simulator: a thousand deployments, each with one crash of the engine at a random call. Real engine, virtual time.

Worlds share nothing, so that they are played with every core, as `make sim` does; `--processes 1` for one.
"""

import argparse
import os
import time
from multiprocessing import Pool
from random import Random

from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import DeploymentSpec
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.testing.simulation import loop
from agent_servicing.testing.simulation.faults import Weather
from agent_servicing.testing.simulation.operators import Operators
from agent_servicing.testing.simulation.run import quiet
from agent_servicing.testing.simulation.world import World

PER_WORLD = 10
"""Upgrades of one agent, one after the other; then a new world, as a history that only grows would be measured with them."""

CALLS = 200
"""The engine makes about 100 calls for an upgrade; before and after count apart."""


async def upgrades(seed: int, number: int) -> tuple[int, int]:
    """(upgrades completed, engines killed)"""
    dice = Random(seed)
    world = World(dice=dice, weather=Weather(dice=dice), limits=Limits(idle_interval_seconds=2.0))
    manifest = Manifest(
        agent="Agent", source=Source(kind="path", location="/srv/agent"), run=Run(instances=2), health=Health(path="/healthz")
    )
    site, operators = world.add(manifest, rate=400.0, conversations=0), Operators(world=world, dice=dice)
    plain = DeploymentSpec(strategy="install", steps=(100.0,), monitor_seconds=0.0)
    names = [operators.request(site, DeploymentKind.INSTALL, "1.0.0", plain)]
    while names[-1] not in world.store.history:
        await world.live(world.seconds + 0.5)
    for step in range(1, number + 1):
        world.weather.calls, world.weather.crash_at = 0, dice.randrange(CALLS)
        spec = DeploymentSpec(strategy=dice.choice(sorted(UPGRADES)), steps=(50.0, 100.0), monitor_seconds=1.0, keep_warm_seconds=0.0)
        names.append(operators.request(site, DeploymentKind.UPGRADE, f"1.{step}.0", spec))
        while names[-1] not in world.store.history:
            await world.live(world.seconds + 0.5)
    assert world.breach is None, world.breach
    return sum(world.store.history[name].status is DeploymentStatus.COMPLETED for name in names[1:]), world.kills


def play(seed: int) -> tuple[int, int, float]:
    """As `upgrades`, and the processor time it took."""
    began = time.process_time()
    with quiet():
        completed, kills = loop.run(lambda: upgrades(seed, PER_WORLD))
    return completed, kills, time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    began = time.perf_counter()
    with Pool(options.processes) as pool:
        played = pool.map(play, range(options.deployments // PER_WORLD), chunksize=5)
    seconds = time.perf_counter() - began
    completed, kills, spent = (sum(each) for each in zip(*played, strict=True))
    print(
        f"{completed} of {options.deployments} deployments completed, {kills} engines killed, {seconds:.1f} s "
        f"({spent:.1f} s of processor time in {options.processes} processes)"
    )


if __name__ == "__main__":
    main()
