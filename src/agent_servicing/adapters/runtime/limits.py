"""What the processes of one instance may use, set and read while they run. `Instances` calls it; the kernel keeps it.

Memory is the kernel's limit of writable private memory (RLIMIT_DATA) of each process. Not that of the address space (RLIMIT_AS): programs
reserve far more of that than they ever use, Go, Java and Node by gigabytes. Only the soft limit is set, so that it can be raised again
without privileges; processes started later inherit it. A process at its limit gets no more memory and is not killed.

Processors are limited for all processes of an instance together, by a control group, where the server may make some.
"""

import resource
from collections.abc import Iterable
from typing import Final

from agent_servicing.adapters.runtime import procfs
from agent_servicing.adapters.runtime.cgroups import ControlGroups
from agent_servicing.adapters.runtime.records import Record
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.resources import UNLIMITED, Resources

BYTES_PER_MB: Final = 1024 * 1024

HAS_PRLIMIT: Final = hasattr(resource, "prlimit")
"""Linux; elsewhere nothing can be changed of running processes."""

LIMIT_ROUNDS: Final = 5
"""How often an instance's processes are looked for; the first round reaches the leader, from which all later ones inherit."""


class Limiter:
    """Limits of running instances on this machine. `groups` None: processors cannot be limited."""

    def __init__(self, groups: ControlGroups | None) -> None:
        self._groups = groups if HAS_PRLIMIT else None

    @property
    def limitable(self) -> frozenset[str]:
        """Names of `Resources`."""
        return frozenset({"memory_mb"} if HAS_PRLIMIT else ()) | ({"cpu"} if self._groups else frozenset())

    def read(self, record: Record, pid: int) -> Resources | None:
        """What a running instance may use. UNLIMITED for one that we did not limit; None where nothing can be limited."""
        if not HAS_PRLIMIT or not record.limited:
            return UNLIMITED if HAS_PRLIMIT else None
        cpu = self._groups.read(_name(record), pid) if self._groups else None
        return Resources(memory_mb=_memory_mb(pid), cpu=cpu)

    def apply(self, record: Record, leader: int, resources: Resources) -> None:
        """To every process of the session, until none is found that was not limited yet. Raises `PermanentError`, `TemporaryError`."""
        if self._groups is not None:
            self._groups.limit(_name(record), resources.cpu)
        elif resources.cpu is not None:  # it could before this server was started anew
            raise PermanentError(
                "a part of the processors cannot be given here: there are no control groups for it; `servicing doctor` tells why"
            )
        limited: set[int] = set()
        found = {leader}
        for _ in range(LIMIT_ROUNDS):
            new = sorted(found - limited)
            _limit_memory(new, resources.memory_mb)
            if self._groups is not None and resources.cpu is not None:
                self._groups.join(_name(record), new)
            limited |= found
            found = set(procfs.session_members(leader, f"SERVICING_INSTANCE_ID={record.agent}/{record.instance}"))
            if found <= limited:
                return

    def forget(self, record: Record) -> None:
        """What was made for an instance that has ended."""
        if self._groups is not None:
            self._groups.remove(_name(record))

    def sweep(self) -> None:
        """What was made for instances that ended while no server looked."""
        if self._groups is not None:
            self._groups.sweep()


def _name(record: Record) -> str:
    return f"{record.agent}/{record.instance}"


def _memory_mb(pid: int) -> int | None:
    """A limit as high as it can go is none."""
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    except (ProcessLookupError, PermissionError):
        return None
    return None if soft == hard else soft // BYTES_PER_MB


def _limit_memory(pids: Iterable[int], memory_mb: int | None) -> None:
    """Of each of these; those that have ended meanwhile are passed over."""
    for pid in pids:
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            soft = hard if memory_mb is None else memory_mb * BYTES_PER_MB
            resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))
        except ProcessLookupError:
            continue
        except ValueError as error:
            most = resource.prlimit(pid, resource.RLIMIT_DATA)[1] // BYTES_PER_MB
            raise PermanentError(f"process {pid} may not be given {memory_mb} MB: its hard limit is {most} MB") from error
        except PermissionError as error:
            raise TemporaryError(f"the limits of process {pid} cannot be changed: it runs as another user") from error
