"""Bodies and answers of the settings of notifications. Addresses go in and come out without anything secret."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, SecretStr

from agent_servicing.core.notices import Severity
from agent_servicing.core.outward import GIVE_UP_SECONDS, SAME_FOR_SECONDS
from agent_servicing.web.schemas.common import Body, Name, View, example

_RULE: dict[str, Any] = {"name": "bad-news", "targets": ["ops-chat"], "agents": None, "kinds": None, "min_severity": "error"}
_WRITTEN: dict[str, Any] = {
    "targets": [
        {"name": "ops-chat", "url": "slack://TOKEN-A/TOKEN-B/TOKEN-C/#ops", "enabled": True},
        {"name": "ops-mail", "url": {"$secret": "ops-mail-address"}, "enabled": True},
    ],
    "rules": [_RULE],
    "same_for_seconds": 300.0,
    "give_up_seconds": 3600.0,
    "page_url": "https://servicing.example.org",
    "if_revision": 3,
}
_SHOWN: dict[str, Any] = {
    "revision": 4,
    "targets": [
        {"name": "ops-chat", "url": "slack://****", "service": "Slack", "enabled": True},
        {"name": "ops-mail", "url": {"$secret": "ops-mail-address"}, "service": "E-Mail", "enabled": True},
    ],
    "rules": [_RULE],
    "same_for_seconds": 300.0,
    "give_up_seconds": 3600.0,
    "page_url": "https://servicing.example.org",
    "delivery": [
        {
            "target": "ops-chat",
            "status": "failing",
            "waiting": 2,
            "last_ok_at": "2026-01-02T02:00:00Z",
            "last_error_at": "2026-01-02T02:08:45Z",
            "last_error": "Failed to send Slack notification: Internal Server Error, error=500.",
            "failures": 1,
            "next_at": "2026-01-02T02:08:50Z",
        }
    ],
}

SeverityName = Literal["info", "warning", "error", "critical"]


class SecretReference(Body):
    """The secret that holds the address: one that is shared by all agents."""

    secret: Name = Field(alias="$secret")


class TargetBody(Body):
    name: Name
    url: SecretStr | SecretReference | None = Field(
        default=None, description="An Apprise URL, or the secret that holds one; omitted, or as it is shown: stays as it is"
    )
    enabled: bool = True


class RuleBody(Body):
    name: Name
    targets: list[Name] = Field(description="Where to; each notification goes to each target once, whatever number of rules name it")
    agents: list[Name] | None = Field(default=None, description="Only of these; null: of all, and what belongs to none")
    kinds: list[Name] | None = Field(default=None, description="Only these; null: all")
    min_severity: SeverityName = Field(default="info", description="From this one on")


class NotificationSettingsBody(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [_WRITTEN]})

    targets: list[TargetBody] = Field(description="All of them; one that is left out is removed with what waits for it")
    rules: list[RuleBody] = Field(default_factory=list, description="All of them; without rules nothing is sent")
    same_for_seconds: float = Field(default=SAME_FOR_SECONDS, description="How long the same thing is told once and counted; 0 to 86400")
    give_up_seconds: float = Field(default=GIVE_UP_SECONDS, description="How long a target is tried with one message; 10 to 604800")
    page_url: str = Field(default="", max_length=500, description="What links in messages begin with; empty: no links")
    if_revision: int | None = Field(default=None, description="Only if the settings are still at this `revision`")


class SecretReferenceView(View):
    model_config = ConfigDict(populate_by_name=True)

    secret: str = Field(alias="$secret")


class TargetView(View):
    name: str
    url: str | SecretReferenceView = Field(description="Without anything secret, or the secret that holds it")
    service: str = Field(description="What it is, in Apprise's words")
    enabled: bool


class RuleView(View):
    name: str
    targets: list[str]
    agents: list[str] | None
    kinds: list[str] | None
    min_severity: Severity


class DeliveryView(View):
    target: str
    status: Literal["ok", "failing", "unused", "off"]
    waiting: int = Field(description="Notifications that are not delivered yet")
    last_ok_at: datetime | None
    last_error_at: datetime | None
    last_error: str
    failures: int = Field(description="In a row")
    next_at: datetime | None = Field(description="When it is tried again; null: at once")


class NotificationSettingsView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    revision: int = Field(description="Counts changes")
    targets: list[TargetView]
    rules: list[RuleView]
    same_for_seconds: float
    give_up_seconds: float
    page_url: str
    delivery: list[DeliveryView] = Field(description="How sending goes, by target")


class TestView(View):
    __test__ = False
    model_config = ConfigDict(json_schema_extra=example(target="ops-chat", delivered=True, problem="", duration_ms=182.4))

    target: str
    delivered: bool
    problem: str = Field(description="Why not; empty when it got through")
    duration_ms: float
