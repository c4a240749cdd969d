"""What waits: scheduled deployments join the queue when their time comes or are given up as missed, what nobody approves in time is given up,
and what may not begin yet says why.

`conduct` calls `arrive` every turn, also while another deployment is under way: being late because of others is not being missed.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from agent_servicing.core import events
from agent_servicing.core.draft import Draft
from agent_servicing.core.limits import PLACE_RETRY_SECONDS
from agent_servicing.core.model import Deployment
from agent_servicing.core.queue import unapproved
from agent_servicing.core.schedule import OPEN, Gate, Tried, locked_by, no_place, words
from agent_servicing.core.status import PLACED, WAITING, DeploymentKind, DeploymentStatus, WaitingFor

ON_TIME_SECONDS = 5.0
"""A start within this of its time is on time: the engine looks once a second."""


def arrive(draft: Draft) -> None:
    """Scheduled deployments whose time has come, and those whose time for an approval is over."""
    for deployment in list(draft.deployments.values()):
        if deployment.status in WAITING and unapproved(deployment) and deployment.approve_by is not None:
            left = (deployment.approve_by - draft.now).total_seconds()
            if left <= 0:
                _unapproved(draft, deployment, deployment.approve_by)
                continue
            draft.wake_in(left)
        if deployment.status is not DeploymentStatus.SCHEDULED or deployment.scheduled_at is None:
            continue
        wait = (deployment.scheduled_at - draft.now).total_seconds()
        if wait > 0:
            draft.wake_in(wait)
        elif -wait > deployment.start_grace_seconds:
            _missed(draft, deployment)
        else:
            late = f"nobody looked after it until {_span(timedelta(seconds=-wait))} after its time" if -wait > ON_TIME_SECONDS else ""
            draft.put(replace(deployment, status=DeploymentStatus.QUEUED, message=late))


def held(draft: Draft, deployment: Deployment) -> bool:
    """Whether it has to wait although it is due; its message then says for what, and until when where that is known."""
    gate, for_place = _gate(draft, deployment)
    if gate.open:
        return False
    since = (deployment.place_since or draft.now) if for_place else None
    if (gate.reason, gate.kind, since) != (deployment.message, deployment.held_by, deployment.place_since):
        waiting = replace(deployment, message=gate.reason, held_by=gate.kind, place_since=since)
        draft.put(waiting)
        if gate.reason != deployment.message:
            until = gate.until.isoformat() if gate.until and gate.kind is not WaitingFor.STAGING else None
            told: dict[str, object] = {"status": waiting.status.value, "until": until, "waiting_for": gate.kind}
            draft.tell(events.HELD, deployment=waiting, reason=gate.reason, data=told)
    if for_place:
        draft.wake_in(PLACE_RETRY_SECONDS)
    elif gate.until is not None:
        draft.wake_in(max(0.05, (gate.until - draft.now).total_seconds()))
    return True


def lateness(draft: Draft, deployment: Deployment) -> dict[str, object]:
    """What the event of its start says about a start after its scheduled time, nothing when it is on time."""
    late = draft.since(deployment.scheduled_at)
    if late <= ON_TIME_SECONDS:
        return {}
    why = deployment.message or "another deployment of this agent was under way"
    return {"late_seconds": round(late, 1), "late_because": why}


def _gate(draft: Draft, deployment: Deployment) -> tuple[Gate, bool]:
    """What holds it, and whether that is the lack of a free place. Rollbacks and first installations pass everything."""
    if deployment.kind not in PLACED:
        return OPEN, False
    if unapproved(deployment):
        until = f" until {words(deployment.approve_by)}" if deployment.approve_by else ""
        reason = f"waits for the approval of somebody other than {deployment.actor}{until}"
        return Gate(open=False, reason=reason, kind=WaitingFor.APPROVAL), False
    lock = draft.before.lock
    if lock is not None and lock.held(draft.now) and lock.holder != deployment.actor:
        return Gate(open=False, reason=locked_by(lock), until=lock.expires_at, kind=WaitingFor.LOCK), False
    if not draft.gate.open and not deployment.override_freeze:
        return draft.gate, False
    untried = draft.before.tried.get(deployment.to_version, Tried()).refusal(draft.now)
    if untried and deployment.kind is DeploymentKind.UPGRADE and not deployment.override_staging:
        reason = f"waits for a staging run that passes: {untried}"
        return Gate(open=False, reason=reason, until=draft.now + timedelta(seconds=PLACE_RETRY_SECONDS), kind=WaitingFor.STAGING), False
    full = no_place(draft.before.places)
    return (Gate(open=False, reason=full, kind=WaitingFor.PLACE), True) if full else (OPEN, False)


def _missed(draft: Draft, deployment: Deployment) -> None:
    due = deployment.scheduled_at or draft.now
    late = draft.now - due
    grace = timedelta(seconds=deployment.start_grace_seconds)
    message = (
        f"missed: it was to start {words(due)}, and nobody looked after it until {words(draft.now)}, "
        f"{_span(late)} later; the grace is {_span(grace)}"
    )
    data: dict[str, object] = {"scheduled_at": due.isoformat(), "late_seconds": round(late.total_seconds(), 1)}
    _give_up(draft, deployment, message, data, events.SCHEDULE_MISSED)


def _unapproved(draft: Draft, deployment: Deployment, until: datetime) -> None:
    message = f"nobody other than {deployment.actor} approved it until {words(until)}"
    _give_up(draft, deployment, message, {"approve_by": until.isoformat()})


def _give_up(draft: Draft, deployment: Deployment, message: str, data: dict[str, object], kind: str | None = None) -> None:
    """Ended before it began, with the closing entry that it would have got. `kind`: an audit entry of its own."""
    closed = replace(deployment, status=DeploymentStatus.CANCELLED, finished_at=draft.now, message=message)
    draft.put(closed)
    outcome: dict[str, object] = {
        **data,
        "from_version": closed.from_version,
        "to_version": closed.to_version,
        "strategy": closed.spec.strategy,
        "duration_seconds": 0.0,
    }
    if kind is not None:
        draft.tell(kind, deployment=closed, reason=message, audit=True, data=outcome, status="missed")
    draft.tell(events.CANCELLED, deployment=closed, reason=message, status="cancelled", version=closed.to_version)
    draft.tell(
        closed.kind.value,
        deployment=closed,
        actor=closed.actor,
        reason=closed.reason,
        audit=True,
        data=outcome,
        status="cancelled",
        note=message,
    )


def _span(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    return f"{seconds} s" if seconds < 600 else f"{round(seconds / 60)} min"
