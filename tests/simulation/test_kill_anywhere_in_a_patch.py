"""The engine is killed before and after every call it makes while a configuration is patched; in the end all instances have one and the same."""

from dataclasses import replace
from functools import partial

import pytest

from agent_servicing.core.config.layers import Layers
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.manifest import ConfigSpec
from agent_servicing.core.model import Agent, AgentState
from agent_servicing.core.status import DeploymentKind
from agent_servicing.reconcile.engine import Engine
from agent_servicing.testing.channel import Manners, MemoryChannel
from agent_servicing.testing.clock import CountingIds
from agent_servicing.testing.faults import FaultyPort, Fuse
from agent_servicing.testing.simulation import loop
from agent_servicing.testing.simulation.run import quiet
from agent_servicing.testing.store import MemoryStore
from tests.simulation import test_kill_anywhere as upgrades
from tests.simulation.test_kill_anywhere import AGENT, MANIFEST, Machine

HOT = replace(MANIFEST, config=ConfigSpec(defaults={"timeout_seconds": 30}, reload="sdk"))
ENDS = {PatchStatus.APPLIED, PatchStatus.REVERTED, PatchStatus.REFUSED}


class Patchable(Machine):
    """The same machine with a channel to its instances."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.channel = MemoryChannel(self.clock)
        self.store = MemoryStore(CountingIds())
        self.store.add(AgentState(agent=Agent(agent=AGENT, manifest=HOT, instances=2, created_at=self.clock.now())), self.clock.now())

    def engine(self) -> Engine:
        return replace(super().engine(), channel=FaultyPort(self.channel, self.fuse))  # type: ignore[arg-type]

    def patch(self) -> None:
        now = self.clock.now()
        patch = Patch(
            revision="cfg-1.0.0-p1", parent="", layers=Layers(agent={"timeout_seconds": 60}), profile="fast", actor="tester",
            reason="a test", requested_at=now, since=now,
        )  # fmt: skip
        self.store.patch(AGENT, patch, now)

    def settled(self) -> PatchStatus | None:
        patch = self.store.patches.get((AGENT, "cfg-1.0.0-p1"))
        return patch.status if patch is not None and patch.status in ENDS else None

    def values(self) -> set[object]:
        living = {p.instance for p in self.runtime.processes[AGENT].values() if p.alive}
        return {document.values["timeout_seconds"] for name, document in self.channel.applied.items() if name in living}


async def story(machine: Patchable, manners: Manners) -> PatchStatus:
    """Installed undisturbed, then patched with the fuse burning."""
    burning, machine.fuse.at = machine.fuse.at, None
    first = machine.request(DeploymentKind.INSTALL, "1.0.0")
    await machine.run(lambda: first in machine.store.history)
    machine.metrics.unserved.clear()
    machine.channel.manners["g1-2-2"] = manners
    machine.fuse.calls, machine.fuse.at = 0, burning
    machine.patch()
    await machine.run(lambda: machine.settled() is not None)
    status = machine.settled()
    assert status is not None
    wanted = 60 if status is PatchStatus.APPLIED else 30
    await machine.run(lambda: machine.values() == {wanted}, seconds=60)
    told = [e for e in machine.store.events if e.type == "config_patch" and e.audit]
    assert [e.data["status"] for e in told] == [{"applied": "success"}.get(status.value, status.value)]
    return status


@pytest.mark.parametrize(
    ("manners", "without_a_kill"),
    [
        (Manners(), PatchStatus.APPLIED),
        (Manners(accepts=False), PatchStatus.REFUSED),
        (Manners(applies=False), PatchStatus.REVERTED),
        (Manners(seconds=0.6), PatchStatus.APPLIED),
    ],
    ids=["all take it", "one refuses", "one fails", "one is slow"],
)
def test_an_engine_killed_at_any_call_of_a_patch_leaves_one_configuration_everywhere(
    monkeypatch: pytest.MonkeyPatch, manners: Manners, without_a_kill: PatchStatus
) -> None:
    monkeypatch.setattr(upgrades, "MANIFEST", HOT)
    with quiet():
        loop.run(partial(killed_everywhere, manners, without_a_kill))


async def killed_everywhere(manners: Manners, without_a_kill: PatchStatus) -> None:
    rehearsal = Patchable()
    assert await story(rehearsal, manners) is without_a_kill
    places = rehearsal.fuse.calls
    assert places > 15
    for at in range(places):
        machine = Patchable(fuse=Fuse(at=at))
        try:
            await story(machine, manners)
        except AssertionError as error:
            raise AssertionError(f"killed {machine.fuse.log[-1:]} (call {at}): {error}") from error
