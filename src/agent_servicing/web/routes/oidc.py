"""Routes of signing in by OpenID Connect: a browser goes to the provider and comes back. Pages, not operations, and so not in the API description."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent_servicing.web.context import Context, WebContext
from agent_servicing.web.cookies import is_secure, own_origin, set_session
from agent_servicing.web.routes.session import visitor_of

router = APIRouter(include_in_schema=False)

PATH: Final = "/api/platform/session/oidc"
COOKIE: Final = "servicing_oidc"
AWAY_SECONDS: Final = 600

ARRIVED: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>Signed in</title></head>
<body><p>You are signed in. <a href="/">Go on</a></p></body></html>
"""
"""A page instead of a redirect: a browser does not send a new SameSite=Strict cookie along with a redirect that began at another site."""

Text = Annotated[str, Query(max_length=4096)]


@router.get("/session/oidc")
async def leave(context: Context, request: Request) -> Response:
    """To the provider. The cookie makes sure that the same browser comes back; it is Lax, because it comes back from another site."""
    errand = await context.services.oidc.begin(_redirect_uri(context, request))
    answer = RedirectResponse(errand.url, status_code=302)
    secure = is_secure(request, context.settings)
    answer.set_cookie(COOKIE, errand.state, max_age=AWAY_SECONDS, path=PATH, secure=secure, httponly=True, samesite="lax")
    return answer


@router.get("/session/oidc/callback")
async def arrive(context: Context, request: Request, code: Text = "", state: Text = "", error: Text = "") -> Response:
    """Back from the provider, with a code for us or with its refusal."""
    visitor, service = visitor_of(request, context), context.services.oidc
    if error or not code:
        raise await service.refused(error[:200] or "nothing", visitor)
    opened = await service.finish(code=code, state=state, kept_state=request.cookies.get(COOKIE), visitor=visitor)
    answer = HTMLResponse(ARRIVED)
    set_session(answer, request, context.settings, opened)
    answer.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="lax")
    return answer


def _redirect_uri(context: WebContext, request: Request) -> str:
    return f"{own_origin(request, context.settings)}{PATH}/callback"
