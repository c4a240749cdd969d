"""Talks to running instances over HTTP and TCP. The engine asks for one health check of an instance and gets a `Probe`, never an exception."""

import json
from types import TracebackType
from typing import Final, Self

import anyio
import httpx

from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Probe, Process
from agent_servicing.ports import Clock

PROBE_TIMEOUT_SECONDS = 2.0
"""Limit of one health check, all in all; the port promises it."""

MAX_CONNECTIONS = 256
"""Health checks under way at once; 32 agents of a few instances stay far below."""

DETAIL_CHARS = 300
"""Longest explanation kept of a failed check."""

READY_PATH: Final = "/.well-known/servicing/ready"
"""Where agents with the SDK say whether they are ready for more, which while they drain they are not."""

READY_BYTES_MAX: Final = 4096


class HttpAgentClient:
    """`AgentClient` over one shared client, as an async context manager.

    Connections are not kept: an instance that was replaced, or that closes idle connections, must not fail the next check.
    Proxies of the environment are ignored, because instances are on this machine or its own network.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=PROBE_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0),
            headers={"User-Agent": "agent-servicing-probe", "Accept": "*/*"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def probe(self, manifest: Manifest, process: Process) -> Probe:
        """GET the manifest's health path (2xx is healthy, a redirect is not) or, without one, connect. `detail` says what was wrong."""
        path = manifest.health.path
        asked = f"GET {path}" if path is not None else f"connecting to port {process.port}"
        try:
            with anyio.fail_after(PROBE_TIMEOUT_SECONDS):
                problem = await (self._connect(process) if path is None else self._get(process, path))
        except (TimeoutError, httpx.TimeoutException):
            problem = f"{asked} got no answer within {PROBE_TIMEOUT_SECONDS:g} s"
        except (httpx.ConnectError, OSError):
            problem = f"nothing answers on port {process.port}"
        except Exception as error:  # noqa: BLE001 (the port promises an answer whatever an agent sends back)
            problem = f"{asked} failed: {str(error) or type(error).__name__}"
        return Probe(instance=process.instance, healthy=not problem, at=self._clock.now(), detail=problem[:DETAIL_CHARS])

    async def _connect(self, process: Process) -> str:
        stream = await anyio.connect_tcp(process.host, process.port)
        await stream.aclose()
        return ""

    async def _get(self, process: Process, path: str) -> str:
        """What is wrong with the answer, empty when nothing is. Its body is not read, but for the one word that needs it."""
        url = httpx.URL(scheme="http", host=process.host, port=process.port, raw_path=_absolute(path).encode())
        async with self._client.stream("GET", url) as response:
            if response.is_success:
                return ""
            if path == READY_PATH and response.status_code == 503 and await _drains(response):
                return ""
            note = " (redirects are not followed)" if response.is_redirect else ""
            return f"GET {path} answered {response.status_code}{note}"


async def _drains(response: httpx.Response) -> bool:
    """Whether it is not ready because it was told to come to an end: that is no failure, it still serves what it has."""
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > READY_BYTES_MAX:
            return False
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("state") in ("draining", "drained")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
