"""Limits as a request or a setting says them, and the bodies and answers of the default thresholds."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agent_servicing.core.thresholds import NAMES, Name, Origin, Said
from agent_servicing.services.specs import MIN_REQUESTS_MAX
from agent_servicing.web.schemas.common import Body, Text, View, example

Limit = Annotated[float, Field(gt=0, le=100)]


def _left_open(schema: dict[str, Any]) -> None:
    """Left out is not null, so there is no default to show."""
    schema.pop("default", None)


class LimitsBody(Body):
    """Left out: as it is set for the agent, for all agents, or built in. Null: no limit."""

    error_rate_threshold: Limit | None = Field(
        default=None, description="Percent of the candidate's requests; null: errors are not judged", json_schema_extra=_left_open
    )
    latency_threshold_ms: float | None = Field(
        default=None, gt=0, description="Milliseconds at the latency quantile; null: not judged", json_schema_extra=_left_open
    )
    promote_error_rate: Limit | None = Field(
        default=None,
        description="Percent; below it a version is promotable whatever the old one does; null: derived from the threshold",
        json_schema_extra=_left_open,
    )
    promote_latency_ms: float | None = Field(
        default=None, gt=0, description="Milliseconds; the same for latency", json_schema_extra=_left_open
    )
    min_requests: int | None = Field(
        default=None,
        ge=1,
        le=MIN_REQUESTS_MAX,
        description="Fewer requests are no verdict; null is as left out",
        json_schema_extra=_left_open,
    )


def said(body: LimitsBody) -> Said:
    """What was said, null included; there is always some number of requests."""
    values: Said = {name: getattr(body, name) for name in NAMES if name in body.model_fields_set}
    return {name: value for name, value in values.items() if name != "min_requests" or value is not None}


class ThresholdsBody(Body):
    """Replaces what was set, as a whole; an empty object takes it away."""

    model_config = ConfigDict(
        json_schema_extra=example(
            thresholds={"error_rate_threshold": 2.0, "latency_threshold_ms": 300}, reason="What its users were promised"
        )
    )

    thresholds: LimitsBody
    reason: Text = ""


SaidView = dict[Name, int | float | None]


class ThresholdsView(View):
    """What is set, without what is left out there."""

    model_config = ConfigDict(
        json_schema_extra=example(
            built_in={
                "error_rate_threshold": 5.0,
                "promote_error_rate": None,
                "latency_threshold_ms": None,
                "promote_latency_ms": None,
                "min_requests": 50,
            },
            all={"error_rate_threshold": 2.0},
            agents={"WowMemory": {"latency_threshold_ms": 300}},
        )
    )

    built_in: SaidView = Field(description="What holds where nothing is set")
    all: SaidView = Field(description="For all agents")
    agents: dict[str, SaidView] = Field(description="Of the agents that differ, those within reach, what is their own")


class ThresholdView(View):
    value: int | float | None = Field(description="Null: no limit")
    origin: Origin = Field(description="Who said it; derived: a promote limit that follows from its threshold")


class AgentThresholdsView(View):
    """What an upgrade takes whose request says nothing."""

    model_config = ConfigDict(
        json_schema_extra=example(
            agent_id="WowMemory",
            own={"latency_threshold_ms": 300},
            in_force={
                "error_rate_threshold": {"value": 2.0, "origin": "all"},
                "promote_error_rate": {"value": 0.8, "origin": "derived"},
                "latency_threshold_ms": {"value": 300, "origin": "agent"},
                "promote_latency_ms": {"value": 150, "origin": "derived"},
                "min_requests": {"value": 50, "origin": "built_in"},
            },
        )
    )

    agent_id: str
    own: SaidView
    in_force: dict[Name, ThresholdView]
