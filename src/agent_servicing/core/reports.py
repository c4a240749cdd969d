"""What agents report about themselves: metrics of their own, counted against the operator's limits. Values for the judge, store and API."""

import re
from dataclasses import dataclass
from typing import Final

from agent_servicing.core.analysis import Tally

__all__ = ["METRIC_NAME", "VALUE_MAX", "Limit", "Tally", "generation_of"]

METRIC_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a metric may be called."""

VALUE_MAX: Final = 1e15
"""Largest size of a value: sums of any number of values we keep then stay finite."""

_INSTANCE: Final = re.compile(r"g([1-9][0-9]{0,8})-[0-9]{1,9}-[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The operator's limit on one metric: a value above `above` or below `below` is a bad one; None switches that side off."""

    name: str
    above: float | None = None
    below: float | None = None

    def broken_by(self, value: float) -> bool:
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


def generation_of(instance: str) -> int | None:
    """The generation that an instance's name (`g7-2-1`) tells; None for what is no such name."""
    found = _INSTANCE.fullmatch(instance)
    return int(found.group(1)) if found else None
