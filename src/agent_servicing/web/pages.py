"""The few static pages: a welcome at `/` until the web page stands there, and the documentation at `/docs`. Nothing is fetched from elsewhere."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent_servicing.web.context import Context

_OWN: Final = resources.files("agent_servicing.web") / "assets"
_SWAGGER: Final = resources.files("fastapi_swagger") / "resources"

ASSETS: Final[Mapping[str, tuple[Traversable, str]]] = {
    "welcome.css": (_OWN / "welcome.css", "text/css"),
    "sign-in.js": (_OWN / "sign-in.js", "text/javascript"),
    "docs/docs.js": (_OWN / "docs.js", "text/javascript"),
    "docs/swagger-ui-bundle.js": (_SWAGGER / "swagger-ui-bundle.js", "text/javascript"),
    "docs/swagger-ui.css": (_SWAGGER / "swagger-ui.css", "text/css"),
    "docs/favicon-32x32.png": (_SWAGGER / "favicon-32x32.png", "image/png"),
}
"""Every file under `/assets/`, by name: a name that is not here does not exist, so no path can lead elsewhere."""

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Scripts and requests only to this server. Swagger UI sets styles on elements, hence `unsafe-inline` for styles alone."""

router = APIRouter(include_in_schema=False)


@router.get("/")
async def welcome(context: Context) -> HTMLResponse:
    text = (_OWN / "welcome.html").read_text("utf-8").replace("VERSION", context.version)
    return HTMLResponse(text, headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/agent-servicing.html")
async def dashboard() -> RedirectResponse:
    return RedirectResponse("/")


@router.get("/sign-in")
async def sign_in() -> HTMLResponse:
    return HTMLResponse((_OWN / "sign-in.html").read_text("utf-8"), headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse((_OWN / "docs.html").read_text("utf-8"), headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/assets/{name:path}")
async def asset(name: str) -> Response:
    if name not in ASSETS:
        raise HTTPException(404)
    file, media_type = ASSETS[name]
    return Response(file.read_bytes(), media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})
