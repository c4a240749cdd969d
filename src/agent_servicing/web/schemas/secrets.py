"""Bodies and answers of secrets. Values go in and never come out."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, SecretStr

from agent_servicing.services.secrets import VALUE_BYTES_MAX
from agent_servicing.web.schemas.common import Body, Name, NextCursor, View, example

_VERSION: dict[str, Any] = {"version": 3, "fingerprint": "9f1c02ab", "created_at": "2026-01-02T02:00:00Z", "created_by": "ada"}
_SECRET: dict[str, Any] = {
    "name": "WowMemory/api_key",
    "agent_id": "WowMemory",
    **_VERSION,
    "versions": [_VERSION],
    "used_by": [{"agent_id": "WowMemory", "revision": "cfg-1.2.5-p1", "version": 3}],
}


class SetSecretBody(Body):
    model_config = ConfigDict(json_schema_extra=example(value="hunter2", agent="WowMemory"))

    value: SecretStr = Field(description=f"1 byte to {VALUE_BYTES_MAX // 1024} KiB of text; the value there is already changes nothing")
    agent: Name | None = Field(
        default=None, description="The agent it belongs to; omitted for a new name: all agents may be given it, which only an admin may say"
    )


class SecretVersionView(View):
    version: int
    fingerprint: str = Field(description="Equal for equal values of this secret; says nothing about the value")
    created_at: datetime
    created_by: str


class SecretUseView(View):
    agent_id: str
    revision: str = Field(description="A configuration that is in force, or that a rollback would bring back")
    version: int | None = Field(description="The version it refers to; null: the newest at the time")


class SecretView(SecretVersionView):
    """A secret without its value; its newest version first."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SECRET]})

    name: str
    agent_id: str | None = Field(description="The agent it belongs to; null: all agents may be given it")
    versions: list[SecretVersionView]
    used_by: list[SecretUseView]


class SecretList(View):
    model_config = ConfigDict(json_schema_extra=example(secrets=[_SECRET], next_cursor=None))

    secrets: list[SecretView]
    next_cursor: NextCursor
