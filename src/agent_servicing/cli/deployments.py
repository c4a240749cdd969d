"""Commands on deployments: upgrade, rollback, pause, resume, promote, cancel. `main` registers them."""

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.client import Api, Json
from agent_servicing.cli.exits import ExitCode, Usage
from agent_servicing.cli.output import clean, facts, table
from agent_servicing.cli.progress import headline, identity
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import watch as follow
from agent_servicing.cli.when import upcoming
from agent_servicing.cli.words import moment, number, with_zone
from agent_servicing.core.errors import NotFound

TRAFFIC = "Traffic"
SAFETY = "Safety"
TIMING = "Timing"


def _option(name: str, panel: str, text: str, **more: Any) -> Any:
    return typer.Option(name, rich_help_panel=panel, help=text, **more)


Strategy = Annotated[
    str, typer.Option("--strategy", "-s", help="blue-green; canary and rolling follow", autocompletion=lambda: list(options.STRATEGIES))
]
At = Annotated[str | None, _option("--at", TIMING, 'Start then: RFC 3339, 02:00, "tomorrow 02:00", "in 10 min"', metavar="TIME")]
WhenBusy = Annotated[str, _option("--when-busy", TIMING, "When another deployment is under way", metavar="queue|reject|take-over")]
Grace = Annotated[
    float | None, _option("--start-grace-seconds", TIMING, "How late it may start when no server looked at its time", metavar="S", min=0)
]
OverrideFreeze = Annotated[bool, _option("--override-freeze", TIMING, "Admins: begin in spite of freezes, windows and a stopped line")]
IfVersion = Annotated[str | None, _option("--if-version", SAFETY, "Only while this version serves", metavar="V")]
Steps = Annotated[str | None, _option("--steps", TRAFFIC, "Shares of traffic in percent, the last one 100", metavar="25,50,100")]
MonitorSeconds = Annotated[float | None, _option("--monitor-seconds", TRAFFIC, "How long each share is watched", metavar="S")]
BakeSeconds = Annotated[
    float | None, _option("--bake-seconds", TRAFFIC, "Watch so long after 100 %, roll back if it turns bad", metavar="S", min=0)
]
KeepWarm = Annotated[
    float | None, _option("--keep-warm-seconds", TRAFFIC, "How long the old version stays ready to take over", metavar="S", min=0)
]
ErrorRate = Annotated[
    float | None, _option("--error-rate-threshold", SAFETY, "Roll back above so many percent errors", metavar="%", min=0, max=100)
]
Latency = Annotated[float | None, _option("--latency-threshold-ms", SAFETY, "Roll back when p95 latency is above", metavar="MS")]
MinRequests = Annotated[int | None, _option("--min-requests", SAFETY, "Fewer requests than this are no verdict", metavar="N")]
HoldSeconds = Annotated[
    float | None, _option("--hold-seconds", SAFETY, "How long a share waits for a verdict, then is taken back", metavar="S", min=0)
]
NoAutoRollback = Annotated[bool, _option("--no-auto-rollback", SAFETY, "Only tell when a threshold is passed")]
Acknowledge = Annotated[bool, _option("--acknowledge-breaking", SAFETY, "You have read the breaking changes")]


def upgrade(
    session: Session,
    agent: options.Agent,
    version: Annotated[str, typer.Argument(help="The version to go to", metavar="VERSION")],
    reason: options.Reason,
    strategy: Strategy = "blue-green",
    at: At = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing")] = False,
    watch: options.Watch = False,
    steps: Steps = None,
    monitor_seconds: MonitorSeconds = None,
    bake_seconds: BakeSeconds = None,
    keep_warm_seconds: KeepWarm = None,
    error_rate_threshold: ErrorRate = None,
    latency_threshold_ms: Latency = None,
    min_requests: MinRequests = None,
    hold_seconds: HoldSeconds = None,
    no_auto_rollback: NoAutoRollback = False,
    acknowledge_breaking: Acknowledge = False,
    when_busy: WhenBusy = "queue",
    start_grace_seconds: Grace = None,
    override_freeze: OverrideFreeze = False,
    if_version: IfVersion = None,
) -> None:
    """Upgrade AGENT to VERSION without downtime; it is rolled back by itself when the new version is worse.

    Without --watch it ends once the request is accepted. With it: exit code 0 completed, 3 rolled back, 1 failed or cancelled.
    """
    if when_busy not in {"queue", "reject", "take-over"}:
        raise Usage(f"--when-busy is queue, reject or take-over, not {when_busy!r}.")
    limits = _given(error_rate_threshold=error_rate_threshold, latency_threshold_ms=latency_threshold_ms, min_requests=min_requests)
    traffic = _given(steps=percents(steps), monitor_seconds=monitor_seconds)
    body = {
        "target_version": version,
        "strategy": strategy,
        "reason": reason,
        "auto_rollback": {"enabled": not no_auto_rollback, **limits},
        "acknowledge_breaking": acknowledge_breaking,
        "when_busy": when_busy.replace("-", "_"),
        **({"override_freeze": True} if override_freeze else {}),
        **_given(start_grace_seconds=start_grace_seconds, if_version=if_version),
        **({strategy.replace("-", "_"): traffic} if traffic else {}),
        **_given(
            bake_seconds=bake_seconds, keep_warm_seconds=keep_warm_seconds, hold_seconds=hold_seconds, schedule=_schedule(session, at)
        ),
    }
    if dry_run:
        _show_plan(session, session.api.upgrade(agent, {**body, "dry_run": True}))
        return
    started(session, session.api.upgrade(agent, body), agent=agent, watching=watch)


def rollback(
    session: Session,
    agent: options.Agent,
    reason: options.Reason,
    version: Annotated[str | None, typer.Argument(help="A rollback point; omitted: the previous version", metavar="[VERSION]")] = None,
    watch: options.Watch = False,
    if_version: IfVersion = None,
) -> None:
    """Take AGENT back to an earlier version, at once: a running upgrade is aborted for it."""
    body = {"reason": reason, **_given(target_version=version, if_version=if_version)}
    started(session, session.api.rollback(agent, body), agent=agent, watching=watch)


def pause(session: Session, deployment: options.Deployment, reason: options.Reason = "") -> None:
    """Keep a deployment where it is; thresholds stay watched."""
    _verb(session, deployment, "pause", {"reason": reason})


def resume(session: Session, deployment: options.Deployment, reason: options.Reason = "") -> None:
    """Let a paused deployment go on."""
    _verb(session, deployment, "resume", {"reason": reason})


def promote(
    session: Session,
    deployment: options.Deployment,
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % at once, not to the next step")] = False,
    reason: options.Reason = "",
) -> None:
    """End the waiting of the current step and go on to the next."""
    _verb(session, deployment, "promote", {"reason": reason, "full": full})


def cancel(session: Session, deployment: options.Deployment, reason: options.Reason = "", watch: options.Watch = False) -> None:
    """Give a deployment up; one that is under way is rolled back."""
    _verb(session, deployment, "cancel", {"reason": reason}, watching=watch)


def started(session: Session, view: Json, *, agent: str, watching: bool) -> None:
    """Tell about a deployment that was just accepted, and follow it when asked to."""
    view = {"agent_id": agent, **view}
    if watching:
        follow(session, view)
    session.out.result(view, lambda: facts(_accepted(view)))


def find(api: Api, deployment: str) -> Json:
    """The deployment of that id, whichever agent it belongs to. Raises NotFound."""
    for agent in api.agents():
        try:
            return api.deployment(str(agent.get("agent_id", "")), deployment)
        except NotFound:
            continue  # another agent's
    raise NotFound(f"There is no deployment {deployment}.", hint="`servicing status AGENT` lists an agent's deployments.")


def percents(text: str | None) -> list[float] | None:
    """`25,50,100` as numbers; whether they make sense is the server's to say. Raises `Usage`."""
    if text is None:
        return None
    try:
        return [float(part.strip().removesuffix("%")) for part in text.split(",")]
    except ValueError:
        raise Usage(f"--steps takes percentages such as 25,50,100, not {text!r}.") from None


def _given(**values: Any) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _schedule(session: Session, at: str | None) -> str | None:
    if at is None:
        return None
    found = upcoming(at, session.surroundings.clock.now())
    session.out.note(f"Scheduled for {with_zone(found)}.")
    return found.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _accepted(view: Json) -> Sequence[tuple[str, object]]:
    deployment = identity(view)
    scheduled = moment(view.get("scheduled_at"))
    minutes = view.get("estimated_duration_minutes")
    return (
        ("deployment", deployment),
        ("what", headline(view)),
        ("status", str(view.get("status", "")).replace("_", " ")),
        ("place in queue", view.get("queue_position")),
        ("starts", with_zone(scheduled) if scheduled else None),
        ("waits for", view.get("message")),
        ("takes about", number(minutes, " min") if minutes else None),
        ("watch it", f"servicing status {deployment} --watch"),
    )


def _verb(session: Session, deployment: str, verb: str, body: Json, *, watching: bool = False) -> None:
    agent = str(find(session.api, deployment).get("agent_id", ""))
    view = session.api.verb(agent, deployment, verb, {name: value for name, value in body.items() if value != ""})
    if watching:
        follow(session, {"agent_id": agent, **view})
    session.out.result(view, lambda: facts((("deployment", deployment), ("what", headline(view)), ("status", view.get("status")))))


def _begins(plan: Json) -> str | None:
    """Said only where it is not at once: the plan's own words are in its warnings."""
    found = moment(plan.get("expected_start"))
    return with_zone(found) if found and (plan.get("scheduled_at") or plan.get("warnings")) else None


def _show_plan(session: Session, plan: Json) -> None:
    """Exit code 1 when the upgrade would be refused, so that a script may ask first."""
    refusals = [r for r in plan.get("refusals") or () if isinstance(r, dict)]
    stages = [(s.get("stage"), s.get("sentence")) for s in plan.get("stages") or () if isinstance(s, dict)]
    heading = facts(
        (
            ("plan", headline(plan)),
            ("strategy", plan.get("strategy")),
            ("begins", _begins(plan)),
            ("takes about", number(plan.get("estimated_duration_minutes"), " min")),
            ("state", str(plan.get("state_door") or "").replace("_", " ")),
        )
    )
    session.out.result(plan, lambda: heading, lambda: "", lambda: table(("stage", "what happens"), stages))
    for warning in plan.get("warnings") or ():
        session.out.say(clean(f"Warning: {warning}"))
    for refusal in refusals:
        session.out.note(clean(f"Refused: {refusal.get('message', '')} {refusal.get('hint', '')}".strip()))
    if refusals:
        raise typer.Exit(ExitCode.FAILED)
    session.out.say("Nothing was changed.")
