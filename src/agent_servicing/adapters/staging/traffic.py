"""Starts the sender of requests (`driver`) for a comparison or a ramp of load, and reads what it measured. `ProcessSuites` is its only caller."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread

from agent_servicing.adapters.runtime.environment import base_environment
from agent_servicing.adapters.verification.asking import HEADER
from agent_servicing.adapters.verification.command import run_guarded
from agent_servicing.adapters.verification.output import Output
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import TestRequest
from agent_servicing.core.staging.compare import PAIRS_MAX, Pairs
from agent_servicing.core.staging.load import ACHIEVED_MIN, ERRORS_MAX
from agent_servicing.core.staging.model import LoadStep
from agent_servicing.ports.staging import Address

DRIVER = "agent_servicing.adapters.staging.driver"
REQUESTS_MAX = 100
"""Requests of the manifest that are sent; further ones are left out, as after a deployment."""

STEP_SECONDS = 2.0
SPARE_SECONDS = 30.0
"""For starting the sender, and for answers that take their whole time."""


async def send_pairs(
    old: Address, new: Address, requests: Sequence[TestRequest], *, scratch: Path, key: str, seed: str, budget_seconds: float
) -> Sequence[Pairs]:
    """Raises `PermanentError` when there is no result."""
    requests = requests[:REQUESTS_MAX]
    job = {"what": "compare", "old": _where(old), "new": _where(new), "pairs": PAIRS_MAX, "seed": seed, "budget_seconds": budget_seconds}
    found = await _driven({**job, **_common(requests, key)}, scratch, budget_seconds + SPARE_SECONDS)
    return [_pairs(request, tally) for request, tally in zip(requests, found, strict=True)]


async def send_load(
    address: Address, requests: Sequence[TestRequest], *, scratch: Path, key: str, rates: Sequence[float]
) -> Sequence[LoadStep]:
    """Raises `PermanentError` when there is no result."""
    limits = {"step_seconds": STEP_SECONDS, "stop_below": ACHIEVED_MIN, "stop_errors": ERRORS_MAX}
    job = {"what": "load", "address": _where(address), "rates": list(rates), **limits, **_common(requests[:REQUESTS_MAX], key)}
    found = await _driven(job, scratch, len(rates) * (STEP_SECONDS + SPARE_SECONDS))
    return [LoadStep(**step) for step in found]


async def _driven(job: Mapping[str, Any], scratch: Path, timeout_seconds: float) -> list[dict[str, Any]]:
    job_file, result_file = scratch / "job.json", scratch / "result.json"
    await to_thread.run_sync(job_file.write_text, json.dumps(job))
    arguments = [sys.executable, "-m", DRIVER, str(job_file), str(result_file)]
    environment = {**base_environment(os.environ, scratch), "SERVICING_STAGING": "1"}
    output = Output()
    exit_code = await run_guarded(arguments, environment, scratch, output, timeout_seconds)
    if exit_code != 0 or not result_file.is_file():
        said = "; ".join(output.lines()[-3:])
        raise PermanentError(f"the requests could not be sent: {said or f'the sender ended with {exit_code}'}")
    found: list[dict[str, Any]] = json.loads(await to_thread.run_sync(result_file.read_text))
    return found


def _common(requests: Sequence[TestRequest], key: str) -> dict[str, Any]:
    asked = [
        {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "json": request.json,
            "expect_status": request.expect_status,
        }
        for request in requests
    ]
    return {"requests": asked, "headers": {HEADER: key, "User-Agent": "agent-servicing-staging"}}


def _pairs(request: TestRequest, tally: Mapping[str, Any]) -> Pairs:
    return Pairs(
        name=f"{request.method} {request.path}",
        pairs=tuple((old, new) for old, new in tally["pairs"]),
        sent=tally["sent"],
        old_errors=tally["errors"][0],
        new_errors=tally["errors"][1],
        problem=tally["problem"],
    )


def _where(address: Address) -> dict[str, Any]:
    return {"host": address.host, "port": address.port, "pid": address.pid}
