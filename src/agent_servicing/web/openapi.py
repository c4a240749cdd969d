"""The API description: what FastAPI derives, plus what holds everywhere (tokens, problems, idempotency keys) said once here."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent_servicing.web.auth import INSTANCE, PUBLIC_OPERATIONS, PUBLIC_PATHS
from agent_servicing.web.cookies import CSRF_HEADER, NAME
from agent_servicing.web.idempotency import HEADER, METHODS
from agent_servicing.web.problems import MEDIA_TYPE, Problem

DESCRIPTION: Final = """
Upgrade, roll back and watch running agents without downtime.

Send `Authorization: Bearer TOKEN` with every request, or the session cookie of `POST /api/platform/session`, with which a request that
changes something also needs the header `X-CSRF-Token` from `GET /api/platform/me`. Errors are `application/problem+json` (RFC 9457)
with a stable `code`.
Requests that change something may carry an `Idempotency-Key`: repeating them then gives the first answer again.
Lists take `limit` and `cursor`. Times are RFC 3339 in UTC, percentages go from 0 to 100, units stand last in names.
Live events come over the WebSocket `/ws/agent-upgrades`; the guide `docs/guides/api.md` describes it.
"""

TAGS: Final = [
    {"name": "Agents", "description": "The fleet: add, look at, scale, restart, remove"},
    {"name": "Versions", "description": "What there is, and what changed"},
    {"name": "Staging", "description": "A version tried on instances of its own before it gets traffic: suites, reports, the gate"},
    {"name": "Upgrades and rollbacks", "description": "Deployments and the verbs that steer them"},
    {"name": "Configuration", "description": "What agents run with: show, patch while they run, history, back"},
    {"name": "Feature flags", "description": "OpenFeature Remote Evaluation Protocol: flags of an agent for any OpenFeature client"},
    {"name": "Instances", "description": "What running instances themselves use: the link over which configurations reach them"},
    {"name": "Schedule", "description": "When things may begin, and in which order: freezes, windows, stop, limit, queue, lock"},
    {"name": "State", "description": "What agents keep between versions: the way back, and copies"},
    {"name": "Secrets", "description": "Values that go in and never come out: passwords, keys, tokens of agents"},
    {"name": "Audit", "description": "Who did what, when, why, with what outcome"},
    {"name": "Access", "description": "Tokens and roles: viewer reads, operator acts, admin manages access and removes agents"},
    {"name": "Sign-in", "description": "Sessions of browsers"},
    {"name": "Users", "description": "People, what they may, their passwords"},
    {"name": "Backup", "description": "The server's own data as one file"},
    {"name": "Health", "description": "For machines that watch the server"},
]

_PROBLEMS: Final = {
    "400": "The body is no text that could be read, such as broken UTF-8",
    "401": "No token or session, or one that is unknown, expired or revoked",
    "403": "Role or reach do not suffice, or a session's request does not show that it comes from our page",
    "404": "There is no such thing",
    "409": "It does not fit the present state; `current` holds the state where that helps",
    "413": "The body is too large",
    "422": "The input is wrong; `errors` names every field",
    "429": "Asked too often; see `Retry-After`",
    "500": "A fault of ours; nothing of it leaks, the log has it under `request_id`",
    "503": "Not possible now; see `Retry-After`",
}

_KEY_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any text of your own per act. A repetition within 24 hours gets the first answer with `Idempotency-Replayed: true`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, description=DESCRIPTION, routes=app.routes, tags=TAGS)
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": NAME, "description": f"With {CSRF_HEADER} where something is changed"},
    }
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(definition.pop("$defs", {}))
    schemas["Problem"] = definition
    document["security"] = [{"token": []}, {"session": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return document


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    public = path in PUBLIC_PATHS
    if public:
        operation["security"] = []
    possible = set(_PROBLEMS) - ({"400", "401", "403", "404", "409", "413", "422", "429"} if public else set())
    if (method.upper(), path) in PUBLIC_OPERATIONS:
        operation["security"] = []
    if "requestBody" not in operation:
        possible -= {"400", "413"}
    for status in sorted(possible):
        if status == "422" or status not in responses:
            responses[status] = _problem(_PROBLEMS[status])
    kept = operation.get("x-required-role") != INSTANCE and (method.upper(), path) not in PUBLIC_OPERATIONS
    if method.upper() in METHODS and kept:
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
