"""Installed versions: fetches a version's files, runs its install step, and deletes what nobody needs. `ProcessRuntime` is its only caller.

A virtual environment holds absolute paths and cannot be moved, so a release is installed where it will stay; the marker written last says
that it is whole. Whatever has no marker is deleted and made anew.
"""

import json
import os
import shutil
import signal
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from agent_servicing.adapters.runtime.environment import base_environment, fill, resolve
from agent_servicing.adapters.runtime.files import last_lines, sentence, storage_error, write_atomically
from agent_servicing.adapters.runtime.folders import DELETED, MARKER, Folders
from agent_servicing.adapters.runtime.procfs import Life, Stray, life_of
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import Preparation, Release
from agent_servicing.core.status import PreparationStatus
from agent_servicing.ports import Clock, Ids, VersionSource

INSTALL_TAIL_LINES = 20
"""Lines of the install log shown when it failed."""

KILLED_WAIT_SECONDS = 5.0
KILLED_POLL_SECONDS = 0.02

Key = tuple[str, str]


class Releases:
    """The release folders of one data directory. Installations run in `tasks`, one per version at a time."""

    def __init__(
        self,
        *,
        folders: Folders,
        sources: Mapping[str, VersionSource],
        clock: Clock,
        ids: Ids,
        outer: Mapping[str, str],
        timeout_seconds: float,
        tasks: TaskGroup,
    ) -> None:
        self._folders = folders
        self._sources = sources
        self._clock = clock
        self._ids = ids
        self._outer = outer
        self._timeout_seconds = timeout_seconds
        self._tasks = tasks
        self._installing: set[Key] = set()
        self._failed: dict[Key, Preparation] = {}
        self._log = structlog.get_logger(__name__)

    async def clean_up(self, installers: Iterable[Stray]) -> None:
        """Once, at start-up: end installations that an earlier server began, and delete what it was deleting."""
        installers = list(installers)
        for installer in installers:
            with suppress(ProcessLookupError):
                os.killpg(installer.identity.pid, signal.SIGKILL)
        with anyio.move_on_after(KILLED_WAIT_SECONDS):
            while any(life_of(installer.identity) is Life.ALIVE for installer in installers):
                await self._clock.sleep(KILLED_POLL_SECONDS)
        for folder in self._folders.agents.glob(f"*/releases/{DELETED}*"):
            self._tasks.start_soon(self._delete, folder)

    def is_installed(self, agent: str, version: str) -> bool:
        return (self._folders.release(agent, version) / MARKER).exists()

    def preparation(self, agent: str, version: str) -> Preparation:
        key = (agent, version)
        if key in self._installing:
            return Preparation(status=PreparationStatus.INSTALLING)
        if self.is_installed(agent, version):
            return Preparation(status=PreparationStatus.READY)
        return self._failed.get(key, Preparation(status=PreparationStatus.ABSENT))

    def prepare(self, release: Release, *, again: bool) -> None:
        """Begin to install unless it is installed, under way, or failed before (`again` tries once more)."""
        key = (release.agent, release.version)
        status = self.preparation(*key).status
        if status is PreparationStatus.ABSENT or (again and status is PreparationStatus.FAILED):
            self._failed.pop(key, None)
            self._installing.add(key)
            self._tasks.start_soon(self._prepare, release)

    async def collect(self, agent: str, *, keep: Collection[str]) -> list[str]:
        """Delete the agent's releases that are neither in `keep` nor being installed; they are out of the way when this returns."""
        busy = {version for owner, version in self._installing if owner == agent}
        try:
            gone = await to_thread.run_sync(self._put_aside, agent, set(keep) | busy)
        except OSError as error:
            raise storage_error(f"delete old versions of {agent}", error) from error
        for version, folder in gone.items():
            self._failed.pop((agent, version), None)
            self._tasks.start_soon(self._delete, folder)
        return sorted(gone)

    # --- installing ----------------------------------------------------------------------------------------------------------------

    async def _prepare(self, release: Release) -> None:
        key = (release.agent, release.version)
        started = self._clock.monotonic()
        try:
            with anyio.fail_after(self._timeout_seconds):
                await self._install(release)
        except Exception as error:  # noqa: BLE001 (a third party's source must not end the server; the error is shown to the operator)
            detail = self._explain(release, error)
            self._failed[key] = Preparation(status=PreparationStatus.FAILED, detail=detail, at=self._clock.now())
            self._log.warning("install_failed", agent=release.agent, version=release.version, reason=str(error) or repr(error))
        else:
            seconds = round(self._clock.monotonic() - started, 3)
            self._log.info("installed", agent=release.agent, version=release.version, duration_seconds=seconds)
        finally:
            self._installing.discard(key)

    def _explain(self, release: Release, error: Exception) -> str:
        match error:
            case TemporaryError() | PermanentError():
                return str(error)
            case TimeoutError():
                what = f"installing took longer than {self._timeout_seconds:g} s and was ended"
            case OSError():
                what = f"cannot install: {sentence(error)}"
            case _:
                what = f"cannot install: {type(error).__name__}: {error}"
        return "\n".join([what, *last_lines(self._folders.install_log(release.agent, release.version), INSTALL_TAIL_LINES)])

    async def _install(self, release: Release) -> None:
        manifest = release.manifest
        source = self._sources.get(manifest.source.kind)
        if source is None:
            known = ", ".join(sorted(self._sources)) or "none"
            raise PermanentError(f"versions of kind {manifest.source.kind!r} cannot be installed here; installed sources: {known}")
        folder = self._folders.release(release.agent, release.version)
        log = self._folders.install_log(release.agent, release.version)
        await to_thread.run_sync(_empty, folder, log)
        await source.fetch(manifest, release.version, release.ref, folder)
        command: Sequence[str] | None = manifest.run.install
        if command is None:
            command = source.install_command(manifest, release.version, folder)
        if command:
            await self._run(release, command, folder, log)
        marker = {"agent": release.agent, "version": release.version, "ref": release.ref, "installed_at": self._clock.now().isoformat()}
        await to_thread.run_sync(partial(write_atomically, folder / MARKER, json.dumps(marker) + "\n"))

    async def _run(self, release: Release, command: Sequence[str], folder: Path, log: Path) -> None:
        """The install step, in a process group of its own that ends with it. Raises `PermanentError` with its last lines."""
        environment = base_environment(self._outer, folder)
        environment["SERVICING_INSTALL_ID"] = f"{release.agent}/{release.version}"
        environment["SERVICING_DATA_DIR"] = str(self._folders.data_dir)
        values = {"release": str(folder), "version": release.version, "agent": release.agent}
        arguments = resolve([fill(part, values) for part in command], path=environment["PATH"], folder=folder)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"$ {' '.join(command)}\n".encode())
            exit_code = await _wait_for(arguments, environment, folder, descriptor)
            os.write(descriptor, f"exit code {exit_code}\n".encode())
        finally:
            os.close(descriptor)
        if exit_code:
            tail = last_lines(log, INSTALL_TAIL_LINES)
            raise PermanentError("\n".join([f"the install step failed: {' '.join(command)}", *tail]))

    # --- deleting ------------------------------------------------------------------------------------------------------------------

    def _put_aside(self, agent: str, keep: Collection[str]) -> dict[str, Path]:
        """Renames first: at once, and a half-deleted release can never pass for a whole one."""
        gone = {}
        folder = self._folders.releases(agent)
        for release in sorted(folder.iterdir()) if folder.exists() else ():
            if release.is_dir() and release.name not in keep and not release.name.startswith(DELETED):
                gone[release.name] = release.rename(folder / self._ids.new(DELETED.rstrip("-")))
                self._folders.install_log(agent, release.name).unlink(missing_ok=True)
        return gone

    async def _delete(self, folder: Path) -> None:
        try:
            await to_thread.run_sync(shutil.rmtree, folder)
        except OSError as error:  # tried again at the next start
            self._log.warning("release_not_deleted", folder=str(folder), reason=sentence(error))


def _empty(folder: Path, log: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log.unlink(missing_ok=True)


async def _wait_for(arguments: Sequence[str], environment: Mapping[str, str], folder: Path, output: int) -> int:
    process = await anyio.open_process(
        arguments, cwd=folder, env=environment, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
