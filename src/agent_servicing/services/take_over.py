"""Taking an agent over for an upgrade: what is under way is taken back, the new one comes next. Called by `agent_upgrade` in its transaction."""

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.events import Event
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.queue import queued
from agent_servicing.core.status import PLACED, DeploymentStatus, Verb
from agent_servicing.ports import Ids
from agent_servicing.services.transaction import record, require_room
from agent_servicing.settings import Settings
from agent_servicing.store import queries


async def take_over(connection: AsyncConnection, ids: Ids, settings: Settings, state: AgentState, new: Deployment) -> None:
    """Ask the engine to take back the upgrade or restart under way, and tell the audit whose it was.

    What is being taken back already, or has handed over to its version, only ends; rollbacks and first installations are left alone. With
    nothing under way only the first of the queue is passed, and the audit says that.
    """
    holder = next((d for d in (*(d for d in state.deployments if d.active), *queued(state.deployments))), None)
    if holder is None:
        return
    ending = not holder.active or holder.handed_over or holder.status is DeploymentStatus.ROLLING_BACK or holder.kind not in PLACED
    if not ending:
        await require_room(connection, new.agent)
        why = f"taken over for {new.deployment}: {new.reason}"
        await queries.add_intent(
            connection, new.agent, Verb.CANCEL, actor=new.actor, at=new.requested_at, deployment=holder.deployment, reason=why
        )
    data: dict[str, object] = {
        "former_holder": holder.actor,
        "former_deployment": holder.deployment,
        "former_reason": holder.reason,
        "for_deployment": new.deployment,
        "cancelled": not ending,
        "status": "requested",
    }
    event = Event(
        type="taken_over",
        at=new.requested_at,
        agent=new.agent,
        deployment=holder.deployment,
        actor=new.actor,
        reason=new.reason,
        audit=True,
        data=data,
    )
    await record(connection, ids, settings, event)
