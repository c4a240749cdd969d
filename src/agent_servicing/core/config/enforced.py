"""What of a configuration is enforced around an agent instead of by it: by the router for all instances together, by the runtime for each.

Asked by the decision, which makes it part of the routing and of what instances may use, and by the services, which say who enforces what.
Instances are not told of it. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from agent_servicing.core.config.layers import RESERVED, ROUTER, RUNTIME, Values
from agent_servicing.core.resources import UNLIMITED, Resources
from agent_servicing.core.routing import RateLimit

Enforcer = Literal["router", "runtime", "agent"]

BURST_SECONDS_MAX: Final = 1000
"""A burst is at most what comes back within this time."""

CPU_MIN: Final = 0.01
"""Of a processor; the kernel gives nothing smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """None: unlimited."""

    rate_limit: RateLimit | None = None
    request_timeout_seconds: float | None = None
    resources: Resources = UNLIMITED

    @property
    def by_router(self) -> tuple[RateLimit | None, float | None]:
        return self.rate_limit, self.request_timeout_seconds


NOTHING: Final = Enforced()


def enforced(around: Values) -> Enforced:
    """From the values of the reserved keys; what is no valid value limits nothing, and was refused long before."""
    if not around:
        return NOTHING
    timeout = _number(around.get("request_timeout_seconds"))
    return Enforced(
        rate_limit=_rate_limit(around.get("rate_limit")),
        request_timeout_seconds=round(timeout, 3) if timeout is not None and timeout >= 0.001 else None,
        resources=_resources(around.get("resources")),
    )


def enforcer(key: str) -> Enforcer:
    """Who makes a change of this dotted key take effect."""
    first, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if first != RESERVED:
        return "agent"
    return "router" if name in ROUTER else "runtime" if name in RUNTIME else "agent"


def _rate_limit(value: object) -> RateLimit | None:
    if not isinstance(value, Mapping):
        return None
    rate, burst = _number(value.get("requests_per_second")), _number(value.get("burst"))
    if rate is None or rate <= 0:
        return None
    # Without a burst: what comes in one second may come at once.
    return RateLimit(requests_per_second=rate, burst=max(1, int(burst) if burst is not None else ceil(rate)))


def _resources(value: object) -> Resources:
    if not isinstance(value, Mapping):
        return UNLIMITED
    memory, cpu = _number(value.get("memory_mb")), _number(value.get("cpu"))
    return Resources(
        memory_mb=int(memory) if memory is not None and memory >= 1 else None,
        cpu=round(cpu, 3) if cpu is not None and cpu >= CPU_MIN else None,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
