"""Where everything of an agent lies below the data directory. Every path of the process runtime is made here, from names that were checked.

agents/<agent>/releases/<version>/               one installed version, immutable once its marker is there
agents/<agent>/releases/<version>.install.log    what installing it printed
agents/<agent>/instances/<instance>/             record, configuration and output of one instance
agents/<agent>/state/                            the agent's own state, shared by all of its versions
agents/<agent>/state@<epoch>/                    the same after a snapshot was put back; the folder before it stays
agents/<agent>/set-aside/                        what was written to a folder that was left
agents/<agent>/snapshots/                        copies of the state
agents/<agent>/config/                           what the agent itself keeps of its configuration, the last good one above all
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import Manifest

AGENT = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}")

MARKER = ".installed"
"""Written as the last step of an installation; a release folder without it is rubbish."""

DELETED = ".deleted-"
"""Prefix of a release folder that is on its way out."""

DEFAULT_STATE = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The layout below `data_dir`, which is absolute. Names that are no safe path part raise `PermanentError`.

    `installed`: another data directory whose installed versions are used; None: those below this one.
    """

    data_dir: Path
    installed: Path | None = None

    @property
    def agents(self) -> Path:
        return self.data_dir / "agents"

    def agent(self, agent: str) -> Path:
        return self.agents / _checked(agent, AGENT, "agent id")

    def releases(self, agent: str) -> Path:
        if self.installed is not None:
            return Folders(data_dir=self.installed).releases(agent)
        return self.agent(agent) / "releases"

    def release(self, agent: str, version: str) -> Path:
        return self.releases(agent) / _checked(version, NAME, "version")

    def install_log(self, agent: str, version: str) -> Path:
        return self.releases(agent) / f"{_checked(version, NAME, 'version')}.install.log"

    def instances(self, agent: str) -> Path:
        return self.agent(agent) / "instances"

    def instance(self, agent: str, instance: str) -> Path:
        return self.instances(agent) / _checked(instance, NAME, "instance")

    def record(self, agent: str, instance: str) -> Path:
        return self.instance(agent, instance) / "instance.json"

    def output(self, agent: str, instance: str) -> Path:
        return self.instance(agent, instance) / "output.log"

    def config(self, agent: str, instance: str, manifest: Manifest) -> Path:
        """The instance's own configuration file. A name from the manifest gets a folder of its own, so that it cannot hit our files."""
        folder = self.instance(agent, instance)
        if manifest.config.file is None:
            return folder / "config.json"
        return folder / "config" / _inside(manifest.config.file, "config.file")

    def config_cache(self, agent: str) -> Path:
        """Shared by all instances of the agent, kept over restarts and versions."""
        return self.agent(agent) / "config"

    def snapshots(self, agent: str) -> Path:
        """Copies of the state: one description each, and the chunks that they share."""
        return self.agent(agent) / "snapshots"

    def snapshot(self, agent: str, snapshot: str) -> Path:
        """The description of one."""
        return self.snapshots(agent) / f"{_checked(snapshot, NAME, 'snapshot')}.json"

    def set_aside(self, agent: str) -> Path:
        """What was found in state folders that a rollback left."""
        return self.agent(agent) / "set-aside"

    def state(self, manifest: Manifest, epoch: int = 0) -> Path:
        """The folder that all versions of the agent share; `epoch` counts how often a snapshot was put back."""
        name = _inside(manifest.state.directory or DEFAULT_STATE, "state.directory")
        if name.parts[0] in {"releases", "instances", "config", "snapshots", "set-aside"}:
            raise PermanentError(f"state.directory must not be {name.parts[0]!r}, which the runtime uses itself")
        folder = self.agent(manifest.agent) / name
        return folder.with_name(f"{folder.name}@{epoch}") if epoch else folder


def _checked(name: str, allowed: re.Pattern[str], what: str) -> str:
    if not allowed.fullmatch(name):
        raise PermanentError(f"{name!r} cannot be used as {what}: it must match {allowed.pattern}")
    return name


def _inside(name: str, key: str) -> PurePosixPath:
    """`name` as a path that cannot leave the folder it is put into."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise PermanentError(f"{key} is {name!r}; allowed is a relative path without '..'")
    return path
