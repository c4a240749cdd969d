"""Sends the requests that an agent's developer wrote down to its production address, each once, and says which were not answered as expected."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import httpx

from agent_servicing.core.manifest import TestRequest
from agent_servicing.core.model import Release
from agent_servicing.ports import Clock

REQUEST_TIMEOUT_SECONDS = 10.0
"""Limit of one request with its whole answer."""

REQUESTS_MAX = 100
"""Requests sent in one verification; further ones of the manifest are left out and said to be."""

ALL_REQUESTS_SECONDS = 120.0
"""Limit of all of them: a version that hangs is found out after a dozen."""

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Read of an answer; what comes after is not waited for."""

FAILURES_SHOWN = 5

HEADER = "X-Servicing-Verification"
"""Tells the agent which verification this request belongs to."""

SERVED_BY = "X-Served-By"
"""Set by the data plane: `agent@version/instance`."""


ROUTER = "-"
"""Stands for the version where the data plane itself has answered."""

TOO_MANY_REQUESTS = 429


@dataclass(slots=True)
class Answers:
    """`elsewhere`: answered by another version, which says nothing about this one. `left_out`: never sent."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    elsewhere: int = 0
    left_out: int = 0


async def ask(
    release: Release, requests: Sequence[TestRequest], url: str, *, key: str, clock: Clock, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
) -> Answers:
    """One after the other, because a later one may rest on an earlier one. Never raises for what an agent answers."""
    answers = Answers(left_out=max(0, len(requests) - REQUESTS_MAX))
    deadline = clock.monotonic() + ALL_REQUESTS_SECONDS
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=timeout_seconds, headers={HEADER: key}) as client:
        for number, request in enumerate(requests[:REQUESTS_MAX]):
            if clock.monotonic() > deadline:
                answers.failures.append(f"out of time after {ALL_REQUESTS_SECONDS:g} s")
                answers.left_out += len(requests[:REQUESTS_MAX]) - number
                break
            problem, version = await _admitted(client, request, url, key, timeout_seconds, clock, deadline)
            if version not in (None, release.version):
                answers.elsewhere += 1
            elif problem:
                answers.failures.append(f"{request.method} {request.path} {problem}")
            else:
                answers.passed += 1
    return answers


async def _admitted(
    client: httpx.AsyncClient, request: TestRequest, url: str, key: str, timeout_seconds: float, clock: Clock, deadline: float
) -> tuple[str, str | None]:
    """Sent again for as long as the agent's rate limit keeps it from reaching anybody, as Retry-After says: that is the crowd's doing."""
    while True:
        found = await _once(client, request, url, key, timeout_seconds)
        if not isinstance(found, float):
            return found
        if clock.monotonic() + found > deadline:
            return "was kept back by the agent's rate limit", ROUTER
        await clock.sleep(found)


async def _once(
    client: httpx.AsyncClient, request: TestRequest, url: str, key: str, timeout_seconds: float
) -> tuple[str, str | None] | float:
    """What was wrong, empty when nothing was, and the version that answered where the answer says so; seconds to wait where the rate limit
    kept it from reaching any.
    """
    version: str | None = None
    try:
        with anyio.fail_after(timeout_seconds):
            headers = {**request.headers, HEADER: key}
            async with client.stream(request.method, url + request.path, headers=headers, json=request.json) as response:
                version = _version(response)
                if version == ROUTER and response.status_code == TOO_MANY_REQUESTS:
                    return _wait_seconds(response)
                if response.status_code != request.expect_status:
                    return f"answered {response.status_code} instead of {request.expect_status}", version
                await _read(response)
    except (TimeoutError, httpx.TimeoutException):
        return f"was not answered within {timeout_seconds:g} s", version
    except httpx.ConnectError:
        return "reached nobody", version
    except Exception as error:  # noqa: BLE001 (the answer is a stranger's; whatever it breaks is this version's failure)
        return f"failed: {str(error) or type(error).__name__}"[:300], version
    return "", version


def _wait_seconds(response: httpx.Response) -> float:
    """At least a second, whatever it says."""
    said = response.headers.get("Retry-After", "")
    return max(1.0, float(said)) if said.isdecimal() else 1.0


async def _read(response: httpx.Response) -> None:
    """The answer's body, so that one that breaks off half-way counts as broken."""
    seen = 0
    async for piece in response.aiter_raw():
        seen += len(piece)
        if seen > BODY_BYTES_MAX:
            return


def _version(response: httpx.Response) -> str | None:
    """`WowMemory@1.3.0/g7-1-1` → `1.3.0`; None without the header."""
    _, at, rest = response.headers.get(SERVED_BY, "").partition("@")
    return rest.partition("/")[0] or None if at else None
