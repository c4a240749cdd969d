"""Answers and queries of notifications."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Name, NextCursor, View, example
from agent_servicing.web.schemas.queries import PageQuery

_NOTIFICATION: dict[str, Any] = {
    "notification_id": "ntf-01K8Y3J5M6Q2V7",
    "kind": "deployment_rolled_back",
    "severity": "error",
    "title": "WowCache upgrade to v2.0.0 rolled back due to high error rate",
    "message": "Error rate threshold exceeded (8.2% > 5%) (in stage monitor_metrics_50). Took 245 s; downtime 0 s.",
    "agent_id": "WowCache",
    "upgrade_id": "upg-01K8Y3J5M6Q2V7",
    "link": "/deployments/upg-01K8Y3J5M6Q2V7",
    "at": "2026-01-02T02:08:45Z",
    "last_at": "2026-01-02T02:08:45Z",
    "count": 1,
    "read": False,
}


class NotificationsQuery(PageQuery):
    unread: bool = Field(default=False, description="Only what the caller has not read")
    kind: Name | None = Field(default=None, description="deployment_rolled_back, version_available, …")
    agent: Name | None = Field(default=None, description="Only of this agent")


class NotificationView(View):
    model_config = ConfigDict(json_schema_extra={"examples": [_NOTIFICATION]})

    notification_id: str
    kind: str
    severity: str = Field(description="info, warning, error, critical")
    title: str
    message: str
    agent_id: str | None
    upgrade_id: str | None
    link: str = Field(description="Path of the page that shows more")
    at: datetime
    last_at: datetime = Field(description="When the same thing happened last")
    count: int = Field(description="How often it happened from `at` to `last_at`")
    read: bool = Field(description="By the caller")


class NotificationList(View):
    model_config = ConfigDict(json_schema_extra=example(notifications=[_NOTIFICATION], unread_count=1, next_cursor=None))

    notifications: list[NotificationView]
    unread_count: int = Field(description="All that the caller may see and has not read, whatever the filters")
    next_cursor: NextCursor


class AllRead(View):
    model_config = ConfigDict(json_schema_extra=example(read=3, unread_count=0))

    read: int = Field(description="How many were unread until now")
    unread_count: int
