"""What the judge says. Made by `verdict`, acted on by the engine, shown by API and page."""

from dataclasses import dataclass

from agent_servicing.core.status import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBar:
    """One line of the evidence on the screen: "63:1 of 400:1"."""

    name: str
    odds: float
    needed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and the numbers behind it. `sentence` is for people; `metric` is error_rate (percent), latency_ms, answered or custom:NAME (percent).

    `requests` are the candidate's since its warm-up, or those of the stretch that a failing verdict rests on, and `window_seconds` how
    long that was. `suspicion` is the best odds that the candidate is above a promote limit, `failing_odds` the strongest route to
    failing, scaled to `Policy.needed_odds`. `missing_requests` is an estimate, None when nothing is missing or nobody can say.
    """

    verdict: Verdict
    sentence: str
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None
    requests: int = 0
    window_seconds: float = 0.0
    rule: str = ""
    evidence: tuple[EvidenceBar, ...] = ()
    missing_requests: int | None = None
    stable_value: float | None = None
    common_cause: bool = False
    suspicion: float = 0.0
    failing_odds: float = 0.0
