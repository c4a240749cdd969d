"""E-processes as bets: the arithmetic that `update` feeds with blocks and `verdict` reads.

Somebody who doubts that the candidate is good starts with a capital of 1 and bets on each block, at odds that are fair or worse as long as
the null hypothesis holds. Then the capital exceeds 400 with probability at most 1/400 **ever**, however often one looks (Ville's
inequality). A wealth is a tuple: the capital in each of seven alternatives, and at the end the cash not yet invested; its sum is the odds.
Cash goes in over time, so that evidence of a change that begins late is not drowned by what was good before.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp, log
from operator import add

Wealth = tuple[float, ...]

WORSE = (1.35, 1.75, 2.5, 4.0, 8.0, 20.0, 60.0)
"""Alternatives above a limit, as multiples of its odds: from barely worse to everything fails."""

TIMES = (1.35, 1.8, 2.5, 4.0, 8.0, 20.0, 60.0)
"""Alternatives above the tolerated ratio of the two versions' rates."""

BETTER = (0.02, 0.1, 0.25, 0.4, 0.55, 0.7)
"""Alternatives below a promote limit, as multiples of its odds."""

STARTING: Wealth = (0.0,) * len(WORSE) + (1.0,)

FIRST_STAKE, STAGE_STAKE, HOURLY_STAKE = 0.5, 0.05, 0.35
"""How the cash is spent: at once, at each change of the share, and evenly over an hour. A change is most likely where something changed."""

BLOCK_GAIN_MAX = 2.5
"""Logarithm: no block multiplies a bet by more than 12, so that one burst of failures is not a verdict."""

_CEILING = 1e6
"""Beyond every threshold, yet soon gone when the cause is; throwing winnings away is always fair."""

_LOG_CEILING = 60.0

_TIMES = tuple((times, log(times)) for times in TIMES)
_ALTERNATIVES = len(WORSE)

_NO_GAINS = [0.0] * _ALTERNATIVES
"""Of a block without events; recognised, because with healthy versions most blocks are like that."""

Factors = tuple[float, ...]

UNCHANGED: Factors = (1.0,) * _ALTERNATIVES

Stratum = tuple[int, int, int, int]
"""Candidate's events, stable's events, candidate's requests, stable's requests."""


def odds(wealth: Wealth) -> float:
    return sum(wealth)


def grown(wealth: Wealth, stake: float, gains: Sequence[float], bursts: float = 1.0) -> Wealth:
    """The wealth after a block whose log-likelihood ratios are `gains`. The very first bet is the largest."""
    return multiplied(wealth, stake, factors(gains, bursts))


def factors(gains: Sequence[float], bursts: float = 1.0) -> Factors:
    """What each alternative's capital is multiplied by. `bursts`, at least 1, says by how much events scatter more than independent ones."""
    if gains is _NO_GAINS:
        return UNCHANGED
    if bursts > 1:
        gains = [gain / bursts for gain in gains]
    if max(gains) > BLOCK_GAIN_MAX:
        gains = [min(gain, BLOCK_GAIN_MAX) for gain in gains]
    return tuple(map(exp, gains))


def multiplied(wealth: Wealth, stake: float, by: Factors) -> Wealth:
    """`grown`, written out: it is called eight times in each update."""
    a, b, c, d, e, f, g, cash = wealth
    if cash == 1.0:
        stake = FIRST_STAKE
    elif stake > cash:
        stake = cash
    each = stake / _ALTERNATIVES
    if by is UNCHANGED:
        return (a + each, b + each, c + each, d + each, e + each, f + each, g + each, cash - stake)
    p, q, r, s, t, u, v = by
    after = ((a + each) * p, (b + each) * q, (c + each) * r, (d + each) * s, (e + each) * t, (f + each) * u, (g + each) * v, cash - stake)
    return after if max(after) <= _CEILING else tuple([min(w, _CEILING) for w in after])


def limit_factors(bad: int, total: int, limit: float, bursts: float) -> Factors:
    """Of `against_limit`."""
    return _steady_factors(bad, total, limit) if bursts == 1 else factors(against_limit(bad, total, limit), bursts)


@lru_cache(maxsize=2048)
def _steady_factors(bad: int, total: int, limit: float) -> Factors:
    """Kept, because the same few counts come again and again."""
    return factors(against_limit(bad, total, limit))


def against_limit(bad: int, total: int, limit: float, levels: tuple[float, ...] = WORSE) -> list[float]:
    """Log-likelihood ratios of `bad` events in `total` requests against a probability of `limit`, for each of `levels`."""
    return [bad * event + total * request for event, request in _slopes(limit, levels)]


def against_stable(strata: list[Stratum], ratio: float) -> list[float]:
    """Log-likelihood ratios against "the candidate's rate is at most `ratio` times the stable one's", for each of `TIMES`.

    Given how many events a stratum had, only whose they were is weighed. The rate in common drops out of that, so an outage of something
    that both versions need, more traffic or another share cannot look like a difference.
    """
    gains = _NO_GAINS
    for candidate_events, stable_events, candidate, stable in strata:
        events = candidate_events + stable_events
        if not events or not candidate or not stable:
            continue
        expected = ratio * candidate
        whole = expected + stable
        here = [candidate_events * log_times + events * log(whole / (expected * times + stable)) for times, log_times in _TIMES]
        gains = here if gains is _NO_GAINS else [gain + more for gain, more in zip(gains, here, strict=True)]
    return gains


def proved(proof: tuple[float, ...], bad: int, total: int, limit: float) -> tuple[float, ...]:
    """Log-likelihoods, one for each of `BETTER`, that the probability of a bad event is below `limit`; not capped, restarted by the caller."""
    if not bad:
        return tuple(map(add, proof, _all_good(total, limit)))
    return tuple([p + bad * event + total * request for p, (event, request) in zip(proof, _slopes(limit, BETTER), strict=True)])


@lru_cache(maxsize=2048)
def _all_good(total: int, limit: float) -> tuple[float, ...]:
    return tuple([total * request for _, request in _slopes(limit, BETTER)])


def proof_odds(proof: tuple[float, ...]) -> float:
    if max(proof) > _LOG_CEILING:
        proof = tuple([min(p, _LOG_CEILING) for p in proof])
    return sum(map(exp, proof)) / len(proof)


def alarmed(alarm: tuple[float, ...], bad: int, total: int, limit: float, levels: tuple[float, ...], most: float) -> tuple[float, ...]:
    """Restarting sums that rise while a version is above `limit`; bounded by `most`, so that they fall again soon after."""
    after = []
    for level, (event, request) in zip(alarm, _slopes(limit, levels), strict=True):
        moved = level + bad * event + total * request
        after.append(0.0 if moved < 0 else min(moved, most))
    return tuple(after)


@lru_cache(maxsize=256)
def _slopes(limit: float, multiples: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """For each alternative what a bad event and what a request adds to the log-likelihood ratio."""
    return tuple((log(multiple), -log(1 - limit + limit * multiple)) for multiple in multiples)
