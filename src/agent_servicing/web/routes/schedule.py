"""Routes of the line that all agents share: freezes, windows, the stop, the limit, what is planned. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.core.schedule import Rule, RuleKind
from agent_servicing.services.access import Principal, Role
from agent_servicing.services.schedule import RuleRequest
from agent_servicing.web.auth import Caller, needs, require_agent, sees
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.queries import ReasonQuery
from agent_servicing.web.schemas.schedule import (
    LimitBody,
    LimitView,
    ResumeBody,
    RuleBody,
    RuleView,
    ScheduleView,
    StopBody,
    StopView,
    UpcomingQuery,
    UpcomingView,
)
from agent_servicing.web.views.schedule import limit_view, rule_view, schedule_view, stop_view, upcoming_view

router = APIRouter(tags=["Schedule"])


@router.get("/schedule", summary="Show the line", **needs(Role.VIEWER))
async def show_schedule(context: Context, caller: Caller) -> ScheduleView:
    """Freezes and windows with their next openings, whether the line is stopped and by whom, and how many deployments may be under way."""
    view = await context.services.schedule.show()
    return schedule_view(view, [rule for rule in view.rules if _reaches(caller, rule.rule)])


@router.get("/schedule/upcoming", summary="What is planned", **needs(Role.VIEWER))
async def show_upcoming(context: Context, caller: Caller, query: Annotated[UpcomingQuery, Query()]) -> UpcomingView:
    """Waiting and scheduled deployments of the coming days with what stands against them, and when freezes and windows hold."""
    return upcoming_view(await context.services.preview.upcoming(query.days, sees=lambda agent: sees(caller, agent)))


@router.post("/schedule/rules", summary="Add a freeze or a window", status_code=201, **needs(Role.ADMIN))
async def add_rule(context: Context, caller: Caller, body: RuleBody) -> RuleView:
    """Nothing begins during a freeze; where windows apply, things begin only while one is open. What is under way is never interrupted."""
    for agent in body.agents or (None,):
        require_agent(caller, agent)
    request = RuleRequest(
        kind=RuleKind(body.kind),
        name=body.name,
        reason=body.reason,
        agents=tuple(body.agents),
        starts_at=body.starts_at,
        ends_at=body.ends_at,
        cron=body.cron,
        duration_seconds=body.duration_seconds or 0.0,
        time_zone=body.time_zone,
    )
    return rule_view(await context.services.schedule.add_rule(request, actor=caller.name))


@router.delete("/schedule/rules/{rule_id}", summary="Remove a freeze or a window", **needs(Role.ADMIN))
async def remove_rule(context: Context, caller: Caller, rule_id: str, query: Annotated[ReasonQuery, Query()]) -> ScheduleView:
    """What it held may begin at once. Answers with the line as it is then."""
    service = context.services.schedule
    for rule in (await service.show()).rules:
        if rule.rule.rule == rule_id:
            for agent in rule.rule.agents or (None,):
                require_agent(caller, agent)
    await service.remove_rule(rule_id, actor=caller.name, reason=query.reason)
    return await show_schedule(context, caller)


@router.post("/schedule/stop", summary="Stop the line", **needs(Role.OPERATOR))
async def stop_line(context: Context, caller: Caller, body: StopBody) -> StopView:
    """From now on no upgrade and no restart begins, of no agent. Rollbacks and first installations pass; what is under way goes on,
    unless `pause_running` asks for a pause of each.
    """
    require_agent(caller, None)
    service = context.services.schedule
    paused = await service.stop(actor=caller.name, reason=body.reason, pause_running=body.pause_running)
    stopped = stop_view((await service.show()).stop, list(paused))
    # Somebody may have resumed it meanwhile; the answer tells of our stop all the same.
    return stopped or StopView(operator=caller.name, reason=body.reason, since=context.clock.now(), paused=list(paused))


@router.post("/schedule/resume", summary="Resume the line", **needs(Role.OPERATOR))
async def resume_line(context: Context, caller: Caller, body: ResumeBody | None = None) -> ScheduleView:
    """For whoever stopped it, and for admins. Paused deployments stay paused until each is resumed."""
    require_agent(caller, None)
    reason = body.reason if body else ""
    await context.services.schedule.resume(actor=caller.name, reason=reason, admin=caller.role.covers(Role.ADMIN))
    return await show_schedule(context, caller)


@router.put("/schedule/limit", summary="Limit deployments at a time", **needs(Role.ADMIN))
async def set_limit(context: Context, caller: Caller, body: LimitBody) -> LimitView:
    """How many upgrades and restarts may be under way at once over all agents. Of one agent there is never more than one."""
    require_agent(caller, None)
    service = context.services.schedule
    await service.set_limit(body.max_concurrent_deployments, actor=caller.name, reason=body.reason)
    return limit_view(await service.show())


def _reaches(caller: Principal, rule: Rule) -> bool:
    return not rule.agents or any(sees(caller, agent) for agent in rule.agents)
