"""Routes of notifications: the caller's list, and what the caller has read of it. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query

from agent_servicing.services.access import Role
from agent_servicing.services.notifications import NotificationFilters
from agent_servicing.store.notifications import Notification
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.notifications import AllRead, NotificationList, NotificationsQuery, NotificationView

router = APIRouter(tags=["Notifications"])


@router.get("/notifications", summary="List notifications", **needs(Role.VIEWER))
async def list_notifications(context: Context, caller: Caller, query: Annotated[NotificationsQuery, Query()]) -> NotificationList:
    """What happened that somebody should know, newest first: of the agents this token reaches. Each caller has read its own."""
    if query.agent is not None:
        require_agent(caller, query.agent)
    filters = NotificationFilters(agents=caller.reach, **query.model_dump())
    page = await context.services.telling.notifications.list(caller.name, filters)
    views = [_view(one) for one in page.notifications]
    return NotificationList(notifications=views, unread_count=page.unread, next_cursor=page.next_cursor)


@router.post("/notifications/{notification_id}/read", summary="Mark a notification as read", **needs(Role.VIEWER))
async def read_notification(context: Context, caller: Caller, notification_id: str) -> NotificationView:
    """Read by the caller; for everybody else it stays as it is."""
    return _view(await context.services.telling.notifications.read(caller.name, notification_id, agents=caller.reach))


@router.post("/notifications/read-all", summary="Mark all notifications as read", **needs(Role.VIEWER))
async def read_all_notifications(context: Context, caller: Caller) -> AllRead:
    """All that the caller may see, whatever a list was filtered by."""
    return AllRead(read=await context.services.telling.notifications.read_all(caller.name, agents=caller.reach), unread_count=0)


def _view(one: Notification) -> NotificationView:
    return NotificationView(
        notification_id=one.notification,
        kind=one.kind,
        severity=one.severity,
        title=one.title,
        message=one.message,
        agent_id=one.agent,
        upgrade_id=one.deployment,
        link=one.link,
        at=one.at,
        last_at=one.last_at,
        count=one.count,
        read=one.read,
    )
