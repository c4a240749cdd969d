"""Turns the operators' intents into state. Never refuses: a service already answered the operator; what makes no sense any more is dropped."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.config.patch import PatchStatus
from agent_servicing.core.config.rollout import take_back
from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Deployment, Intent
from agent_servicing.core.retreat import retreat
from agent_servicing.core.stages import Analyse, Replace, SetTraffic, StageRecord
from agent_servicing.core.status import AgentStatus, DeploymentStatus, StageStatus, Verb


def intake(draft: Draft) -> None:
    for intent in draft.before.intents:
        draft.intents_done.append(intent.intent)
        match intent.verb:
            case Verb.SCALE:
                _scale(draft, intent)
            case Verb.REVERT_CONFIG:
                if draft.patch is not None and draft.patch.open and draft.patch.status is not PatchStatus.REVERTING:
                    take_back(draft, draft.patch, f"taken back by {intent.actor}: {intent.reason or 'no reason given'}")
            case Verb.REMOVE:
                draft.put(replace(draft.agent, status=AgentStatus.REMOVING))
            case Verb.PAUSE | Verb.RESUME | Verb.PROMOTE | Verb.CANCEL | Verb.OVERRIDE:
                deployment = draft.deployments.get(intent.deployment or "")
                if deployment is not None and deployment.active:
                    _verb(draft, deployment, intent)


def _scale(draft: Draft, intent: Intent) -> None:
    if intent.value < 1:
        return
    draft.put(replace(draft.agent, instances=intent.value))
    for number in {draft.agent.stable, draft.agent.candidate} - {None}:
        generation = draft.generations.get(number or 0)
        if generation is not None and generation.desired > 0:
            draft.want(number, generation.part)
    draft.tell(events.SCALED, actor=intent.actor, reason=intent.reason, audit=True, instances=intent.value, status="success")


def _verb(draft: Draft, deployment: Deployment, intent: Intent) -> None:
    if deployment.status is DeploymentStatus.ROLLING_BACK or deployment.handed_over:
        return
    match intent.verb:
        case Verb.PAUSE if deployment.status is not DeploymentStatus.PAUSED:
            draft.put(replace(deployment, status=DeploymentStatus.PAUSED, paused_at=draft.now, message="paused by " + intent.actor))
            draft.tell(events.PAUSED, deployment=deployment, actor=intent.actor, reason=intent.reason, audit=True, status="success")
        case Verb.RESUME if deployment.status is DeploymentStatus.PAUSED:
            _resume(draft, deployment, intent)
        case Verb.PROMOTE:
            _promote(draft, deployment, intent)
        case Verb.CANCEL:
            why = intent.reason or "no reason given"
            retreat(draft, deployment, reason=f"cancelled by {intent.actor}: {why}", actor=intent.actor, auto=False)
        case Verb.OVERRIDE:
            _override(draft, deployment, intent)
        case _:
            pass  # pausing what is paused, resuming what runs


def _resume(draft: Draft, deployment: Deployment, intent: Intent) -> None:
    resumed = _going_on(draft, deployment)
    draft.put(resumed)
    draft.tell(events.RESUMED, deployment=resumed, actor=intent.actor, reason=intent.reason, audit=True, status="success")


def _going_on(draft: Draft, deployment: Deployment) -> Deployment:
    """Out of a pause, if it is in one: deadlines stood still meanwhile, but for that of a confirmation."""
    if deployment.paused_at is None:
        return deployment
    pause = draft.now - deployment.paused_at
    running = [s for s in deployment.stages if s.status is StageStatus.IN_PROGRESS]
    bakes = any(isinstance(s.stage, Analyse) and s.stage.bake for s in running)
    stages = tuple(
        replace(s, deadline_at=s.deadline_at + pause) if s.deadline_at and s in running and not _confirms(s) else s
        for s in deployment.stages
    )
    status = DeploymentStatus.BAKING if bakes else DeploymentStatus.IN_PROGRESS
    return replace(deployment, status=status, paused_at=None, message="", stages=stages)


def _confirms(record: StageRecord) -> bool:
    """Its deadline is a promise about the clock ("back at six unless confirmed"), which no pause moves."""
    return isinstance(record.stage, Analyse) and record.stage.confirm


def _override(draft: Draft, deployment: Deployment, intent: Intent) -> None:
    """A person knows better than the analysis. Health, crashes, deadlines of other stages and the person's own cancel stay in force."""
    if deployment.overridden_by is not None:
        return
    if deployment.control_since is not None:  # the comparison it was for is not asked for any more
        draft.put(replace(draft.agent, share=100.0))
    draft.put(replace(deployment, overridden_by=intent.actor, control_since=None))
    verdict = deployment.judgement.sentence if deployment.judgement else "no verdict yet"
    draft.tell(
        events.ANALYSIS_OVERRIDDEN,
        deployment=deployment,
        actor=intent.actor,
        reason=intent.reason,
        audit=True,
        verdict=verdict,
        status="success",
    )


def _promote(draft: Draft, deployment: Deployment, intent: Intent) -> None:
    """End the present wait; with `full`, everything that is only a wait or a smaller step is skipped. Readiness is never skipped."""
    full = intent.value == 1
    if not deployment.stages:
        return
    deployment = _going_on(draft, deployment)
    current = next((n for n, s in enumerate(deployment.stages) if s.status is StageStatus.IN_PROGRESS), 0)
    wait = current + isinstance(
        deployment.stages[current].stage, SetTraffic | Replace
    )  # being shifted: the wait meant is the one that follows
    stages = list(deployment.stages)
    for n, record in enumerate(stages):
        waiting = isinstance(record.stage, Analyse) and (n == wait or (full and n > current))
        smaller = full and n > current and isinstance(record.stage, SetTraffic | Replace) and record.stage.percent < 100
        if (waiting or smaller) and record.status in (StageStatus.PENDING, StageStatus.IN_PROGRESS):
            stages[n] = replace(record, status=StageStatus.SKIPPED, completed_at=draft.now, note=f"skipped: promoted by {intent.actor}")
    status = DeploymentStatus.IN_PROGRESS
    draft.put(replace(deployment, stages=tuple(stages), status=status, paused_at=None, message=""))
    draft.tell(events.PROMOTED, deployment=deployment, actor=intent.actor, reason=intent.reason, audit=True, full=full, status="success")
