"""Bodies and answers of the OpenFeature Remote Evaluation Protocol, in its own words."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agent_servicing.web.schemas.common import View, example

_FLAG: dict[str, Any] = {"key": "new-ranking", "value": True, "reason": "STATIC", "variant": "default"}


class EvaluationBody(BaseModel):
    """What any OpenFeature client sends; what we do not use of it is not looked at."""

    model_config = ConfigDict(json_schema_extra=example(context={"targetingKey": "user-7", "agent": "WowMemory"}))

    context: dict[str, Any] = Field(
        default_factory=dict, description="`agent` names the agent whose flags are read, unless an instance asks, which reads its own"
    )


class FlagView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_FLAG]})

    key: str
    value: Any
    reason: str = Field(description="Always `STATIC`: the value does not depend on the context")
    variant: str = Field(description="The chosen one of the flag's variants, else `default`")


class FlagProblem(View):
    key: str
    errorCode: str  # noqa: N815 (the protocol's own name)
    errorDetails: str  # noqa: N815


class FlagList(View):
    model_config = ConfigDict(json_schema_extra=example(flags=[_FLAG]))

    flags: list[FlagView | FlagProblem]
