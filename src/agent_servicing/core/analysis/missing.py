"""How many more requests until the judge can say more: an estimate for people, and for no decision. Used by `verdict`."""

from math import ceil, exp, log

from agent_servicing.core.analysis.evidence import Criterion, Evidence
from agent_servicing.core.analysis.policy import ERRORS, Limits, Policy, limits_of
from agent_servicing.core.analysis.wealth import BETTER, proved

HOPELESS_REQUESTS = 1_000_000
"""A proof that needs more than this is not going to come."""


_LOG_MAX = 60.0


def missing_requests(evidence: Evidence, policy: Policy) -> int | None:
    """Candidate requests up to `min_requests`; after that, up to the proofs of passing at what was seen so far. None: out of reach."""
    least = policy.min_requests - evidence.counted.requests
    if least > 0:
        return least
    longest = 0
    for criterion, limits in zip(evidence.criteria, limits_of(policy), strict=True):
        needed = _to_proof(criterion, limits, evidence, policy)
        if needed is None:
            return None
        longest = max(longest, needed)
    return longest or None


def _to_proof(criterion: Criterion, limits: Limits, evidence: Evidence, policy: Policy) -> int | None:
    if criterion.proof_odds >= 1 / policy.beta:
        return 0
    requests = max(1, evidence.counted.stage_requests)
    goal = log(len(BETTER) / policy.beta)
    proof = criterion.proof_in_alarm if criterion.stable_doubtful else criterion.proof
    if limits.name == ERRORS:
        slopes = [gain / requests for gain in proved((0.0,) * len(BETTER), evidence.counted.stage_errors, requests, limits.promote)]
    else:
        slopes = [gain / requests for gain in proof]
    waits = [(goal - gained) / slope for gained, slope in zip(proof, slopes, strict=True) if slope > 0]
    nearest = min(waits, default=float(HOPELESS_REQUESTS))
    if nearest >= HOPELESS_REQUESTS:
        return None
    # One alternative alone would need that many; two steps of Newton's give what all of them need together, coming from above.
    for _ in range(2):
        odds = [exp(min(gained + nearest * slope, _LOG_MAX)) for gained, slope in zip(proof, slopes, strict=True)]
        whole = sum(odds)
        growth = sum(o * slope for o, slope in zip(odds, slopes, strict=True)) / whole
        nearest -= (log(whole) - goal) / growth if growth > 0 else 0.0
    return max(1, ceil(nearest))
