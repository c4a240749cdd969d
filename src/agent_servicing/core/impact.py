"""What a deployment changed, and whom it touched: what stood before and after it, and what the data plane counted meanwhile. Pure.

`begin_next` writes down what stood before, `measure` adds to the impact, closing entries of the audit show all three.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What users noticed, from the data plane's counters between start and end.

    `unserved` are our own 503s; `downtime_seconds` is the time in which any occurred. `candidate_errors` are errors of the newcomer.
    `exposed_seconds` is the newcomer's share of the requests times how long it had it: a tenth of them for a minute are 6 s.
    `conversations_touched` began with the newcomer or were moved to it, whether or not they were moved back; None where the agent has no
    conversation key, or nothing was measured: then nobody knows.
    """

    requests: int = 0
    candidate_requests: int = 0
    candidate_errors: int = 0
    stable_errors: int = 0
    unserved: int = 0
    downtime_seconds: float = 0.0
    exposed_seconds: float = 0.0
    conversations_touched: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What serves at one moment: `config` empty for a configuration that nobody patched, `instances` those that answer, `weight` its percentage
    of the traffic as it is wanted, `epoch` and `schema` of its state."""

    version: str
    generation: int
    config: str
    instances: int
    weight: float
    epoch: int
    schema: int | None


def impact_view(impact: Impact) -> dict[str, object]:
    """As entries and events show it."""
    return {
        "requests": impact.requests,
        "candidate_requests": impact.candidate_requests,
        "candidate_errors": impact.candidate_errors,
        "stable_errors": impact.stable_errors,
        "unserved": impact.unserved,
        "downtime_seconds": impact.downtime_seconds,
        "exposed_seconds": impact.exposed_seconds,
        "conversations_touched": impact.conversations_touched,
    }


def footing_view(footing: Footing | None) -> dict[str, object] | None:
    """As entries show it; None where nothing served."""
    if footing is None:
        return None
    return {
        "version": footing.version,
        "generation": footing.generation,
        "config_version": footing.config or None,
        "instances": footing.instances,
        "traffic_percent": footing.weight,
        "state_epoch": footing.epoch,
        "state_schema": footing.schema,
    }
