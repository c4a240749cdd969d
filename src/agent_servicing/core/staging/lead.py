"""What is to be done about staging runs now: pure. The reconciler asks with every look at the rows and does what comes back."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from agent_servicing.core.staging.model import ATTEMPTS_MAX, RunStatus, StagingRun, Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Nobody works at it and there is room: try the version."""

    run: StagingRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """It was under way in a server that is gone; nothing of it is left, so it waits its turn again."""

    run: StagingRun


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """It cannot be carried out."""

    run: StagingRun
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Somebody does not want it any more: end it, or let go of the instances that are kept."""

    run: StagingRun
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class TryCase:
    """Somebody wants one case of a finished run once more."""

    run: StagingRun
    wish: Wish


Step = Begin | Requeue | GiveUp | Cancel | TryCase


def steps(pending: Sequence[StagingRun], *, working: Collection[str], limit: int) -> tuple[Step, ...]:
    """For all that is pending, oldest first. `working`: runs that somebody in this process works at; `limit`: of those at once."""
    return tuple(_steps(pending, working, limit))


def _steps(pending: Sequence[StagingRun], working: Collection[str], limit: int) -> Iterator[Step]:
    room = limit - len(working)
    for run in pending:
        cancel = next((wish for wish in run.wishes if wish.kind == "cancel"), None)
        if cancel is not None:
            yield Cancel(run=run, wish=cancel)
        elif run.run in working:
            continue
        elif run.status is RunStatus.RUNNING:
            yield _cut_off(run)
        elif room > 0 and (step := _wanted(run)) is not None:
            room -= 1
            yield step


def _cut_off(run: StagingRun) -> Step:
    if run.attempts < ATTEMPTS_MAX:
        return Requeue(run=run)
    return GiveUp(run=run, message=f"the server was stopped while it was under way, {run.attempts} times")


def _wanted(run: StagingRun) -> Step | None:
    if run.status is RunStatus.QUEUED:
        return Begin(run=run)
    wish = next((wish for wish in run.wishes if wish.kind == "case"), None)
    return TryCase(run=run, wish=wish) if wish is not None else None
