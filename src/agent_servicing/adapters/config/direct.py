"""Instances that are not connected: those with a file (L1) and those that answer requests (L2). The channel begins attempts here; each goes
on in the background, one per instance, and its outcome is a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from agent_servicing.adapters.config.awaited import Awaited
from agent_servicing.adapters.config.files import Files
from agent_servicing.adapters.config.outcome import Outcome, failed
from agent_servicing.adapters.config.rendering import Rendered, Renderer, cleaned
from agent_servicing.adapters.config.reports import checked, report_of
from agent_servicing.adapters.config.told import Told
from agent_servicing.adapters.config.well_known import Phase, WellKnown
from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.report import Attempt, ConfigReport, Level
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.ports import Clock, ConfigTarget

log = structlog.get_logger(__name__)

CONCURRENCY_MAX: Final = 128
"""Instances spoken to at once; each holds a socket or a thread."""

FILE_LOOK_SECONDS: Final = 5.0
"""How often a file is looked at for changes behind our back."""

INFO_LOOK_SECONDS: Final = 10.0
"""How often an instance is asked what it has, as often as a connected one says so itself."""

INFO_TIMEOUT_SECONDS: Final = 2.0


@dataclass(slots=True)
class _Instance:
    """`turn` counts what was begun with it, so that an answer to an older question is known as such. `written`: digest of our last file;
    `confirmed`: the document that was taken from it. `told`: by when its streams are to end.
    """

    report: ConfigReport | None = None
    turn: int = 0
    doing: tuple[Phase, str] | None = None
    scope: anyio.CancelScope | None = None
    looked_at: float | None = None
    written: str | None = None
    confirmed: str | None = None
    told: Told = field(default_factory=Told)


class Direct:
    def __init__(
        self, *, files: Files, well_known: WellKnown, renderer: Renderer, clock: Clock, tasks: TaskGroup, awaited: Awaited
    ) -> None:
        self._files, self._well_known, self._renderer, self._clock, self._tasks = files, well_known, renderer, clock, tasks
        self._awaited = awaited
        self._instances: dict[str, dict[str, _Instance]] = {}
        self._limiter = anyio.CapacityLimiter(CONCURRENCY_MAX)

    def begin(self, target: ConfigTarget, phase: Phase, rendered: Rendered, *, deadline_seconds: float) -> None:
        """Ask, or have it apply. The same again while it is under way is nothing; anything else ends what is under way."""
        found = self._of(target)
        doing = (phase, target.document.key)
        if found.doing == doing:
            return
        if found.scope is not None:
            found.scope.cancel()
        found.turn += 1
        if phase == "prepare" and not _speaks(target):
            found.doing = found.scope = None
            self._keep(found, target, rendered, Outcome(result="prepared"))
            return
        found.doing, found.scope = doing, anyio.CancelScope()
        self._tasks.start_soon(self._attempt, found, target, phase, rendered, deadline_seconds, found.scope)

    def drain(self, manifest: Manifest, process: Process, goodbye: Goodbye | None) -> None:
        """Tell one that answers requests, in the background; the others have no ear for it."""
        found = self._instances.setdefault(manifest.agent, {}).setdefault(process.instance, _Instance())
        if manifest.config.reload == "sdk" and found.told.news(goodbye, self._clock.monotonic()):
            self._tasks.start_soon(self._tell, manifest.agent, process, goodbye)

    def withdraw(self, target: ConfigTarget) -> None:
        """What it agreed to will not come. It changed nothing, so there is nothing to tell it."""
        found = self._of(target)
        if found.doing is not None and found.doing[0] == "prepare" and found.scope is not None:
            found.scope.cancel()
        if found.report is not None:
            found.report = replace(found.report, prepared=None)

    def look(self, target: ConfigTarget) -> None:
        """See in the background what it has, unless that was done just now or something is under way."""
        found, now = self._of(target), self._clock.monotonic()
        interval = INFO_LOOK_SECONDS if _speaks(target) else FILE_LOOK_SECONDS
        if found.doing is None and (found.looked_at is None or now - found.looked_at >= interval):
            found.looked_at = now
            self._tasks.start_soon(self._look, found, target)

    def latest(self, agent: str, instance: str) -> ConfigReport | None:
        found = self._instances.get(agent, {}).get(instance)
        return found.report if found is not None else None

    def known(self, agent: str) -> Mapping[str, ConfigReport]:
        return {name: found.report for name, found in self._instances.get(agent, {}).items() if found.report is not None}

    def forget(self, agent: str, instance: str) -> None:
        found = self._instances.get(agent, {}).pop(instance, None)
        if found is not None and found.scope is not None:
            found.scope.cancel()
        if not self._instances.get(agent):
            self._instances.pop(agent, None)

    async def _attempt(
        self,
        found: _Instance,
        target: ConfigTarget,
        phase: Phase,
        rendered: Rendered,
        deadline_seconds: float,
        scope: anyio.CancelScope,
    ) -> None:
        """No answer in time leaves no report: whoever waits for one knows how long."""
        outcome: Outcome | None = None
        try:
            with scope, anyio.move_on_after(deadline_seconds):
                async with self._limiter:
                    if _speaks(target):
                        outcome = await self._well_known.ask(target, phase, rendered, deadline_seconds=deadline_seconds)
                    else:
                        outcome = await self._replace(found, target, rendered)
        except Exception as error:  # whatever one instance sends back must not end the channel
            log.exception("config_attempt_failed", agent=target.agent, instance=target.process.instance)
            outcome = failed(f"it could not be told: {type(error).__name__}")
        if found.scope is scope:
            found.doing = found.scope = None
            if outcome is not None:
                self._keep(found, target, rendered, outcome)

    async def _tell(self, agent: str, process: Process, goodbye: Goodbye | None) -> None:
        """One that has nothing there, or refuses, is no worse off: it goes on until its budget is spent."""
        problem = f"no answer within {INFO_TIMEOUT_SECONDS:g} s"
        with anyio.move_on_after(INFO_TIMEOUT_SECONDS):
            async with self._limiter:
                problem = await self._well_known.drain(agent, process, goodbye)
        if problem:
            log.info("drain_not_heard", agent=agent, instance=process.instance, resumes=goodbye is None, problem=problem)

    async def _replace(self, found: _Instance, target: ConfigTarget, rendered: Rendered) -> Outcome:
        try:
            await self._files.write(target, rendered.text)
        except (TemporaryError, PermanentError) as error:
            return failed(str(error))
        found.written = rendered.digest
        return await self._files.reload(target)

    def _keep(self, found: _Instance, target: ConfigTarget, rendered: Rendered, outcome: Outcome) -> None:
        key, now = target.document.key, self._clock.now()
        problems = cleaned(outcome.problems, rendered.secrets)
        attempt = Attempt(revision=target.document.revision, key=key, result=outcome.result, at=now, problems=problems)
        report = replace(found.report or _nothing(target, self._clock), at=now, attempt=attempt, prepared=None)
        if outcome.result == "prepared":
            report = replace(report, prepared=key)
        elif outcome.result == "applied":
            found.confirmed = key
            report = replace(report, applied=key, pending=outcome.pending)
        found.report = report
        self._awaited.heard(target.agent, target.process.instance, report)

    async def _look(self, found: _Instance, target: ConfigTarget) -> None:
        turn = found.turn
        try:
            with anyio.move_on_after(INFO_TIMEOUT_SECONDS):
                async with self._limiter:
                    report = await (self._asked(found, target) if _speaks(target) else self._read(found, target))
                if report is not None and found.turn == turn:
                    found.report = report
                    self._awaited.heard(target.agent, target.process.instance, report)
        except Exception:  # as above
            log.exception("config_look_failed", agent=target.agent, instance=target.process.instance)

    async def _asked(self, found: _Instance, target: ConfigTarget) -> ConfigReport | None:
        said = await self._well_known.info(target)
        if said is None:
            return None
        said = await checked(self._renderer, target.agent, replace(said, level="http"), [target.document])
        return _together(found.report, report_of(self._renderer, target.agent, target.process.instance, said, self._clock.now()))

    async def _read(self, found: _Instance, target: ConfigTarget) -> ConfigReport:
        """A file with our last text in it is as good as the answer to it was; any other is known by its text or is not ours, or it is gone."""
        digest = await self._files.digest(target)
        if digest is None:
            applied = None
        elif found.written is None:
            wanted = await self._renderer.digest(target.agent, target.document)
            applied = target.document.key if digest == wanted else self._renderer.key_of(target.agent, digest)
            if applied:
                found.written, found.confirmed = digest, applied
        else:
            applied = found.confirmed if digest == found.written else ""
        return replace(found.report or _nothing(target, self._clock), applied=applied, at=self._clock.now())

    def _of(self, target: ConfigTarget) -> _Instance:
        return self._instances.setdefault(target.agent, {}).setdefault(target.process.instance, _Instance())


def _speaks(target: ConfigTarget) -> bool:
    return target.manifest.config.reload == "sdk"


def _nothing(target: ConfigTarget, clock: Clock) -> ConfigReport:
    level: Level = "http" if _speaks(target) else "file"
    return ConfigReport(instance=target.process.instance, level=level, at=clock.now())


def _together(before: ConfigReport | None, now: ConfigReport) -> ConfigReport:
    """What it says now, and of what it leaves out, what it said before: an agent may keep no record of its attempts."""
    if before is None:
        return now
    return replace(
        now,
        applied=before.applied if now.applied is None else now.applied,
        prepared=before.prepared if now.prepared is None else now.prepared,
        attempt=now.attempt or before.attempt,
    )
