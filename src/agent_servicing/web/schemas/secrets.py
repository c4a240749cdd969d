"""Bodies and answers of secrets. Values go in and never come out."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, SecretStr

from agent_servicing.services.secrets import VALUE_BYTES_MAX
from agent_servicing.web.schemas.common import Body, Name, NextCursor, View, example

_VERSION: dict[str, Any] = {"version": 3, "fingerprint": "9f1c02ab", "created_at": "2026-01-02T02:00:00Z", "created_by": "ada"}
_SECRET: dict[str, Any] = {
    "name": "WowMemory/api_key",
    "agent_id": "WowMemory",
    **_VERSION,
    "versions": [_VERSION],
    "used_by": [{"agent_id": "WowMemory", "revision": "cfg-1.2.5-p1", "version": 3, "in_force": True}],
}


class SetSecretBody(Body):
    model_config = ConfigDict(json_schema_extra=example(value="hunter2", agent="WowMemory"))

    value: SecretStr = Field(description=f"1 byte to {VALUE_BYTES_MAX // 1024} KiB of text; the value there is already changes nothing")
    agent: Name | None = Field(
        default=None, description="The agent it belongs to; omitted for a new name: all agents may be given it, which only an admin may say"
    )


class ApplySecretBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="the old key leaked", restart=False))

    reason: str = Field(
        default="", max_length=2000, description="Kept in the audit trail of each agent; omitted: names the secret's version"
    )
    restart: bool = Field(default=False, description="Also restart, in rolling fashion, agents that nothing else can bring it to")


class SecretDeliveryView(View):
    agent_id: str
    status: Literal["applied", "applying", "current", "needs_restart", "pinned", "failed"]
    config_version: str | None = Field(description="The configuration revision that holds it, when one was made or would be")
    reason: str = Field(description="Why it is not there yet, in words")
    code: str | None = Field(description="The error's code when it failed")


class SecretDeliveries(View):
    model_config = ConfigDict(
        json_schema_extra=example(
            name="db-password",
            version=3,
            deliveries=[{"agent_id": "WowMemory", "status": "applied", "config_version": "cfg-1.2.5-p2", "reason": "", "code": None}],
        )
    )

    name: str
    version: int = Field(description="The newest version, which is the one that is brought")
    deliveries: list[SecretDeliveryView]


class SecretVersionView(View):
    version: int
    fingerprint: str = Field(description="Equal for equal values of this secret; says nothing about the value")
    created_at: datetime
    created_by: str


class SecretUseView(View):
    agent_id: str
    revision: str = Field(description="A configuration that is in force, or that a rollback would bring back")
    version: int | None = Field(description="The version it refers to; null: the newest at the time")
    in_force: bool = Field(description="Whether instances have it or are about to get it; otherwise only a rollback would bring it back")


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
