"""Routes for machines that watch the server: is it up, is it ready, and its numbers."""

from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict
from starlette.requests import Request

from agent_servicing.ports.abilities import KnowsItsBroker
from agent_servicing.services.access import Role
from agent_servicing.web.auth import needs
from agent_servicing.web.context import Check, Context
from agent_servicing.web.limits import READINESS_TIMEOUT_SECONDS, RETRY_AFTER_SECONDS
from agent_servicing.web.prometheus import CONTENT_TYPE, Exporter
from agent_servicing.web.schemas.common import View, example

router = APIRouter(tags=["Health"])
log = structlog.get_logger(__name__)


class Up(View):
    model_config = ConfigDict(json_schema_extra=example(status="ok"))

    status: str


class Ready(View):
    model_config = ConfigDict(
        json_schema_extra=example(status="ready", checks={"database": "ok", "engine": "ok", "event_bus": "ok", "router": "ok"})
    )

    status: str
    checks: dict[str, str]


@router.get("/healthz", summary="Is the process up")
async def healthz() -> Up:
    """Answers as long as the process does. Needs no token."""
    return Up(status="ok")


@router.get("/readyz", summary="Is the server ready", responses={503: {"model": Ready, "description": "Some part is not"}})
async def readyz(context: Context, response: Response) -> Ready:
    """Whether database, engine and data plane are alive. Needs no token; why a part is not alive stands in the log only.

    `event_bus` is `degraded` while its broker is away: changes of other servers are then found within a second, so the server is ready all
    the same.
    """
    checks: dict[str, str] = {}

    async def run(name: str, check: Check) -> None:
        checks[name] = await _outcome(name, check)

    async with anyio.create_task_group() as group:
        for name, check in context.readiness.items():
            group.start_soon(run, name, check)
    ready = all(outcome == "ok" for outcome in checks.values())
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(context.bus, KnowsItsBroker):
        checks["event_bus"] = "ok" if context.bus.problem is None else "degraded"
    return Ready(status="ready" if ready else "not_ready", checks=dict(sorted(checks.items())))


async def _outcome(name: str, check: Check) -> str:
    try:
        with anyio.fail_after(READINESS_TIMEOUT_SECONDS):
            await check()
    except Exception as error:  # noqa: BLE001  (whatever a check raises means: not ready)
        log.warning("not_ready", check=name, error=str(error) or type(error).__name__)
        return "failed"
    return "ok"


async def _exporter(request: Request) -> Exporter:
    exporter: Exporter = request.app.state.exporter
    return exporter


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": 'servicing_agents{health="healthy"} 4.0\n'}}}},
    **needs(Role.VIEWER),
)
async def metrics(exporter: Annotated[Exporter, Depends(_exporter)]) -> Response:
    """Deployments, rollbacks by cause, durations, instances, traffic and the engine's own numbers, in Prometheus's text format."""
    return Response(await exporter.render(), media_type=CONTENT_TYPE)
