"""What the engine may rely on in every verifier. A verifier joins by adding its harness to `HARNESSES`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from agent_servicing.core.model import Release, Verification
from agent_servicing.core.status import VerificationStatus
from agent_servicing.ports import Verifier
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.testing.memory import Behaviour, MemoryRuntime, MemoryVerifier
from tests.integration import verification_world as world

pytestmark = pytest.mark.anyio


class Harness(Protocol):
    """One verifier, releases whose tests end in a given way (None: cannot be run), and its kind of time."""

    @property
    def verifier(self) -> Verifier: ...
    def release(self, *, verifies: bool | None) -> Release: ...
    async def wait(self) -> None:
        """Until a little later."""


@dataclass
class ProcessHarness:
    verifier: Verifier
    data_dir: Path

    def release(self, *, verifies: bool | None) -> Release:
        command = {True: ("sh", "-c", "sleep 0.3"), False: ("sh", "-c", "sleep 0.3; exit 1"), None: ("no-such-program",)}[verifies]
        return world.installed(self.data_dir, smoke=command)

    async def wait(self) -> None:
        await world.CLOCK.sleep(0.05)


@asynccontextmanager
async def process_harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with world.open_verifier(tmp_path) as verifier:
        yield ProcessHarness(verifier, tmp_path)


@dataclass
class MemoryHarness:
    verifier: MemoryVerifier
    clock: VirtualClock

    def release(self, *, verifies: bool | None) -> Release:
        self.verifier.runtime.behaviours["1.0.0"] = Behaviour(verifies=verifies)
        return world.release()

    async def wait(self) -> None:
        self.clock.advance(1)


@asynccontextmanager
async def memory_harness(tmp_path: Path) -> AsyncIterator[Harness]:
    clock = VirtualClock()
    yield MemoryHarness(MemoryVerifier(clock, MemoryRuntime(clock)), clock)


HARNESSES: dict[str, Callable[[Path], AbstractAsyncContextManager[Harness]]] = {"process": process_harness, "memory": memory_harness}


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Harness]:
    async with HARNESSES[request.param](tmp_path) as opened:
        yield opened


async def ended(harness: Harness, key: str = "upg-1") -> Verification:
    for _ in range(world.LOOKS):
        found = await harness.verifier.outcome(key)
        if found.status is not VerificationStatus.RUNNING:
            return found
        await harness.wait()
    raise AssertionError("it runs for ever")


async def test_what_was_never_begun_is_absent(harness: Harness) -> None:
    assert (await harness.verifier.outcome("upg-1")).status is VerificationStatus.ABSENT


@pytest.mark.parametrize(
    ("verifies", "status"),
    [(True, VerificationStatus.PASSED), (False, VerificationStatus.FAILED), (None, VerificationStatus.UNAVAILABLE)],
)
async def test_the_outcome_says_how_it_ended_and_when_and_stays(
    harness: Harness, verifies: bool | None, status: VerificationStatus
) -> None:
    await harness.verifier.begin(harness.release(verifies=verifies), key="upg-1")
    assert (await harness.verifier.outcome("upg-1")).status in (VerificationStatus.RUNNING, status)
    found = await ended(harness)
    assert found.status is status
    assert found.detail
    assert found.at is not None
    assert (await harness.verifier.outcome("upg-1")).status is status


async def test_beginning_again_changes_nothing(harness: Harness) -> None:
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    assert (await ended(harness)).status is VerificationStatus.PASSED
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    assert (await harness.verifier.outcome("upg-1")).status is VerificationStatus.PASSED


async def test_a_forgotten_one_is_absent_whether_it_ran_or_not_and_may_be_begun_anew(harness: Harness) -> None:
    await harness.verifier.forget("upg-1")
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    await harness.verifier.forget("upg-1")
    await harness.verifier.forget("upg-1")
    assert (await harness.verifier.outcome("upg-1")).status is VerificationStatus.ABSENT
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    assert (await ended(harness)).status is VerificationStatus.PASSED
    await harness.verifier.forget("upg-1")
    assert (await harness.verifier.outcome("upg-1")).status is VerificationStatus.ABSENT


async def test_keys_do_not_disturb_one_another(harness: Harness) -> None:
    await harness.verifier.begin(harness.release(verifies=True), key="upg-1")
    await harness.verifier.begin(harness.release(verifies=True), key="upg-2")
    await harness.verifier.forget("upg-1")
    assert (await ended(harness, "upg-2")).status is VerificationStatus.PASSED
