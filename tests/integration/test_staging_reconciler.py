"""The reconciler of staging runs over real rows and memory drivers: queue, faults of the machine, crashes, what is kept, and that nothing stays."""
# ruff: noqa: ARG002  (the runtime without ports refuses every start alike)

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.events.local import LocalEventBus
from agent_servicing.adapters.runtime.apart import staging_folders
from agent_servicing.adapters.state.copies import FolderStateCopies
from agent_servicing.adapters.state.snapshots import FolderSnapshots
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import Manifest, Run, Source, StateSpec, TestRequest
from agent_servicing.core.model import Preparation, Process, Release
from agent_servicing.core.staging.compare import Pairs
from agent_servicing.core.staging.model import (
    CaseResult,
    CaseStatus,
    LoadStep,
    RunStatus,
    StagingOptions,
    StagingRun,
    Suite,
    SuiteResult,
)
from agent_servicing.core.status import AgentStatus, PreparationStatus
from agent_servicing.ports.staging import Address
from agent_servicing.reconcile.staging.bench import Means
from agent_servicing.reconcile.staging.reconciler import StagingReconciler
from agent_servicing.store.staging import SqlStagingRuns
from agent_servicing.testing.memory import MemoryClient, MemoryRuntime
from tests.integration.services_world import ADA, AGENT, World, open_world

pytestmark = pytest.mark.anyio

REAL = SystemClock()
"""For waiting until a condition is true; the world itself is on a virtual clock."""

SMOKE = StagingOptions(suites=("smoke",), state="empty")


@dataclass
class FakeSuites:
    """Implements `SuiteRunner`: every suite is one case that ends as `outcome` says; `hold` keeps them all from ending."""

    outcome: CaseStatus = CaseStatus.PASSED
    hold: anyio.Event | None = None
    running: int = 0
    most: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def commands(
        self, release: Release, suite: Suite, *, url: str, key: str, timeout_seconds: float, case: CaseResult | None = None
    ) -> SuiteResult:
        assert timeout_seconds > 0
        assert url.startswith("http://127.0.0.1:")
        self.asked.append((key, release.version))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold is not None:
                await self.hold.wait()
            await anyio.lowlevel.checkpoint()
        finally:
            self.running -= 1
        found = CaseResult(case=f"{suite}-1", suite=suite, name="only", status=self.outcome, message="hush: tiger", log="tiger")
        return SuiteResult(suite=suite, status=self.outcome, cases=((case and replace(found, case=case.case)) or found,))

    async def recall(self, release: Release, *, url: str, key: str, case: CaseResult | None = None) -> SuiteResult:
        return await self.commands(release, "recall", url=url, key=key, timeout_seconds=1, case=case)

    async def compare(
        self, old: Address, new: Address, requests: Sequence[TestRequest], *, key: str, budget_seconds: float
    ) -> Sequence[Pairs]:
        raise AssertionError(f"{key}: {old} and {new} were asked {len(requests)} requests for {budget_seconds} s")

    async def load(self, address: Address, requests: Sequence[TestRequest], *, key: str, rates: Sequence[float]) -> Sequence[LoadStep]:
        raise AssertionError(f"{key}: {address} was asked {len(requests)} requests at {rates}")


class FullDisk:
    """Implements `StateCopies` on a disk without room."""

    async def copy(self, release: Release, *, key: str, epoch: int, exporters: Sequence[Process], targets: Mapping[int, Release]) -> str:
        raise PermanentError(f"no room for {release.version}: {key} {epoch} {len(exporters)} {len(targets)}")

    async def drop(self, agent: str, epochs: Mapping[int, Release]) -> None:
        assert agent
        assert epochs


class NoPorts(MemoryRuntime):
    """A runtime that finds no free port."""

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        raise TemporaryError("no free port between 20000 and 32767")


class HidesTigers:
    """Implements `Masker`."""

    def mask(self, agent: str, text: str) -> str:
        assert agent == AGENT
        return text.replace("tiger", "•••")


@dataclass(kw_only=True)
class Trials:
    world: World
    suites: FakeSuites
    runtime: MemoryRuntime
    reconciler: StagingReconciler

    async def ask(self, options: StagingOptions = SMOKE) -> str:
        return (await self.world.services.staging.request(AGENT, "1.1.0", options, actor=ADA)).run

    async def get(self, run: str) -> StagingRun:
        return await self.world.services.staging.get(AGENT, run)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        with anyio.fail_after(30):
            while not await condition():
                await REAL.sleep(0.01)

    async def ended(self, run: str) -> StagingRun:
        async def over() -> bool:
            return not (await self.get(run)).open

        await self.until(over)
        return await self.get(run)

    @property
    def instances(self) -> set[str]:
        return set(self.runtime.processes.get(AGENT, {}))


@pytest.fixture
async def trials(tmp_path: Path) -> AsyncIterator[Trials]:
    async with opened(tmp_path) as made, leading(made):
        yield made


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Trials]:
    """With nobody who leads the runs yet."""
    async with open_world(folder) as world:
        await world.add("1.0.0", "1.1.0")
        runtime = MemoryRuntime(world.clock)
        suites = FakeSuites()
        yield Trials(world=world, suites=suites, runtime=runtime, reconciler=a_reconciler(world, runtime, suites))


def a_reconciler(world: World, runtime: MemoryRuntime, suites: FakeSuites, copies: FullDisk | None = None) -> StagingReconciler:
    live, client = MemoryRuntime(world.clock), MemoryClient(world.clock, runtime)
    return StagingReconciler(
        runs=SqlStagingRuns(database=world.database, ids=RandomIds(), event_retention_count=1000),
        suites=suites,
        means=Means(runtime=runtime, live=live, client=client, clock=world.clock, copies=copies),
        bus=LocalEventBus(),
        limit=1,
        masker=HidesTigers(),
    )


@asynccontextmanager
async def leading(trials: Trials) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trials.reconciler.run)
        yield
        tasks.cancel_scope.cancel()


async def test_a_run_goes_from_its_request_to_its_report_and_leaves_nothing(trials: Trials) -> None:
    done = await trials.ended(await trials.ask())
    assert (done.status, done.recommendation) == (RunStatus.COMPLETED, "safe_to_deploy")
    assert trials.suites.asked == [(done.run, "1.1.0")]
    assert trials.instances == set()
    kinds = [kind for kind, _ in await trials.world.audit()]
    assert kinds[-2:] == ["staging_requested", "staging"]


async def test_secrets_in_what_tests_say_are_masked(trials: Trials) -> None:
    trials.suites.outcome = CaseStatus.FAILED
    done = await trials.ended(await trials.ask())
    case = done.case("smoke-1")
    assert case is not None
    assert (case.message, case.log) == ("hush: •••", "•••")
    assert "tiger" not in str(done)


async def test_of_two_runs_one_waits_for_the_other(trials: Trials) -> None:
    trials.suites.hold = anyio.Event()
    first, second = await trials.ask(), await trials.ask()

    async def under_way() -> bool:
        return trials.suites.running == 1

    await trials.until(under_way)
    assert (await trials.get(second)).status is RunStatus.QUEUED
    trials.suites.hold.set()
    assert (await trials.ended(second)).recommendation == "safe_to_deploy"
    assert [key for key, _ in trials.suites.asked] == [first, second]
    assert trials.suites.most == 1


async def test_a_cancelled_run_ends_whatever_it_waits_for(trials: Trials) -> None:
    trials.suites.hold = anyio.Event()
    run = await trials.ask()

    async def under_way() -> bool:
        return trials.suites.running == 1

    await trials.until(under_way)
    await trials.world.services.staging.cancel(AGENT, run, actor="bob", reason="enough")
    done = await trials.ended(run)
    assert (done.status, done.message, done.recommendation, done.wishes) == (RunStatus.FAILED, "cancelled by bob", None, ())
    assert trials.instances == set()
    assert (await trials.world.audit())[-1] == ("staging", "cancelled")


async def test_a_version_that_cannot_be_installed_or_ends_by_itself_is_an_issue(trials: Trials) -> None:
    trials.runtime.behaviour("1.1.0").installs = False
    done = await trials.ended(await trials.ask())
    assert done.reasons == ("Start: 0 of 1 passed. installs: it could not be installed.",)
    trials.runtime.behaviour("1.1.0").installs = True
    trials.runtime.behaviour("1.1.0").crashes = True
    done = await trials.ended(await trials.ask())
    assert done.reasons == ("Start: 1 of 2 passed. starts: it ended by itself with exit code 1.",)
    assert trials.instances == set()


async def test_without_a_free_port_the_run_could_not_be_carried_out_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as trials:
        trials.reconciler = a_reconciler(trials.world, NoPorts(trials.world.clock), trials.suites)
        async with leading(trials):
            done = await trials.ended(await trials.ask())
    assert (done.status, done.recommendation, done.message) == (RunStatus.FAILED, None, "no free port between 20000 and 32767")


async def test_without_room_on_the_disk_the_run_could_not_be_carried_out_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as trials:
        trials.reconciler = a_reconciler(trials.world, trials.runtime, trials.suites, FullDisk())
        async with leading(trials):
            done = await trials.ended(await trials.ask(replace(SMOKE, state="copy")))
    assert (done.status, done.recommendation) == (RunStatus.FAILED, None)
    assert done.message.startswith("the live state could not be copied: no room for 1.0.0")


async def test_a_run_whose_server_died_is_begun_anew_and_the_second_time_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as trials:
        run = await trials.get(await trials.ask())
        await trials.reconciler.runs.save(replace(run, status=RunStatus.RUNNING, attempts=1))
        async with leading(trials):
            done = await trials.ended(run.run)
        assert (done.status, done.attempts, "begun anew" in done.notes[0]) == (RunStatus.COMPLETED, 2, True)
        await trials.reconciler.runs.save(replace(run, status=RunStatus.RUNNING, attempts=2))
        async with leading(trials):
            done = await trials.ended(run.run)
        assert (done.status, done.message) == (RunStatus.FAILED, "the server was stopped while it was under way, 2 times")


async def test_instances_are_kept_for_as_long_as_was_asked_and_no_longer(trials: Trials) -> None:
    done = await trials.ended(await trials.ask(replace(SMOKE, keep_seconds=60)))
    assert trials.instances == {f"{done.run}-new"}
    trials.suites.outcome = CaseStatus.FAILED
    await trials.world.services.staging.run_case(AGENT, done.run, "smoke-1", actor="bob")

    async def tried() -> bool:
        return len((await trials.get(done.run)).hand) == 1

    await trials.until(tried)
    after = await trials.get(done.run)
    assert (after.hand[0].status, after.hand[0].actor, after.recommendation) == (CaseStatus.FAILED, "bob", "safe_to_deploy")
    trials.world.clock.advance(61)

    async def gone() -> bool:
        return not trials.instances

    await trials.until(gone)


async def test_a_removed_agent_takes_its_runs_along_and_the_one_under_way_ends_quietly(trials: Trials) -> None:
    gone = replace(await trials.get(await trials.ask()), run="stg-unknown", agent="Nobody")
    await trials.reconciler.runs.save(gone)  # as after a removal: there is no such row, and nothing is written
    assert await trials.reconciler.runs.agent(gone) is None


@pytest.mark.parametrize("keep_seconds", [0, 60])
async def test_what_was_installed_for_a_run_goes_when_its_agent_was_removed_meanwhile(trials: Trials, keep_seconds: float) -> None:
    trials.suites.hold = anyio.Event()
    await trials.ask(replace(SMOKE, keep_seconds=keep_seconds))

    async def asked() -> bool:
        return trials.suites.running == 1

    async def kept() -> bool:
        return trials.suites.running == 0 and bool(trials.reconciler._kept)

    async def swept() -> bool:
        return not trials.runtime.installed and not trials.instances

    await trials.until(asked)
    assert set(trials.runtime.installed) == {(AGENT, "1.1.0")}
    # The engine has deleted by now what nobody held; the run holds its version.
    await trials.world.engine(lambda state: replace(state, agent=replace(state.agent, status=AgentStatus.REMOVED)))
    assert await trials.reconciler.runs.removed(AGENT)
    trials.suites.hold.set()
    if keep_seconds:
        await trials.until(kept)
        assert trials.runtime.installed, "it stands for tests by hand"
        trials.world.clock.advance(keep_seconds + 1)
    await trials.until(swept)


async def test_a_run_takes_nothing_of_a_living_agent_along(trials: Trials) -> None:
    trials.runtime.installed[AGENT, "1.0.0"] = Preparation(status=PreparationStatus.READY, at=trials.world.clock.now())
    await trials.ended(await trials.ask())
    assert (AGENT, "1.0.0") in trials.runtime.installed, "a rollback may want it"


async def test_copies_need_room_beside_what_live_agents_need(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    async with opened(tmp_path / "world") as trials:
        data_dir = tmp_path / "data"
        state = StateSpec(directory="state")
        manifest = Manifest(agent=AGENT, source=Source(kind="path", location="."), run=Run(command=("true",)), state=state)
        release = Release(agent=AGENT, version="1.0.0", manifest=manifest, ref="r")
        live = data_dir / "agents" / AGENT / "state"
        live.mkdir(parents=True)
        (live / "memory").write_text("kept")
        async with FolderSnapshots(data_dir=data_dir, clock=trials.world.clock) as snapshots:
            given = {"snapshots": snapshots, "folders": staging_folders(data_dir), "clock": trials.world.clock}
            async with FolderStateCopies(**given, spare_bytes=1 << 60) as copies:  # type: ignore[arg-type]
                with pytest.raises(PermanentError, match="are free on the disk"):
                    await copies.copy(release, key="stg-1", epoch=0, exporters=(), targets={3: release})
            async with FolderStateCopies(**given, spare_bytes=0) as copies:  # type: ignore[arg-type]
                assert await copies.copy(release, key="stg-1", epoch=0, exporters=(), targets={3: release}) == ""
                copied = data_dir / "staging" / "agents" / AGENT / "state@3"
                assert (copied / "memory").read_text() == "kept"
                await copies.drop(AGENT, {3: release})
                assert not copied.exists()
        assert list(data_dir.rglob("stg-*")) == []
