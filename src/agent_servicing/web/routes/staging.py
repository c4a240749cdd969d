"""Routes of staging: try a version on instances of its own, look at the report, one case by hand, the gate. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.core.staging.model import StagingGate, StagingOptions
from agent_servicing.services.access import Role
from agent_servicing.web.auth import Caller, needs
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.queries import PageQuery, ReasonQuery
from agent_servicing.web.schemas.staging import CaseBody, GateBody, GateView, StagingBody, StagingList, StagingRunView
from agent_servicing.web.views.staging import run_list, run_view

router = APIRouter(tags=["Staging"])


@router.post("/agents/{agent_id}/staging", summary="Try a version in staging", status_code=202, **needs(Role.OPERATOR))
async def request_run(context: Context, caller: Caller, agent_id: str, body: StagingBody) -> StagingRunView:
    """Start instances of the version beside the live ones, with a state of their own and without traffic, and run the suites on them."""
    options = StagingOptions(
        suites=tuple(body.suites),
        state=body.state,
        keep_seconds=body.keep_seconds,
        load_target_rps=body.load_target_rps,
        tolerance_percent=body.tolerance_percent,
        performance_seconds=body.performance_seconds,
        suite_timeout_seconds=body.suite_timeout_seconds,
    )
    run = await context.services.staging.request(agent_id, body.version, options, actor=caller.name, reason=body.reason)
    return run_view(run, now=context.clock.now())


@router.get("/agents/{agent_id}/staging", summary="List staging runs", **needs(Role.VIEWER))
async def list_runs(context: Context, agent_id: str, query: Annotated[PageQuery, Query()]) -> StagingList:
    """Newest first, without their cases, which stand in each run's own report. The newest 50 that are over are kept."""
    page = await context.services.staging.list(agent_id, limit=query.limit, cursor=query.cursor)
    return run_list(page, now=context.clock.now())


@router.get("/agents/{agent_id}/staging/gate", summary="Show the staging gate", **needs(Role.VIEWER))
async def show_gate(context: Context, agent_id: str) -> GateView:
    """Whether upgrades of this agent need a fresh staging run that passed."""
    return _gate(agent_id, await context.services.staging.gate(agent_id))


@router.put("/agents/{agent_id}/staging/gate", summary="Set the staging gate", **needs(Role.ADMIN))
async def set_gate(context: Context, caller: Caller, agent_id: str, body: GateBody) -> GateView:
    """Ask for a staging run before production, or do not. An upgrade can pass it with `override_staging` and a reason."""
    gate = StagingGate(required=body.required, fresh_hours=body.fresh_hours)
    return _gate(agent_id, await context.services.staging.set_gate(agent_id, gate, actor=caller.name, reason=body.reason))


@router.get("/agents/{agent_id}/staging/{run_id}", summary="Show a staging run", **needs(Role.VIEWER))
async def show_run(context: Context, agent_id: str, run_id: str) -> StagingRunView:
    """How far it is, and its report: every case with its trace, the recommendation and its reasons."""
    return run_view(await context.services.staging.get(agent_id, run_id), now=context.clock.now())


@router.delete("/agents/{agent_id}/staging/{run_id}", summary="Cancel a staging run", status_code=202, **needs(Role.OPERATOR))
async def cancel_run(
    context: Context, caller: Caller, agent_id: str, run_id: str, query: Annotated[ReasonQuery, Query()]
) -> StagingRunView:
    """End it with everything it started, or let go of the instances that a finished one keeps. The report stays."""
    run = await context.services.staging.cancel(agent_id, run_id, actor=caller.name, reason=query.reason)
    return run_view(run, now=context.clock.now())


@router.post("/agents/{agent_id}/staging/{run_id}/cases/{case}", summary="Run one case", status_code=202, **needs(Role.OPERATOR))
async def run_case(context: Context, caller: Caller, agent_id: str, run_id: str, case: str, body: CaseBody) -> StagingRunView:
    """Run one case of a finished run by itself, on the instances that were kept or on new ones. Its result is added to `hand`; the
    recommendation stays what it was.
    """
    run = await context.services.staging.run_case(agent_id, run_id, case, actor=caller.name, reason=body.reason)
    return run_view(run, now=context.clock.now())


def _gate(agent: str, gate: StagingGate) -> GateView:
    return GateView(agent_id=agent, required=gate.required, fresh_hours=gate.fresh_hours)
