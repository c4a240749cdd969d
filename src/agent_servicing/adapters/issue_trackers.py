"""Opens reports as issues at GitHub or GitLab, or hands them to a webhook, over their public HTTP interfaces. Opened by `bootstrap`.

Redirects are not followed: the token is for the address that an admin gave.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.outward import TrackerSettings
from agent_servicing.ports.outward import Filing

GITHUB: Final = "https://api.github.com"
GITLAB: Final = "https://gitlab.com"

TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A hundred issues with long texts."""

LOOKED_THROUGH: Final = 100
"""Newest issues that are looked through for one that was opened already."""

RETRY_SECONDS: Final = 60.0
URL_CHARACTERS_MAX: Final = 2_000

_NONE: Final = "there is no issue tracker; set one with PUT /settings/issues"
_LATER: Final = frozenset({408, 425, 429})


class IssueTrackers:
    """Implements `Tracker`. A connection for each question: they are rare."""

    async def open(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str:
        match settings.kind:
            case "github":
                body: dict[str, Any] = {"title": filing.title, "body": filing.text, "labels": list(settings.labels)}
                return _address(await self._json("POST", _github(settings, filing), _github_headers(token), body), "html_url")
            case "gitlab":
                body = {"title": filing.title, "description": filing.text, "labels": ",".join(settings.labels)}
                return _address(await self._json("POST", _gitlab(settings, filing), _gitlab_headers(token), body), "web_url")
            case "webhook":
                body = _webhook(filing)
                return _address(await self._json("POST", settings.base_url, _signed(token, body, key=filing.key), body), "url")
            case "none":
                raise PermanentError(_NONE)

    async def find(self, settings: TrackerSettings, token: str | None, filing: Filing) -> str | None:
        match settings.kind:
            case "github":
                query = f"?state=all&sort=created&direction=desc&per_page={LOOKED_THROUGH}"
                found = await self._json("GET", _github(settings, filing) + query, _github_headers(token), None)
                return next(_holding(found, "body", filing.key, "html_url"), None)
            case "gitlab":
                query = f"?search={quote(filing.key)}&in=description&per_page={LOOKED_THROUGH}"
                found = await self._json("GET", _gitlab(settings, filing) + query, _gitlab_headers(token), None)
                return next(_holding(found, "description", filing.key, "web_url"), None)
            case "webhook" | "none":
                return None

    async def check(self, settings: TrackerSettings, token: str | None, project: str) -> None:
        match settings.kind:
            case "github":
                _takes_issues(await self._json("GET", _github_project(settings, project), _github_headers(token), None), "has_issues")
            case "gitlab":
                _takes_issues(await self._json("GET", _gitlab_project(settings, project), _gitlab_headers(token), None), "issues_enabled")
            case "webhook":
                body = {"event": "test"}
                await self._json("POST", settings.base_url, _signed(token, body), body)
            case "none":
                raise PermanentError(_NONE)

    async def _json(self, method: str, url: str, headers: Mapping[str, str], body: object | None) -> Any:
        """The answer's document, None when it is none. No error repeats a header or what the body said."""
        content = _bytes(body) if body is not None else None
        more = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, headers={"User-Agent": "agent-servicing"}) as http,
                http.stream(method, url, headers={**headers, **more}, content=content) as answer,
            ):
                return _checked(answer, await _text(answer))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise PermanentError("the address of the issue tracker cannot be used") from None
        except httpx.HTTPError as error:
            raise TemporaryError(
                f"the issue tracker cannot be reached: {type(error).__name__}", retry_after_seconds=RETRY_SECONDS
            ) from None


def _github(settings: TrackerSettings, filing: Filing) -> str:
    return f"{_github_project(settings, settings.project_of(filing.agent))}/issues"


def _github_project(settings: TrackerSettings, project: str) -> str:
    owner, _, name = project.partition("/")
    return f"{settings.base_url or GITHUB}/repos/{quote(owner, safe='')}/{quote(name, safe='')}"


def _github_headers(token: str | None) -> Mapping[str, str]:
    known = {"Authorization": f"Bearer {token}"} if token else {}
    return {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", **known}


def _gitlab(settings: TrackerSettings, filing: Filing) -> str:
    return f"{_gitlab_project(settings, settings.project_of(filing.agent))}/issues"


def _gitlab_project(settings: TrackerSettings, project: str) -> str:
    return f"{settings.base_url or GITLAB}/api/v4/projects/{quote(project, safe='')}"


def _gitlab_headers(token: str | None) -> Mapping[str, str]:
    return {"Accept": "application/json", **({"PRIVATE-TOKEN": token} if token else {})}


def _webhook(filing: Filing) -> dict[str, Any]:
    return {
        "event": "issue_reported",
        "issue_id": filing.key,
        "agent_id": filing.agent,
        "upgrade_id": filing.deployment,
        "title": filing.title,
        "text": filing.text,
        "reported_by": filing.reporter,
        "at": filing.at,
    }


def _signed(token: str | None, body: object, *, key: str = "") -> Mapping[str, str]:
    """The receiver recognises a repetition by the key, and us by the signature of the very bytes of the body."""
    headers = {"Accept": "application/json", **({"Idempotency-Key": key} if key else {})}
    if token:
        headers["X-Servicing-Signature-256"] = "sha256=" + hmac.new(token.encode(), _bytes(body), hashlib.sha256).hexdigest()
    return headers


def _bytes(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def _text(answer: httpx.Response) -> bytes:
    pieces, size = [], 0
    async for piece in answer.aiter_bytes():
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise TemporaryError("the issue tracker's answer has no end", retry_after_seconds=RETRY_SECONDS)
        pieces.append(piece)
    return b"".join(pieces)


def _checked(answer: httpx.Response, text: bytes) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if answer.is_success:
        return found
    status = f"the issue tracker answered {answer.status_code}"
    said = found.get("message") if isinstance(found, dict) else None
    words = f"{status}: {said}"[:300] if isinstance(said, str) else status
    limited = answer.status_code == 403 and answer.headers.get("x-ratelimit-remaining") == "0"
    if answer.status_code >= 500 or answer.status_code in _LATER or limited:
        raise TemporaryError(words, retry_after_seconds=RETRY_SECONDS)
    raise PermanentError(words)


def _takes_issues(project: object, switch: str) -> None:
    """GitLab's `issues_enabled` is gone in some later version; what is not said is not held against it."""
    if not isinstance(project, dict):
        raise PermanentError("what answers there is no such issue tracker")
    if project.get(switch) is False:
        raise PermanentError("issues are turned off in that project")


def _address(found: object, key: str) -> str:
    """Only what a browser may be led to."""
    url = found.get(key) if isinstance(found, dict) else None
    fine = isinstance(url, str) and url.startswith(("https://", "http://")) and len(url) <= URL_CHARACTERS_MAX and url.isprintable()
    return str(url) if fine else ""


def _holding(found: object, text: str, key: str, url: str) -> Iterator[str]:
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict) and key in str(entry.get(text) or ""):
            yield _address(entry, url)
