"""Routes of where notifications are sent: the settings as a whole, and the test button. For admins, because a target is an address that the
server connects to. Parse, ask the service, show.
"""

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter
from pydantic import SecretStr

from agent_servicing.core.notices import Severity
from agent_servicing.core.outward import OutwardSettings, Rule, Target
from agent_servicing.services.access import Role
from agent_servicing.services.outward_settings import NewOutward, NewTarget
from agent_servicing.store.outbox import TargetRow
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.outward import (
    DeliveryView,
    NotificationSettingsBody,
    NotificationSettingsView,
    RuleBody,
    RuleView,
    SecretReference,
    SecretReferenceView,
    TargetBody,
    TargetView,
    TestView,
)

router = APIRouter(tags=["Notifications"])


@router.get("/settings/notifications", summary="Show where notifications are sent", **needs(Role.ADMIN))
async def notification_settings(context: Context, caller: Caller) -> NotificationSettingsView:
    """Targets without anything secret, rules, and how sending goes."""
    require_agent(caller, None)
    return _view(*await context.services.telling.settings.get())


@router.put("/settings/notifications", summary="Set where notifications are sent", **needs(Role.ADMIN))
async def put_notification_settings(context: Context, caller: Caller, body: NotificationSettingsBody) -> NotificationSettingsView:
    """Replaces the settings as a whole; no target is contacted. What waits for a target that stays goes on waiting."""
    require_agent(caller, None)
    new = NewOutward(
        targets=[_target(target) for target in body.targets],
        rules=[_rule(rule) for rule in body.rules],
        same_for_seconds=body.same_for_seconds,
        give_up_seconds=body.give_up_seconds,
        page_url=body.page_url,
        if_revision=body.if_revision,
    )
    return _view(*await context.services.telling.settings.put(new, actor=caller.name))


@router.post("/settings/notifications/targets/{name}/test", summary="Send a test to a target", **needs(Role.ADMIN))
async def test_notification_target(context: Context, caller: Caller, name: str) -> TestView:
    """Sends a message now and waits for what becomes of it, for 20 seconds at most. `delivered` false is an answer, not an error."""
    require_agent(caller, None)
    return TestView.model_validate(await context.services.telling.outward.test(name, actor=caller.name))


def _target(body: TargetBody) -> NewTarget:
    match body.url:
        case SecretStr():
            return NewTarget(name=body.name, address=body.url.get_secret_value(), enabled=body.enabled)
        case SecretReference():
            return NewTarget(name=body.name, secret=body.url.secret, enabled=body.enabled)
        case None:
            return NewTarget(name=body.name, enabled=body.enabled)


def _rule(body: RuleBody) -> Rule:
    return Rule(
        name=body.name,
        targets=tuple(body.targets),
        agents=tuple(body.agents) if body.agents is not None else None,
        kinds=tuple(body.kinds) if body.kinds is not None else None,
        least=Severity(body.min_severity),
    )


def _view(settings: OutwardSettings, rows: Mapping[str, TargetRow]) -> NotificationSettingsView:
    return NotificationSettingsView(
        revision=settings.revision,
        targets=[_shown(target) for target in settings.targets.values()],
        rules=[
            RuleView(
                name=rule.name,
                targets=list(rule.targets),
                agents=list(rule.agents) if rule.agents is not None else None,
                kinds=list(rule.kinds) if rule.kinds is not None else None,
                min_severity=rule.least,
            )
            for rule in settings.rules
        ],
        same_for_seconds=settings.same_for_seconds,
        give_up_seconds=settings.give_up_seconds,
        page_url=settings.page_url,
        delivery=[_delivery(target, rows[name]) for name, target in settings.targets.items() if name in rows],
    )


def _shown(target: Target) -> TargetView:
    url = SecretReferenceView.model_validate({"$secret": target.secret}) if target.secret is not None else target.shown
    return TargetView(name=target.name, url=url, service=target.service, enabled=target.enabled)


def _delivery(target: Target, row: TargetRow) -> DeliveryView:
    return DeliveryView(
        target=row.target,
        status=_status(target, row),
        waiting=row.waiting,
        last_ok_at=row.last_ok_at,
        last_error_at=row.last_error_at,
        last_error=row.last_error,
        failures=row.failures,
        next_at=row.next_at,
    )


def _status(target: Target, row: TargetRow) -> Literal["ok", "failing", "unused", "off"]:
    if not target.enabled:
        return "off"
    if row.failures or (row.last_error_at is not None and row.last_ok_at is None):
        return "failing"
    return "ok" if row.last_ok_at is not None else "unused"
