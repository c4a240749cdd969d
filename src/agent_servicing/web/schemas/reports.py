"""Bodies and answers of reported metrics."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from agent_servicing.core.reports import METRIC_NAME, VALUE_MAX
from agent_servicing.services.reports import VALUES_MAX, WINDOW_SECONDS_MAX
from agent_servicing.web.schemas.common import Body, Name, Time, View, example
from agent_servicing.web.schemas.queries import Query

_VALUES: dict[str, Any] = {
    "count": 480,
    "mean": 0.913,
    "p50": 0.93,
    "p95": 0.98,
    "last": 0.94,
    "last_at": "2026-01-02T02:03:04Z",
}
_INSTANCE: dict[str, Any] = {"instance": "g7-2-1", **_VALUES}
_GENERATION: dict[str, Any] = {"generation": 7, "version": "1.3.0", **_VALUES, "instances": [_INSTANCE]}
_METRIC: dict[str, Any] = {"metric": "quality", "generations": [_GENERATION]}

MetricName = Annotated[str, StringConstraints(pattern=f"^{METRIC_NAME.pattern}$")]


class ReportedValue(Body):
    model_config = ConfigDict(json_schema_extra=example(metric="quality", value=0.93, at="2026-01-02T02:03:04Z"))

    metric: MetricName
    value: float = Field(ge=-VALUE_MAX, le=VALUE_MAX)
    at: Time | None = Field(default=None, description="When it was observed, within the last day; omitted: now")


class ReportBody(Body):
    """What one instance says of itself. An instance's own token needs no `instance`; an operator's must name one."""

    model_config = ConfigDict(
        json_schema_extra=example(instance="g7-2-1", values=[{"metric": "quality", "value": 0.93}, {"metric": "tokens", "value": 1840}])
    )

    instance: Name | None = Field(default=None, description="As in `X-Served-By` of the answer that was judged: `agent@version/instance`")
    values: Annotated[list[ReportedValue], Field(min_length=1, max_length=VALUES_MAX)]


class ReportAccepted(View):
    model_config = ConfigDict(json_schema_extra=example(accepted=2))

    accepted: int


class ReportsQuery(Query):
    metric: MetricName | None = Field(default=None, description="Only this one; omitted: all")
    window: float = Field(3600.0, ge=1, le=WINDOW_SECONDS_MAX, description="Seconds")


class ReportedInstance(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_INSTANCE]})

    instance: str
    count: int
    mean: float
    p50: float
    p95: float
    last: float
    last_at: datetime


class ReportedGeneration(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_GENERATION]})

    generation: int
    version: str | None = Field(description="null when that generation is gone")
    count: int
    mean: float
    p50: float
    p95: float
    last: float
    last_at: datetime
    instances: list[ReportedInstance]


class ReportedMetric(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_METRIC]})

    metric: str
    generations: list[ReportedGeneration] = Field(description="Newest first")


class ReportsView(View):
    """Percentiles are values that were reported, by the nearest rank."""

    model_config = ConfigDict(json_schema_extra=example(agent_id="WowMemory", window_seconds=3600, metrics=[_METRIC], truncated=False))

    agent_id: str
    window_seconds: float
    metrics: list[ReportedMetric] = Field(description="By name")
    truncated: bool = Field(description="Only the newest 20 000 values are in it; ask for one metric or a shorter window")
