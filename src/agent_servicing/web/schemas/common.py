"""Building blocks of the request and response models: strict bodies, lenient views, times, texts, pages."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from agent_servicing.services.transaction import REASON_CHARACTERS_MAX
from agent_servicing.web.limits import NAME_CHARACTERS_MAX


class Body(BaseModel):
    """A request body: an unknown field, a wrong type, NaN or a number in quotes is an error that names the field."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class View(BaseModel):
    """A response body, also readable from the services' dataclasses."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def example(**fields: Any) -> dict[str, Any]:
    """`json_schema_extra` with one example of the whole model."""
    return {"examples": [fields]}


def _time(value: object) -> object:
    """RFC 3339 text to UTC. A number or a time without zone is ambiguous, so it is refused."""
    if isinstance(value, datetime):
        return value
    wanted = "must be a time with its zone, such as 2026-01-02T02:00:00Z"
    if not isinstance(value, str):
        raise ValueError(wanted)  # noqa: TRY004 (pydantic collects ValueError only)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(wanted) from None
    if parsed.tzinfo is None:
        raise ValueError(wanted)
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(wanted) from None


def storable(value: object) -> object:
    """Refuse texts, also inside a JSON value, that a database or a log line cannot hold."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            storable(key)
            storable(inner)
    elif isinstance(value, list):
        for inner in value:
            storable(inner)
    elif isinstance(value, str) and any(_unstorable(character) for character in value):
        raise ValueError("must not hold control characters or broken Unicode")
    return value


def _unstorable(character: str) -> bool:
    return (character < " " and character not in "\n\r\t") or "\ud800" <= character <= "\udfff"


Time = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment; in UTC after parsing."""

Text = Annotated[str, StringConstraints(max_length=REASON_CHARACTERS_MAX, strip_whitespace=True), AfterValidator(storable)]
"""Free text of a person."""

Reason = Annotated[Text, StringConstraints(min_length=1)]
"""Why something is done; never empty, because it is what the audit trail is read for."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARACTERS_MAX, strip_whitespace=True), AfterValidator(storable)]
"""A name, version or id given by a caller."""


class SeenBody(Body):
    """The agent as the caller saw it: 409 with the present one under `current` when it is not so any more."""

    if_state: Name | None = Field(default=None, description="The agent's `status` the caller believes in")
    if_version: Name | None = Field(default=None, description="The agent's `current_version` the caller saw")


NextCursor = Annotated[str | None, Field(description="Pass as `cursor` for the next page; null at the end")]
