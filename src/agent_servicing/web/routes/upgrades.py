"""Routes of deployments: upgrade, rollback, list, show, and the operator's verbs. Parse, ask the service, show."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_servicing.core.errors import Invalid, NotFound
from agent_servicing.core.model import AgentState, Deployment
from agent_servicing.core.status import Verb
from agent_servicing.services.access import Principal, Role
from agent_servicing.services.rights import Asker
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.schemas.deployments import (
    AllDeployments,
    DeploymentList,
    DeploymentView,
    OpenCounts,
    PlanView,
    PromoteBody,
    RollbackBody,
    RollbackPlanView,
    VerbBody,
)
from agent_servicing.web.schemas.queries import DeploymentsQuery, PageQuery
from agent_servicing.web.schemas.upgrade import UpgradeBody
from agent_servicing.web.upgrade_request import upgrade_request
from agent_servicing.web.views.deployments import body_path, deployment_list, deployment_view, plan_view, rollback_plan_view

router = APIRouter(tags=["Upgrades and rollbacks"])


@router.post(
    "/agents/{agent_id}/upgrade",
    summary="Upgrade an agent",
    status_code=202,
    response_model=DeploymentView | PlanView,
    responses={200: {"model": PlanView, "description": "With `dry_run`: the plan. Nothing was changed."}, 202: {"model": DeploymentView}},
    **needs(Role.OPERATOR),
)
async def upgrade_agent(
    context: Context, caller: Caller, agent_id: str, body: UpgradeBody, response: Response
) -> DeploymentView | PlanView:
    """Queue or schedule an upgrade; the engine carries it out step by step and takes it back by itself when the new version is worse.

    With `dry_run` nothing is written and the answer says what would be done, or why it would be refused.
    """
    upgrades, request, admin = context.services.upgrades, upgrade_request(body), caller.may(Role.ADMIN, agent_id)
    if body.dry_run:
        response.status_code = 200
        return plan_view(await upgrades.plan(agent_id, request, asker=Asker(name=caller.name, admin=admin)))
    try:
        deployment = await upgrades.request(agent_id, request, actor=caller.name, admin=admin)
    except Invalid as error:
        error.errors = tuple(replace(each, path=body_path(each.path, body.strategy)) for each in error.errors)
        raise
    return await _started(context, deployment, response)


@router.post(
    "/agents/{agent_id}/rollback",
    summary="Roll an agent back",
    status_code=202,
    response_model=DeploymentView | RollbackPlanView,
    responses={
        200: {"model": RollbackPlanView, "description": "With `dry_run`: the plan. Nothing was changed."},
        202: {"model": DeploymentView},
    },
    **needs(Role.OPERATOR),
)
async def roll_back_agent(
    context: Context, caller: Caller, agent_id: str, body: RollbackBody, response: Response
) -> DeploymentView | RollbackPlanView:
    """Back to the previous version or to a rollback point, before everything that waits and instead of what is under way.

    With `dry_run` nothing is written and the answer says in numbers what would become of what was written since the last snapshot.
    """
    if body.dry_run:
        response.status_code = 200
        rollbacks = context.services.rollbacks
        return rollback_plan_view(
            await rollbacks.plan(
                agent_id,
                target_version=body.target_version,
                state=body.state,
                snapshot=body.snapshot,
                override_withdrawn=body.override_withdrawn,
            )
        )
    deployment = await context.services.rollbacks.request(
        agent_id,
        target_version=body.target_version,
        reason=body.reason,
        actor=caller.name,
        state=body.state,
        snapshot=body.snapshot,
        config=body.config,
        override_withdrawn=body.override_withdrawn,
        if_state=body.if_state,
        if_version=body.if_version,
    )
    return await _started(context, deployment, response)


@router.get("/agents/{agent_id}/upgrades", summary="List deployments", **needs(Role.VIEWER))
async def list_upgrades(context: Context, agent_id: str, query: Annotated[PageQuery, Query()]) -> DeploymentList:
    """Upgrades, rollbacks, installations and restarts of this agent, newest first; also of an agent that was removed."""
    page = await context.services.upgrades.list([agent_id], limit=query.limit, cursor=query.cursor)
    state = await state_of(context, agent_id)
    if state is None and not page.deployments and query.cursor is None:
        raise NotFound(f"There is no agent {agent_id}.", code="unknown_agent")
    return deployment_list(page, now=context.clock.now(), state=state)


@router.get("/deployments", summary="List deployments of all agents", **needs(Role.VIEWER))
async def list_deployments(context: Context, caller: Caller, query: Annotated[DeploymentsQuery, Query()]) -> AllDeployments:
    """Those of all agents this token reaches, newest first; also of agents that were removed. `counts` holds for the agents asked for,
    whatever `state` and page."""
    if query.agent is not None:
        require_agent(caller, query.agent)
    of = caller.reach if query.agent is None else [query.agent]
    upgrades = context.services.upgrades
    page = await upgrades.list(of, state=query.state, limit=query.limit, cursor=query.cursor)
    agents, now = await context.services.fleet.views(), context.clock.now()
    states = {name: view.state for name, view in agents.items()}
    views = [deployment_view(each, now=now, state=states.get(each.agent)) for each in page.deployments]
    counts = OpenCounts.model_validate(await upgrades.open_counts(of))
    return AllDeployments(upgrades=views, next_cursor=page.next_cursor, counts=counts)


@router.get("/agents/{agent_id}/upgrades/{upgrade_id}", summary="Show a deployment", **needs(Role.VIEWER))
async def show_upgrade(context: Context, agent_id: str, upgrade_id: str) -> DeploymentView:
    """Stages, both versions' metrics of the last seconds, verdict, cause of a rollback, impact. Serves `upg-…` and `rbk-…`."""
    return await _shown(context, await context.services.upgrades.get(agent_id, upgrade_id))


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/pause", summary="Pause a deployment", status_code=202, **needs(Role.OPERATOR))
async def pause_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: VerbBody | None = None) -> DeploymentView:
    """Keep the traffic where it is until resumed. The candidate stays watched and is still taken back when it turns bad."""
    return await _verb(context, caller, agent_id, upgrade_id, Verb.PAUSE, body)


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/resume", summary="Resume a deployment", status_code=202, **needs(Role.OPERATOR))
async def resume_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: VerbBody | None = None) -> DeploymentView:
    """Go on where it was paused."""
    return await _verb(context, caller, agent_id, upgrade_id, Verb.RESUME, body)


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/promote", summary="Promote the candidate", status_code=202, **needs(Role.OPERATOR))
async def promote_upgrade(
    context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: PromoteBody | None = None
) -> DeploymentView:
    """End the waiting and go on to the next step, or to 100 % with `full`."""
    return await _verb(context, caller, agent_id, upgrade_id, Verb.PROMOTE, body, full=body is not None and body.full)


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/override", summary="Override the analysis", status_code=202, **needs(Role.OPERATOR))
async def override_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: VerbBody) -> DeploymentView:
    """Take the decision from the analysis: it still tells, but holds nothing and takes nothing back. Needs a reason; health stays watched."""
    return await _verb(context, caller, agent_id, upgrade_id, Verb.OVERRIDE, body)


@router.post("/agents/{agent_id}/upgrades/{upgrade_id}/cancel", summary="Cancel a deployment", status_code=202, **needs(Role.OPERATOR))
async def cancel_upgrade(context: Context, caller: Caller, agent_id: str, upgrade_id: str, body: VerbBody | None = None) -> DeploymentView:
    """A waiting one is cancelled at once; one under way is rolled back."""
    return await _verb(context, caller, agent_id, upgrade_id, Verb.CANCEL, body)


async def state_of(context: WebContext, agent: str) -> AgentState | None:
    """The agent as it is now, None when it is gone."""
    try:
        return await context.services.fleet.state(agent)
    except NotFound:
        return None


async def _verb(
    context: WebContext, caller: Principal, agent: str, upgrade: str, verb: Verb, body: VerbBody | None, *, full: bool = False
) -> DeploymentView:
    given = body or VerbBody()
    deployment = await context.services.upgrades.verb(
        agent, upgrade, verb, actor=caller.name, reason=given.reason, full=full, if_state=given.if_state, if_version=given.if_version
    )
    return await _shown(context, deployment)


async def _started(context: WebContext, deployment: Deployment, response: Response) -> DeploymentView:
    response.headers["Location"] = f"/api/platform/agents/{deployment.agent}/upgrades/{deployment.deployment}"
    return await _shown(context, deployment)


async def _shown(context: WebContext, deployment: Deployment) -> DeploymentView:
    return deployment_view(deployment, now=context.clock.now(), state=await state_of(context, deployment.agent))
