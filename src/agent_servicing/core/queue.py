"""The order in which an agent's deployments take their turn. The engine begins by it, services show and change it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from agent_servicing.core.model import Deployment
from agent_servicing.core.status import WAITING, DeploymentKind, DeploymentStatus, WaitingFor


def queued(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Those that wait their turn, next one first: rollbacks, then as operators moved them, then whoever is due longest."""
    return sorted((d for d in deployments if d.status is DeploymentStatus.QUEUED), key=_place)


def position(deployment: Deployment, deployments: Iterable[Deployment]) -> int | None:
    """1 for the next one, None for what is not queued."""
    return next((n for n, d in enumerate(queued(deployments), start=1) if d.deployment == deployment.deployment), None)


def waiting_for(deployment: Deployment) -> WaitingFor | None:
    """What it waits for before it begins; None once it has begun or ended. A missing approval counts first: somebody has to do something."""
    if deployment.status not in WAITING:
        return None
    if unapproved(deployment):
        return WaitingFor.APPROVAL
    if deployment.status is DeploymentStatus.SCHEDULED:
        return WaitingFor.SCHEDULE
    return deployment.held_by or WaitingFor.TURN


def unapproved(deployment: Deployment) -> bool:
    """It wants a second person who has not come yet."""
    return deployment.approval_wanted and deployment.approved_by is None


def moved(deployment: Deployment, deployments: Iterable[Deployment], to: int) -> list[Deployment]:
    """Those whose `order` changes when this one is moved to position `to`. Rollbacks keep their places before everything else.

    What was moved counts up to -1, so that whoever comes later, with order 0, comes last.
    """
    order = queued(deployments)
    rollbacks = [d for d in order if d.kind is DeploymentKind.ROLLBACK]
    others = [d for d in order if d.kind is not DeploymentKind.ROLLBACK and d.deployment != deployment.deployment]
    place = max(0, min(len(others), to - 1 - len(rollbacks)))
    return _numbered([*others[:place], deployment, *others[place:]])


def first_order(deployments: Iterable[Deployment]) -> int:
    """The `order` that puts a new one before everything that waits but rollbacks."""
    return min((d.order for d in queued(deployments)), default=0) - 1


def _numbered(order: Sequence[Deployment]) -> list[Deployment]:
    numbers = range(-len(order), 0)
    return [replace(d, order=n) for n, d in zip(numbers, order, strict=True) if d.order != n]


def _place(deployment: Deployment) -> tuple[bool, int, datetime, str]:
    since = deployment.scheduled_at or deployment.requested_at
    return (deployment.kind is not DeploymentKind.ROLLBACK, deployment.order, since, deployment.deployment)
