"""How strong each route to failing is, scaled so that `Policy.needed_odds` is where it fires. Used by `update` and `verdict`.

`needed` is that number, worked out once by the caller. A route that needs two kinds of evidence is as strong as the weaker of them.
"""

from agent_servicing.core.analysis.evidence import Counted, Criterion
from agent_servicing.core.analysis.policy import Policy

DOUBT_ODDS = 20.0
"""That the candidate is not below the promote limit, for a candidate that is worse than stable."""

VETO_ODDS = 100.0
"""That the candidate is worse than stable at all, for one above the roll-back limit."""

CATASTROPHE_ODDS_FACTOR = 10.0
"""The warm-up's own route may use up a tenth of alpha."""

NO_CONTROL_SECONDS = 60.0
"""After so long without an answer of the stable version nothing is left to compare with, and the operator's limits hold as they stand."""


def controlled(counted: Counted) -> bool:
    return counted.stable_silent_seconds < NO_CONTROL_SECONDS


def route_odds(criterion: Criterion, policy: Policy, needed: float, *, control: bool) -> tuple[float, float]:
    """Worse than stable, and not below the promote limit; above the roll-back limit, and not for a cause that both versions have in common.

    Most of the time nothing is worse and nothing above, and the other sums need not be made.
    """
    worse, above = criterion.worse_odds, sum(criterion.above_rollback)
    absolute = above
    if above >= 1 and control and policy.common_cause != "rollback":
        veto = sum(criterion.worse_at_all) if criterion.worse_at_all else worse
        absolute = min(above, veto * needed / VETO_ODDS)
    if policy.regression == "hold":
        return 0.0, absolute
    return worse if worse < 1 else min(sum(criterion.above_promote) * needed / DOUBT_ODDS, worse), absolute
