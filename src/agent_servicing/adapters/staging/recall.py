"""Sends golden requests to a staging instance and compares its answers with the expected ones. `ProcessSuites` is its only caller."""

import json
from collections.abc import Sequence

import anyio
import httpx

from agent_servicing.adapters.verification.asking import BODY_BYTES_MAX, HEADER, REQUEST_TIMEOUT_SECONDS
from agent_servicing.core.manifest import GoldenRequest
from agent_servicing.core.staging.model import MESSAGE_CHARS, TRACE_CHARS, CaseResult, CaseStatus
from agent_servicing.core.staging.recall import mismatch
from agent_servicing.ports import Clock

ALL_SECONDS = 120.0
"""Limit of all of them: a version that hangs is found out after a dozen."""


async def recall(requests: Sequence[GoldenRequest], url: str, *, key: str, clock: Clock, only: str | None = None) -> Sequence[CaseResult]:
    """One after the other, because a later one may rest on an earlier one; `only`: no other case. Never raises for what an agent answers."""
    cases = []
    deadline = clock.monotonic() + ALL_SECONDS
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=REQUEST_TIMEOUT_SECONDS, headers={HEADER: key}) as client:
        for number, request in enumerate(requests, 1):
            case = f"recall-{number}"
            if only not in (None, case):
                continue
            began = clock.monotonic()
            problem, body = ("out of time", "") if began > deadline else await _once(client, request, url)
            cases.append(
                CaseResult(
                    case=case,
                    suite="recall",
                    name=request.name or f"{request.method} {request.path}",
                    status=CaseStatus.FAILED if problem else CaseStatus.PASSED,
                    duration_seconds=round(clock.monotonic() - began, 3),
                    message=problem[:MESSAGE_CHARS],
                    log=body[:TRACE_CHARS] if problem else "",
                )
            )
    return cases


async def _once(client: httpx.AsyncClient, request: GoldenRequest, url: str) -> tuple[str, str]:
    """What was wrong, empty when nothing was, and the answer's text."""
    try:
        with anyio.fail_after(REQUEST_TIMEOUT_SECONDS):
            async with client.stream(request.method, url + request.path, headers=dict(request.headers), json=request.json) as response:
                body = await _read(response)
                text = body.decode("utf-8", "replace")
                if response.status_code != request.expect_status:
                    return f"answered {response.status_code} instead of {request.expect_status}", text
                return (_compared(request.expect_json, body), text) if request.expect_json is not None else ("", text)
    except (TimeoutError, httpx.TimeoutException):
        return f"was not answered within {REQUEST_TIMEOUT_SECONDS:g} s", ""
    except Exception as error:  # noqa: BLE001 (the answer is a stranger's; whatever it breaks is this version's failure)
        return f"failed: {str(error) or type(error).__name__}", ""


def _compared(expected: object, body: bytes) -> str:
    if len(body) >= BODY_BYTES_MAX:
        return f"the answer has more than {BODY_BYTES_MAX} bytes"
    try:
        return mismatch(expected, json.loads(body))
    except (ValueError, RecursionError):
        return "the answer is no JSON"


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) >= BODY_BYTES_MAX:
            break
    return bytes(body[:BODY_BYTES_MAX])
