"""Routes of signing in: sessions, who am I, one's own password. Parse, ask the service, set the cookie."""

from typing import Final

from fastapi import APIRouter, Request, Response

from agent_servicing.core.errors import Conflict, FieldError, Invalid
from agent_servicing.services.access import Principal, Role
from agent_servicing.services.sessions import Opened, Visitor, csrf_token
from agent_servicing.services.sign_in import Link
from agent_servicing.web.auth import FOR_ANYONE, Caller, credential_of, credential_shown, needs, principal_of
from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.cookies import check_origin, drop_session, own_origin, session_secret, set_session
from agent_servicing.web.idempotency import keep_secret
from agent_servicing.web.schemas.session import (
    LinkView,
    Me,
    OwnPasswordBody,
    SessionList,
    SessionView,
    SetupBody,
    SignedIn,
    SignInBody,
    WaysIn,
)

router = APIRouter(tags=["Sign-in"])

SIGN_IN_PAGE: Final = "/sign-in"


@router.get("/session", summary="How to sign in", **FOR_ANYONE)
async def ways_in(context: Context, request: Request) -> WaysIn:
    """For everybody: what a sign-in page offers, and whether this browser is signed in already."""
    credential = credential_of(request, context)
    caller = await principal_of(context, credential) if credential else None
    methods = ["password", "link", *(["oidc"] if context.services.oidc.offered else [])]
    return WaysIn(signed_in=caller is not None, setup_needed=not await context.services.users.any(), methods=methods)


@router.post("/session", summary="Sign in", status_code=201, **FOR_ANYONE)
async def sign_in(context: Context, request: Request, body: SignInBody, response: Response) -> SignedIn:
    """By password, by a one-time link, or by the set-up token, which makes the first admin. Sets the session cookie.

    Every failure is answered alike, and too many of them lock the name and the address out for some minutes (429).
    """
    check_origin(request, context.settings)
    visitor, service = visitor_of(request, context), context.services.sign_in
    if body.sign_in_token is not None:
        opened = await service.by_link(body.sign_in_token, visitor)
    elif body.user is None or body.password is None:
        missing = [FieldError(path=name, message="is required") for name in ("user", "password") if getattr(body, name) is None]
        raise Invalid("Sign in with user and password, or with a sign_in_token.", errors=missing, code="sign_in_incomplete")
    elif body.setup_token is not None:
        opened = await service.by_setup(body.setup_token, body.user, body.password, visitor)
    else:
        opened = await service.by_password(body.user, body.password, visitor)
    return signed_in(context, request, response, opened)


@router.post("/setup", summary="Make the first admin", status_code=201, **FOR_ANYONE)
async def set_up(context: Context, request: Request, body: SetupBody, response: Response) -> SignedIn:
    """While there is no user: the token in `setup.token` of the data directory makes the first one, who is signed in at once."""
    check_origin(request, context.settings)
    opened = await context.services.sign_in.by_setup(body.setup_token, body.user, body.password, visitor_of(request, context))
    return signed_in(context, request, response, opened)


@router.delete("/session", summary="Sign out", status_code=204, **needs(Role.VIEWER))
async def sign_out(context: Context, request: Request, caller: Caller) -> Response:
    """Ends this browser's session. WebSockets that it has open end within seconds."""
    await context.services.sessions.end(caller, _session_of(caller))
    answer = Response(status_code=204)
    drop_session(answer, request, context.settings)
    return answer


@router.get("/sessions", summary="List own sessions", **needs(Role.VIEWER))
async def list_sessions(context: Context, caller: Caller) -> SessionList:
    """Where one is signed in, newest first; at most 20. Empty for a token."""
    found = await context.services.sessions.of(caller)
    fields = [name for name in SessionView.model_fields if name != "current"]
    views = [{name: getattr(each, name) for name in fields} | {"current": each.session_id == caller.session_id} for each in found]
    return SessionList(sessions=[SessionView.model_validate(view) for view in views])


@router.delete("/sessions/{session_id}", summary="End one of one's own sessions", status_code=204, **needs(Role.VIEWER))
async def end_session(context: Context, caller: Caller, session_id: str) -> Response:
    """That browser is signed out."""
    await context.services.sessions.end(caller, session_id)
    return Response(status_code=204)


@router.get("/me", summary="Who am I", **needs(Role.VIEWER))
async def who_am_i(caller: Caller, request: Request) -> Me:
    """Name, role and reach of the token or session in use; for a session also what it has to send as `X-CSRF-Token`."""
    credential = credential_shown(request)
    return Me(
        name=caller.name,
        role=caller.role,
        agents=None if caller.agents is None else sorted(caller.agents),
        grants={agent: role.value for agent, role in sorted(caller.grants.items())},
        user_id=caller.user_id,
        session_id=caller.session_id,
        csrf_token=csrf_token(credential.secret) if credential.session else None,
    )


@router.put("/me/password", summary="Change one's own password", **needs(Role.VIEWER))
async def change_own_password(context: Context, request: Request, caller: Caller, body: OwnPasswordBody, response: Response) -> SignedIn:
    """All sessions end; this browser gets a new one."""
    keep_secret(request)
    visitor = visitor_of(request, context)
    opened = await context.services.sign_in.change_password(caller, body.current_password, body.new_password, visitor)
    return signed_in(context, request, response, opened)


@router.post("/tokens/sign-in", summary="Make a one-time sign-in link", status_code=201, **needs(Role.VIEWER))
async def make_own_link(context: Context, request: Request, caller: Caller) -> LinkView:
    """For a browser that is to have the rights of the token in use, for as long as that token is good."""
    keep_secret(request)
    return link_view(context, request, await context.services.sign_in.own_link(caller))


def signed_in(context: WebContext, request: Request, response: Response, opened: Opened) -> SignedIn:
    """The answer to every way of signing in, with the cookie set."""
    set_session(response, request, context.settings, opened)
    return SignedIn(
        name=opened.principal.name,
        role=opened.principal.role,
        csrf_token=csrf_token(opened.secret),
        session_id=opened.principal.session_id,
        expires_at=opened.expires_at,
    )


def link_view(context: WebContext, request: Request, link: Link) -> LinkView:
    url = f"{own_origin(request, context.settings)}{SIGN_IN_PAGE}#{link.token}"
    return LinkView(name=link.name, sign_in_token=link.token, url=url, expires_at=link.expires_at)


def visitor_of(request: Request, context: WebContext) -> Visitor:
    """Who sits there, as far as one can see."""
    address = request.client.host if request.client else "local"
    return Visitor(address=address, client=request.headers.get("user-agent", ""), secret=session_secret(request, context.settings))


def _session_of(caller: Principal) -> str:
    if caller.session_id is None:
        hint = "A token is made useless with DELETE /tokens/{token_id}."
        raise Conflict("A token is not signed in.", hint=hint, code="no_session")
    return caller.session_id
