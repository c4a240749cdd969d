"""What the engine may rely on in every runtime. A runtime joins by adding its harness to `HARNESSES`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.model import Release
from agent_servicing.core.resources import Resources
from agent_servicing.core.status import PreparationStatus
from agent_servicing.ports import LimitsInstances, Runtime, SeesAllInstances
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.testing.memory import MemoryRuntime
from tests.integration import process_world as world

pytestmark = pytest.mark.anyio
AGENT = world.AGENT


class Harness(Protocol):
    """One runtime and what a test cannot do through the port: describe a release it can run, and wait in its kind of time."""

    @property
    def runtime(self) -> Runtime: ...
    def release(self, version: str, *, installs: bool = True) -> Release: ...
    async def until(self, condition: Callable[[], Awaitable[object]]) -> None: ...


@dataclass
class ProcessHarness:
    runtime: Runtime

    def release(self, version: str, *, installs: bool = True) -> Release:
        command = ("sh", "-c", "echo started; exec sleep 1000")
        return world.release(version, command=command, install=("true",) if installs else ("sh", "-c", "echo no such package; exit 1"))

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        await world.until(condition)


@asynccontextmanager
async def process_harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with world.open_runtime(tmp_path) as runtime:
        try:
            yield ProcessHarness(runtime)
        finally:
            await runtime.stop_everything()


@dataclass
class MemoryHarness:
    runtime: MemoryRuntime

    def release(self, version: str, *, installs: bool = True) -> Release:
        self.runtime.behaviour(version).installs = installs
        return world.release(version)

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        assert await condition()


@asynccontextmanager
async def memory_harness(tmp_path: Path) -> AsyncIterator[Harness]:
    yield MemoryHarness(MemoryRuntime(clock=VirtualClock()))


HARNESSES: dict[str, Callable[[Path], AbstractAsyncContextManager[Harness]]] = {"process": process_harness, "memory": memory_harness}


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Harness]:
    async with HARNESSES[request.param](tmp_path) as opened:
        yield opened


async def settled(harness: Harness, release: Release) -> PreparationStatus:
    async def over() -> bool:
        return (await harness.runtime.preparation(AGENT, release.version)).status is not PreparationStatus.INSTALLING

    await harness.until(over)
    return (await harness.runtime.preparation(AGENT, release.version)).status


async def installed(harness: Harness, version: str) -> Release:
    release = harness.release(version)
    await harness.runtime.prepare(release)
    assert await settled(harness, release) is PreparationStatus.READY
    return release


async def over(harness: Harness, instance: str) -> None:
    async def ended() -> bool:
        return not (await harness.runtime.observe(AGENT))[instance].alive

    await harness.until(ended)


async def test_an_unknown_version_is_absent(harness: Harness) -> None:
    assert (await harness.runtime.preparation(AGENT, "9.9.9")).status is PreparationStatus.ABSENT


async def test_a_prepared_version_becomes_ready(harness: Harness) -> None:
    await installed(harness, "1.0.0")


async def test_preparing_a_ready_version_again_changes_nothing(harness: Harness) -> None:
    release = await installed(harness, "1.0.0")
    await harness.runtime.prepare(release, again=True)
    assert (await harness.runtime.preparation(AGENT, "1.0.0")).status is PreparationStatus.READY


async def test_a_failed_installation_says_why_and_stays_failed_until_asked_again(harness: Harness) -> None:
    broken = harness.release("1.0.0", installs=False)
    await harness.runtime.prepare(broken)
    assert await settled(harness, broken) is PreparationStatus.FAILED
    failed = await harness.runtime.preparation(AGENT, "1.0.0")
    assert failed.detail
    assert failed.at is not None
    repaired = harness.release("1.0.0")
    await harness.runtime.prepare(repaired)
    assert await settled(harness, repaired) is PreparationStatus.FAILED
    await harness.runtime.prepare(repaired, again=True)
    assert await settled(harness, repaired) is PreparationStatus.READY


async def test_a_version_that_is_not_installed_cannot_be_started_yet(harness: Harness) -> None:
    with pytest.raises(TemporaryError):
        await harness.runtime.start(harness.release("1.0.0"), instance="g1-1-0", generation=1)
    assert not await harness.runtime.observe(AGENT)


async def test_a_started_instance_is_observed_with_its_address(harness: Harness) -> None:
    await harness.runtime.start(await installed(harness, "1.0.0"), instance="g7-1-0", generation=7)
    process = (await harness.runtime.observe(AGENT))["g7-1-0"]
    assert (process.instance, process.generation, process.version, process.alive) == ("g7-1-0", 7, "1.0.0", True)
    assert process.host
    assert process.port
    assert process.started_at is not None


async def test_starting_an_instance_twice_starts_one(harness: Harness) -> None:
    release = await installed(harness, "1.0.0")
    await harness.runtime.start(release, instance="g1-1-0", generation=1)
    before = await harness.runtime.observe(AGENT)
    await harness.runtime.start(release, instance="g1-1-0", generation=1)
    assert await harness.runtime.observe(AGENT) == before


async def test_instances_do_not_share_a_port(harness: Harness) -> None:
    release = await installed(harness, "1.0.0")
    for place in range(3):
        await harness.runtime.start(release, instance=f"g1-{place}-0", generation=1)
    processes = await harness.runtime.observe(AGENT)
    assert len({process.port for process in processes.values()}) == 3


async def test_a_stopped_instance_ends_and_is_remembered(harness: Harness) -> None:
    release = await installed(harness, "1.0.0")
    await harness.runtime.start(release, instance="g1-1-0", generation=1)
    await harness.runtime.stop(AGENT, "g1-1-0")
    await over(harness, "g1-1-0")
    await harness.runtime.start(release, instance="g1-1-0", generation=1)
    assert not (await harness.runtime.observe(AGENT))["g1-1-0"].alive


async def test_a_killed_instance_ends(harness: Harness) -> None:
    await harness.runtime.start(await installed(harness, "1.0.0"), instance="g1-1-0", generation=1)
    await harness.runtime.stop(AGENT, "g1-1-0", kill=True)
    await over(harness, "g1-1-0")


async def test_one_look_at_everything_shows_every_instance_that_runs(harness: Harness) -> None:
    assert isinstance(harness.runtime, SeesAllInstances)
    release = await installed(harness, "1.0.0")
    for name in ("g1-1-0", "g1-2-0"):
        await harness.runtime.start(release, instance=name, generation=1)
    pids = {name: process.pid for name, process in (await harness.runtime.observe(AGENT)).items()}
    assert await harness.runtime.living() == {AGENT: pids}
    await harness.runtime.stop(AGENT, "g1-1-0", kill=True)
    await over(harness, "g1-1-0")
    assert await harness.runtime.living() == {AGENT: {"g1-2-0": pids["g1-2-0"]}}


async def test_stopping_and_forgetting_what_is_unknown_or_over_is_fine(harness: Harness) -> None:
    await harness.runtime.stop(AGENT, "g1-1-0")
    await harness.runtime.forget(AGENT, "g1-1-0")
    await harness.runtime.start(await installed(harness, "1.0.0"), instance="g1-1-0", generation=1)
    await harness.runtime.stop(AGENT, "g1-1-0")
    await over(harness, "g1-1-0")
    await harness.runtime.stop(AGENT, "g1-1-0")
    await harness.runtime.forget(AGENT, "g1-1-0")
    await harness.runtime.forget(AGENT, "g1-1-0")
    assert not await harness.runtime.observe(AGENT)


async def test_a_running_instance_cannot_be_forgotten(harness: Harness) -> None:
    await harness.runtime.start(await installed(harness, "1.0.0"), instance="g1-1-0", generation=1)
    with pytest.raises(TemporaryError):
        await harness.runtime.forget(AGENT, "g1-1-0")
    assert "g1-1-0" in await harness.runtime.observe(AGENT)


async def test_agents_do_not_see_each_others_instances(harness: Harness) -> None:
    await harness.runtime.start(await installed(harness, "1.0.0"), instance="g1-1-0", generation=1)
    assert not await harness.runtime.observe("Other")


async def test_collecting_deletes_versions_that_are_neither_kept_nor_running(harness: Harness) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        release = await installed(harness, version)
    await harness.runtime.start(release, instance="g1-1-0", generation=1)
    assert list(await harness.runtime.collect(AGENT, keep={"1.1.0"})) == ["1.0.0"]
    left = {version: (await harness.runtime.preparation(AGENT, version)).status for version in ("1.0.0", "1.1.0", "1.2.0")}
    assert left == {"1.0.0": PreparationStatus.ABSENT, "1.1.0": PreparationStatus.READY, "1.2.0": PreparationStatus.READY}


async def test_a_collected_version_can_be_installed_again(harness: Harness) -> None:
    await installed(harness, "1.0.0")
    assert list(await harness.runtime.collect(AGENT, keep=())) == ["1.0.0"]
    await installed(harness, "1.0.0")


async def test_the_logs_of_an_agent_without_instances_are_empty(harness: Harness) -> None:
    assert list(await harness.runtime.logs(AGENT)) == []
    assert list(await harness.runtime.logs(AGENT, "g1-1-0")) == []


async def test_limits_of_a_running_instance_are_set_read_back_and_taken_away_again(harness: Harness) -> None:
    runtime = harness.runtime
    assert isinstance(runtime, LimitsInstances)
    assert "memory_mb" in runtime.limitable
    release = await installed(harness, "1.0.0")
    await runtime.start(release, instance="g1-1-1", generation=1)
    assert (await runtime.observe(AGENT))["g1-1-1"].resources == Resources()
    parts = (Resources(cpu=0.5), Resources(cpu=0.25, memory_mb=300)) if "cpu" in runtime.limitable else ()
    for wanted in (*parts, Resources(memory_mb=300), Resources(memory_mb=200), Resources(memory_mb=4000), Resources(), Resources()):
        await runtime.limit(AGENT, "g1-1-1", wanted)
        assert (await runtime.observe(AGENT))["g1-1-1"].resources == wanted


async def test_limits_of_nobody_are_no_error(harness: Harness) -> None:
    runtime = harness.runtime
    assert isinstance(runtime, LimitsInstances)
    await runtime.limit(AGENT, "g9-1-1", Resources(memory_mb=300))
    release = await installed(harness, "1.0.0")
    await runtime.start(release, instance="g1-1-1", generation=1)
    await runtime.stop(AGENT, "g1-1-1", kill=True)

    async def ended() -> bool:
        return not (await runtime.observe(AGENT))["g1-1-1"].alive

    await harness.until(ended)
    await runtime.limit(AGENT, "g1-1-1", Resources(memory_mb=300))
