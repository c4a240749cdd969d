"""Verification after deployment on this machine: the agent's smoke tests, then its requests. `bootstrap` opens it, the engine drives it.

Outcomes are kept in memory: after a restart of the server a verification is absent and is begun again. Nothing it started outlives it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.verification.asking import REQUEST_TIMEOUT_SECONDS, ask
from agent_servicing.adapters.verification.command import Place, Ran, run_smoke
from agent_servicing.adapters.verification.verdict import verdict
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.model import Release, Verification
from agent_servicing.core.status import VerificationStatus
from agent_servicing.ports import Clock, Ids

SMOKE_TIMEOUT_SECONDS = 300.0
"""Limit of the smoke tests. Five minutes: they stand between the shift of traffic and the end of the deployment."""

CONCURRENT_MAX = 4
"""Verifications at once; more of them wait their turn, because tests of many agents would slow each other beyond their limits."""

OUTCOMES_KEPT = 200
"""Finished verifications that nobody has forgotten; the oldest go. One that is asked for again is absent and can be begun anew."""


@dataclass(slots=True)
class _Run:
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)
    outcome: Verification = field(default_factory=lambda: Verification(status=VerificationStatus.RUNNING))


class ProcessVerifier:
    """`Verifier` with processes of this machine, as an async context manager; leaving it ends what runs.

    `router_url` is the data plane's address, below which each agent has its own.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        router_url: str,
        clock: Clock,
        ids: Ids,
        environ: Mapping[str, str] = os.environ,
        smoke_timeout_seconds: float = SMOKE_TIMEOUT_SECONDS,
        request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._folders = Folders(data_dir=data_dir.resolve())
        self._scratch = self._folders.data_dir / "verification"
        self._router_url = router_url.rstrip("/")
        self._clock, self._ids = clock, ids
        self._outer = dict(environ)
        self._smoke_timeout_seconds, self._request_timeout_seconds = smoke_timeout_seconds, request_timeout_seconds
        self._runs: dict[str, _Run] = {}
        self._turns = anyio.CapacityLimiter(CONCURRENT_MAX)
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        await to_thread.run_sync(partial(shutil.rmtree, self._scratch, ignore_errors=True))  # of a server that was killed
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def begin(self, release: Release, *, key: str) -> None:
        if key not in self._runs:
            run = self._runs[key] = _Run()
            self._drop_oldest()
            self._tasks.start_soon(self._verify, release, key, run)

    async def outcome(self, key: str) -> Verification:
        run = self._runs.get(key)
        return run.outcome if run else Verification(status=VerificationStatus.ABSENT)

    async def forget(self, key: str) -> None:
        run = self._runs.pop(key, None)
        if run is not None:
            run.scope.cancel()
            await run.over.wait()

    def _drop_oldest(self) -> None:
        finished = [key for key, run in self._runs.items() if run.over.is_set()]
        for key in finished[: max(0, len(finished) - OUTCOMES_KEPT)]:
            del self._runs[key]

    async def _verify(self, release: Release, key: str, run: _Run) -> None:
        try:
            with run.scope:
                async with self._turns:
                    run.outcome = await self._outcome(release, key)
                self._log.info("verified", agent=release.agent, version=release.version, verification=key, status=run.outcome.status.value)
        except Exception as error:  # noqa: BLE001 (a bug of ours must neither end the server nor take a good version back)
            self._log.exception("verification_broke", agent=release.agent, version=release.version, verification=key)
            detail = f"the verification itself failed: {type(error).__name__}: {error}"
            run.outcome = Verification(status=VerificationStatus.UNAVAILABLE, detail=detail, at=self._clock.now())
        finally:
            run.over.set()

    async def _outcome(self, release: Release, key: str) -> Verification:
        tests = release.manifest.tests
        url = f"{self._router_url}/{release.agent}"
        ran = await self._smoke(release, url, key) if tests.smoke else None
        answers = None
        # After failed tests the verdict is known, and taking traffic back waits for it.
        if tests.requests and (ran is None or ran.problem or ran.exit_code == 0):
            answers = await ask(release, tests.requests, url, key=key, clock=self._clock, timeout_seconds=self._request_timeout_seconds)
        return verdict(ran, answers, smoke_timeout_seconds=self._smoke_timeout_seconds, at=self._clock.now())

    async def _smoke(self, release: Release, url: str, key: str) -> Ran:
        """In a scratch folder of its own, gone afterwards. Trouble of ours (a full disk) is not the version's fault."""
        scratch = self._scratch / self._ids.new("run")
        try:
            folder = self._folders.release(release.agent, release.version)
            await to_thread.run_sync(partial(scratch.mkdir, parents=True, mode=0o700))
            place = Place(folder=folder, scratch=scratch, url=url, key=key, data_dir=self._folders.data_dir, outer=self._outer)
            return await run_smoke(release, release.manifest.tests.smoke or (), place, timeout_seconds=self._smoke_timeout_seconds)
        except PermanentError as error:
            return Ran(problem=str(error))
        except OSError as error:
            return Ran(problem=sentence(error))
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(partial(shutil.rmtree, scratch, ignore_errors=True))
