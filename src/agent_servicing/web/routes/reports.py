"""Routes of metrics that agents report about themselves. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.core.errors import Denied, FieldError, Invalid
from agent_servicing.services.access import Principal, Role
from agent_servicing.services.reports import Report
from agent_servicing.web.auth import Caller, needs, needs_role_or_instance
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.reports import ReportAccepted, ReportBody, ReportsQuery, ReportsView
from agent_servicing.web.views.reports import reports_view

router = APIRouter(tags=["Agents"])


@router.post("/agents/{agent_id}/reports", summary="Report metrics", status_code=202, **needs_role_or_instance(Role.OPERATOR))
async def report(context: Context, caller: Caller, agent_id: str, body: ReportBody) -> ReportAccepted:
    """Values of the agent's own metrics, such as quality, cost or tokens, as observed by one of its instances.

    An instance sends them with its `SERVICING_INSTANCE_TOKEN`; somebody who judges answers afterwards, with an operator's token and the
    instance that gave the answer. Deployments can have limits on them.
    """
    values = [Report(metric=each.metric, value=each.value, at=each.at) for each in body.values]
    accepted = await context.services.reports.add(agent_id, values, instance=_instance(caller, body.instance))
    return ReportAccepted(accepted=accepted)


@router.get("/agents/{agent_id}/reports", summary="Read reported metrics", **needs(Role.VIEWER))
async def read_reports(context: Context, agent_id: str, query: Annotated[ReportsQuery, Query()]) -> ReportsView:
    """What was reported in the last `window` seconds, per metric, generation and instance."""
    return reports_view(await context.services.reports.summary(agent_id, metric=query.metric, window_seconds=query.window))


def _instance(caller: Principal, named: str | None) -> str:
    if caller.instance is not None:
        if named not in (None, caller.instance):
            raise Denied(f"This is the token of {caller.instance}, which cannot report for {named}.", code="denied")
        return caller.instance
    if named is None:
        hint = "X-Served-By of each answer names the instance that gave it."
        error = FieldError(path="instance", message="must name the instance, unless its own token is used")
        raise Invalid("Whose values are these?", hint=hint, errors=[error], code="instance_missing")
    return named
