"""Limits that a request leaves open: from the agent's own thresholds, else from those for all agents, else the built-in ones; pure.

Used by `services.specs` for an upgrade's policy and by `services.thresholds`, which keeps what operators set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agent_servicing.core.analysis import Policy

Name = Literal["error_rate_threshold", "promote_error_rate", "latency_threshold_ms", "promote_latency_ms", "min_requests"]
Place = Literal["request", "agent", "all", "built_in"]
Origin = Literal["request", "agent", "all", "built_in", "derived"]

Said = Mapping[Name, float | None]
"""What somebody said: None is "no limit", of a promote limit "derived from the threshold"; what is missing is left to the next place."""

PROMOTE_OF: Final[Mapping[Name, Name]] = {"promote_error_rate": "error_rate_threshold", "promote_latency_ms": "latency_threshold_ms"}
"""A promote limit and the threshold it belongs to."""

BUILT_IN: Final[Said] = {
    "error_rate_threshold": Policy().error_rate_threshold,
    "promote_error_rate": Policy().promote_error_rate,
    "latency_threshold_ms": Policy().latency_threshold_ms,
    "promote_latency_ms": Policy().promote_latency_ms,
    "min_requests": Policy().min_requests,
}
NAMES: Final[tuple[Name, ...]] = tuple(BUILT_IN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What is set: the agent's own, and what holds for all."""

    agent: Said
    all: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One limit in force, and which place said it."""

    value: float | None
    origin: Origin


NOTHING_SET: Final = Defaults(agent={}, all={})


def in_force(defaults: Defaults, request: Said | None = None) -> Mapping[Name, Threshold]:
    """Each limit from the nearest place that says it.

    A promote limit goes with its threshold: one that stands farther away than the threshold in force was meant for another one,
    and is derived instead, so that a stricter threshold alone never contradicts what others set.
    """
    places: Sequence[tuple[Place, Said]] = (
        ("request", request or {}),
        ("agent", defaults.agent),
        ("all", defaults.all),
        ("built_in", BUILT_IN),
    )
    nearest = {name: next(at for at, (_, said) in enumerate(places) if name in said) for name in NAMES}
    found: dict[Name, Threshold] = {}
    for name, at in nearest.items():
        place, said = places[at]
        meant = name not in PROMOTE_OF or (said[name] is not None and at <= nearest[PROMOTE_OF[name]])
        found[name] = Threshold(value=said[name], origin=place) if meant else Threshold(value=None, origin="derived")
    return found
