"""Who is asking and whether they may. The middleware authenticates everything that is not public; routes name the role they need.

Programs send a token, browsers the cookie of their session, which changes nothing without a sign that the page is ours (`cookies`).

Deny by default: a route that forgets to name a role still needs a valid token, and an unknown path is not told apart from a known one.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import Depends
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_servicing.core.errors import Denied, NotFound, ServicingError
from agent_servicing.services.access import Principal, Role
from agent_servicing.web.context import WebContext
from agent_servicing.web.cookies import SAFE_METHODS, check_csrf, check_origin, session_secret
from agent_servicing.web.page import ADDRESSES
from agent_servicing.web.problems import CHALLENGE, error_response, problem_response

PUBLIC_PATHS: Final = frozenset(
    {"/agent-servicing.html", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.svg", "/color-scheme.js"}
)
"""What anybody may read: it says nothing about the agents."""

PUBLIC_OPERATIONS: Final = frozenset(
    {
        ("GET", "/api/platform/session"),
        ("POST", "/api/platform/session"),
        ("POST", "/api/platform/setup"),
        ("GET", "/api/platform/session/oidc"),
        ("GET", "/api/platform/session/oidc/callback"),
    }
)
"""How one gets in. They look at who asks themselves."""

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

ANYONE: Final = "anyone"
"""What it says of an operation by which one gets in."""

FOR_ANYONE: Final[dict[str, Any]] = {"openapi_extra": {"x-required-role": ANYONE}}
"""Keyword arguments of such a route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What somebody shows to be known by: a token, or the secret of a session."""

    secret: str
    session: bool = False


def require_role(principal: Principal, role: Role, agent: str | None = None) -> None:
    held = principal.role_for(agent)
    if not held.covers(role):
        where = f" for {agent}" if agent in principal.grants else ""
        raise Denied(f"This needs the role {role}; {principal.name} is {held}{where}.", code="role_too_low", hint="Ask an admin.")


def sees(principal: Principal, agent: str | None) -> bool:
    """Whether this token reaches that agent; what belongs to no agent is for tokens without a restriction."""
    return principal.sees(agent)


def require_agent(principal: Principal, agent: str | None) -> None:
    """Refuse what this token does not reach; `agent` None is everything that concerns all of them."""
    if not sees(principal, agent):
        allowed = ", ".join(sorted({*(principal.agents or ()), *principal.grants})) or "no agent"
        what = f"agent {agent}" if agent else "what concerns all agents"
        raise Denied(f"{principal.name} does not reach {what}, only {allowed}.", code="agent_out_of_reach")


def bearer_token(connection: HTTPConnection) -> str | None:
    """The token of the Authorization header, None when there is none. The one place that reads credentials of HTTP requests."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def credential_of(connection: HTTPConnection, context: WebContext) -> Credential | None:
    """What the request shows; a token counts before a session, and a browser adds its session by itself."""
    token = bearer_token(connection)
    if token is not None:
        return Credential(secret=token)
    secret = session_secret(connection, context.settings)
    return Credential(secret=secret, session=True) if secret is not None else None


async def principal_of(context: WebContext, credential: Credential) -> Principal | None:
    """Who shows this; None when it is unknown or over."""
    services = context.services
    return await (services.sessions if credential.session else services.access).authenticate(credential.secret)


def unauthenticated(request: HTTPConnection, *, given: Credential | None) -> Response:
    """401 with the challenge of RFC 6750."""
    challenge = CHALLENGE + (', error="invalid_token"' if given and not given.session else "")
    detail = "This token is unknown, expired or revoked." if given else "This needs a token: Authorization: Bearer TOKEN."
    if given and given.session:
        detail = "This session is over; sign in again."
    hint = "The admin token is in admin.token in the server's data directory."
    return problem_response(request, 401, "unauthenticated", detail, hint=hint, headers={"WWW-Authenticate": challenge})


class AuthMiddleware:
    """Puts the `Principal` into the request's state, or answers 401. WebSockets authenticate in `live`, with the same rules."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app, self._context = app, context
        self._access = context.services.access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _public(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        credential = credential_of(request, self._context)
        try:
            principal = await self._principal(request, credential) if credential else None
        except ServicingError as error:
            await error_response(request, error)(scope, receive, send)
            return
        if principal is None:
            await unauthenticated(request, given=credential)(scope, receive, send)
            return
        request.state.caller, request.state.credential = principal, credential
        await self._app(scope, receive, send)

    async def _principal(self, request: Request, credential: Credential) -> Principal | None:
        scope, token = request.scope, credential.secret
        if credential.session:
            principal = await principal_of(self._context, credential)
            if principal is not None and scope["method"] not in SAFE_METHODS:
                check_origin(request, self._context.settings)
                check_csrf(request, token)
            return principal
        if LINK_PATHS.fullmatch(scope["path"]):
            # The instance first: a thousand of them report every ten seconds, and looking their tokens up needs no database.
            return await self._access.authenticate_instance(token) or await self._access.authenticate(token)
        principal = await self._access.authenticate(token)
        if principal is None and scope["method"] == "POST" and INSTANCE_PATHS.fullmatch(scope["path"]):
            principal = await self._access.authenticate_instance(token)
        return principal


def _public(scope: Scope) -> bool:
    path = scope["path"]
    if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX) or (scope["method"], path) in PUBLIC_OPERATIONS:
        return True
    return scope["method"] == "GET" and ADDRESSES.fullmatch(path) is not None


def credential_shown(request: Request) -> Credential:
    """What the request was authenticated by; the middleware has put it there."""
    return cast("Credential", request.state.credential)


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
            require_role(caller, role, request.path_params.get("agent_id"))
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
