"""Instances that read a file (L1): the file is replaced, then they are told to read it, by a signal or a request. `direct` calls it.

Nothing is known of what they made of it: the file and, for a request, its status are all there is.
"""

from typing import Final

import httpx

from agent_servicing.adapters.config.outcome import Outcome, failed
from agent_servicing.adapters.config.rendering import digest_of
from agent_servicing.ports import ConfigTarget, ConfiguresInstances

SIGNAL: Final = "signal:"
HTTP: Final = "http:"


class Files:
    def __init__(self, *, runtime: ConfiguresInstances, client: httpx.AsyncClient) -> None:
        self._runtime, self._client = runtime, client

    async def write(self, target: ConfigTarget, text: str) -> None:
        """Raises `TemporaryError` (a full disk) and leaves the old file then."""
        agent, instance = target.agent, target.process.instance
        if await self._runtime.read_config(agent, instance) != text:
            await self._runtime.write_config(agent, instance, text)

    async def reload(self, target: ConfigTarget) -> Outcome:
        """Also after a file that was there already: a server may have died between writing it and this."""
        reload = target.manifest.config.reload
        if reload.startswith(SIGNAL):
            await self._runtime.signal(target.agent, target.process.instance, reload.removeprefix(SIGNAL))
            return Outcome(result="applied")
        return await self._post(target, reload.removeprefix(HTTP))

    async def digest(self, target: ConfigTarget) -> str | None:
        """Of what stands in the file now; None when there is none."""
        text = await self._runtime.read_config(target.agent, target.process.instance)
        return digest_of(text) if text is not None else None

    async def _post(self, target: ConfigTarget, path: str) -> Outcome:
        process, asked = target.process, f"POST {path}"
        url = httpx.URL(scheme="http", host=process.host, port=process.port, raw_path=path.encode())
        try:
            async with self._client.stream("POST", url) as response:
                if response.is_success:
                    return Outcome(result="applied")
                note = " (redirects are not followed)" if response.is_redirect else ""
                return failed(f"{asked} answered {response.status_code}{note}")
        except (httpx.ConnectError, OSError):
            return failed(f"nothing answers on port {process.port}")
        except httpx.HTTPError as error:
            return failed(f"{asked} failed: {str(error) or type(error).__name__}")
