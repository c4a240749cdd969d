"""What the server answered, as the client of the commands takes it: its JSON, its error, its word on when to ask again."""

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from agent_servicing.cli.problems import as_error
from agent_servicing.core.errors import ServicingError

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]
"""A JSON object as the server sent it. Fields are looked up with `get`: a newer or older server may have more or fewer."""

RETRY_AFTER_SECONDS_MAX: Final = 5.0


def parsed(answer: "httpx.Response") -> Json:
    if not answer.is_success:
        raise _error(answer)
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except json.JSONDecodeError as e:
        raise ServicingError("The server's answer is not JSON.", hint="Is this address the API of Agent Servicing?") from e
    return found if isinstance(found, dict) else {"items": found}


def entries(answer: Json, key: str) -> list[Json]:
    """The entries under `key`, or under `items` when the server sent a bare list."""
    found = answer.get(key, answer.get("items", []))
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def under_way(answer: "httpx.Response") -> bool:
    """Whether the request was sent before and the server is still at it."""
    return answer.status_code == HTTPStatus.CONFLICT and _error(answer).code == "idempotency_running"


def retry_after(answer: "httpx.Response", default: float) -> float:
    try:
        return min(RETRY_AFTER_SECONDS_MAX, max(0.0, float(answer.headers["Retry-After"])))
    except (KeyError, ValueError):
        return default


def _error(answer: "httpx.Response") -> ServicingError:
    return as_error(answer.status_code, answer.headers.get("Content-Type", ""), answer.text)
