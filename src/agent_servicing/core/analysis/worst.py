"""One bad instance or a bad version? Asked by the engine before it rolls back: a version is not to blame for one sick host."""

from collections.abc import Mapping
from math import exp

from agent_servicing.core.analysis.policy import Policy
from agent_servicing.core.analysis.wealth import against_stable

COLLAPSED_ODDS = 10.0
"""Evidence against the rest below this is no evidence; evidence against all of them must have been above."""

REST_REQUESTS = 20
"""Fewer requests of the other instances would acquit them for lack of data."""

_LOG_MAX = 60.0


def without_worst(candidate_instances: Mapping[str, tuple[int, int]], stable: tuple[int, int], policy: Policy) -> str | None:
    """The instance without which nothing speaks against the candidate, or None. All pairs are (requests, errors) since the warm-up."""
    if len(candidate_instances) < 2 or policy.error_rate_threshold is None:
        return None
    requests = sum(n for n, _ in candidate_instances.values())
    errors = sum(e for _, e in candidate_instances.values())
    limit = policy.error_rate_threshold
    if _odds((requests, errors), stable, policy) < COLLAPSED_ODDS and 100 * errors <= limit * requests:
        return None
    worst = max(candidate_instances, key=lambda name: (_rate(candidate_instances[name]), candidate_instances[name][1], name))
    n, e = candidate_instances[worst]
    rest = (requests - n, errors - e)
    if rest[0] < min(REST_REQUESTS, policy.min_requests) or 100 * rest[1] > limit * rest[0]:
        return None
    return worst if _odds(rest, stable, policy) < COLLAPSED_ODDS else None


def _rate(instance: tuple[int, int]) -> float:
    requests, errors = instance
    return errors / requests if requests else 0.0


def _odds(candidate: tuple[int, int], stable: tuple[int, int], policy: Policy) -> float:
    """A mixture for a sample of fixed size: nothing is bet over time, so nothing is capped."""
    (n, e), (m, f) = candidate, stable
    gains = against_stable([(e, f, n, m)], policy.error_ratio)
    return sum(exp(min(gain, _LOG_MAX)) for gain in gains) / len(gains)
