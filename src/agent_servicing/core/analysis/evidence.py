"""The judge's memory: everything the blocks so far have shown, in a few hundred numbers. Kept with the deployment as JSON."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from agent_servicing.core.analysis import wealth
from agent_servicing.core.analysis.blocks import Block
from agent_servicing.core.analysis.dispersion import STEADY, Dispersion
from agent_servicing.core.analysis.policy import ERRORS, LATENCY, Policy, limits_of
from agent_servicing.core.latency import EMPTY

QUANTILES_PERCENT = (75, 95, 99)
"""Where the two versions' latencies are compared; whole numbers, so that a quantile's bucket is decided without rounding."""

ALARM_LEVELS = (1.8, 4.0, 12.0)
"""How far above a limit a version may be when it fails, as multiples of the limit's odds."""

ALARM_FROM, ALARM_MOST = 3.0, 7.0

Alarm = tuple[float, ...]

NO_PROOF = (0.0,) * len(wealth.BETTER)

QUIET: Alarm = (0.0,) * len(ALARM_LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What both versions did since the evidence of a criterion last was at rest: the numbers a failing verdict is told with."""

    seconds: float = 0.0
    requests: int = 0
    bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0


AT_REST = Stretch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """The bets on one criterion, two proofs that it is below its promote limit, and alarms for what is bad just now.

    `proof` leaves out blocks in which the stable version was above the promote limit too; `proof_in_alarm` holds nothing but these, since
    that alarm began. Which of them a block counts for depends on the stable version only, so neither is a choice among outcomes.
    `worse` are several comparisons with stable, and their mean counts: for errors all requests and new conversations alone, for latency
    one at each of `QUANTILES_PERCENT`. `dispersion` weakens the bets when stable's failures come in bursts; latency has none.
    """

    name: str
    above_rollback: wealth.Wealth = wealth.STARTING
    above_promote: wealth.Wealth = wealth.STARTING
    worse: tuple[wealth.Wealth, ...] = (wealth.STARTING,)
    worse_at_all: wealth.Wealth = ()
    proof: tuple[float, ...] = NO_PROOF
    proof_in_alarm: tuple[float, ...] = NO_PROOF
    stable_above_promote: Alarm = QUIET
    stable_above_rollback: Alarm = QUIET
    candidate_above_rollback: Alarm = QUIET
    dispersion: Dispersion = STEADY
    stretch: Stretch = AT_REST

    @property
    def stable_doubtful(self) -> bool:
        """Would the stable version itself not be promoted?"""
        return max(self.stable_above_promote) > ALARM_FROM

    @property
    def stable_failing(self) -> bool:
        return max(self.stable_above_rollback) > ALARM_FROM

    @property
    def candidate_failing(self) -> bool:
        """Is the candidate above the roll-back limit just now? No proof, but no calm either."""
        return max(self.candidate_above_rollback) > ALARM_FROM

    @property
    def common_cause(self) -> bool:
        """Are both versions above the roll-back limit just now?"""
        return self.stable_failing and self.candidate_failing

    @property
    def worse_odds(self) -> float:
        """That the candidate is worse than stable by more than the tolerated ratio."""
        return sum(map(sum, self.worse)) / len(self.worse)

    @property
    def veto_odds(self) -> float:
        """That the candidate is worse than stable at all: without it, being above a limit may have a cause outside."""
        return sum(self.worse_at_all) if self.worse_at_all else self.worse_odds

    @property
    def proof_odds(self) -> float:
        return wealth.proof_odds(self.proof_in_alarm if self.stable_doubtful else self.proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The watch for requests that never come back: what was routed and answered in the span under way, and the bets on it."""

    fewer: wealth.Wealth = wealth.STARTING
    unanswered: wealth.Wealth = wealth.STARTING
    seconds: float = 0.0
    candidate_routed: int = 0
    candidate_answered: int = 0
    stable_routed: int = 0
    stable_answered: int = 0
    settling_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Clocks and counters. `requests` and `errors` are the candidate's after its warm-up, `stage_…` those since the last change of the share.

    `carried_seconds` runs from the candidate's first request, `judged_seconds` from the end of its warm-up.
    """

    carried_seconds: float = 0.0
    judged_seconds: float = 0.0
    stage_seconds: float = 0.0
    silent_seconds: float = 0.0
    stable_silent_seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    stage_requests: int = 0
    stage_errors: int = 0
    warm_requests: int = 0
    warm_errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Stable's latency histograms: `recent` of the present two minutes, `whole` with the two before as well.

    In whole counts, so that no rounding decides a quantile.
    """

    recent: tuple[int, ...] = EMPTY
    whole: tuple[int, ...] = EMPTY
    seconds: float = 0.0

    def buckets(self) -> tuple[int, ...]:
        """Those of `QUANTILES_PERCENT`; empty before there was any answer."""
        sums = list(accumulate(self.whole))
        total = sums[-1]
        if not total:
            return ()
        return tuple([bisect_left(sums, -(-percent * total // 100)) for percent in QUANTILES_PERCENT])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`slow_stretch` is the candidate's latency histogram over the latency criterion's stretch, `catastrophe` the warm-up's own bet.

    `open` is the block under way; nothing in it counts yet.
    """

    warmup_seconds: float
    blocks: int = 0
    share: float | None = None
    counted: Counted = Counted()
    criteria: tuple[Criterion, ...] = ()
    catastrophe: tuple[float, ...] = (0.0, 0.0)
    answers: Answers = Answers()
    reference: Reference = Reference()
    slow_stretch: tuple[int, ...] = EMPTY
    open: Block | None = None

    @property
    def warming(self) -> bool:
        """Has the candidate carried traffic for less than its warm-up? True before its first request, too."""
        return self.counted.carried_seconds < self.warmup_seconds

    def criterion(self, name: str) -> Criterion | None:
        return next((c for c in self.criteria if c.name == name), None)


def begin(policy: Policy, warmup_seconds: float) -> Evidence:
    """Before the first block. The warm-up counts from the candidate's first request."""
    return Evidence(warmup_seconds=warmup_seconds, criteria=tuple(_fresh(limits.name) for limits in limits_of(policy)))


def _fresh(name: str) -> Criterion:
    if name == LATENCY:
        # The comparisons of three quantiles are their own veto: none of them is about a limit.
        return Criterion(name=name, worse=(wealth.STARTING,) * len(QUANTILES_PERCENT))
    comparisons = 2 if name == ERRORS else 1
    return Criterion(name=name, worse=(wealth.STARTING,) * comparisons, worse_at_all=wealth.STARTING)
