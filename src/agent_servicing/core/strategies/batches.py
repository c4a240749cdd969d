"""Cuts an agent's instances into batches. Used by the strategies that replace them bit by bit."""

from dataclasses import dataclass
from math import floor

from agent_servicing.core.capacity import places

PARTS = 100
"""Percentages are cut to hundredths, as fine as a share can be set. Cut, not rounded: 66.67 % of three instances would be all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """`instances` in batches of `size` (both at least 1)."""

    instances: int
    size: int

    def after(self, done: int = 0) -> tuple[float, ...]:
        """Percentages of the instances that are replaced after each batch that follows the first `done` ones; the last is 100.

        Percentages, not numbers: an agent that is scaled meanwhile is still replaced in the same parts.
        """
        ends = [*range(done + self.size, self.instances, self.size), self.instances]
        return tuple(floor(100 * PARTS * end / self.instances) / PARTS for end in ends)


def batches(instances: int, size: int | None, percent: float | None) -> Batches:
    """`size` wins over `percent` of the instances; one at a time when neither is given."""
    chosen = size if size is not None else places(instances, percent) if percent is not None else 1
    return Batches(instances=instances, size=max(1, min(chosen, instances)))
