"""The web page and its files, the documentation at `/docs`, and what stands in for the page where it was not built. Nothing comes from elsewhere."""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent_servicing.web.context import Context
from agent_servicing.web.page import Page

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


async def _page(request: Request) -> Page:
    return cast("Page", request.app.state.page)


ThePage = Annotated[Page, Depends(_page)]


@router.get("/")
async def welcome(context: Context, page: ThePage) -> Response:
    if page.there:
        return page.document()
    text = (_OWN / "welcome.html").read_text("utf-8").replace("VERSION", context.version)
    return HTMLResponse(text, headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/agent-servicing.html")
async def dashboard() -> RedirectResponse:
    return RedirectResponse("/")


@router.get("/sign-in")
async def sign_in(page: ThePage) -> Response:
    if page.there:
        return page.document()
    return HTMLResponse((_OWN / "sign-in.html").read_text("utf-8"), headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse((_OWN / "docs.html").read_text("utf-8"), headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/agents")
@router.get("/agents/{_rest:path}")
@router.get("/audit")
@router.get("/deployments")
@router.get("/settings")
async def document(page: ThePage) -> Response:
    """Addresses within the page, which people reload and send to one another."""
    if not page.there:
        raise HTTPException(404)
    return page.document()


@router.get("/favicon.svg")
@router.get("/color-scheme.js")
async def public_file(request: Request, page: ThePage) -> Response:
    return _file(request, page, request.url.path.removeprefix("/"))


@router.get("/assets/{name:path}")
async def asset(request: Request, name: str, page: ThePage) -> Response:
    if name not in ASSETS:
        return _file(request, page, f"assets/{name}")
    file, media_type = ASSETS[name]
    return Response(file.read_bytes(), media_type=media_type, headers={"Cache-Control": "public, max-age=3600"})


def _file(request: Request, page: Page, name: str) -> Response:
    found = page.file(name)
    if found is None:
        raise HTTPException(404)
    return found.response(accepts=request.headers.get("accept-encoding", ""))
