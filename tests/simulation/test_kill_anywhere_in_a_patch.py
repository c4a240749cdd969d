"""The engine is killed before and after every call it makes while a configuration is patched; in the end all instances have one and the same."""

from dataclasses import replace
from functools import partial
from typing import ClassVar

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

    change: ClassVar[dict[str, object]] = {"timeout_seconds": 60}

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
            revision="cfg-1.0.0-p1", parent="", layers=Layers(agent=self.change), profile="fast", actor="tester",
            reason="a test", requested_at=now, since=now,
        )  # fmt: skip
        self.store.patch(AGENT, patch, now)

    def settled(self) -> PatchStatus | None:
        patch = self.store.patches.get((AGENT, "cfg-1.0.0-p1"))
        return patch.status if patch is not None and patch.status in ENDS else None

    def values(self) -> set[object]:
        living = {p.instance for p in self.runtime.processes[AGENT].values() if p.alive}
        return {document.values["timeout_seconds"] for name, document in self.channel.applied.items() if name in living}


class Limited(Patchable):
    """The change is one that the router enforces."""

    change: ClassVar[dict[str, object]] = {"servicing": {"request_timeout_seconds": 60}}

    def values(self) -> set[object]:
        return {self.router.routings[AGENT].request_timeout_seconds or 30}


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
        loop.run(partial(killed_everywhere, Patchable, manners, without_a_kill, places_at_least=16))


def test_an_engine_killed_at_any_call_of_a_change_of_limits_leaves_the_router_with_what_the_change_ended_as(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upgrades, "MANIFEST", HOT)
    with quiet():
        loop.run(partial(killed_everywhere, Limited, Manners(), PatchStatus.APPLIED, places_at_least=8))


async def killed_everywhere(kind: type[Patchable], manners: Manners, without_a_kill: PatchStatus, *, places_at_least: int) -> None:
    rehearsal = kind()
    assert await story(rehearsal, manners) is without_a_kill
    places = rehearsal.fuse.calls
    assert places >= places_at_least
    for at in range(places):
        machine = kind(fuse=Fuse(at=at))
        try:
            await story(machine, manners)
        except AssertionError as error:
            raise AssertionError(f"killed {machine.fuse.log[-1:]} (call {at}): {error}") from error
