"""What an instance may use of its machine, and what is seen of that. Pure; wanted by the configuration, done and read back by a runtime."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """In the words of a manifest's `[run] resources`. `memory_mb` (MiB) is for each of an instance's processes, `cpu` (processors) for
    all of them together; None: not limited.
    """

    memory_mb: int | None = None
    cpu: float | None = None


UNLIMITED: Final = Resources()
