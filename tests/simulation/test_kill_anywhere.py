"""The engine is killed before and after every single call it makes during an upgrade, once for each; the next engine finishes the work.

The simulator's stories kill it at random; here no call is left out, for any strategy of the registry.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agent_servicing.core.limits import Limits
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Agent, AgentState, Deployment, DeploymentSpec, Release
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.core.strategies import UPGRADES
from agent_servicing.reconcile.engine import Engine
from agent_servicing.testing.clock import CountingIds, VirtualClock
from agent_servicing.testing.faults import FaultyPort, Fuse, Killed
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.simulation import loop
from agent_servicing.testing.simulation.run import quiet
from agent_servicing.testing.store import MemoryStore

AGENT = "WowTest"
LEASE_SECONDS = 30.0
MANIFEST = Manifest(
    agent=AGENT, source=Source(kind="path", location="/srv/wow"), run=Run(command=("serve",), instances=2), health=Health(path="/healthz")
)


@dataclass
class Machine:
    """One agent, real engine, memory adapters. After a kill the same world goes on with a new engine once the lease has run out."""

    fuse: Fuse = field(default_factory=Fuse)
    kills: int = 0

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.runtime = MemoryRuntime(self.clock)
        self.router = MemoryRouter()
        self.metrics = MemoryMetrics(self.clock, self.router, self.runtime)
        self.store = MemoryStore(CountingIds())
        self.store.add(AgentState(agent=Agent(agent=AGENT, manifest=MANIFEST, instances=2, created_at=self.clock.now())), self.clock.now())

    def engine(self) -> Engine:
        return Engine(
            store=FaultyPort(self.store, self.fuse),  # type: ignore[arg-type]
            runtime=FaultyPort(self.runtime, self.fuse),  # type: ignore[arg-type]
            router=FaultyPort(self.router, self.fuse),  # type: ignore[arg-type]
            metrics=FaultyPort(self.metrics, self.fuse),  # type: ignore[arg-type]
            client=MemoryClient(self.clock, self.runtime),
            clock=self.clock,
            limits=Limits(),
            action_timeout_seconds=10,
        )

    def request(self, kind: DeploymentKind, version: str, strategy: str = "install", *, strict: bool = False) -> str:
        """`strict` goes on with proof only: a watch that proves nothing, being short, takes the deployment back."""
        watch: dict[str, Any] = {"bake_seconds": 2.0} if strict else {}
        deployment = Deployment(
            deployment=f"upg-{kind}-{version}",
            agent=AGENT,
            kind=kind,
            from_version=None,
            to_version=version,
            spec=DeploymentSpec(
                strategy=strategy, steps=(50.0, 100.0), monitor_seconds=2.0, hold_seconds=60.0, keep_warm_seconds=5.0, **watch
            ),
            reason="a test",
            actor="tester",
            requested_at=self.clock.now(),
        )
        self.store.request(deployment, Release(agent=AGENT, version=version, manifest=MANIFEST, ref=version), self.clock.now())
        return deployment.deployment

    async def run(self, until: Callable[[], bool], *, seconds: float = 300) -> None:
        begun, engine = self.clock.monotonic(), self.engine()
        while not until():
            assert self.clock.monotonic() - begun < seconds, "never finished"
            try:
                for lease in await self.store.claim(self.clock.now(), lease_seconds=LEASE_SECONDS, limit=1):
                    await engine.turn(lease)
            except* Killed:
                self.kills += 1
                engine = self.engine()
            self._pass(0.25)

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.metrics.send(AGENT, 10)
        routing = self.router.routings.get(AGENT)
        serving = routing is not None and routing.stable is not None
        if serving:
            assert self.metrics.unserved.get(AGENT, 0) == 0, "a request found nobody"
            assert len(self.runtime.processes[AGENT]) <= 3 * 2

    def alive(self) -> list[str]:
        return sorted(p.version for p in self.runtime.processes[AGENT].values() if p.alive)


async def story(machine: Machine, strategy: str, *, bad: bool) -> None:
    """Install 1.0.0 undisturbed, then upgrade to 1.1.0 with the fuse burning, then go back."""
    burning, machine.fuse.at = machine.fuse.at, None
    first = machine.request(DeploymentKind.INSTALL, "1.0.0")
    await machine.run(lambda: first in machine.store.history)
    machine.metrics.unserved.clear()
    machine.fuse.calls, machine.fuse.at = 0, burning
    machine.runtime.behaviour("1.1.0").error_share = 1.0 if bad else 0.0
    upgrade = machine.request(DeploymentKind.UPGRADE, "1.1.0", strategy, strict=bad)
    begun = machine.clock.now()
    await machine.run(lambda: upgrade in machine.store.history)
    done = machine.store.history[upgrade]
    assert done.status is (DeploymentStatus.ROLLED_BACK if bad else DeploymentStatus.COMPLETED)
    limit = timedelta(seconds=60 + machine.kills * LEASE_SECONDS)
    assert machine.clock.now() - begun < limit, "took longer than a minute beyond the lease"
    if not bad:
        rollback = machine.request(DeploymentKind.ROLLBACK, "1.0.0", "rollback")
        await machine.run(lambda: rollback in machine.store.history)
        assert machine.store.history[rollback].status is DeploymentStatus.COMPLETED
    await machine.run(lambda: machine.alive() == ["1.0.0", "1.0.0"])
    closing = [e for e in machine.store.events if e.type == "upgrade" and e.audit]
    assert len(closing) == 1, "exactly one closing entry for one upgrade"


@pytest.mark.parametrize("strategy", sorted(UPGRADES))
@pytest.mark.parametrize("bad", [False, True], ids=["good version", "bad version"])
def test_an_engine_killed_at_any_call_leaves_work_that_the_next_one_finishes(strategy: str, bad: bool) -> None:
    with quiet():
        loop.run(partial(killed_everywhere, strategy, bad=bad))


async def killed_everywhere(strategy: str, *, bad: bool) -> None:
    """Before each call; after one is before the next, as between two calls the engine touches nothing."""
    rehearsal = Machine()
    await story(rehearsal, strategy, bad=bad)
    places = rehearsal.fuse.calls
    assert places > 50
    killed = 0
    for at in range(0, places, 2):
        machine = Machine(fuse=Fuse(at=at))
        try:
            await story(machine, strategy, bad=bad)
        except AssertionError as error:
            raise AssertionError(f"killed {machine.fuse.log[-1:]} (call {at}): {error}") from error
        killed += machine.kills
    assert killed > 0.4 * places


@pytest.mark.anyio
async def test_a_commit_that_comes_after_another_engine_took_over_changes_nothing() -> None:
    machine = Machine()
    first = machine.request(DeploymentKind.INSTALL, "1.0.0")
    (lease,) = await machine.store.claim(machine.clock.now(), lease_seconds=LEASE_SECONDS, limit=1)
    machine.clock.advance(LEASE_SECONDS + 1)
    (other,) = await machine.store.claim(machine.clock.now(), lease_seconds=LEASE_SECONDS, limit=1)
    before = await machine.store.load(AGENT)
    await machine.engine().turn(lease)
    assert machine.store.stale_commits == 1
    assert await machine.store.load(AGENT) == before
    await machine.engine().turn(other)
    await machine.run(lambda: first in machine.store.history)
