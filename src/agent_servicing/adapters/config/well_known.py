"""Instances that answer under `/.well-known/servicing/` (L2): one request per question, one answer. `direct` calls it and sets the time limit."""

import json
from dataclasses import dataclass
from typing import Final, Literal

import httpx
from pydantic import TypeAdapter, ValidationError

from agent_servicing.adapters.config.outcome import Outcome, failed
from agent_servicing.adapters.config.rendering import Rendered
from agent_servicing.adapters.config.reports import ANOTHER
from agent_servicing.adapters.instance_http import ANSWER_BYTES_MAX, BASE, InstanceHttp
from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.report import Problem
from agent_servicing.core.config.said import PendingKey, Said
from agent_servicing.core.model import Process
from agent_servicing.ports import ConfigTarget, ConfiguresInstances

Phase = Literal["prepare", "commit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    hash: str = ""
    pending: tuple[PendingKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    errors: tuple[Problem, ...] = ()


_ACCEPTED: Final = TypeAdapter(_Accepted)
_REFUSED: Final = TypeAdapter(_Refused)
_SAID: Final = TypeAdapter(Said)


class WellKnown:
    def __init__(self, *, runtime: ConfiguresInstances, client: httpx.AsyncClient) -> None:
        self._http = InstanceHttp(runtime=runtime, client=client)

    async def ask(self, target: ConfigTarget, phase: Phase, rendered: Rendered, *, deadline_seconds: float) -> Outcome:
        """Its answer, whatever it is, as an outcome; problems may still hold secrets. Waits as long as the caller lets it."""
        document = target.document
        body = {
            "revision": document.revision,
            "hash": rendered.digest,
            "document": rendered.text,
            "values": json.loads(rendered.text),
            "apply": dict(document.apply),
            "runtime": dict(document.runtime),
            "deadline_seconds": deadline_seconds,
        }
        content = json.dumps(body, ensure_ascii=False).encode()
        asked = f"POST {BASE}config/{phase}"
        try:
            status, answer = await self._http.request(target.agent, target.process, "POST", f"config/{phase}", content)
        except (httpx.ConnectError, OSError):
            return failed(f"nothing answers on port {target.process.port}")
        except httpx.HTTPError as error:
            return failed(f"{asked} failed: {str(error) or type(error).__name__}")
        return _outcome(phase, rendered, asked, status, answer)

    async def drain(self, agent: str, process: Process, goodbye: Goodbye | None) -> str:
        """Tell it by when its streams are to end, or that it serves on. What is wrong with its answer, empty when nothing is."""
        method = "DELETE" if goodbye is None else "POST"
        content = None if goodbye is None else json.dumps({"deadline_seconds": goodbye.seconds, "reason": goodbye.reason}).encode()
        try:
            status, _ = await self._http.request(agent, process, method, "drain", content)
        except (httpx.HTTPError, OSError) as error:
            return str(error) or type(error).__name__
        return "" if status in (200, 202, 204) else f"{method} {BASE}drain answered {status}"

    async def info(self, target: ConfigTarget) -> Said | None:
        """What it says of itself; None when it says nothing that can be understood."""
        try:
            status, answer = await self._http.request(target.agent, target.process, "GET", "info")
            return _SAID.validate_json(answer or b"") if status == 200 else None
        except (httpx.HTTPError, OSError, ValidationError):
            return None


def _outcome(phase: Phase, rendered: Rendered, asked: str, status: int, answer: bytes | None) -> Outcome:
    if answer is None:
        return failed(f"{asked} answered with more than {ANSWER_BYTES_MAX} bytes")
    try:
        if status == 200:
            accepted = _ACCEPTED.validate_json(answer)
            if accepted.hash != rendered.digest:
                return Outcome(result="failed", problems=(ANOTHER,))
            pending = {one.path: one.scope for one in accepted.pending}
            return Outcome(result="prepared" if phase == "prepare" else "applied", pending=pending)
        if status in (422, 500):
            problems = _REFUSED.validate_json(answer).errors
            return Outcome(
                result="rejected" if status == 422 else "failed", problems=problems or failed(f"{asked} answered {status}").problems
            )
    except ValidationError:
        return failed(f"{asked} answered {status} with something that is not in the form of the contract")
    return failed(f"{asked} answered {status}")
