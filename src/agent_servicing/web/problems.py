"""Errors as RFC 9457 problem documents, in one place. Middlewares and the exception handlers of `app` call it; routes only raise."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from agent_servicing.core.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    PermanentError,
    ServicingError,
    TemporaryError,
    TooMany,
    Unavailable,
    Unknown,
)
from agent_servicing.core.model import Deployment
from agent_servicing.web.limits import RETRY_AFTER_SECONDS
from agent_servicing.web.views.deployments import deployment_view

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:agent-servicing:error:"

CHALLENGE: Final = 'Bearer realm="agent-servicing"'
"""What goes with every 401 (RFC 6750)."""

_FAMILIES: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Invalid, 422, "Invalid input"),
    (Denied, 403, "Not allowed"),
    (Unknown, 401, "Not signed in"),
    (TooMany, 429, "Too many requests"),
    (Unavailable, 503, "Not available now"),
    (TemporaryError, 503, "Not available now"),
    (PermanentError, 422, "Cannot be done"),
)

_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "json_invalid": "is not valid JSON",
    "model_attributes_type": "must be a JSON object sent as application/json",
    "dict_type": "must be an object",
}
"""Where the validator's own words would not help somebody who never saw Python."""

_SUBJECT = re.compile(r"^(?:Input|String|List|Value|Number) should")
"""The validator names no field, our sentences do."""

_MEMBERS = {"deployment": "current"}
"""Details of errors that the contract knows under another name."""

log = structlog.get_logger(__name__)


class ProblemError(BaseModel):
    """One thing wrong with the input."""

    path: str = Field(description="Dotted path of the field, `query.` before query parameters")
    message: str


class Problem(BaseModel):
    """Every error answer (RFC 9457, `application/problem+json`)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:agent-servicing:error:unknown_agent",
                    "title": "Not found",
                    "status": 404,
                    "code": "unknown_agent",
                    "detail": "There is no agent WowMemoy.",
                    "hint": "GET /api/platform/agents lists them.",
                    "errors": [],
                    "request_id": "req-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
                }
            ]
        },
    )

    type: str = Field(description="The code as a URN")
    title: str = Field(description="The family of errors, in words")
    status: int
    code: str = Field(description="Stable slug for programs")
    detail: str = Field(description="One sentence for people")
    hint: str = Field(default="", description="What to do about it")
    errors: list[ProblemError] = Field(default_factory=list)
    request_id: str | None = None


_RESERVED = frozenset({"request", "headers", *Problem.model_fields})
"""Names a detail of an error cannot have here, because the document says something else under them."""


def problem_response(
    request: HTTPConnection, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """A problem document. `members` may hold hint, errors, title and extension members such as `current`."""
    document = {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "hint": "",
        "errors": [],
        "request_id": getattr(request.state, "request_id", None),
        **members,
    }
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def error_response(request: Request, error: Exception) -> Response:
    """The answer to any exception: a family's status, or 500 without internals for what nobody raised on purpose."""
    if isinstance(error, RequestValidationError):
        return _invalid_request(request, error)
    if isinstance(error, HTTPException):
        return _http_error(request, error)
    for family, status, title in _FAMILIES:
        if isinstance(error, family):
            return _family(request, error, status, title)
    log.error("unexpected_error", path=request.url.path, method=request.method, exc_info=error)
    return problem_response(
        request,
        500,
        "internal_error",
        "The server failed at this; the log has the details under this request id.",
        hint="Trying again is safe with the same Idempotency-Key.",
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Route everything that is raised below the middlewares to `error_response`."""

    async def handle(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 404:
            shown: Response | None = app.state.page.lost(request.method, request.url.path, request.headers.get("Accept", ""))
            if shown is not None:
                return shown
        return error_response(request, error)

    for kind in (RequestValidationError, HTTPException, ServicingError, TemporaryError, PermanentError):
        app.add_exception_handler(kind, handle)


def _family(request: Request, error: Exception, status: int, title: str) -> Response:
    headers, members = {}, {}
    retry: object = getattr(error, "retry_after_seconds", RETRY_AFTER_SECONDS)
    if isinstance(error, ServicingError):
        code, detail = error.code, error.message
        members = {_MEMBERS.get(name, name): _member(request, value) for name, value in error.details.items() if name not in _RESERVED}
        members["hint"] = error.hint
        members["errors"] = [{"path": e.path, "message": e.message} for e in error.errors]
        retry = error.details.get("retry_after_seconds", retry)
    else:
        code, detail = "temporary_error" if isinstance(error, TemporaryError) else "permanent_error", str(error)
    if status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if status in (429, 503):
        headers["Retry-After"] = str(max(1, ceil(retry if isinstance(retry, int | float) else RETRY_AFTER_SECONDS)))
    return problem_response(request, status, code, detail, title=title, headers=headers, **members)


def _member(request: Request, value: object) -> object:
    """A detail of an error as JSON; a deployment is shown as the API shows it everywhere."""
    if isinstance(value, Deployment):
        return deployment_view(value, now=request.app.state.context.clock.now()).model_dump(mode="json")
    return to_jsonable_python(value, fallback=str)


def _http_error(request: Request, error: HTTPException) -> Response:
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    sentences = {
        400: "The body cannot be read: it must be JSON in UTF-8.",
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
    }
    detail = sentences.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods_of(request))
    return problem_response(request, error.status_code, code, detail, headers=headers)


def _methods_of(request: Request) -> list[str]:
    """What is possible at this path; the router itself names only its first match."""
    paths: Mapping[str, Mapping[str, object]] = request.app.openapi()["paths"]
    return sorted(
        {method.upper() for path, methods in paths.items() if compile_path(path)[0].match(request.url.path) for method in methods}
    )


def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    errors = [{"path": _path(e["loc"]), "message": _sentence(e)} for e in error.errors()]
    first = errors[0] if errors else {"path": "", "message": "is invalid"}
    subject = first["path"] or "The body"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem_response(request, 422, "invalid_request", f"{subject} {first['message']}{more}", title="Invalid input", errors=errors)


def _path(location: tuple[str | int, ...]) -> str:
    """`("body", "steps", 0)` → `steps.0`; a position in broken JSON is no path."""
    where, *rest = location
    if where == "body":
        return ".".join(str(part) for part in rest) if not (len(rest) == 1 and isinstance(rest[0], int)) else ""
    return ".".join(str(part) for part in location)


def _sentence(error: Mapping[str, object]) -> str:
    kind, message = str(error["type"]), str(error["msg"])
    if kind == "json_invalid":
        context, location = error.get("ctx"), error["loc"]
        why = context.get("error", "") if isinstance(context, Mapping) else ""
        position = location[-1] if isinstance(location, tuple) else 0
        return f"is not valid JSON: {why} at position {position}"
    return _SENTENCES.get(kind) or _SUBJECT.sub("must", message.removeprefix("Value error, "))
