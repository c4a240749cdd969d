"""What the generations of an agent are busy with, as the API shows it."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import View, example

_WORK: dict[str, Any] = {
    "generation": 1,
    "version": "1.2.5",
    "role": "other",
    "phase": "draining",
    "instances": 3,
    "conversations": 12,
    "in_flight": 4,
    "active_streams": 2,
    "conversation_seconds_left": 212.5,
    "stream_seconds_left": 512.5,
    "warm_until": "2026-01-02T02:10:00Z",
}


class GenerationWorkView(View):
    """What a generation is busy with and how far it is on its way out; null is what nobody knows, never zero."""

    generation: int
    version: str
    role: str = Field(description="stable, candidate or other")
    phase: str = Field(
        description="starting, ramping, active, draining, drained, or warm: idle and kept for a rollback; idle only when that is known"
    )
    instances: int
    conversations: int | None = Field(description="Conversations that the data plane keeps for it; null without a conversation key")
    in_flight: int | None = Field(description="Requests under way, streams included")
    active_streams: int | None = Field(description="Open streams, as its instances count them")
    conversation_seconds_left: float | None = Field(
        description="For how long its conversations may still come back; null while nothing ends"
    )
    stream_seconds_left: float | None = Field(description="For how long its streams may still go on; null while nothing ends")
    warm_until: datetime | None


class GenerationList(View):
    model_config = ConfigDict(json_schema_extra=example(generations=[_WORK]))

    generations: list[GenerationWorkView]
