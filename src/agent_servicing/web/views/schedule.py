"""The line, the queue and the lock as the API shows them; pure."""

from datetime import datetime

from agent_servicing.core.schedule import Lock, Rule, Span, Stop
from agent_servicing.services import schedule as line
from agent_servicing.services.agent_queue import QueueView
from agent_servicing.services.upcoming import Planned, Upcoming
from agent_servicing.web.schemas.schedule import (
    AgentQueueView,
    GateView,
    LimitView,
    LockState,
    LockView,
    PlacesView,
    PlannedView,
    RuleView,
    ScheduleView,
    SpanView,
    StopView,
    UpcomingView,
)
from agent_servicing.web.views.deployments import deployment_view


def schedule_view(view: line.LineView, rules: list[line.RuleView]) -> ScheduleView:
    """`rules` are those of the view that its reader may see."""
    return ScheduleView(rules=[rule_view(rule) for rule in rules], stopped=stop_view(view.stop), limit=limit_view(view))


def rule_view(view: line.RuleView) -> RuleView:
    rule = view.rule
    return RuleView(
        rule_id=rule.rule,
        kind=rule.kind.value,
        name=rule.name,
        reason=rule.reason,
        operator=rule.actor,
        created_at=rule.created_at,
        agents=list(rule.agents),
        starts_at=rule.starts_at,
        ends_at=rule.ends_at,
        cron=rule.cron,
        duration_seconds=rule.duration_seconds if rule.cron is not None else None,
        time_zone=rule.time_zone,
        active=view.active,
        until=view.until,
        next_start=view.next_start,
        over=view.over,
        warnings=list(view.warnings),
    )


def stop_view(stop: Stop | None, paused: list[str] | None = None) -> StopView | None:
    return StopView(operator=stop.actor, reason=stop.reason, since=stop.since, paused=paused or []) if stop else None


def limit_view(view: line.LineView) -> LimitView:
    return LimitView(
        max_concurrent_deployments=view.places.limit,
        default=view.default_limit,
        is_default=not view.limit_set,
        under_way=view.places.under_way,
        waiting=view.waiting,
    )


def upcoming_view(view: Upcoming) -> UpcomingView:
    return UpcomingView(
        starts_at=view.start,
        ends_at=view.end,
        deployments=[_planned(each) for each in view.deployments],
        spans=[_span(rule, span) for rule, span in view.spans],
    )


def lock_view(lock: Lock) -> LockView:
    return LockView(agent_id=lock.agent, holder=lock.holder, reason=lock.reason, since=lock.since, expires_at=lock.expires_at)


def lock_state(agent: str, lock: Lock | None) -> LockState:
    return LockState(agent_id=agent, lock=lock_view(lock) if lock else None)


def queue_view(view: QueueView, *, now: datetime) -> AgentQueueView:
    def shown(deployment_of: QueueView, which: str) -> list[object]:
        return [deployment_view(each, now=now, state=deployment_of.state) for each in getattr(deployment_of, which)]

    return AgentQueueView.model_validate(
        {
            "agent_id": view.state.agent.agent,
            "holder": deployment_view(view.holder, now=now, state=view.state) if view.holder else None,
            "lock": lock_view(view.lock) if view.lock else None,
            "gate": GateView(open=view.gate.open, reason=view.gate.reason, until=view.gate.until),
            "places": PlacesView(limit=view.places.limit, under_way=view.places.under_way),
            "queue": shown(view, "queue"),
            "scheduled": shown(view, "scheduled"),
        }
    )


def _planned(planned: Planned) -> PlannedView:
    deployment = planned.deployment
    return PlannedView(
        upgrade_id=deployment.deployment,
        agent_id=deployment.agent,
        kind=deployment.kind.value,
        status=deployment.status.value,
        to_version=deployment.to_version,
        operator=deployment.actor,
        scheduled_at=deployment.scheduled_at,
        expected_start=planned.expected_start,
        expected_end=planned.expected_end,
        conflicts=list(planned.conflicts),
    )


def _span(rule: Rule, span: Span) -> SpanView:
    return SpanView(
        rule_id=rule.rule, kind=rule.kind.value, name=rule.name, agents=list(rule.agents), starts_at=span.start, ends_at=span.end
    )
