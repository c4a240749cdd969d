"""Parts of a processor for instances, by the kernel's control groups (version 1 or 2). `Limiter` asks; the kernel keeps it, also without us.

Groups of ours lie directly below a group in which we may make some: the server's own, or the one above when the server was put into a
subgroup of a unit that is delegated to it (systemd's `Delegate=` with `DelegateSubgroup=`). Their names tell the data directory.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from agent_servicing.adapters.runtime.files import sentence
from agent_servicing.core.errors import PermanentError, TemporaryError

PERIOD_US: Final = 100_000
"""The kernel's default: a group at its limit waits for at most a tenth of a second at a time."""

UNITS: Final = (".service", ".scope", ".slice")
"""Groups that systemd made for itself; what lies above one is not ours to make groups in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroups:
    """Groups below `parent`, one for each limited instance of one data directory."""

    parent: Path
    version: Literal[1, 2]
    prefix: str

    def limit(self, name: str, cpu: float | None) -> None:
        """Make the group and set how many processors its processes may use together; None: as many as there are.

        Raises `PermanentError` when the groups around it do not allow so much, `TemporaryError` for the rest.
        """
        quota = None if cpu is None else round(cpu * PERIOD_US)
        group = self._group(name)
        try:
            if quota is None and not group.is_dir():
                return
            group.mkdir(exist_ok=True)
            if self.version == 2:
                _write(group / "cpu.max", f"{quota or 'max'} {PERIOD_US}")
            else:
                _write(group / "cpu.cfs_period_us", str(PERIOD_US))
                _write(group / "cpu.cfs_quota_us", str(quota or -1))
        except OSError as error:
            message = (
                f"{name} cannot be limited to {cpu:g} processors: {sentence(error)}"
                if cpu
                else f"{name} cannot be freed: {sentence(error)}"
            )
            raise (PermanentError if error.errno == errno.EINVAL else TemporaryError)(message) from error

    def join(self, name: str, pids: Iterable[int]) -> None:
        """Put these into the group; children that they start later are in it by themselves. Raises `TemporaryError`."""
        for pid in pids:
            try:
                _write(self._group(name) / "cgroup.procs", str(pid))
            except ProcessLookupError:  # ended meanwhile
                continue
            except OSError as error:
                raise TemporaryError(f"process {pid} of {name} cannot be put into its control group: {sentence(error)}") from error

    def read(self, name: str, pid: int) -> float | None:
        """Processors that this process of the instance may use by our group; None: no limit, or it is not in the group."""
        group = self._group(name)
        try:
            if str(pid) not in (group / "cgroup.procs").read_text().split():
                return None
            if self.version == 2:
                quota, period = (group / "cpu.max").read_text().split()
            else:
                quota, period = (group / "cpu.cfs_quota_us").read_text(), (group / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
        return None if quota.strip() in ("max", "-1") else round(int(quota) / int(period), 3)

    def remove(self, name: str) -> None:
        """The group of an instance that has ended; one that still has a process stays until the next start of the server."""
        with suppress(OSError):
            self._group(name).rmdir()

    def sweep(self) -> None:
        """Remove whichever groups of this data directory have nobody in them."""
        for group in self.parent.glob(f"{self.prefix}*"):
            with suppress(OSError):  # the kernel refuses where somebody is
                group.rmdir()

    def _group(self, name: str) -> Path:
        return self.parent / f"{self.prefix}{name.replace('/', '.')}"


def find(data_dir: Path, *, proc: Path = Path("/proc")) -> ControlGroups | str:
    """Where groups with a part of the processors can be made; else why not, in words for `servicing doctor`."""
    prefix = prefix_of(data_dir)
    why = "this machine has no control groups for processors"
    for parent, version in _candidates(proc):
        groups = ControlGroups(parent=parent, version=version, prefix=prefix)
        try:
            _try(groups)
        except (OSError, PermanentError, TemporaryError) as error:
            why = f"no control groups can be made in {parent}: {sentence(error) if isinstance(error, OSError) else error}"
        else:
            return groups
    return why


def prefix_of(data_dir: Path) -> str:
    """How the names of a data directory's groups begin: two servers on one machine do not clear each other's away."""
    return f"servicing-{sha256(str(data_dir).encode()).hexdigest()[:8]}-"


def _try(groups: ControlGroups) -> None:
    """Nothing but trying tells whether it works."""
    if groups.version == 2 and "cpu" not in (groups.parent / "cgroup.subtree_control").read_text().split():
        _write(groups.parent / "cgroup.subtree_control", "+cpu")
    try:
        groups.limit("probe", 0.5)
    finally:
        groups.remove("probe")


def _candidates(proc: Path) -> Iterator[tuple[Path, Literal[1, 2]]]:
    own = _own_groups(proc)
    for line in _lines(proc / "self/mounts"):
        _, mount, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in own:
            yield _below(Path(mount), own["cpu"]), 1
        elif kind == "cgroup2" and "" in own:
            group = _below(Path(mount), own[""])
            yield group, 2
            if group != Path(mount) and not group.name.endswith(UNITS):
                yield group.parent, 2


def _own_groups(proc: Path) -> dict[str, str]:
    """The server's own group by controller, "" for version 2."""
    found = {}
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(mount: Path, path: str) -> Path:
    """In a container the mount may begin at a group further down than the path tells."""
    group = mount / path.strip("/")
    return group if group.is_dir() else mount


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _write(path: Path, text: str) -> None:
    """Never creates the file: a folder that is no control group is an error."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
