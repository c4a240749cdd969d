"""Looks at the rows of staging runs, asks the core what is to be done, and does it: begins, begins anew, cancels, cleans up.

`bootstrap` runs it beside the engine. A run is carried out by a task of this process; a row that says `running` while nobody here works at
it was cut off by the end of an earlier server, whose instances the runtime of staging has ended before this looks for the first time.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final, assert_never

import anyio
import structlog
from anyio.abc import TaskGroup

from agent_servicing.core import events
from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.events import Event
from agent_servicing.core.staging.lead import Begin, Cancel, GiveUp, Requeue, Step, TryCase, steps
from agent_servicing.core.staging.model import HAND_KEPT, START, CaseStatus, HandResult, RunStatus, StagingRun, Wish
from agent_servicing.core.status import PreparationStatus
from agent_servicing.ports import EventBus, Masker
from agent_servicing.ports.staging import StagingRuns, SuiteRunner
from agent_servicing.reconcile.staging.bench import POLL_SECONDS, Bench, Impossible, Means
from agent_servicing.reconcile.staging.trial import Trial, event

log = structlog.get_logger(__name__)

TOPICS: Final = ("agent",)
COMMITTED_TOPIC: Final = "events"
LONGEST_WAIT_SECONDS: Final = 1.0
"""A wake-up that was lost costs at most this."""

KEPT_MAX: Final = 2
"""Benches that stand for tests by hand; for a newer one the oldest goes. They are processes that nobody may be looking at."""

GONE: Final = "the agent or the version is not there any more"


@dataclass(slots=True)
class _Work:
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    cancelled: Wish | None = None


@dataclass(slots=True, kw_only=True)
class StagingReconciler:
    """`run` until cancelled. `limit`: runs and cases by hand at once; their measurements would disturb each other."""

    runs: StagingRuns
    suites: SuiteRunner
    means: Means
    bus: EventBus
    limit: int
    masker: Masker | None = None
    _working: dict[str, _Work] = field(default_factory=dict)
    _kept: dict[str, Bench] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)
    _woken: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for topic in TOPICS:
                    tasks.start_soon(self._listen, topic)
                while True:
                    await self._look(tasks)
                    with anyio.move_on_after(LONGEST_WAIT_SECONDS):
                        await self._woken.wait()
                    self._woken = anyio.Event()
        finally:
            for name in list(self._kept):
                await self._let_go(name)

    async def _listen(self, topic: str) -> None:
        async for _ in self.bus.subscribe(topic):
            self._woken.set()

    async def _look(self, tasks: TaskGroup) -> None:
        now = self.means.clock.monotonic()
        for name in [name for name, until in self._until.items() if until <= now and name not in self._working]:
            run = self._kept[name].run
            await self._let_go(name)
            await self._unless_it_breaks(run, partial(self._sweep, run))
        try:
            for step in steps(await self.runs.pending(), working=self._working, limit=self.limit):
                await self._do(step, tasks)
        except TemporaryError as error:
            log.warning("staging_postponed", problem=str(error))
        except Exception:  # a bug of ours must not end the server; looked at again with the next wake-up
            log.exception("staging_look_failed")

    async def _do(self, step: Step, tasks: TaskGroup) -> None:
        match step:
            case Begin(run=run):
                work = self._working[run.run] = _Work()
                tasks.start_soon(self._guarded, run, partial(self._carry_out, run, work))
            case TryCase(run=run, wish=wish):
                work = self._working[run.run] = _Work()
                tasks.start_soon(self._guarded, run, partial(self._by_hand, run, wish, work))
            case Requeue(run=run):
                note = "The server was stopped while it was under way; it was begun anew."
                await self._save(replace(run, status=RunStatus.QUEUED, phase="", suites=(), notes=(note,)))
            case GiveUp(run=run, message=message):
                await self._fail(run, message)
            case Cancel(run=run, wish=wish):
                await self._cancel(run, wish)
            case _:
                assert_never(step)

    async def _cancel(self, run: StagingRun, wish: Wish) -> None:
        work = self._working.get(run.run)
        if work is not None:
            work.cancelled = wish
            work.scope.cancel()
        elif run.open:
            await self._fail(run, f"cancelled by {wish.actor}", wish=wish, status="cancelled")
        else:
            await self._let_go(run.run)
            await self._save(replace(run, kept_until=None), done=[each.wish for each in run.wishes])

    async def _guarded(self, run: StagingRun, act: Callable[[], Awaitable[None]]) -> None:
        """Whatever one run does wrong, or the database at that moment, the others go on; its row says what is to be done next."""
        try:
            for each in (act, partial(self._sweep, run)):
                await self._unless_it_breaks(run, each)
        finally:  # not before it is written: who is not being worked at is begun with
            self._working.pop(run.run, None)
            self._woken.set()

    async def _unless_it_breaks(self, run: StagingRun, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except TemporaryError as error:
            log.warning("staging_cut_off", run=run.run, problem=str(error))
        except Exception:  # a bug of ours must not end the server
            log.exception("staging_broke", run=run.run)

    async def _sweep(self, run: StagingRun) -> None:
        """The engine deletes a removed agent's versions once, but not those that a run held, or was still installing."""
        runtime = self.means.runtime
        if run.run in self._kept or not await self.runs.removed(run.agent):
            return
        while (await runtime.preparation(run.agent, run.version)).status is PreparationStatus.INSTALLING:
            await self.means.clock.sleep(POLL_SECONDS)
        await runtime.collect(run.agent, keep=())

    # --- a run ---------------------------------------------------------------------------------------------------------------------

    async def _carry_out(self, run: StagingRun, work: _Work) -> None:
        trial: Trial | None = None
        try:
            run = replace(run, status=RunStatus.RUNNING, attempts=run.attempts + 1, started_at=self.means.clock.now(), phase="preparing")
            with work.scope:
                data = {"attempt": run.attempts, "suites": list(run.options.suites)}
                await self._save(run, event(run, events.STAGING_STARTED, self.means.clock, **data))
                trial = await self._trial(run)
                run = await self._tried(trial)
            if work.cancelled is not None:
                run = trial.run if trial is not None else run
                await self._fail(run, f"cancelled by {work.cancelled.actor}", wish=work.cancelled, status="cancelled")
        except Impossible as error:
            await self._fail(trial.run if trial is not None else run, str(error))
        except TemporaryError:  # the database: the row says running, nobody works at it, and it is begun anew
            raise
        except Exception as error:
            log.exception("staging_broke", run=run.run)
            await self._fail(trial.run if trial is not None else run, f"the run itself broke: {type(error).__name__}")

    async def _tried(self, trial: Trial) -> StagingRun:
        bench, kept = trial.bench(), False
        try:
            await trial.go(bench)
            run = trial.run
            start = run.suite(START)
            if run.options.keep_seconds > 0 and start is not None and start.status is CaseStatus.PASSED:
                run = await self._keep(run, bench)
                kept = True
        finally:
            if not kept:
                await bench.close()
        await self._save(run, *_ended(run, self.means))
        return run

    async def _trial(self, run: StagingRun) -> Trial:
        found = await self.runs.agent(run)
        if found is None:
            raise Impossible(GONE)
        state, release = found
        mask = partial(self.masker.mask, run.agent) if self.masker is not None else str
        return Trial(means=self.means, suites=self.suites, runs=self.runs, run=run, state=state, release=release, mask=mask)

    # --- one case by hand ----------------------------------------------------------------------------------------------------------

    async def _by_hand(self, run: StagingRun, wish: Wish, work: _Work) -> None:
        result = HandResult(case=wish.case, actor=wish.actor, at=wish.at, status=CaseStatus.INCONCLUSIVE)
        with work.scope:
            result = await self._outcome(run, wish, result)
        done = [wish.wish]
        if work.cancelled is not None:
            result = replace(result, message=f"cancelled by {work.cancelled.actor}")
            done.append(work.cancelled.wish)
        until = self.means.clock.now() + timedelta(seconds=run.options.keep_seconds) if run.run in self._kept else None
        hand = (*run.hand, result)[-HAND_KEPT:]
        await self._save(replace(run, hand=hand, kept_until=until), *_of_case(run, wish, result, self.means), done=done)

    async def _outcome(self, run: StagingRun, wish: Wish, result: HandResult) -> HandResult:
        try:
            return await self._one(run, wish)
        except Impossible as error:
            return replace(result, message=str(error))
        except TemporaryError:
            raise
        except Exception as error:  # a bug of ours must not end the server
            log.exception("staging_broke", run=run.run)
            return replace(result, message=f"the case itself broke: {type(error).__name__}")

    async def _one(self, run: StagingRun, wish: Wish) -> HandResult:
        case = run.case(wish.case)
        if case is None:
            raise Impossible("the run has no such case")
        trial = await self._trial(run)
        bench, kept = self._kept.get(run.run) or trial.bench(), False
        try:
            suite = await trial.one(bench, case)
            if run.options.keep_seconds > 0 and bench.new is not None:
                await self._keep(run, bench)
                kept = True
        finally:
            if not kept:
                self._kept.pop(run.run, None)
                self._until.pop(run.run, None)
                await bench.close()
        found = next((each for each in suite.cases if each.case == case.case), None)
        told = found if found is not None else replace(case, status=suite.status, message=suite.message, trace="", log=suite.log)
        return HandResult(
            case=case.case,
            actor=wish.actor,
            at=wish.at,
            status=told.status,
            duration_seconds=told.duration_seconds,
            message=told.message,
            trace=told.trace,
            log=told.log or suite.log,
        )

    # --- benches that stand --------------------------------------------------------------------------------------------------------

    async def _keep(self, run: StagingRun, bench: Bench) -> StagingRun:
        seconds = run.options.keep_seconds
        self._kept[run.run], self._until[run.run] = bench, self.means.clock.monotonic() + seconds
        others = sorted((name for name in self._kept if name != run.run and name not in self._working), key=self._until.__getitem__)
        for name in others[: max(0, len(self._kept) - KEPT_MAX)]:
            await self._let_go(name)
        return replace(run, kept_until=self.means.clock.now() + timedelta(seconds=seconds))

    async def _let_go(self, name: str) -> None:
        bench = self._kept.pop(name, None)
        self._until.pop(name, None)
        if bench is not None:
            await bench.close()

    # --- writing -------------------------------------------------------------------------------------------------------------------

    async def _fail(self, run: StagingRun, message: str, *, wish: Wish | None = None, status: str = "failed") -> None:
        failed = replace(run, status=RunStatus.FAILED, phase="", message=message, finished_at=self.means.clock.now())
        done = [wish.wish] if wish is not None else []
        await self._save(failed, *_ended(failed, self.means, status=status, wish=wish), done=done)

    async def _save(self, run: StagingRun, *news: Event, done: Sequence[str] = ()) -> None:
        await self.runs.save(run, news, done=done)
        if news:
            await self.bus.publish(COMMITTED_TOPIC)


def _ended(run: StagingRun, means: Means, *, status: str | None = None, wish: Wish | None = None) -> tuple[Event, Event]:
    """The live event, and the closing entry of the audit."""
    outcome = status or ("success" if run.recommendation == "safe_to_deploy" else "issues_detected")
    since = run.started_at or run.requested_at
    data: dict[str, object] = {
        "status": run.status.value,
        "recommendation": run.recommendation,
        "reasons": list(run.reasons),
        "message": run.message,
        "duration_seconds": round((means.clock.now() - since).total_seconds(), 3),
    }
    told = event(run, events.STAGING_COMPLETED, means.clock, **data)
    entry = replace(told, type=events.AUDIT_STAGING, audit=True, data={**told.data, "status": outcome})
    if wish is not None:
        entry = replace(entry, actor=wish.actor, reason=wish.reason)
    return told, entry


def _of_case(run: StagingRun, wish: Wish, result: HandResult, means: Means) -> tuple[Event, Event]:
    case = run.case(wish.case)
    data: dict[str, object] = {
        "case": wish.case,
        "name": case.name if case is not None else "",
        "status": result.status.value,
        "message": result.message,
        "by_hand": True,
    }
    told = replace(event(run, events.STAGING_CASE, means.clock, **data), actor=wish.actor, reason=wish.reason)
    return told, replace(told, type=events.AUDIT_STAGING_CASE, audit=True)
