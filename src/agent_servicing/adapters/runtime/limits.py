"""What the processes of one instance may use, set and read while they run. `Instances` calls it; the kernel keeps it.

Memory is the kernel's limit of writable private memory (RLIMIT_DATA) of each process. Not that of the address space (RLIMIT_AS): programs
reserve far more of that than they ever use, Go, Java and Node by gigabytes. Only the soft limit is set, so that it can be raised again
without privileges; processes started later inherit it. A process at its limit gets no more memory and is not killed.
"""

import resource
from collections.abc import Iterable
from typing import Final

from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.resources import UNLIMITED, Resources

BYTES_PER_MB: Final = 1024 * 1024

LIMITABLE: Final = frozenset({"memory_mb"}) if hasattr(resource, "prlimit") else frozenset[str]()
"""What can be changed of running processes here: memory on Linux, nothing elsewhere. A part of a processor takes a cgroup."""


NOTHING_SET: Final = UNLIMITED if LIMITABLE else None
"""What is seen of an instance that we did not limit; None where nothing can be limited."""


def read(pid: int) -> Resources | None:
    """What a process that we limited may use. A limit as high as it can go is none."""
    if not LIMITABLE:
        return None
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    except (ProcessLookupError, PermissionError):
        return UNLIMITED
    return UNLIMITED if soft == hard else Resources(memory_mb=soft // BYTES_PER_MB)


def apply(pids: Iterable[int], resources: Resources) -> None:
    """To each of these; those that have ended meanwhile are passed over. Raises `PermanentError`, `TemporaryError`."""
    for pid in pids:
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
            soft = hard if resources.memory_mb is None else resources.memory_mb * BYTES_PER_MB
            resource.prlimit(pid, resource.RLIMIT_DATA, (soft, hard))
        except ProcessLookupError:
            continue
        except ValueError as error:
            most = resource.prlimit(pid, resource.RLIMIT_DATA)[1] // BYTES_PER_MB
            raise PermanentError(f"process {pid} may not be given {resources.memory_mb} MB: its hard limit is {most} MB") from error
        except PermissionError as error:
            raise TemporaryError(f"the limits of process {pid} cannot be changed: it runs as another user") from error
