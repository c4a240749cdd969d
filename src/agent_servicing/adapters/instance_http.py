"""One request to a running instance under `/.well-known/servicing/`, with its own token. Used by the configuration channel and the state hooks."""

from typing import Final

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
        token = await self._runtime.token(agent, process.instance)
        url = httpx.URL(scheme="http", host=process.host, port=process.port, path=BASE + name)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Encoding": "identity"}
        async with self._client.stream(method, url, content=content, headers=headers) as response:
            answer = b""
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    return response.status_code, None
            return response.status_code, answer
