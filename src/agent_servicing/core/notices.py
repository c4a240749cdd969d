"""Which events people are told about, and in which words: an event in, a notice or nothing out. Asked by `services.notifications`.

A kind is one line of `KINDS`, an event that makes one is one line of `_TELLERS`. Texts are for people, in a list and in a chat: what happened in
the title, why and how much in the message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agent_servicing.core import events
from agent_servicing.core.events import SYSTEM, Event

MESSAGE_CHARACTERS_MAX: Final = 2_000
"""Longer messages are cut: what a problem's last lines of output say stands with the deployment."""

TARGET_FAILED: Final = "notification_not_delivered"
"""The event and the kind of what a target did not get."""

ISSUE_FAILED: Final = "issue_not_delivered"
"""The event and the kind of a report that no tracker took."""

TEST: Final = "test"
"""The kind of what the test button sends; it is no notification of the list."""

NOTIFICATION: Final = "notification"
"""The live event of a new notification. It makes none itself."""


class Severity(StrEnum):
    """How bad. `info` is news, `warning` wants to be looked at, `error` went wrong, `critical` goes on being wrong."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    def reaches(self, least: "Severity") -> bool:
        order = list(Severity)
        return order.index(self) >= order.index(least)


KINDS: Final[Mapping[str, Severity]] = {
    "deployment_started": Severity.INFO,
    "deployment_succeeded": Severity.INFO,
    "deployment_cancelled": Severity.INFO,
    "deployment_rolled_back": Severity.ERROR,
    "deployment_failed": Severity.ERROR,
    "decision_wanted": Severity.WARNING,
    "approval_wanted": Severity.WARNING,
    "version_available": Severity.INFO,
    "security_update": Severity.WARNING,
    "version_moved": Severity.WARNING,
    "version_withdrawn": Severity.ERROR,
    "agent_unhealthy": Severity.ERROR,
    "schedule_missed": Severity.WARNING,
    "config_applied": Severity.INFO,
    "config_refused": Severity.WARNING,
    "config_reverted": Severity.WARNING,
    "config_drifted": Severity.WARNING,
    "staging_completed": Severity.INFO,
    "secret_not_delivered": Severity.ERROR,
    ISSUE_FAILED: Severity.WARNING,
    TARGET_FAILED: Severity.ERROR,
}
"""Every kind of notification with the severity it usually has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What to tell. `same`: notices with an equal one are the same thing happening again. `good`: something came out well."""

    kind: str
    severity: Severity
    title: str
    message: str
    link: str
    same: str
    good: bool = False


def notice(event: Event) -> Notice | None:
    """What people are to be told of this event; None for most."""
    teller = _TELLERS.get(event.type)
    found = teller(event) if teller is not None else None
    return replace(found, message=_cut(found.message)) if found is not None else None


def told_types() -> tuple[str, ...]:
    """Types of the events that may make a notice."""
    return tuple(sorted(_TELLERS))


# --- deployments ---


def _started(event: Event) -> Notice:
    return _made(event, "deployment_started", f"{_what(event)} started", _sentences(f"By {event.actor}", event.reason))


def _closed(event: Event) -> Notice | None:
    """The closing entry of a deployment. The data plane's own entry of a rollback, which lies beside it, says nothing new."""
    status = event.data.get("status")
    if "auto_triggered" in event.data or "scheduled_at" in event.data:
        return None
    match status:
        case "success":
            return replace(_made(event, "deployment_succeeded", _succeeded(event), _figures(event)), good=True)
        case "rolled_back":
            return _rolled_back(event)
        case "failed":
            return _made(event, "deployment_failed", f"{_what(event)} failed", _sentences(_why_back(event), _figures(event)))
        case "cancelled":
            why = _text(event, "note") or _why_back(event)
            return _made(event, "deployment_cancelled", f"{_what(event)} cancelled", _sentences(why))
        case _:
            return None


def _succeeded(event: Event) -> str:
    agent, to = event.agent, _text(event, "to_version")
    words = {events.AUDIT_ROLLBACK: "rolled back to", events.AUDIT_INSTALL: "installed in", events.AUDIT_RESTART: "restarted with"}
    return f"{agent} {words.get(event.type, 'upgraded to')} v{to}"


def _rolled_back(event: Event) -> Notice:
    trigger = _inner(event, "rollback")
    title = f"{event.agent} {_noun(event)} to v{_text(event, 'to_version')} rolled back"
    metric = trigger.get("metric")
    if metric is not None:
        title += f" due to {_METRICS.get(str(metric), str(metric))}"
    elif not trigger.get("auto_triggered", True):
        title += " by an operator"
    report = f"Report it with: servicing issue report {event.agent} {event.deployment}"
    return _made(event, "deployment_rolled_back", title, _sentences(_why_back(event), _figures(event), report))


_METRICS: Final = {"error_rate": "high error rate", "latency_ms": "high latency"}


def _why_back(event: Event) -> str:
    trigger = _inner(event, "rollback")
    reason = str(trigger.get("reason") or "")
    stage = trigger.get("stage")
    return f"{reason} (in stage {stage})" if reason and stage else reason


def _figures(event: Event) -> str:
    """How long, and what users noticed, as the data plane counted it."""
    parts = []
    seconds = event.data.get("duration_seconds")
    if isinstance(seconds, int | float):
        parts.append(f"took {seconds:.0f} s")
    impact = _inner(event, "impact")
    downtime = impact.get("downtime_seconds")
    if isinstance(downtime, int | float):
        parts.append(f"downtime {downtime:g} s")
    if impact.get("candidate_requests"):
        parts.append(f"{impact['candidate_requests']} requests reached the new version, {impact.get('candidate_errors', 0)} of them failed")
        if impact.get("conversations_touched") is not None:
            parts.append(f"{impact['conversations_touched']} conversations were touched")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def _paused(event: Event) -> Notice | None:
    """A pause that nobody asked for waits for somebody."""
    if event.actor != SYSTEM:
        return None
    title = f"{event.agent}: a deployment waits for your decision"
    return _made(event, "decision_wanted", title, _sentences(event.reason, "Promote, resume or cancel it"))


def _missed(event: Event) -> Notice:
    title = f"{event.agent}: the scheduled deployment of v{_text(event, 'to_version')} was missed"
    return _made(event, "schedule_missed", title, _sentences(event.reason))


def _approval(event: Event) -> Notice:
    title = f"{event.agent}: approval wanted" + (f" for v{_text(event, 'to_version')}" if event.data.get("to_version") else "")
    how = f"Approve it with: servicing approve {event.deployment}"
    by = _text(event, "approve_by")
    return _made(event, "approval_wanted", title, _sentences(f"Asked by {event.actor}", event.reason, f"Wanted by {by}" if by else "", how))


# --- versions ---


def _available(event: Event) -> Notice:
    version, kind = _text(event, "version"), _text(event, "update_type")
    critical, security = event.data.get("critical") is True, event.data.get("security_patch") is True
    running = f"{event.agent} runs v{_text(event, 'current_version')}"
    if not (critical or security):
        return _made(
            event, "version_available", f"{event.agent} v{version} available", _sentences(f"A {kind} update", running), same=version
        )
    word = "Critical security" if critical and security else "Critical" if critical else "Security"
    made = _made(
        event, "security_update", f"{word} update: {event.agent} v{version}", _sentences(f"A {kind} update", running), same=version
    )
    return replace(made, severity=Severity.CRITICAL if critical else made.severity)


def _moved(event: Event) -> Notice:
    version = _text(event, "version")
    return _made(event, "version_moved", f"{event.agent} v{version} was changed at its source", _sentences(event.reason), same=version)


def _withdrawn(event: Event) -> Notice | None:
    """Of what runs: somebody has to decide where to go. Of any other version it is in the list."""
    if event.data.get("running") is not True:
        return None
    version = _text(event, "version")
    title = f"{event.agent} runs v{version}, which was withdrawn"
    how = f"Go to another version: servicing versions {event.agent}"
    return _made(event, "version_withdrawn", title, _sentences(event.reason, how), same=version)


# --- instances ---


def _unhealthy(event: Event) -> Notice:
    """One for the agent, whichever of its instances it is: a flapping one must not flood."""
    message = _sentences(f"Version {_text(event, 'version')}: {_text(event, 'problem')}")
    made = _made(event, "agent_unhealthy", f"{event.agent}: instance {_text(event, 'instance')} is unhealthy", message)
    return replace(made, same=f"agent_unhealthy {event.agent}")


def _looping(event: Event) -> Notice:
    version = _text(event, "version")
    message = _sentences(f"{_text(event, 'crashes')} crashes in a row: {_text(event, 'problem')}")
    made = _made(event, "agent_unhealthy", f"{event.agent} v{version} keeps crashing", message, same=f"crash loop of {version}")
    return replace(made, severity=Severity.CRITICAL)


# --- configuration, staging, secrets ---


def _config(kind: str, words: str) -> Callable[[Event], Notice]:
    def teller(event: Event) -> Notice:
        revision = _text(event, "config_version")
        keys = ", ".join(_inner(event, "config_changes")) or None
        by = f"By {event.actor}" if event.actor != SYSTEM else ""
        said = _text(event, "message")
        found = _made(
            event, kind, f"{event.agent}: {words}", _sentences(f"{revision}: {keys}" if keys else revision, by, said), same=revision
        )
        return replace(found, good=kind == "config_applied", link=f"/agents/{event.agent}?tab=config")

    return teller


def _drifted(event: Event) -> Notice:
    title = f"{event.agent}: an instance had another configuration than the one in force"
    made = _made(event, "config_drifted", title, _sentences(event.reason, "It was given that again"))
    return replace(made, same=f"config_drifted {event.agent}", link=f"/agents/{event.agent}?tab=config")


def _staged(event: Event) -> Notice:
    bad = _text(event, "recommendation") == "issues_detected" or _text(event, "status") == "failed"
    version, run = _text(event, "version"), _text(event, "run_id")
    outcome = "issues detected" if bad else "safe to deploy"
    reasons = event.data.get("reasons")
    why = [str(reason) for reason in reasons] if isinstance(reasons, list | tuple) else []
    words = _sentences(*(why or [_text(event, "message")]))
    made = _made(event, "staging_completed", f"{event.agent} v{version} in staging: {outcome}", words, same=run)
    made = replace(made, link=f"/agents/{event.agent}/staging/{run}" if run else made.link, good=not bad)
    return replace(made, severity=Severity.WARNING) if bad else made


def _secret_missing(event: Event) -> Notice:
    name = _text(event, "name")
    title = f"{event.agent} did not get the newest version of the secret {name}"
    retry = f"Then: servicing secret apply {name}"
    return _made(event, "secret_not_delivered", title, _sentences(event.reason, retry), same=name)


# --- telling itself ---


def _target_failed(event: Event) -> Notice:
    target = _text(event, "target")
    made = _made(event, TARGET_FAILED, f"Notifications do not reach {target}", _sentences(_text(event, "problem")), same=target)
    return replace(made, link="/settings?part=notifications")


def _issue_failed(event: Event) -> Notice:
    message = _sentences(_text(event, "problem"), "The report is kept and can be downloaded")
    return _made(event, ISSUE_FAILED, f"{event.agent}: the report could not be sent", message, same=_text(event, "issue_id"))


_TELLERS: Final[Mapping[str, Callable[[Event], Notice | None]]] = {
    events.STARTED: _started,
    events.AUDIT_UPGRADE: _closed,
    events.AUDIT_INSTALL: _closed,
    events.AUDIT_RESTART: _closed,
    events.AUDIT_ROLLBACK: _closed,
    events.PAUSED: _paused,
    events.SCHEDULE_MISSED: _missed,
    events.VERSION_AVAILABLE: _available,
    "version_moved": _moved,
    "version_withdrawn": _withdrawn,
    events.INSTANCE_UNHEALTHY: _unhealthy,
    events.CRASH_LOOP: _looping,
    events.CONFIG_APPLIED: _config("config_applied", "configuration updated"),
    events.CONFIG_REFUSED: _config("config_refused", "a change of the configuration was refused"),
    events.CONFIG_REVERTED: _config("config_reverted", "a change of the configuration was taken back"),
    events.CONFIG_DRIFTED: _drifted,
    "approval_wanted": _approval,
    events.STAGING_COMPLETED: _staged,
    "secret_not_delivered": _secret_missing,
    TARGET_FAILED: _target_failed,
    ISSUE_FAILED: _issue_failed,
}


def _made(event: Event, kind: str, title: str, message: str, *, same: str | None = None) -> Notice:
    """Links lead to the deployment where there is one, else to the agent. Two deployments are never the same thing."""
    agent = f"/agents/{event.agent}"
    link = f"{agent}/deployments/{event.deployment}" if event.deployment else agent if event.agent else "/"
    subject = same if same is not None else event.deployment or ""
    return Notice(kind=kind, severity=KINDS[kind], title=title, message=message, link=link, same=f"{kind} {event.agent} {subject}".strip())


def _what(event: Event) -> str:
    """`WowCache: upgrade from v1.0.0 to v2.0.0`."""
    old, new = _text(event, "from_version"), _text(event, "to_version")
    way = f"with v{new}" if old == new else f"from v{old} to v{new}" if old else f"of v{new}"
    return f"{event.agent}: {_noun(event)} {way}"


def _noun(event: Event) -> str:
    if event.type != events.STARTED:
        return {events.AUDIT_INSTALL: "installation"}.get(event.type, event.type)
    old, new = event.data.get("from_version"), event.data.get("to_version")
    if old is None:
        return "installation"
    return "restart" if old == new else "rollback" if (event.deployment or "").startswith("rbk-") else "upgrade"


def _text(event: Event, key: str) -> str:
    value = event.data.get(key)
    return "" if value is None else str(value)


def _inner(event: Event, key: str) -> Mapping[str, object]:
    value = event.data.get(key)
    return value if isinstance(value, Mapping) else {}


def _sentences(*parts: str) -> str:
    """What is not empty, each with its full stop."""
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in (part.strip() for part in parts) if part)


def _cut(message: str) -> str:
    return message if len(message) <= MESSAGE_CHARACTERS_MAX else message[: MESSAGE_CHARACTERS_MAX - 1] + "…"
