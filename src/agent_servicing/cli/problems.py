"""Turns an HTTP answer that is no success into the `ServicingError` it stands for. `client` calls it for every such answer."""

import json
from typing import Any

from agent_servicing.core.errors import Conflict, Denied, FieldError, Invalid, NotFound, ServicingError, Unavailable

_FAMILIES: dict[int, type[ServicingError]] = {
    400: Invalid, 401: Denied, 403: Denied, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid, 422: Invalid,
    429: Unavailable, 502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip

_HINTS = {
    401: "Give a token with --token or SERVICING_TOKEN; on the server's machine DATA_DIR/admin.token is found by itself (--data-dir).",
    403: "The token's role does not allow this; `servicing token create --role operator` makes one that does.",
}


def as_error(status: int, content_type: str, text: str) -> ServicingError:
    """The error in an RFC 9457 problem document, or a plain one naming the status when it is something else."""
    problem = _problem(content_type, text)
    family = _FAMILIES.get(status, ServicingError)
    message = _text(problem, "detail") or _text(problem, "title") or f"The server answered with status {status}."
    hint = _text(problem, "hint") or _HINTS.get(status, "")
    if status == 401:
        hint = _HINTS[401]  # the server cannot know how its caller finds tokens
    if not problem and status == 404:
        hint = "Is this address the API of Agent Servicing, and of this version?"
    code = _text(problem, "code") or _slug(_text(problem, "type")) or family.code
    return family(message, hint=hint, errors=_errors(problem), code=code, status=status)


def _problem(content_type: str, text: str) -> dict[str, Any]:
    if "json" not in content_type:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}  # a proxy's own error page: the status says what there is to say
    return found if isinstance(found, dict) else {}


def _text(problem: dict[str, Any], key: str) -> str:
    found = problem.get(key)
    return found if isinstance(found, str) else ""


def _slug(kind: str) -> str:
    """The last part of the problem's `type` address; `about:blank` says nothing."""
    return "" if kind.startswith("about:") else kind.rstrip("/").rpartition("/")[2].rpartition(":")[2].replace("-", "_")


def _errors(problem: dict[str, Any]) -> tuple[FieldError, ...]:
    found = problem.get("errors")
    entries = [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []
    return tuple(FieldError(path=str(e.get("path", "")), message=str(e.get("message", ""))) for e in entries)
