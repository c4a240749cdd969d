"""Bodies and answers of users."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Name, NextCursor, View, example
from agent_servicing.web.schemas.session import RoleName, Secret

Agents = Annotated[list[Name], Field(max_length=200)]
Grants = Annotated[dict[Name, RoleName], Field(max_length=200)]

_USER: dict[str, Any] = {
    "user_id": "usr-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "name": "ada@example.org",
    "role": "viewer",
    "agents": None,
    "grants": {"WowMemory": "operator"},
    "status": "active",
    "has_password": True,
    "external": False,
    "created_at": "2026-01-02T02:00:00Z",
    "last_signed_in_at": "2026-01-05T08:59:12Z",
    "disabled_at": None,
}


class CreateUserBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "ada@example.org", "role": "viewer", "grants": {"WowMemory": "operator"}, "password": "four words nobody guesses"}
            ]
        }
    )

    name: Name
    role: RoleName
    agents: Agents | None = Field(default=None, description="The role holds for these only; omitted: for all")
    grants: Grants = Field(default_factory=dict, description="A higher role for some agents")
    password: Secret | None = Field(default=None, description="Omitted: the user comes in by a one-time link, or by OIDC")


class ChangeUserBody(Body):
    """What is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=example(grants={"WowMemory": "operator", "WowCache": "admin"}))

    role: RoleName | None = None
    agents: Agents | None = Field(default=None, description="The role holds for these only")
    all_agents: bool = Field(default=False, description="The role holds for all agents")
    grants: Grants | None = Field(default=None, description="Takes the place of all grants there were")


class PasswordBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "four words nobody guesses"}]})

    password: Secret


class UserView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_USER]})

    user_id: str
    name: str
    role: str
    agents: list[str] | None
    grants: dict[str, str]
    status: str = Field(description="active or disabled")
    has_password: bool
    external: bool = Field(description="Comes from the OIDC provider")
    created_at: datetime
    last_signed_in_at: datetime | None
    disabled_at: datetime | None


class UserList(View):
    model_config = ConfigDict(json_schema_extra=example(users=[_USER], next_cursor=None))

    users: list[UserView]
    next_cursor: NextCursor


class SignedOut(View):
    model_config = ConfigDict(json_schema_extra=example(user="ada@example.org", sessions_ended=2))

    user: str
    sessions_ended: int
