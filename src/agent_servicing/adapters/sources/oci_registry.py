"""Reads one repository of an OCI registry: tags, manifests, small blobs. `ImageSource` calls it; addresses become answers that were checked.

The API is the OCI distribution specification, read only. Credentials come from the file that `docker login` writes, and go to no registry
but the one they are noted for: an agent's manifest names the registry, so it must not choose who gets a password.
"""

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from urllib.request import parse_keqv_list

import anyio
import httpx

from agent_servicing.adapters.sources.work import RETRY_AFTER_SECONDS, read
from agent_servicing.core.errors import PermanentError, TemporaryError

REQUEST_TIMEOUT_SECONDS: Final = 30.0
"""Limit for one answer, from connecting to its last byte."""

BODY_BYTES_MAX: Final = 4 * 1024**2
"""Largest answer read; registries take no manifests beyond this size either."""

TAG_PAGES_MAX: Final = 100
"""Pages of tags read of one repository."""

TAGS_A_PAGE: Final = 1_000
"""How many tags are asked for at once; a registry may give fewer."""

REDIRECTS_MAX: Final = 3
"""Blobs usually lie elsewhere, one step away."""

RETRY_AFTER_SECONDS_MAX: Final = 3_600.0
"""A registry that wants to be left alone for longer is asked again after this long."""

_DOCKER_HUB: Final = "registry-1.docker.io"
_DOCKER_HUB_LOGIN: Final = "https://index.docker.io/v1/"
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE_ITEM = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s,"]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where one image lies: `root` is the registry's address, `name` the image's name there."""

    root: str
    name: str

    @property
    def host(self) -> str:
        return urlsplit(self.root).netloc


def repository(location: str) -> Repository:
    """`HOST/NAME`, or a name of Docker Hub. TLS, unless the host is this machine or `http://` stands in front. Raises `PermanentError`."""
    scheme, separator, rest = location.rpartition("://")
    if separator and scheme not in {"http", "https"}:
        raise PermanentError(
            f"source.image {location!r} begins with {scheme}://; leave it out, or write http:// for a registry without TLS"
        )
    host, _, name = rest.partition("/")
    if not name or not ("." in host or ":" in host or host == "localhost"):
        host, name = _DOCKER_HUB, rest if "/" in rest else f"library/{rest}"
    if not _PATH.fullmatch(name):
        hint = "name the repository without tag or digest, in small letters, for example registry.example.org/team/my-agent"
        raise PermanentError(f"source.image {location!r} names no repository of a registry; {hint}")
    return Repository(root=f"{scheme or ('http' if _is_loopback(host) else 'https')}://{host}", name=name)


class Registry:
    """One repository, open for a few questions. What was asked with a token keeps it until the end."""

    def __init__(self, where: Repository, client: httpx.AsyncClient, login: tuple[str, str] | None) -> None:
        self._where, self._client, self._login = where, client, login
        self._authorization = ""
        self._lock = anyio.Lock()

    async def tags(self) -> list[str]:
        """Every tag, in the registry's order. Raises `PermanentError`, `TemporaryError`."""
        found: list[str] = []
        address = f"{self._base}/tags/list?n={TAGS_A_PAGE}"
        for _ in range(TAG_PAGES_MAX):
            response, body = await self._get(address)
            listed = self._json(body, "list of tags").get("tags") or []  # Go's registries write null for none
            if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
                raise self._garbage("list of tags")
            found += listed
            following = response.links.get("next", {}).get("url")
            if not following:
                return found
            address = urljoin(address, following)
            if not address.startswith(f"{self._where.root}/"):
                raise PermanentError(f"the registry {self._where.host} sends on to another host for more tags: {urlsplit(address).netloc}")
        raise PermanentError(f"{self._where.name} at {self._where.host} has more than {TAG_PAGES_MAX} pages of tags; remove old ones")

    async def digest(self, tag: str, accept: str) -> str | None:
        """What the tag points at now; None when there is no such tag (any more)."""
        try:
            response, _ = await self._get(f"{self._base}/manifests/{tag}", method="HEAD", accept=accept)
        except _NotThereError:
            return None
        said = response.headers.get("docker-content-digest", "")
        if _DIGEST.fullmatch(said):
            return str(said)
        _, body = await self._get(f"{self._base}/manifests/{tag}", accept=accept)  # the header is not a must
        return _sha256(body)

    async def manifest(self, digest: str, accept: str) -> dict[str, Any]:
        """The manifest or index with that digest, which is checked."""
        return await self._checked(f"{self._base}/manifests/{digest}", digest, accept)

    async def blob(self, digest: str) -> dict[str, Any]:
        """A small blob of JSON, such as an image's configuration."""
        return await self._checked(f"{self._base}/blobs/{digest}", digest, "*/*")

    @property
    def _base(self) -> str:
        return f"{self._where.root}/v2/{self._where.name}"

    async def _checked(self, address: str, digest: str, accept: str) -> dict[str, Any]:
        if not _DIGEST.fullmatch(digest):
            raise self._garbage("digest")
        _, body = await self._get(address, accept=accept)
        if _sha256(body) != digest:
            raise PermanentError(
                f"the registry {self._where.host} answers {digest} with something else; do not trust it, tell its operator"
            )
        return self._json(body, "manifest")

    async def _get(self, address: str, *, method: str = "GET", accept: str = "application/json") -> tuple[httpx.Response, bytes]:
        """Once more with a token when the registry asks for one."""
        used = self._authorization
        response, body = await self._send(address, method, accept)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            async with self._lock:
                if self._authorization == used:  # else another question has got one meanwhile
                    self._authorization = await self._authorize(response.headers.get("www-authenticate", ""))
            response, body = await self._send(address, method, accept)
        self._judge(response)
        return response, body

    async def _send(self, address: str, method: str, accept: str) -> tuple[httpx.Response, bytes]:
        headers = {"Accept": accept, **({"Authorization": self._authorization} if self._authorization else {})}
        return await self._read(method, address, headers)

    async def _read(self, method: str, address: str, headers: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        try:
            with anyio.fail_after(REQUEST_TIMEOUT_SECONDS):
                async with self._client.stream(method, address, headers=headers) as response:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > BODY_BYTES_MAX:
                            raise PermanentError(
                                f"an answer of the registry {self._where.host} is larger than {BODY_BYTES_MAX // 1024**2} MiB"
                            )
                    return response, bytes(body)
        except (httpx.TransportError, TimeoutError) as error:
            raise self._later(str(error) or "no answer in time") from error
        except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.DecodingError) as error:
            raise PermanentError(f"the registry {self._where.host} answers in a way that cannot be followed: {error}") from error

    def _judge(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.NOT_FOUND:
            raise _NotThereError(f"the registry {self._where.host} has no {self._where.name}, or does not show it to us; {_HOW_TO_LOG_IN}")
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            who = f"{self._login[0]!r}" if self._login else "nobody in particular"
            raise PermanentError(f"the registry {self._where.host} does not let {who} read {self._where.name}; {_HOW_TO_LOG_IN}")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise self._later("it has had too many requests from here", _retry_after(response))
        if response.is_server_error:
            raise self._later(f"status {status}")
        raise PermanentError(f"{self._where.host} does not answer as a registry: status {status}; check source.image")

    async def _authorize(self, challenge: str) -> str:
        """The header that the registry asked for: Basic, or a Bearer token from where it says, for nobody when there is no login."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._login:
            return _basic(*self._login)
        if scheme.lower() != "bearer":
            raise PermanentError(f"the registry {self._where.host} asks for a login; {_HOW_TO_LOG_IN}")
        asked = parse_keqv_list([f"{name}={value}" for name, value in _CHALLENGE_ITEM.findall(rest)])
        realm = asked.get("realm", "")
        if not realm.startswith(("https://", "http://") if self._where.root.startswith("http://") else "https://"):
            raise PermanentError(f"the registry {self._where.host} sends us for a token to {realm[:200]!r}, which is no https address")
        query = {"scope": asked.get("scope") or f"repository:{self._where.name}:pull", "service": asked.get("service", "")}
        headers = {} if self._login is None else {"Authorization": _basic(*self._login)}
        response, body = await self._read("GET", str(httpx.URL(realm).copy_merge_params(query)), headers)
        self._judge(response)
        answer = self._json(body, "answer with a token")
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._garbage("answer with a token")
        return f"Bearer {token}"

    def _json(self, body: bytes, what: str) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise self._garbage(what) from None
        if not isinstance(value, dict):
            raise self._garbage(what)
        return value

    def _garbage(self, what: str) -> PermanentError:
        return PermanentError(f"{self._where.host} does not answer as a registry: its {what} cannot be read; check source.image")

    def _later(self, why: str, seconds: float = RETRY_AFTER_SECONDS) -> TemporaryError:
        return TemporaryError(f"cannot ask the registry {self._where.host}: {why}", retry_after_seconds=seconds)


@asynccontextmanager
async def open_registry(where: Repository, env: Mapping[str, str]) -> AsyncIterator[Registry]:
    """`env` says where the file of logins is. Raises `PermanentError` when that file cannot be used."""
    login = await read("read the logins of registries", lambda: saved_login(where.host, env))
    async with httpx.AsyncClient(follow_redirects=True, max_redirects=REDIRECTS_MAX, timeout=REQUEST_TIMEOUT_SECONDS) as client:
        yield Registry(where, client, login)


def saved_login(host: str, env: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password for exactly this host from `config.json` in DOCKER_CONFIG, else in `~/.docker`; None without one."""
    folder = env.get("DOCKER_CONFIG") or os.path.join(env.get("HOME") or "/", ".docker")  # noqa: PTH118 (joined as the other program does)
    path = Path(folder) / "config.json"
    if not path.is_file():
        return None
    try:
        auths = json.loads(path.read_text(encoding="utf-8")).get("auths") or {}
        entry = auths.get(host) or auths.get(f"https://{host}") or (auths.get(_DOCKER_HUB_LOGIN) if host == _DOCKER_HUB else None)
        if not entry or not entry.get("auth"):
            return None
        user, separator, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (ValueError, AttributeError, TypeError, binascii.Error):
        raise PermanentError(f"{path} cannot be read as the file that docker login writes") from None
    return (user, password) if separator else None


class _NotThereError(PermanentError):
    """Told apart because a tag may go between two questions."""


_HOW_TO_LOG_IN: Final = (
    "check source.image, or log in: docker login as the server's user, or a config.json with auths in the folder that DOCKER_CONFIG names"
)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _sha256(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _retry_after(response: httpx.Response) -> float:
    said = response.headers.get("retry-after", "")
    return min(float(said), RETRY_AFTER_SECONDS_MAX) if said.isascii() and said.isdigit() and said != "0" else RETRY_AFTER_SECONDS


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host else host
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
