"""One request to a running instance under `/.well-known/servicing/`, with its own token. Used by the configuration channel and the state hooks."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import anyio
import httpx

from agent_servicing.core.model import Process
from agent_servicing.ports import ConfiguresInstances

BASE: Final = "/.well-known/servicing/"

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Longest answer that is read; fifty long reasons fit into it."""


class InstanceHttp:
    """`client` sets the time limits."""

    def __init__(self, *, runtime: ConfiguresInstances, client: httpx.AsyncClient) -> None:
        self._runtime, self._client = runtime, client

    async def request(self, agent: str, process: Process, method: str, name: str, content: bytes | None = None) -> tuple[int, bytes | None]:
        """Status and body; the body is None when it is longer than what is read. Raises `httpx.HTTPError`, `OSError`."""
        async with self._stream(method, process, name, content, await self._headers(agent, process)) as response:
            answer = b""
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    return response.status_code, None
            return response.status_code, answer

    async def download(self, agent: str, process: Process, name: str, target: Path, *, most: int) -> int:
        """The answer's body into a file, when its status, which is returned, is 200. Raises `httpx.HTTPError`, `OSError`."""
        async with self._stream("GET", process, name, None, await self._headers(agent, process)) as response:
            if response.status_code != 200:
                return response.status_code
            size = 0
            async with await anyio.open_file(target, "wb") as file:
                async for piece in response.aiter_raw():
                    size += len(piece)
                    if size > most:
                        raise httpx.ReadError(f"the answer is longer than {most} bytes")
                    await file.write(piece)
            return response.status_code

    async def _headers(self, agent: str, process: Process) -> dict[str, str]:
        token = await self._runtime.token(agent, process.instance)
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Encoding": "identity"}

    def _stream(
        self, method: str, process: Process, name: str, content: bytes | None, headers: dict[str, str]
    ) -> AbstractAsyncContextManager[httpx.Response]:
        url = httpx.URL(scheme="http", host=process.host, port=process.port, path=BASE + name)
        return self._client.stream(method, url, content=content, headers=headers)
