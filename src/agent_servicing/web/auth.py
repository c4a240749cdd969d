"""Who is asking and whether they may. The middleware authenticates everything that is not public; routes name the role they need.

Deny by default: a route that forgets to name a role still needs a valid token, and an unknown path is not told apart from a known one.
"""

import re
from typing import Annotated, Any, Final, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_servicing.core.errors import Denied, NotFound, ServicingError
from agent_servicing.services.access import Principal, Role
from agent_servicing.web.context import WebContext
from agent_servicing.web.problems import error_response, problem_response

PUBLIC_PATHS: Final = frozenset({"/", "/agent-servicing.html", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""What anybody may read: it says nothing about the agents."""

PUBLIC_PREFIX: Final = "/assets/"
"""The files of the page and the documentation."""

AGENT_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
"""What an id can be; anything else is not looked up."""

INSTANCE_PATHS: Final = re.compile(r"/api/platform/agents/[^/]+/reports|/ofrep/v1/evaluate/flags(/[^/]+)?")
"""Where instances report metrics to and read their flags with the token they were started with, as people may too."""

LINK_PATHS: Final = re.compile(r"/api/platform/agents/[^/]+/link(/config)?")
"""Where instances are told what they are to have, with that token and no other. Nowhere else are such tokens known."""

INSTANCE: Final = "instance"
"""What `x-required-role` says of an operation that is for instances alone."""

CHALLENGE: Final = 'Bearer realm="agent-servicing"'


def require_role(principal: Principal, role: Role) -> None:
    if not principal.role.covers(role):
        raise Denied(f"This needs the role {role}; {principal.name} is {principal.role}.", code="role_too_low", hint="Ask an admin.")


def sees(principal: Principal, agent: str | None) -> bool:
    """Whether this token reaches that agent; what belongs to no agent is for tokens without a restriction."""
    return principal.agents is None or (agent is not None and agent in principal.agents)


def require_agent(principal: Principal, agent: str | None) -> None:
    """Refuse what this token does not reach; `agent` None is everything that concerns all of them."""
    if not sees(principal, agent):
        allowed = ", ".join(sorted(principal.agents or ()))
        what = f"agent {agent}" if agent else "what concerns all agents"
        raise Denied(f"This token does not reach {what}, only {allowed}.", code="agent_out_of_reach")


def bearer_token(connection: HTTPConnection) -> str | None:
    """The token of the Authorization header, None when there is none. The one place that reads credentials of HTTP requests."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def unauthenticated(request: HTTPConnection, *, given: bool) -> Response:
    """401 with the challenge of RFC 6750."""
    challenge = CHALLENGE + (', error="invalid_token"' if given else "")
    detail = "This token is unknown, expired or revoked." if given else "This needs a token: Authorization: Bearer TOKEN."
    hint = "The admin token is in admin.token in the server's data directory."
    return problem_response(request, 401, "unauthenticated", detail, hint=hint, headers={"WWW-Authenticate": challenge})


class AuthMiddleware:
    """Puts the `Principal` into the request's state, or answers 401. WebSockets authenticate in `live`, with the same rules."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._access = context.services.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS or scope["path"].startswith(PUBLIC_PREFIX):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        token = bearer_token(request)
        try:
            principal = await self._principal(scope, token) if token else None
        except ServicingError as error:
            await error_response(request, error)(scope, receive, send)
            return
        if principal is None:
            await unauthenticated(request, given=token is not None)(scope, receive, send)
            return
        request.state.caller = principal
        await self._app(scope, receive, send)

    async def _principal(self, scope: Scope, token: str) -> Principal | None:
        if LINK_PATHS.fullmatch(scope["path"]):
            # The instance first: a thousand of them report every ten seconds, and looking their tokens up needs no database.
            return await self._access.authenticate_instance(token) or await self._access.authenticate(token)
        principal = await self._access.authenticate(token)
        if principal is None and scope["method"] == "POST" and INSTANCE_PATHS.fullmatch(scope["path"]):
            principal = await self._access.authenticate_instance(token)
        return principal


def caller_of(request: Request) -> Principal:
    """Who sent this request; the middleware has put it there."""
    return cast("Principal", request.state.caller)


async def _caller(request: Request) -> Principal:
    """A dependency that waits for nothing is asynchronous all the same: FastAPI sends every other one to a thread, which costs more than
    the whole rest of a report.
    """
    return caller_of(request)


Caller = Annotated[Principal, Depends(_caller)]


def needs(role: Role) -> dict[str, Any]:
    """Keyword arguments of a route: the role it needs, enforced and shown in the API description; and the agent of its path within reach."""

    return _checked(role, instances=False)


def needs_role_or_instance(role: Role) -> dict[str, Any]:
    """Like `needs`, and open to instances of the agent in the path."""
    return _checked(role, instances=True)


def needs_instance() -> dict[str, Any]:
    """Like `needs`, for operations that only an instance of the agent in the path may use."""

    async def check(request: Request) -> None:
        caller = caller_of(request)
        if caller.instance is None:
            hint = "Use SERVICING_INSTANCE_TOKEN of its environment; GET .../config shows what instances have."
            raise Denied("This is for the agent's own instances.", code="instances_only", hint=hint)
        _check_agent(request, caller)

    return {"dependencies": [Depends(check)], "openapi_extra": {"x-required-role": INSTANCE}}


def _checked(role: Role, *, instances: bool) -> dict[str, Any]:
    async def check(request: Request) -> None:
        caller = caller_of(request)
        if caller.instance is None:
            require_role(caller, role)
        elif not instances:
            raise Denied("An instance may only report on itself and read its own flags.", code="denied")
        _check_agent(request, caller)

    return {"dependencies": [Depends(check)], "openapi_extra": {"x-required-role": role.value}}


def _check_agent(request: Request, caller: Principal) -> None:
    agent = request.path_params.get("agent_id")
    if agent is None:
        return
    if not AGENT_ID.fullmatch(agent):
        raise NotFound(f"There is no agent {agent!r}.", code="unknown_agent", hint="An id is a letter, then letters, digits or hyphens.")
    require_agent(caller, agent)
