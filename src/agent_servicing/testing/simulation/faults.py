"""What can happen around one call of the engine to the world, drawn from the seed or set for one call. The world's ports pass through `Weather`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """`before` is before the call took effect, `after` is when only its answer is lost."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    ERROR_BEFORE = "error before"
    ERROR_AFTER = "error after"
    REFUSED = "refused for good"
    TIMEOUT_BEFORE = "timeout before"
    TIMEOUT_AFTER = "timeout after"
    SLOW = "slow"
    STALL = "engine stalls longer than its lease"
    TWICE = "done twice"


READINGS = frozenset(
    {
        *("observe", "observe_all", "living", "preparation", "counters", "load", "outcome", "restored", "converted", "counted"),
        *("config_reports", "config_render", "config_forget"),
    }
)
"""Calls that change nothing outside this process."""

STORE = frozenset({"load", "commit", "release"})
"""Calls without a deadline of the engine's: the database is on this machine."""

_FOR_READINGS = (Fault.CRASH_BEFORE, Fault.ERROR_BEFORE, Fault.TIMEOUT_BEFORE, Fault.SLOW, Fault.STALL)
_FOR_STORE = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.STALL)
_FOR_ACTIONS = tuple(fault for fault in Fault)


@dataclass(slots=True, kw_only=True)
class Weather:
    """How likely a fault is at each call. `crash_at` is one certain crash: at that half call (before and after count apart), once."""

    dice: Random
    chance: float = 0.0
    kinds: frozenset[Fault] = frozenset(Fault)
    crash_at: int | None = None
    calls: int = 0
    struck: dict[Fault, int] = field(default_factory=dict)

    def draw(self, name: str) -> Fault | None:
        """What happens to this call."""
        if self.crash_at is not None:
            self.calls += 2
            if self.calls > self.crash_at:
                before, self.crash_at = self.calls - self.crash_at == 2, None
                return self._strike(Fault.CRASH_BEFORE if before else Fault.CRASH_AFTER)
        if self.chance <= 0 or self.dice.random() >= self.chance:
            return None
        possible = [fault for fault in kinds_for(name) if fault in self.kinds]
        return self._strike(self.dice.choice(possible)) if possible else None

    def _strike(self, fault: Fault) -> Fault:
        self.struck[fault] = self.struck.get(fault, 0) + 1
        return fault


def kinds_for(name: str) -> Sequence[Fault]:
    if name in STORE:
        return _FOR_STORE if name != "load" else (Fault.CRASH_BEFORE, Fault.ERROR_BEFORE, Fault.STALL)
    return _FOR_READINGS if name in READINGS else _FOR_ACTIONS
