"""Bodies and answers of signing in: sessions, who am I, one's own password."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from agent_servicing.web.schemas.common import Body, Name, View, example

RoleName = Literal["viewer", "operator", "admin"]

Secret = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""A password or token as typed: nothing is cut off at its ends."""

_TIMES: dict[str, Any] = {"created_at": "2026-01-02T02:00:00Z", "expires_at": "2026-01-02T14:00:00Z"}


class SignInBody(Body):
    """One of: `user` and `password`; `sign_in_token`; `setup_token` with the `user` and `password` of the first admin."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "ada@example.org", "password": "four words nobody guesses"}]})

    user: Name | None = None
    password: Secret | None = None
    sign_in_token: Secret | None = Field(default=None, description="Of a one-time link")
    setup_token: Secret | None = Field(default=None, description="From setup.token in the data directory, while there is no user")


class SetupBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"setup_token": "nH0z…", "user": "ada@example.org", "password": "four words nobody guesses"}]}
    )

    setup_token: Secret
    user: Name
    password: Secret


class OwnPasswordBody(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"current_password": "four words nobody guesses", "new_password": "five other words they have"}]}
    )

    current_password: Secret | None = Field(default=None, description="Not needed for 15 minutes after coming in by a one-time link")
    new_password: Secret


class WaysIn(View):
    """What a sign-in page offers."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"signed_in": False, "setup_needed": False, "methods": ["password", "link"]}]}
    )

    signed_in: bool
    setup_needed: bool = Field(description="There is no user yet: the set-up token makes the first one")
    methods: list[str]


class Me(View):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ada@example.org",
                    "role": "viewer",
                    "agents": None,
                    "grants": {"WowMemory": "operator"},
                    "user_id": "usr-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
                    "session_id": "ses-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
                    "csrf_token": "4f1c…",
                }
            ]
        }
    )

    name: str
    role: str
    agents: list[str] | None = Field(description="The agents this role holds for; null: all")
    grants: dict[str, str] = Field(description="Other roles, for one agent each")
    user_id: str | None = Field(description="null for a token")
    session_id: str | None = Field(description="null for a token")
    csrf_token: str | None = Field(description="What a session sends as X-CSRF-Token with everything that changes something")


class SignedIn(View):
    """The session itself is in the cookie."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "ada@example.org",
                    "role": "viewer",
                    "csrf_token": "4f1c…",
                    "session_id": "ses-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
                    "expires_at": _TIMES["expires_at"],
                }
            ]
        }
    )

    name: str
    role: str
    csrf_token: str
    session_id: str | None
    expires_at: datetime


_SESSION: dict[str, Any] = {
    "session_id": "ses-01JGD3Z5Y8M2Q4T6V8X0ABCDEF",
    "method": "password",
    "address": "192.0.2.7",
    "client": "Mozilla/5.0",
    "created_at": _TIMES["created_at"],
    "seen_at": "2026-01-02T02:30:00Z",
    "expires_at": _TIMES["expires_at"],
    "current": True,
}


class SessionView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_SESSION]})

    session_id: str
    method: str = Field(description="password, link, setup or oidc")
    address: str
    client: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool = Field(description="The one that asks")


class SessionList(View):
    model_config = ConfigDict(json_schema_extra=example(sessions=[_SESSION]))

    sessions: list[SessionView]


class LinkView(View):
    """Shown this once; good for one sign-in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "admin",
                    "sign_in_token": "nH0z…",
                    "url": "http://127.0.0.1:8700/sign-in#nH0z…",
                    "expires_at": "2026-01-02T02:15:00Z",
                }
            ]
        }
    )

    name: str
    sign_in_token: str
    url: str = Field(description="What follows # is not sent to any server and not logged; the page there uses it up")
    expires_at: datetime
