"""The instances of one staging run: installed, started with state and configuration of their own, and gone afterwards. `Trial` opens one.

The data plane never hears of them. Nothing is remembered here that a restart of the server would need: the runtime of staging ends and
deletes whatever an earlier server left.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import anyio
import structlog

from agent_servicing.core.config.enforced import enforced
from agent_servicing.core.config.layers import ConfigDocument, text_of
from agent_servicing.core.config.wanted import NEVER_PATCHED, Documents
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import AgentState, Process, Release
from agent_servicing.core.resources import UNLIMITED, Resources
from agent_servicing.core.staging.model import StagingRun
from agent_servicing.core.status import PreparationStatus
from agent_servicing.ports import AgentClient, Clock, ConfigChannel, LimitsInstances, Runtime
from agent_servicing.ports.abilities import HoldsReleases
from agent_servicing.ports.staging import Address, StateCopies

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 0.1
PROBE_SECONDS: Final = 0.2
TRIES: Final = 3
"""How often something is begun that only does not work at the moment, a second apart."""

STOP_SECONDS: Final = 5.0
"""Between asking an instance to end and killing it: nobody's requests are on it."""

KILLED_SECONDS: Final = 5.0
LOG_LINES: Final = 60

T = TypeVar("T")


class Broken(Exception):
    """The version under test does not work: `case` is what it did not do, `log` what it said last."""

    def __init__(self, case: str, message: str, log: str = "") -> None:
        super().__init__(message)
        self.case, self.message, self.log = case, message, log


class Impossible(Exception):
    """The run cannot be carried out, for a reason that says nothing about the version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every bench needs. `live` is the runtime of production, only looked at: who can export the state, and nothing else."""

    runtime: Runtime
    live: Runtime
    client: AgentClient
    clock: Clock
    channel: ConfigChannel | None = None
    copies: StateCopies | None = None


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run's instances. `old` is the version that serves now, where one is to be compared with. Always `close` it."""

    means: Means
    run: StagingRun
    state: AgentState
    release: Release
    with_old: bool
    notes: list[str] = field(default_factory=list)
    new: Address | None = None
    old: Address | None = None

    @property
    def stable(self) -> Release | None:
        version = self.state.agent.version
        return self.state.releases.get(version) if version is not None else None

    @property
    def _names(self) -> tuple[str, str]:
        return f"{self.run.run}-new", f"{self.run.run}-old"

    @property
    def _epochs(self) -> tuple[int, int]:
        """State folders that no other run has. Zero would be the folder without a number."""
        return 2 * self.run.number + 1, 2 * self.run.number + 2

    async def open(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Raises `Broken`, `Impossible`. `tell` is called with what is done at the moment."""
        agent, stable = self.run.agent, self.stable
        versions = [self.run.version, *([stable.version] if stable else [])]
        if isinstance(self.means.runtime, HoldsReleases):
            await self.means.runtime.hold(agent, versions, by=self.run.run)
        await tell("installing")
        await self._install(self.release)
        await tell("copying the state")
        await self._copy_state(stable)
        await tell("starting")
        self.new = await self._start(self.release, self._names[0], self._epochs[0])
        if self.with_old and stable is not None:
            try:
                await self._install(stable)
                self.old = await self._start(stable, self._names[1], self._epochs[1])
            except Broken as error:
                self.notes.append(f"the version that serves now did not work in staging, so nothing was compared: {error.message}")

    async def check(self) -> None:
        """Raises `Broken` when the instance of the version under test has ended by itself."""
        process = (await self._tried(lambda: self.means.runtime.observe(self.run.agent))).get(self._names[0])
        if process is None or not process.alive:
            raise Broken("stays up", _ended(process), await self._log(self._names[0]))

    async def log(self) -> str:
        """The last lines of the instance under test."""
        return await self._log(self._names[0])

    async def close(self) -> None:
        """End and delete everything. What cannot be done now is logged, and done by the next start of the server."""
        with anyio.CancelScope(shield=True):
            try:
                for name in self._names:
                    await self._end(name)
                if self.means.copies is not None:
                    releases = (self.release, self.stable or self.release)
                    await self.means.copies.drop(self.run.agent, dict(zip(self._epochs, releases, strict=True)))
            except (TemporaryError, PermanentError) as error:
                log.warning("staging_not_cleaned_up", run=self.run.run, problem=str(error))
            finally:
                self.new = self.old = None
                if isinstance(self.means.runtime, HoldsReleases):
                    await self.means.runtime.hold(self.run.agent, (), by=self.run.run)

    async def _install(self, release: Release) -> None:
        runtime, again = self.means.runtime, True
        while True:
            found = await runtime.preparation(release.agent, release.version)
            match found.status:
                case PreparationStatus.READY:
                    return
                case PreparationStatus.FAILED if not again:
                    raise Broken("installs", "it could not be installed", found.detail)
                case PreparationStatus.INSTALLING:
                    again = False
                case _:
                    await self._tried(lambda: runtime.prepare(release, again=True))
                    again = False
            await self.means.clock.sleep(POLL_SECONDS)

    async def _copy_state(self, stable: Release | None) -> None:
        if self.run.options.state == "empty":
            return
        if stable is None or self.means.copies is None:
            self.notes.append("nothing serves yet whose state could be copied, so it began with an empty one")
            return
        processes = await self._tried(lambda: self.means.live.observe(self.run.agent))
        exporters = [each for each in processes.values() if each.alive and each.version == stable.version]
        targets = {self._epochs[0]: self.release, **({self._epochs[1]: stable} if self.with_old else {})}
        try:
            note = await self.means.copies.copy(
                stable, key=self.run.run, epoch=self.state.agent.epoch, exporters=exporters, targets=targets
            )
        except PermanentError as error:
            raise Impossible(f"the live state could not be copied: {error}") from error
        if note:
            self.notes.append(note)

    async def _start(self, release: Release, name: str, epoch: int) -> Address:
        document = document_for(self.state, release)
        config = await self._tried(lambda: self._render(document))
        await self._tried(
            lambda: self.means.runtime.start(release, instance=name, generation=1, config=config, revision=document.revision, epoch=epoch)
        )
        await self._limit(name, enforced(document.around).resources)
        return await self._healthy(release, name)

    async def _limit(self, name: str, resources: Resources) -> None:
        """What it may use in production is what it is tried with: else it would pass here and run out of memory there."""
        runtime = self.means.runtime
        if resources != UNLIMITED and isinstance(runtime, LimitsInstances):
            await self._tried(lambda: runtime.limit(self.run.agent, name, resources))

    async def _render(self, document: ConfigDocument) -> str:
        channel = self.means.channel
        return text_of(document.values) if channel is None else await channel.render(self.run.agent, document)

    async def _healthy(self, release: Release, name: str) -> Address:
        health, clock = release.manifest.health, self.means.clock
        deadline, in_a_row, said = clock.monotonic() + health.startup_timeout_seconds, 0, ""
        while True:
            process = (await self._tried(lambda: self.means.runtime.observe(release.agent))).get(name)
            if process is None or not process.alive:
                raise Broken("starts", _ended(process), await self._log(name))
            probe = await self.means.client.probe(release.manifest, process)
            in_a_row, said = (in_a_row + 1 if probe.healthy else 0), probe.detail
            if in_a_row >= health.healthy_after:
                return Address(host=process.host, port=process.port, pid=process.pid)
            if clock.monotonic() > deadline:
                message = f"it was not healthy within {health.startup_timeout_seconds:g} s: {said or 'not often enough in a row'}"
                raise Broken("starts", message, await self._log(name))
            await clock.sleep(PROBE_SECONDS)

    async def _log(self, name: str) -> str:
        try:
            lines = await self.means.runtime.logs(self.run.agent, name, lines=LOG_LINES)
        except (TemporaryError, PermanentError):
            return ""
        return "\n".join(line for _, line in lines)

    async def _end(self, name: str) -> None:
        runtime, agent, clock = self.means.runtime, self.run.agent, self.means.clock
        for kill, seconds in ((False, STOP_SECONDS), (True, KILLED_SECONDS)):
            process = (await runtime.observe(agent)).get(name)
            if process is None:
                return
            await runtime.stop(agent, name, kill=kill)
            deadline = clock.monotonic() + seconds
            while process is not None and process.alive and clock.monotonic() < deadline:
                await clock.sleep(POLL_SECONDS)
                process = (await runtime.observe(agent)).get(name)
            if process is None or not process.alive:
                break
        await runtime.forget(agent, name)

    async def _tried(self, act: Callable[[], Awaitable[T]]) -> T:
        """Again for what only does not work now. Raises `Impossible`."""
        for attempt in range(TRIES):
            try:
                return await act()
            except TemporaryError as error:
                if attempt == TRIES - 1:
                    raise Impossible(str(error)) from error
                await self.means.clock.sleep(error.retry_after_seconds)
            except PermanentError as error:
                raise Impossible(str(error)) from error
        raise AssertionError("the last try returns or raises")


def document_for(state: AgentState, release: Release) -> ConfigDocument:
    """What an instance of this version would be given if it served now."""
    stable = next((each for each in state.generations if each.number == state.agent.stable), None)
    revision = stable.config if stable is not None else NEVER_PATCHED
    known = replace(state, releases={**state.releases, release.version: release})
    return Documents(known, None).at(release.version, revision)


def _ended(process: Process | None) -> str:
    if process is None:
        return "it is gone"
    return f"it ended by itself with exit code {process.exit_code}" if process.exit_code is not None else "it ended by itself"


def compares(run: StagingRun, release: Release) -> bool:
    """Whether it needs the version that serves now beside the one under test."""
    return bool(release.manifest.tests.requests) and bool({"performance", "load"} & set(run.options.suites))
