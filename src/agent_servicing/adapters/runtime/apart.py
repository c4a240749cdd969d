"""The runtime of staging: instances of their own below `DATA_DIR/staging`, from versions that the live runtime has installed.

The reconciler of staging runs drives it through `ports.Runtime`. Nothing here is worth keeping: what an earlier server left is ended and
deleted on entering, and what is there on leaving, too. The live runtime and the data plane know nothing of these instances.
"""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.core.model import Preparation, Process, Release
from agent_servicing.core.resources import Resources
from agent_servicing.ports import Clock, Ids, Runtime
from agent_servicing.ports.abilities import HoldsReleases
from agent_servicing.settings import Settings

FOLDER = "staging"
MARK = "SERVICING_STAGING"
"""In the environment of every staging instance: an agent that sends mail or moves money can look at it."""


def staging_folders(data_dir: Path) -> Folders:
    """Where staging instances live: everything of their own but the installed versions."""
    data_dir = data_dir.resolve()
    return Folders(data_dir=data_dir / FOLDER, installed=data_dir)


class ApartRuntime:
    """`Runtime` for staging, as an async context manager. `live` installs; `router_url` is where an agent reaches other, live, agents."""

    def __init__(
        self, *, settings: Settings, live: Runtime, clock: Clock, ids: Ids, router_url: str = "", environ: Mapping[str, str] = os.environ
    ) -> None:
        self._live = live
        self.folders = staging_folders(settings.data_dir)
        # Without a server to connect to: these are not the instances that a configuration patch is about.
        self._new = partial(
            ProcessRuntime,
            settings=settings.model_copy(update={"data_dir": self.folders.data_dir}),
            sources={},
            clock=clock,
            ids=ids,
            server_url="",
            router_url=router_url,
            environ=environ,
            folders=self.folders,
        )
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        # Found by one that is closed again: what was found is not to be remembered as started.
        async with self._new() as found:
            await self._clear(found, "left by an earlier server")
        async with AsyncExitStack() as stack:
            self._own = await stack.enter_async_context(self._new())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with anyio.CancelScope(shield=True):
            await self._clear(self._own, "at the end of the server")
        await self._stack.aclose()

    async def prepare(self, release: Release, *, again: bool = False) -> None:
        await self._live.prepare(release, again=again)

    async def preparation(self, agent: str, version: str) -> Preparation:
        return await self._live.preparation(agent, version)

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        run = replace(release.manifest.run, env={**release.manifest.run.env, MARK: "1"})
        marked = replace(release, manifest=replace(release.manifest, run=run))
        await self._own.start(marked, instance=instance, generation=generation, config=config, revision=revision, epoch=epoch)

    async def stop(self, agent: str, instance: str, *, kill: bool = False) -> None:
        await self._own.stop(agent, instance, kill=kill)

    async def observe(self, agent: str) -> Mapping[str, Process]:
        return await self._own.observe(agent)

    async def forget(self, agent: str, instance: str) -> None:
        """Its log goes, too: the report has the end of it."""
        await self._own.forget(agent, instance)
        await to_thread.run_sync(partial(shutil.rmtree, self.folders.instance(agent, instance), ignore_errors=True))

    @property
    def limitable(self) -> frozenset[str]:
        """Implements `LimitsInstances`, as the next one."""
        return self._own.limitable

    async def limit(self, agent: str, instance: str, resources: Resources) -> None:
        await self._own.limit(agent, instance, resources)

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> Sequence[tuple[str, str]]:
        return await self._own.logs(agent, instance, lines=lines)

    async def collect(self, agent: str, *, keep: Collection[str]) -> Sequence[str]:
        return await self._live.collect(agent, keep=keep)

    async def hold(self, agent: str, versions: Collection[str], *, by: str) -> None:
        """Implements `HoldsReleases`, where the live runtime can."""
        if isinstance(self._live, HoldsReleases):
            await self._live.hold(agent, versions, by=by)

    async def _clear(self, own: ProcessRuntime, why: str) -> None:
        ended = await own.stop_everything()
        if ended:
            self._log.info("staging_instances_ended", why=why, instances=len(ended))
        await to_thread.run_sync(partial(shutil.rmtree, self.folders.data_dir, ignore_errors=True))
