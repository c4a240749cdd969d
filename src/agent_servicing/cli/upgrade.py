"""The command `upgrade` and its options, by strategy. `main` registers it."""

from datetime import UTC
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import IfVersion, given, started
from agent_servicing.cli.exits import ExitCode, Usage
from agent_servicing.cli.output import clean, facts, table
from agent_servicing.cli.progress import headline
from agent_servicing.cli.session import Session
from agent_servicing.cli.thresholds import ORIGINS, limit
from agent_servicing.cli.when import upcoming
from agent_servicing.cli.words import moment, number, with_zone

TRAFFIC = "Traffic"
SAFETY = "Safety"
TIMING = "Timing"


def _option(name: str, panel: str, text: str, **more: Any) -> Any:
    return typer.Option(name, rich_help_panel=panel, help=text, **more)


Strategy = Annotated[
    str, typer.Option("--strategy", "-s", help="blue-green, canary or rolling", autocompletion=lambda: list(options.STRATEGIES))
]
At = Annotated[str | None, _option("--at", TIMING, 'Start then: RFC 3339, 02:00, "tomorrow 02:00", "in 10 min"', metavar="TIME")]
WhenBusy = Annotated[str, _option("--when-busy", TIMING, "When another deployment is under way", metavar="queue|reject|take-over")]
Grace = Annotated[
    float | None, _option("--start-grace-seconds", TIMING, "How late it may start when no server looked at its time", metavar="S", min=0)
]
OverrideFreeze = Annotated[bool, _option("--override-freeze", TIMING, "Admins: begin in spite of freezes, windows and a stopped line")]
BackAt = Annotated[str | None, _option("--back-at", TIMING, "Take it back at that time unless somebody promotes it", metavar="TIME")]
ConfirmSeconds = Annotated[
    float | None, _option("--confirm-seconds", TIMING, "Take it back so long after 100 % unless promoted", metavar="S", min=0)
]
BakeUntil = Annotated[str | None, _option("--bake-until", TIMING, "Watch until then, roll back if it turns bad", metavar="TIME")]
Steps = Annotated[str | None, _option("--steps", TRAFFIC, "Blue-green: shares in percent, the last one 100", metavar="25,50,100")]
Percent = Annotated[float | None, _option("--percent", TRAFFIC, "Canary: part of the instances and of new conversations", metavar="%")]
BatchSize = Annotated[
    str | None, _option("--batch-size", TRAFFIC, "Rolling and promoted canary: instances replaced at once", metavar="N|N%")
]
PauseSeconds = Annotated[
    float | None, _option("--pause-seconds", TRAFFIC, "Rolling and promoted canary: watch between batches", metavar="S", min=0)
]
MonitorSeconds = Annotated[
    float | None, _option("--monitor-seconds", TRAFFIC, "How long each share, or the canary, is watched", metavar="S")
]
BakeSeconds = Annotated[
    float | None, _option("--bake-seconds", TRAFFIC, "Watch so long after 100 %, roll back if it turns bad", metavar="S", min=0)
]
Control = Annotated[float | None, _option("--control-percent", TRAFFIC, "Stays with the old version through the bake", metavar="%")]
KeepWarm = Annotated[
    float | None, _option("--keep-warm-seconds", TRAFFIC, "How long the old version stays ready to take over", metavar="S", min=0)
]
ErrorRate = Annotated[str | None, _option("--error-rate-threshold", SAFETY, "Roll back above so many percent errors", metavar="%|none")]
Latency = Annotated[str | None, _option("--latency-threshold-ms", SAFETY, "Roll back when latency is above", metavar="MS|none")]
Quantile = Annotated[float | None, _option("--latency-quantile", SAFETY, "Which latency: 0.95 is p95", metavar="Q")]
PromoteErrorRate = Annotated[float | None, _option("--promote-error-rate", SAFETY, "Below so many percent errors it is fine", metavar="%")]
PromoteLatency = Annotated[float | None, _option("--promote-latency-ms", SAFETY, "Below this latency it is fine", metavar="MS")]
MinRequests = Annotated[int | None, _option("--min-requests", SAFETY, "Fewer requests than this are no verdict", metavar="N")]
WarmupSeconds = Annotated[
    float | None, _option("--warmup-seconds", SAFETY, "First seconds in which only an all-out failure counts", metavar="S", min=0)
]
HoldSeconds = Annotated[
    float | None, _option("--hold-seconds", SAFETY, "How long a share waits for a verdict, then is taken back", metavar="S", min=0)
]
OnInconclusive = Annotated[
    str | None, _option("--on-inconclusive", SAFETY, "After a watch without a verdict", metavar="promote|hold|rollback")
]
PromoteEarly = Annotated[bool, _option("--promote-early", SAFETY, "Go on as soon as the verdict is passing")]
NoAutoRollback = Annotated[bool, _option("--no-auto-rollback", SAFETY, "Only tell when a threshold is passed")]
NoSnapshot = Annotated[bool, _option("--no-snapshot", SAFETY, "Leave out the copy of the state before anything changes")]
NoVerify = Annotated[bool, _option("--no-verify", SAFETY, "Leave out the version's own tests after 100 %")]
Acknowledge = Annotated[bool, _option("--acknowledge-breaking", SAFETY, "You have read the breaking changes")]
OverrideStaging = Annotated[bool, _option("--override-staging", SAFETY, "For admins: pass the staging gate")]


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
    percent: Percent = None,
    batch_size: BatchSize = None,
    pause_seconds: PauseSeconds = None,
    monitor_seconds: MonitorSeconds = None,
    bake_seconds: BakeSeconds = None,
    bake_until: BakeUntil = None,
    control_percent: Control = None,
    confirm_seconds: ConfirmSeconds = None,
    back_at: BackAt = None,
    keep_warm_seconds: KeepWarm = None,
    error_rate_threshold: ErrorRate = None,
    latency_threshold_ms: Latency = None,
    latency_quantile: Quantile = None,
    promote_error_rate: PromoteErrorRate = None,
    promote_latency_ms: PromoteLatency = None,
    min_requests: MinRequests = None,
    warmup_seconds: WarmupSeconds = None,
    hold_seconds: HoldSeconds = None,
    on_inconclusive: OnInconclusive = None,
    promote_early: PromoteEarly = False,
    no_auto_rollback: NoAutoRollback = False,
    no_verify: NoVerify = False,
    no_snapshot: NoSnapshot = False,
    acknowledge_breaking: Acknowledge = False,
    when_busy: WhenBusy = "queue",
    start_grace_seconds: Grace = None,
    override_freeze: OverrideFreeze = False,
    override_staging: OverrideStaging = False,
    if_version: IfVersion = None,
) -> None:
    """Upgrade AGENT to VERSION without downtime; it is rolled back by itself when the new version is worse.

    Without --watch it ends once the request is accepted. With it: exit code 0 completed, 3 rolled back, 1 failed or cancelled.
    """
    _check_words(when_busy, on_inconclusive)
    shape = given(
        steps=percents(steps),
        percent=percent,
        batch_size=batch(batch_size),
        pause_seconds=pause_seconds,
        monitor_seconds=monitor_seconds,
    )
    thresholds = given(error_rate_threshold=error_rate_threshold, latency_threshold_ms=latency_threshold_ms)
    limits = given(
        latency_quantile=latency_quantile,
        promote_error_rate=promote_error_rate,
        promote_latency_ms=promote_latency_ms,
        min_requests=min_requests,
    )
    body = {
        "target_version": version,
        "strategy": strategy,
        "reason": reason,
        "auto_rollback": {"enabled": not no_auto_rollback, **{n: limit(n, text) for n, text in thresholds.items()}, **limits},
        "acknowledge_breaking": acknowledge_breaking,
        "when_busy": when_busy.replace("-", "_"),
        **({strategy.replace("-", "_"): shape} if shape else {}),
        **({"verify": False} if no_verify else {}),
        **({"snapshot": False} if no_snapshot else {}),
        **({"promote_early": True} if promote_early else {}),
        **({"override_freeze": True} if override_freeze else {}),
        **({"override_staging": True} if override_staging else {}),
        **given(
            bake_seconds=bake_seconds,
            bake_until=_time(session, bake_until),
            control_percent=control_percent,
            confirm_seconds=confirm_seconds,
            confirm_until=_time(session, back_at),
            keep_warm_seconds=keep_warm_seconds,
            warmup_seconds=warmup_seconds,
            hold_seconds=hold_seconds,
            on_inconclusive=on_inconclusive,
            schedule=_schedule(session, at),
            start_grace_seconds=start_grace_seconds,
            if_version=if_version,
        ),
    }
    if dry_run:
        _show_plan(session, session.api.upgrade(agent, {**body, "dry_run": True}))
        return
    started(session, session.api.upgrade(agent, body), agent=agent, watching=watch)


def percents(text: str | None) -> list[float] | None:
    """`25,50,100` as numbers; whether they make sense is the server's to say. Raises `Usage`."""
    if text is None:
        return None
    try:
        return [float(part.strip().removesuffix("%")) for part in text.split(",")]
    except ValueError:
        raise Usage(f"--steps takes percentages such as 25,50,100, not {text!r}.") from None


def batch(text: str | None) -> int | str | None:
    """`3` as a number of instances, `25%` as it is. Raises `Usage`."""
    if text is None or text.rstrip().endswith("%"):
        return text
    try:
        return int(text)
    except ValueError:
        raise Usage(f"--batch-size takes a number of instances such as 2, or a part such as 25%, not {text!r}.") from None


def _check_words(when_busy: str, on_inconclusive: str | None) -> None:
    if when_busy not in {"queue", "reject", "take-over"}:
        raise Usage(f"--when-busy is queue, reject or take-over, not {when_busy!r}.")
    if on_inconclusive not in {None, "promote", "hold", "rollback"}:
        raise Usage(f"--on-inconclusive is promote, hold or rollback, not {on_inconclusive!r}.")


def _time(session: Session, text: str | None) -> str | None:
    if text is None:
        return None
    return upcoming(text, session.surroundings.clock.now()).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _schedule(session: Session, at: str | None) -> str | None:
    if at is not None:
        session.out.note(f"Scheduled for {with_zone(upcoming(at, session.surroundings.clock.now()))}.")
    return _time(session, at)


def _begins(plan: Json) -> str | None:
    """Said only where it is not at once: the plan's own words are in its warnings."""
    found = moment(plan.get("expected_start"))
    return with_zone(found) if found and (plan.get("scheduled_at") or plan.get("warnings")) else None


def _limits(plan: Json) -> str | None:
    """The roll-back limits that will be in force, with where they come from."""
    policy, origins = plan.get("auto_rollback") or {}, plan.get("thresholds") or {}
    names = (("error_rate_threshold", "errors", "%"), ("latency_threshold_ms", "latency", "ms"))
    whence = {name: ORIGINS.get(each.get("origin"), "") for name, each in origins.items()}
    said = [f"{word} above {policy[name]:g} {unit} ({whence.get(name, '')})" for name, word, unit in names if policy.get(name) is not None]
    return ", ".join(said) if said and policy.get("enabled") else None


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
            ("limits", _limits(plan)),
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
