"""Bodies and answers of tokens."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Name, NextCursor, Time, View, example

RoleName = Literal["viewer", "operator", "admin"]

_TOKEN: dict[str, Any] = {
    "token_id": "tok-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "name": "ci",
    "role": "operator",
    "agents": ["WowMemory"],
    "created_at": "2026-01-02T02:00:00Z",
    "expires_at": "2026-07-01T00:00:00Z",
    "revoked_at": None,
    "last_used_at": "2026-01-05T09:12:44Z",
}


class CreateTokenBody(Body):
    model_config = ConfigDict(
        json_schema_extra=example(name="ci", role="operator", agents=["WowMemory"], expires_at="2026-07-01T00:00:00Z")
    )

    name: Name
    role: RoleName
    agents: Annotated[list[Name], Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Only these agents; omitted: all"
    )
    expires_at: Time | None = None


class TokenCreated(View):
    """The secret is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "nH0z…", "name": "ci", "role": "operator", "agents": ["WowMemory"], "expires_at": "2026-07-01T00:00:00Z"}
            ]
        }
    )

    token: str
    name: str
    role: str
    agents: list[str] | None
    expires_at: datetime | None


class TokenView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_TOKEN]})

    token_id: str
    name: str
    role: str
    agents: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class TokenList(View):
    model_config = ConfigDict(json_schema_extra=example(tokens=[_TOKEN], next_cursor=None))

    tokens: list[TokenView]
    next_cursor: NextCursor
