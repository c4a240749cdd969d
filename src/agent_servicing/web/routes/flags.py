"""Feature flags for any OpenFeature client: the OpenFeature Remote Evaluation Protocol (OFREP) over the agent's configuration.

An instance asks with its own token and reads its agent's flags; anybody else names the agent. Problems are problem documents as everywhere
in this API, with what the protocol wants (`errorCode`, `errorDetails`) beside the rest.
"""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from agent_servicing.core.config.flags import UnusableFlag, evaluated
from agent_servicing.services.access import Principal, Role
from agent_servicing.web.auth import AGENT_ID, Caller, needs_role_or_instance, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.problems import problem_response
from agent_servicing.web.schemas.flags import EvaluationBody, FlagList, FlagProblem, FlagView

AGENT_HEADER: Final = "X-Servicing-Agent"
STATIC: Final = "STATIC"


class _NoAgent(Exception):
    """The context says nothing that could be an agent."""


class _OfrepRoute(APIRoute):
    """Answers a body that is no evaluation as the protocol wants: 400 with an error code, not 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError:
                return _problem(request, 400, "parse_error", "PARSE_ERROR", "The body must be a JSON object with an object `context`.")
            except _NoAgent:
                detail = f"Whose flags? Name the agent in context.agent or in the header {AGENT_HEADER}, or use an instance's own token."
                return _problem(request, 400, "invalid_context", "INVALID_CONTEXT", detail)

        return handle


router = APIRouter(prefix="/ofrep/v1/evaluate", tags=["Feature flags"], route_class=_OfrepRoute)


@router.post(
    "/flags",
    summary="Evaluate all flags",
    responses={200: {"model": FlagList}, 304: {"description": "Nothing has changed since `If-None-Match`"}},
    **needs_role_or_instance(Role.VIEWER),
)
async def evaluate_flags(context: Context, caller: Caller, request: Request, body: EvaluationBody | None = None) -> Response:
    """Every flag of the agent, for clients that keep them and ask again with `If-None-Match`."""
    flags = await context.services.config.flags(_agent(request, caller, body))
    text = FlagList(flags=[_evaluated(key, flags[key]) for key in sorted(flags)]).model_dump_json()
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(text, media_type="application/json", headers={"ETag": tag})


@router.post("/flags/{key}", summary="Evaluate one flag", responses={200: {"model": FlagView}}, **needs_role_or_instance(Role.VIEWER))
async def evaluate_flag(context: Context, caller: Caller, request: Request, key: str, body: EvaluationBody | None = None) -> Response:
    """The value of one flag in the agent's configuration (`servicing.flags`), the same for every targeting key."""
    agent = _agent(request, caller, body)
    flags = await context.services.config.flags(agent)
    if key not in flags:
        return _problem(request, 404, "flag_not_found", "FLAG_NOT_FOUND", f"{agent} has no flag {key}.", key=key)
    found = _evaluated(key, flags[key])
    if isinstance(found, FlagProblem):
        return _problem(request, 400, "unusable_flag", found.errorCode, found.errorDetails, key=key)
    return Response(found.model_dump_json(), media_type="application/json")


def _agent(request: Request, caller: Principal, body: EvaluationBody | None) -> str:
    if caller.instance is not None:
        return next(iter(caller.agents or ()))
    named = request.headers.get(AGENT_HEADER) or (body.context.get("agent") if body is not None else None)
    if not isinstance(named, str) or not AGENT_ID.fullmatch(named):
        raise _NoAgent
    require_agent(caller, named)
    return named


def _evaluated(key: str, definition: object) -> FlagView | FlagProblem:
    try:
        flag = evaluated(definition)
    except UnusableFlag as error:
        return FlagProblem(key=key, errorCode="PARSE_ERROR", errorDetails=f"The flag {key} cannot be used: {error}.")
    return FlagView(key=key, value=flag.value, reason=STATIC, variant=flag.variant)


def _problem(request: Request, status: int, code: str, error_code: str, detail: str, *, key: str | None = None) -> Response:
    return problem_response(request, status, code, detail, key=key, errorCode=error_code, errorDetails=detail)
