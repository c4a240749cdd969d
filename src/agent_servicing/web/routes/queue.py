"""Routes of one agent's queue and lock. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.core.model import Deployment
from agent_servicing.services.access import Role
from agent_servicing.web.auth import Caller, needs
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.routes.upgrades import state_of
from agent_servicing.web.schemas.deployments import DeploymentView
from agent_servicing.web.schemas.queries import ReasonQuery
from agent_servicing.web.schemas.schedule import AgentQueueView, LockBody, LockState, LockView, MoveBody, RescheduleBody
from agent_servicing.web.views.deployments import deployment_view
from agent_servicing.web.views.schedule import lock_state, lock_view, queue_view

router = APIRouter(tags=["Schedule"])


@router.get("/agents/{agent_id}/queue", summary="Show an agent's queue", **needs(Role.VIEWER))
async def show_queue(context: Context, agent_id: str) -> AgentQueueView:
    """Who has the agent, whether it is locked, whether the calendar lets things begin, and who comes next. Withdrawing is `cancel`."""
    return queue_view(await context.services.queue.show(agent_id), now=context.clock.now())


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/move", summary="Move in the queue", **needs(Role.OPERATOR))
async def move_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: MoveBody) -> DeploymentView:
    """Put a queued deployment at another position."""
    moved = await context.services.queue.move(
        agent_id,
        upgrade_id,
        body.position,
        actor=caller.name,
        reason=body.reason,
        if_state=body.if_state,
        if_version=body.if_version,
    )
    return await _shown(context, moved)


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/reschedule", summary="Change the start", **needs(Role.OPERATOR))
async def reschedule_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: RescheduleBody) -> DeploymentView:
    """Give a waiting deployment another start, or none: then it begins as soon as it can."""
    changed = await context.services.queue.reschedule(
        agent_id,
        upgrade_id,
        body.schedule,
        actor=caller.name,
        reason=body.reason,
        start_grace_seconds=body.start_grace_seconds,
        if_state=body.if_state,
        if_version=body.if_version,
    )
    return await _shown(context, changed)


@router.get("/agents/{agent_id}/lock", summary="Show an agent's lock", **needs(Role.VIEWER))
async def show_lock(context: Context, agent_id: str) -> LockState:
    """Who has locked the agent, or null."""
    return lock_state(agent_id, await context.services.locks.show(agent_id))


@router.post("/agents/{agent_id}/lock", summary="Lock an agent", **needs(Role.OPERATOR))
async def take_lock(context: Context, caller: Caller, agent_id: str, body: LockBody) -> LockView:
    """Keep other operators from beginning or steering anything here for a while; pausing, cancelling and rolling back stay free.

    What others have queued waits until the lock ends. One's own lock is renewed; an admin takes one over with `take_over_from`.
    """
    lock = await context.services.locks.take(
        agent_id,
        actor=caller.name,
        reason=body.reason,
        expires_in_seconds=body.expires_in_seconds,
        over_from=body.take_over_from,
        admin=caller.may(Role.ADMIN, agent_id),
    )
    return lock_view(lock)


@router.delete("/agents/{agent_id}/lock", summary="Unlock an agent", **needs(Role.OPERATOR))
async def release_lock(context: Context, caller: Caller, agent_id: str, query: Annotated[ReasonQuery, Query()]) -> LockView:
    """End one's own lock; an admin may end anybody's, which the audit trail calls a take-over. Answers with the lock that was."""
    admin = caller.may(Role.ADMIN, agent_id)
    return lock_view(await context.services.locks.release(agent_id, actor=caller.name, reason=query.reason, admin=admin))


async def _shown(context: WebContext, deployment: Deployment) -> DeploymentView:
    return deployment_view(deployment, now=context.clock.now(), state=await state_of(context, deployment.agent))
