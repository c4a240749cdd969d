"""Routes of approvals by a second person. Parse, ask the service, show."""

from fastapi import APIRouter

from agent_servicing.core.model import Deployment
from agent_servicing.core.status import Verb
from agent_servicing.services.access import Role
from agent_servicing.services.approvals import ApprovalRule
from agent_servicing.web.auth import Caller, needs, require_role
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.routes.upgrades import state_of
from agent_servicing.web.schemas.approvals import ApprovalRuleBody, ApprovalRuleView, ApproveBody, RejectBody
from agent_servicing.web.schemas.deployments import DeploymentView
from agent_servicing.web.views.deployments import deployment_view

router = APIRouter(tags=["Upgrades and rollbacks"], prefix="/agents/{agent_id}")


@router.get("/approval", summary="Whether upgrades want a second person", **needs(Role.VIEWER))
async def show_rule(context: Context, agent_id: str) -> ApprovalRuleView:
    """Who said so, and when."""
    return _rule(await context.services.approvals.show(agent_id))


@router.put("/approval", summary="Require a second person, or not", **needs(Role.ADMIN))
async def set_rule(context: Context, caller: Caller, agent_id: str, body: ApprovalRuleBody) -> ApprovalRuleView:
    """From now on upgrades wait until somebody else has approved them, and hot patches are refused. Rollbacks never wait."""
    return _rule(await context.services.approvals.set(agent_id, required=body.required, actor=caller.name, reason=body.reason))


@router.post("/upgrades/{upgrade_id}/approve", summary="Approve an upgrade", **needs(Role.OPERATOR))
async def approve(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: ApproveBody | None = None) -> DeploymentView:
    """Somebody other than who asked for it. It then begins in its turn."""
    given = body or ApproveBody()
    if given.override:
        require_role(caller, Role.ADMIN, agent_id)
    approvals = context.services.approvals
    done = await approvals.approve(agent_id, upgrade_id, actor=caller.name, reason=given.reason, override=given.override)
    return await _shown(context, done)


@router.post("/upgrades/{upgrade_id}/reject", summary="Reject an upgrade", **needs(Role.OPERATOR))
async def reject(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: RejectBody) -> DeploymentView:
    """One that waits for approval is withdrawn."""
    await context.services.approvals.rejected(agent_id, upgrade_id, actor=caller.name, reason=body.reason)
    done = await context.services.upgrades.verb(agent_id, upgrade_id, Verb.CANCEL, actor=caller.name, reason=body.reason)
    return await _shown(context, done)


async def _shown(context: WebContext, deployment: Deployment) -> DeploymentView:
    return deployment_view(deployment, now=context.clock.now(), state=await state_of(context, deployment.agent))


def _rule(rule: ApprovalRule) -> ApprovalRuleView:
    return ApprovalRuleView(agent_id=rule.agent, required=rule.required, set_by=rule.set_by, since=rule.since)
