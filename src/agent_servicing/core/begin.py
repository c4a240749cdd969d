"""Picks the deployment that comes next and gives it its candidate generation."""

from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.arrive import held, lateness
from agent_servicing.core.draft import Draft
from agent_servicing.core.keep import stop_generation
from agent_servicing.core.model import Deployment, Generation
from agent_servicing.core.queue import queued
from agent_servicing.core.routing import MAX_GENERATIONS
from agent_servicing.core.stages import StageRecord
from agent_servicing.core.status import DeploymentKind, DeploymentStatus, GenerationStatus
from agent_servicing.core.strategies import STRATEGIES
from agent_servicing.core.watch import unhealthy


def begin_next(draft: Draft) -> Deployment | None:
    """The deployment that is now under way, None when nothing is due or what is due has to wait. The queue's order is in `core.queue`."""
    deployment = next((d for d in queued(draft.deployments.values()) if not held(draft, d)), None)
    if deployment is None:
        return None
    if _pointless(draft, deployment):
        return None
    candidate = _candidate(draft, deployment)
    if candidate is None:
        draft.wake_in(0.5)
        return None
    restart = deployment.kind is DeploymentKind.RESTART
    strategy = "install" if draft.agent.stable is None else "restart" if restart else deployment.spec.strategy
    started = replace(
        deployment,
        status=DeploymentStatus.IN_PROGRESS,
        started_at=draft.now,
        from_version=draft.agent.version,
        stable=draft.agent.stable,
        candidate=candidate.number,
        epochs=(draft.agent.epoch, candidate.epoch),
        stages=tuple(StageRecord(stage=s) for s in STRATEGIES[strategy](deployment.spec, draft.agent.instances)),
        baseline=draft.world.counters,
        latest=draft.world.counters,
        before=draft.footing(),
        place_since=None,
        held_by=None,
        message="",
    )
    draft.put(started)
    draft.tell(
        events.STARTED,
        deployment=started,
        actor=started.actor,
        reason=started.reason,
        from_version=started.from_version,
        to_version=started.to_version,
        strategy=started.spec.strategy,
        data=lateness(draft, deployment),
        stages=[record.stage.name for record in started.stages],
    )
    return started


def _pointless(draft: Draft, deployment: Deployment) -> bool:
    """While it waited, another deployment may have brought the agent there already, or the time by which it was to go back is over."""
    until = deployment.spec.confirm_until
    if until is not None and until <= draft.now:
        done, message = False, f"it was to be confirmed by {until:%Y-%m-%d %H:%M:%S} UTC, which was over before it could begin"
    elif deployment.kind is DeploymentKind.RESTART or deployment.spec.restore or draft.agent.version != deployment.to_version:
        return False
    else:
        done, message = deployment.kind is DeploymentKind.ROLLBACK, f"{deployment.to_version} is already running"
    status = DeploymentStatus.COMPLETED if done else DeploymentStatus.CANCELLED
    closed = replace(deployment, status=status, started_at=draft.now, finished_at=draft.now, message=message)
    draft.put(closed)
    draft.wake_in(0)
    outcome: dict[str, object] = {
        "status": "success" if done else "cancelled",
        "from_version": draft.agent.version,
        "to_version": deployment.to_version,
    }
    live = events.COMPLETED if done else events.CANCELLED
    draft.tell(live, deployment=closed, reason=message, status=status.value, version=deployment.to_version)
    draft.tell(
        deployment.kind.value,
        deployment=closed,
        actor=deployment.actor,
        reason=deployment.reason,
        audit=True,
        strategy=deployment.spec.strategy,
        duration_seconds=0.0,
        note=message,
        data=outcome,
    )
    return True


def _candidate(draft: Draft, deployment: Deployment) -> Generation | None:
    """A generation of that version that still runs, else a new one; None while room for it is being made."""
    restores = deployment.spec.restore is not None
    if deployment.kind is DeploymentKind.ROLLBACK and not restores:
        running = [
            g
            for g in draft.generations.values()
            if g.version == deployment.to_version
            and g.number != draft.agent.stable
            and g.epoch == draft.agent.epoch
            and g.status in (GenerationStatus.WARM, GenerationStatus.DRAINING)
            and sum(not unhealthy(draft, i) for i in draft.ready(g.number)) >= min(g.desired, draft.agent.instances) > 0
        ]
        if running:
            config = running[-1].config if deployment.config is None else deployment.config
            warm = replace(
                running[-1],
                status=GenerationStatus.LIVE,
                draining_since=None,
                conversations_moved=False,
                shrunk_until=None,
                config=config,
            )
            draft.put(warm, replace(draft.agent, redirects={k: v for k, v in draft.agent.redirects.items() if k != warm.number}))
            return warm
    if len(draft.generations) >= MAX_GENERATIONS:
        _make_room(draft)
        return None
    number = draft.agent.next_generation
    stable = draft.generations.get(draft.agent.stable or 0)
    config = deployment.config if deployment.config is not None else stable.config if stable is not None else ""
    epoch = draft.agent.next_epoch if restores else draft.agent.epoch
    created = Generation(number=number, version=deployment.to_version, created_at=draft.now, config=config, epoch=epoch, desired=0)
    draft.put(created, replace(draft.agent, next_generation=number + 1, next_epoch=draft.agent.next_epoch + restores))
    return created


def _make_room(draft: Draft) -> None:
    leaving = [g for g in draft.generations.values() if g.number != draft.agent.stable]
    if leaving and all(g.status is not GenerationStatus.STOPPING for g in leaving):
        stop_generation(draft, min(g.number for g in leaving))
