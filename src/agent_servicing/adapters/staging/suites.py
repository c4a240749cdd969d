"""`SuiteRunner` on this machine. `bootstrap` opens it; the reconciler of staging runs calls it for each suite."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from agent_servicing.adapters.runtime.apart import FOLDER
from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.staging.commands import Job, run_suite
from agent_servicing.adapters.staging.recall import recall
from agent_servicing.adapters.staging.traffic import send_load, send_pairs
from agent_servicing.adapters.verification.command import Place
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import TestRequest
from agent_servicing.core.model import Release
from agent_servicing.core.staging.compare import Pairs
from agent_servicing.core.staging.model import CaseResult, CaseStatus, LoadStep, Suite, SuiteResult
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.staging import Address


class ProcessSuites:
    """`SuiteRunner` with processes of this machine. Scratch folders lie below `DATA_DIR/staging` and are gone when a suite is over."""

    def __init__(self, *, data_dir: Path, clock: Clock, ids: Ids, environ: Mapping[str, str] = os.environ) -> None:
        self._folders = Folders(data_dir=data_dir.resolve())
        self._scratch = self._folders.data_dir / FOLDER / "scratch"
        self._clock, self._ids, self._outer = clock, ids, dict(environ)

    async def commands(
        self, release: Release, suite: Suite, *, url: str, key: str, timeout_seconds: float, case: CaseResult | None = None
    ) -> SuiteResult:
        tests = release.manifest.tests
        command = tests.smoke if suite == "smoke" else tests.integration
        if not command:
            return SuiteResult(suite=suite, status=CaseStatus.SKIPPED, message="the manifest has none")
        began = self._clock.monotonic()
        job = Job(release=release, suite=suite, command=command, timeout_seconds=timeout_seconds, case=case)
        try:
            async with self._folder() as scratch:
                result = await run_suite(job, self._place(release, scratch, url, key))
        except (PermanentError, OSError) as error:
            problem = sentence(error) if isinstance(error, OSError) else str(error)
            result = SuiteResult(suite=suite, status=CaseStatus.INCONCLUSIVE, message=f"the tests could not be run: {problem}")
        return replace(result, duration_seconds=round(self._clock.monotonic() - began, 3))

    async def recall(self, release: Release, *, url: str, key: str, case: CaseResult | None = None) -> SuiteResult:
        requests = release.manifest.tests.recall
        if not requests:
            return SuiteResult(suite="recall", status=CaseStatus.SKIPPED, message="the manifest has none")
        began = self._clock.monotonic()
        cases = await recall(requests, url, key=key, clock=self._clock, only=case.case if case is not None else None)
        status = CaseStatus.FAILED if any(each.status is CaseStatus.FAILED for each in cases) else CaseStatus.PASSED
        seconds = round(self._clock.monotonic() - began, 3)
        return SuiteResult(suite="recall", status=status, cases=tuple(cases), duration_seconds=seconds)

    async def compare(
        self, old: Address, new: Address, requests: Sequence[TestRequest], *, key: str, budget_seconds: float
    ) -> Sequence[Pairs]:
        async with self._sending() as scratch:
            seed = self._ids.token()
            return await send_pairs(old, new, requests, scratch=scratch, key=key, seed=seed, budget_seconds=budget_seconds)

    async def load(self, address: Address, requests: Sequence[TestRequest], *, key: str, rates: Sequence[float]) -> Sequence[LoadStep]:
        async with self._sending() as scratch:
            return await send_load(address, requests, scratch=scratch, key=key, rates=rates)

    @asynccontextmanager
    async def _sending(self) -> AsyncIterator[Path]:
        try:
            async with self._folder() as scratch:
                yield scratch
        except OSError as error:
            raise PermanentError(f"the requests could not be sent: {sentence(error)}") from error

    def _place(self, release: Release, scratch: Path, url: str, key: str) -> Place:
        folder = self._folders.release(release.agent, release.version)
        # Below staging, so that whoever looks for what belongs to staging finds tests as well.
        data_dir = self._folders.data_dir / FOLDER
        return Place(
            folder=folder, scratch=scratch, url=url, key=key, data_dir=data_dir, outer=self._outer, extra={"SERVICING_STAGING": "1"}
        )

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[Path]:
        """Gone afterwards, whatever happened in it."""
        scratch = self._scratch / self._ids.new("run")
        try:
            await to_thread.run_sync(partial(scratch.mkdir, parents=True, mode=0o700))
            yield scratch
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(partial(shutil.rmtree, scratch, ignore_errors=True))
