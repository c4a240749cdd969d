"""What an agent's own code can do with its state: convert it, take records in. `epochs` calls it; one that cannot says why."""

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError

from agent_servicing.adapters.instance_http import BASE, InstanceHttp
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.ports import ConfiguresInstances

CONVERSION_SECONDS: Final = 600.0
EXPORT_SECONDS: Final = 600.0
EXPORT_BYTES_MAX: Final = 4 * 1024**3
TAKE_IN_SECONDS: Final = 60.0
"""For one batch."""

BATCH_RECORDS: Final = 100
"""As many refusals as an answer explains, so that it is known which of them were taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Numbers are None where the agent does not say any."""

    converted: int | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    line: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn:
    """Lines count from 1."""

    imported: int
    refused: tuple[Refused, ...] = ()
    refused_count: int = 0


T = TypeVar("T")

_CONVERTED: Final = TypeAdapter(Converted)
_TAKEN_IN: Final = TypeAdapter(TakenIn)


class StateHooks:
    """Speaks to instances that answer requests (L2, L3), as an async context manager."""

    def __init__(self, *, runtime: ConfiguresInstances) -> None:
        self._runtime, self._stack = runtime, AsyncExitStack()

    async def __aenter__(self) -> Self:
        client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=httpx.Timeout(10.0, read=CONVERSION_SECONDS))
        self._http = InstanceHttp(runtime=self._runtime, client=await self._stack.enter_async_context(client))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def convert(self, manifest: Manifest, processes: Sequence[Process], schema: int) -> Converted:
        """Every instance is told, as each may write: from then on in that schema. Raises `PermanentError` naming who did not."""
        if manifest.config.reload != "sdk":
            raise PermanentError('it answers no requests of ours (its config.reload is not "sdk")')
        whole = Converted()
        for process in processes:
            body = json.dumps({"to": schema}).encode()
            answer = await self._ask(manifest.agent, process, "state/migrate", body, CONVERSION_SECONDS)
            said = _understood(_CONVERTED, answer)
            whole = Converted(converted=_sum(whole.converted, said.converted), failed=_sum(whole.failed, said.failed))
        return whole

    async def export(self, agent: str, process: Process, target: Path) -> None:
        """Everything that the agent remembers, as it tells it, into a file. Raises `PermanentError`, `OSError`."""
        asked = f"GET {BASE}state/export of {process.instance}"
        try:
            with anyio.fail_after(EXPORT_SECONDS):
                status = await self._http.download(agent, process, "state/export", target, most=EXPORT_BYTES_MAX)
        except TimeoutError as error:
            raise PermanentError(f"{asked} did not end within {EXPORT_SECONDS:g} s") from error
        except httpx.HTTPError as error:
            raise PermanentError(f"{asked} failed: {str(error) or type(error).__name__}") from error
        if status != 200:
            raise PermanentError(f"{asked} answered {status}")

    async def take_in(self, agent: str, process: Process, lines: Sequence[bytes]) -> TakenIn:
        """Offer records, at most `BATCH_RECORDS`, to an instance that answers requests. Raises `PermanentError` when it takes none in."""
        answer = await self._ask(agent, process, "state/import", b"\n".join(lines), TAKE_IN_SECONDS)
        return _understood(_TAKEN_IN, answer)

    async def _ask(self, agent: str, process: Process, name: str, body: bytes, seconds: float) -> bytes:
        asked = f"POST {BASE}{name} of {process.instance}"
        try:
            with anyio.fail_after(seconds):
                status, answer = await self._http.request(agent, process, "POST", name, body)
        except TimeoutError as error:
            raise PermanentError(f"{asked} got no answer within {seconds:g} s") from error
        except (httpx.HTTPError, OSError) as error:
            raise PermanentError(f"{asked} failed: {str(error) or type(error).__name__}") from error
        if status != 200 or answer is None:
            raise PermanentError(f"{asked} answered {status}{_reason(answer)}")
        return answer


def _understood(adapter: TypeAdapter[T], answer: bytes) -> T:
    try:
        return adapter.validate_json(answer)
    except ValidationError as error:
        raise PermanentError("its answer is not in the form of the contract") from error


def _reason(answer: bytes | None) -> str:
    try:
        errors = json.loads(answer or b"{}")["errors"]
        return f": {str(errors[0]['message'])[:300]}"
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def _sum(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else a + b
