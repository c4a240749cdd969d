"""The default runtime: versions as folders, instances as detached processes of this machine. The engine drives it through `ports.Runtime`.

Instances have sessions of their own and write to files, so they outlive the server however it ends; the next server on the same data
directory finds them again by pid, start tick and boot. `resources` of the manifest are not enforced here, those of the configuration are.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self
from zlib import crc32

import anyio
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime import cgroups, procfs
from agent_servicing.adapters.runtime.files import sentence, storage_error
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.runtime.instances import Instances
from agent_servicing.adapters.runtime.limits import Limiter
from agent_servicing.adapters.runtime.logs import read_logs, rotate
from agent_servicing.adapters.runtime.ports import PortPicker
from agent_servicing.adapters.runtime.releases import Releases
from agent_servicing.adapters.runtime.spawn import Spawner
from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.model import Preparation, Process, Release
from agent_servicing.core.resources import Resources
from agent_servicing.ports import Clock, Ids, VersionSource
from agent_servicing.settings import Settings

HOST = "127.0.0.1"
"""Instances listen here: only the data plane speaks to them."""

ROTATION_INTERVAL_SECONDS = 5.0
"""How often logs are measured. An agent that writes 100 MB/s overshoots its limit by half a gigabyte, which rotation then takes away."""

BYTES_PER_MB = 1024 * 1024


class ProcessRuntime:
    """`Runtime` on this machine, as an async context manager that owns installations and log rotation.

    `sources` maps a manifest's source kind to its driver. `server_url` and `router_url` are told to instances. Leaving the context ends
    installations under way, never instances. `folders`: where everything is, when it is not simply below the data directory.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        sources: Mapping[str, VersionSource],
        clock: Clock,
        ids: Ids,
        server_url: str = "",
        router_url: str = "",
        environ: Mapping[str, str] = os.environ,
        folders: Folders | None = None,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._clock = clock
        self._ids = ids
        self._environ = dict(environ)
        self._folders = folders or Folders(data_dir=settings.data_dir.resolve())
        self._held: dict[tuple[str, str], frozenset[str]] = {}
        # Two servers on one machine, and one server after its restart, begin their walk through the ports at different places.
        seed = crc32(str(self._folders.data_dir).encode()) + int(clock.now().timestamp()) * 7
        groups = cgroups.find(self._folders.data_dir)
        self._limiter = Limiter(groups if isinstance(groups, cgroups.ControlGroups) else None)
        self._instances = Instances(
            limiter=self._limiter,
            spawner=Spawner(folders=self._folders, outer=self._environ, server_url=server_url, router_url=router_url),
            ports=PortPicker(host=HOST, seed=seed),
            clock=clock,
            ids=ids,
            host=HOST,
        )
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._releases = Releases(
            folders=self._folders,
            sources=self._sources,
            clock=self._clock,
            ids=self._ids,
            outer=self._environ,
            timeout_seconds=self._settings.install_timeout_seconds,
            tasks=self._tasks,
        )
        try:
            await self._take_over()
        except BaseException:
            await self._close()
            raise
        self._tasks.start_soon(self._rotate_for_ever)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def _close(self) -> None:
        """Without telling the task group of an error under way, which it would wrap into a group and hide from whoever handles it."""
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def prepare(self, release: Release, *, again: bool = False) -> None:
        self._releases.prepare(release, again=again)

    async def preparation(self, agent: str, version: str) -> Preparation:
        return self._releases.preparation(agent, version)

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        if not self._releases.is_installed(release.agent, release.version):
            raise TemporaryError(f"version {release.version} of {release.agent} is not installed")
        await self._instances.start(release, instance=instance, generation=generation, config=config, revision=revision, epoch=epoch)

    async def stop(self, agent: str, instance: str, *, kill: bool = False) -> None:
        await self._instances.stop(agent, instance, kill=kill)

    async def observe(self, agent: str) -> Mapping[str, Process]:
        return await self._instances.observe(agent)

    async def living(self) -> Mapping[str, Mapping[str, int | None]]:
        return await self._instances.living()

    async def forget(self, agent: str, instance: str) -> None:
        await self._instances.forget(agent, instance)

    async def logs(self, agent: str, instance: str | None = None, *, lines: int = 200) -> Sequence[tuple[str, str]]:
        read = partial(read_logs, self._folders, agent, instance, self._instances.recorded(agent), lines)
        try:
            return await to_thread.run_sync(read)
        except OSError as error:
            raise storage_error(f"read the logs of {agent}", error) from error

    async def collect(self, agent: str, *, keep: Collection[str]) -> Sequence[str]:
        used = {record.version for record in self._instances.alive() if record.agent == agent}
        held = [versions for (owner, _), versions in self._held.items() if owner == agent]
        return await self._releases.collect(agent, keep=used.union(keep, *held))

    async def hold(self, agent: str, versions: Collection[str], *, by: str) -> None:
        """Implements `HoldsReleases`."""
        if versions:
            self._held[agent, by] = frozenset(versions)
        else:
            self._held.pop((agent, by), None)

    async def holder(self, token: str) -> tuple[str, Process] | None:
        """Implements `InstanceTokens`."""
        return self._instances.holder(token)

    @property
    def limitable(self) -> frozenset[str]:
        """Implements `LimitsInstances`, as the next one."""
        return self._limiter.limitable

    async def limit(self, agent: str, instance: str, resources: Resources) -> None:
        await self._instances.limit(agent, instance, resources)

    async def write_config(self, agent: str, instance: str, text: str) -> None:
        """Implements `ConfiguresInstances`, as the next three."""
        await self._instances.write_config(agent, instance, text)

    async def read_config(self, agent: str, instance: str) -> str | None:
        return await self._instances.read_config(agent, instance)

    async def signal(self, agent: str, instance: str, name: str) -> None:
        self._instances.signal(agent, instance, name)

    async def token(self, agent: str, instance: str) -> str | None:
        return self._instances.token(agent, instance)

    async def stop_everything(self) -> Sequence[str]:
        """End every instance of this data directory (SIGTERM, grace, SIGKILL); returns them as `agent/instance`."""
        return await self._instances.stop_everything(self._settings.stop_grace_seconds)

    async def _take_over(self) -> None:
        """What an earlier server on this data directory left: its records, instances it had not recorded yet, installations under way."""
        try:
            await to_thread.run_sync(partial(self._folders.agents.mkdir, parents=True, exist_ok=True))
        except OSError as error:
            raise storage_error("use the data directory", error) from error
        mark = f"SERVICING_DATA_DIR={self._folders.data_dir}"
        strays = await to_thread.run_sync(lambda: list(procfs.strays(mark)))
        await to_thread.run_sync(self._instances.load, [stray for stray in strays if "SERVICING_INSTANCE_ID" in stray.environ])
        await self._releases.clean_up(stray for stray in strays if "SERVICING_INSTALL_ID" in stray.environ)

    async def _rotate_for_ever(self) -> None:
        while True:
            await self._clock.sleep(ROTATION_INTERVAL_SECONDS)
            await self.rotate_logs()

    async def rotate_logs(self) -> None:
        """One round over the logs of all running instances; trouble with one is logged and does not hold up the others."""
        for record in self._instances.alive():
            path = self._folders.output(record.agent, record.instance)
            turn = partial(rotate, path, max_bytes=self._settings.log_max_mb * BYTES_PER_MB, keep=self._settings.log_files)
            try:
                if await to_thread.run_sync(turn):
                    self._log.info("log_rotated", agent=record.agent, instance=record.instance)
            except OSError as error:
                self._log.warning("log_not_rotated", agent=record.agent, instance=record.instance, reason=sentence(error))
