"""Answers about the analysis of a deployment, and the body that tries other limits on it."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from agent_servicing.services.analysis import BLOCKS_PAGE_MAX
from agent_servicing.services.specs import MIN_REQUESTS_MAX
from agent_servicing.web.schemas.common import Body, NextCursor, View, example
from agent_servicing.web.schemas.deployments import FiguresView, JudgementView, PolicyView
from agent_servicing.web.schemas.queries import Query
from agent_servicing.web.schemas.thresholds import Limit


class AnalysisQuery(Query):
    limit: Annotated[int, Field(ge=1, le=BLOCKS_PAGE_MAX)] = 100
    cursor: str | None = None


class TrialBody(Body):
    """Limits to try instead of the deployment's own; what is left out stays as it was, null switches a limit off."""

    model_config = ConfigDict(json_schema_extra=example(error_rate_threshold=2.0))

    error_rate_threshold: Limit | None = None
    latency_threshold_ms: float | None = Field(default=None, gt=0)
    latency_quantile: float = Field(default=0.95, ge=0.5, le=0.999)
    promote_error_rate: Limit | None = None
    promote_latency_ms: float | None = Field(default=None, gt=0)
    min_requests: int = Field(default=50, ge=1, le=MIN_REQUESTS_MAX)


_JUDGEMENT = {
    "verdict": "failing",
    "sentence": "Error rate threshold exceeded (8.2% > 5%)",
    "metric": "error_rate",
    "value": 8.2,
    "threshold": 5.0,
    "requests": 158,
    "window_seconds": 6.3,
    "rule": "error_rate_relative",
    "stable_value": 0.5,
    "evidence": [{"name": "error_rate_relative", "odds": 431.5, "needed": 400}],
    "missing_requests": None,
    "common_cause": False,
}
_POLICY = {
    "enabled": True,
    "error_rate_threshold": 5.0,
    "latency_threshold_ms": None,
    "latency_quantile": 0.95,
    "min_requests": 50,
    "promote_error_rate": 2.0,
    "promote_latency_ms": None,
}
_SIDE = {"routed": 7, "answered": 7, "errors": 1, "histogram": [[43, 6]]}
_BLOCK = {
    "number": 0,
    "begun_anew": 0,
    "at": "2026-01-02T02:01:31Z",
    "seconds": 1.0,
    "share": 25,
    "warm_up": False,
    "candidate_new": _SIDE,
    "candidate_pinned": _SIDE,
    "stable_new": _SIDE,
    "stable_pinned": _SIDE,
}
_ID = "upg-01JGD3Z5Y8M2Q4T6V8X0ABCDEF"


class SideOfBlockView(View):
    """`histogram`: pairs of bucket and count of successful answers."""

    routed: int
    answered: int
    errors: int
    histogram: list[tuple[int, int]]


class BlockView(View):
    """What both versions did at the same time: new conversations and requests without one, and running conversations."""

    number: int
    begun_anew: int = Field(description="How often the evidence was begun anew before")
    at: datetime | None = Field(description="When it was closed; null where an earlier version of the server kept it")
    seconds: float
    share: float
    warm_up: bool
    candidate_new: SideOfBlockView
    candidate_pinned: SideOfBlockView
    stable_new: SideOfBlockView
    stable_pinned: SideOfBlockView


class ReplayView(View):
    blocks: int
    identical: bool | None = Field(
        description="Whether the stored blocks lead to the very evidence the deployment holds, number for number"
    )
    judgement: JudgementView | None


class AnalysisView(View):
    """The evidence of a deployment, its replay from the stored blocks, and these blocks."""

    model_config = ConfigDict(
        json_schema_extra=example(
            upgrade_id=_ID,
            agent_id="WowOrchestrator",
            auto_rollback=_POLICY,
            overridden_by=None,
            judgement=_JUDGEMENT,
            replay={"blocks": 31, "identical": True, "judgement": _JUDGEMENT},
            blocks=[_BLOCK],
            next_cursor=None,
        )
    )

    upgrade_id: str
    agent_id: str
    auto_rollback: PolicyView
    overridden_by: str | None
    judgement: JudgementView | None
    replay: ReplayView
    blocks: list[BlockView]
    next_cursor: NextCursor


class PointView(View):
    """Both versions over `seconds` up to `at`. Blue is the stable version, green the candidate."""

    at: datetime
    seconds: float
    traffic_percent: float = Field(description="Of new conversations, to the candidate")
    blue: FiguresView
    green: FiguresView


_FIGURES = {"error_rate": 0.5, "avg_latency_ms": 120, "p95_latency_ms": 200, "throughput": 37.5, "requests": 375}
_POINT = {"at": "2026-01-02T02:01:31Z", "seconds": 1.2, "traffic_percent": 25, "blue": _FIGURES, "green": _FIGURES}


class CourseView(View):
    """The figures of a deployment from its beginning on, to be drawn: at most 300 points, whatever it took."""

    model_config = ConfigDict(
        json_schema_extra=example(
            upgrade_id=_ID,
            agent_id="WowOrchestrator",
            decided_at="2026-01-02T02:03:04Z",
            decided={**_POINT, "seconds": 10.0},
            points=[_POINT],
        )
    )

    upgrade_id: str
    agent_id: str
    decided_at: datetime | None = Field(description="When it was taken back, else when it ended; null while neither is so")
    decided: PointView | None = Field(description="What the verdict that took it back looked at, else the last ten seconds")
    points: list[PointView] = Field(description="Oldest first")


class MomentView(View):
    """A verdict and when it came: the block, and seconds since the first one."""

    block: int
    seconds: float
    judgement: JudgementView


class TrialView(View):
    """What these limits would have said of the same traffic. Nothing was changed."""

    model_config = ConfigDict(
        json_schema_extra=example(
            upgrade_id=_ID,
            auto_rollback=_POLICY,
            blocks=31,
            first_failing={"block": 12, "seconds": 9.1, "judgement": _JUDGEMENT},
            first_passing=None,
            last=_JUDGEMENT,
        )
    )

    upgrade_id: str
    auto_rollback: PolicyView
    blocks: int
    first_failing: MomentView | None
    first_passing: MomentView | None
    last: JudgementView | None
