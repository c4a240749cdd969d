"""Commands on deployments: rollback, pause, resume, promote, cancel. `main` registers them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import Api
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import facts, table
from agent_servicing.cli.progress import headline, identity
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import watch as follow
from agent_servicing.cli.words import moment, number, with_zone
from agent_servicing.core.errors import NotFound

if TYPE_CHECKING:
    from rich.console import RenderableType

IfVersion = Annotated[str | None, typer.Option("--if-version", help="Only while this version serves", metavar="V")]


def rollback(
    session: Session,
    agent: options.Agent,
    reason: options.Reason = "",
    version: Annotated[str | None, typer.Argument(help="A rollback point; omitted: the previous version", metavar="[VERSION]")] = None,
    watch: options.Watch = False,
    keep_config: Annotated[bool, typer.Option("--keep-config", help="Leave the configuration as it is now")] = False,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="keep|restore", help="Leave the state as it is now, or put back the snapshot from before"),
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", metavar="S", help="With --state restore: not the newest, but this one")
    ] = None,
    override_withdrawn: Annotated[
        bool, typer.Option("--override-withdrawn", help="In an emergency: also to a version that is withdrawn")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would become of the state, and change nothing")] = False,
    if_version: IfVersion = None,
) -> None:
    """Take AGENT back to an earlier version, at once: a running upgrade is aborted for it."""
    asked = given(target_version=version, if_version=if_version, state=state, snapshot=snapshot, config="keep" if keep_config else None)
    asked |= {"override_withdrawn": True} if override_withdrawn else {}
    if dry_run:
        _show_plan(session, session.api.rollback(agent, {"dry_run": True, **asked}))
        return
    if not reason.strip():
        raise Usage("Missing option '--reason'.", hint="Say why: it is kept in the audit trail.")
    body = {"reason": reason, **asked}
    started(session, session.api.rollback(agent, body), agent=agent, watching=watch)


def _show_plan(session: Session, plan: Json) -> None:
    written = plan.get("written") or {}
    counted = (
        f"{written.get('records')} records since {plan.get('snapshot')}"
        if written
        else "cannot be counted: there is no snapshot to compare with"
    )
    heading = facts(
        (
            ("plan", headline(plan)),
            ("state", f"{str(plan.get('state_door')).replace('_', ' ')}: {plan.get('state_sentence')}"),
            ("written", counted if plan.get("choices") else None),
        )
    )
    stages = [(s.get("stage"), s.get("sentence")) for s in plan.get("stages") or ()]
    choices = [_choice(c) for c in plan.get("choices") or ()]
    kept: list[Callable[[], RenderableType]] = (
        [lambda: "", lambda: table(("state", "kept", "converted", "set aside", "what happens"), choices)] if choices else []
    )
    session.out.result(plan, lambda: heading, lambda: "", lambda: table(("stage", "what happens"), stages), *kept)
    if plan.get("choice_needed"):
        session.out.note("The rollback will ask for a choice: --state keep or --state restore.")
    session.out.say("Nothing was changed.")


def _choice(choice: Json) -> tuple[object, ...]:
    numbers = ("?" if choice.get(name) is None else choice.get(name) for name in ("kept", "converted", "set_aside"))
    return (choice.get("state"), *(numbers if choice.get("possible") else ("-", "-", "-")), choice.get("sentence"))


def pause(session: Session, deployment: options.Deployment, reason: options.Reason = "") -> None:
    """Keep a deployment where it is; thresholds stay watched."""
    _verb(session, deployment, "pause", {"reason": reason})


def resume(session: Session, deployment: options.Deployment, reason: options.Reason = "") -> None:
    """Let a paused deployment go on."""
    _verb(session, deployment, "resume", {"reason": reason})


def promote(
    session: Session,
    deployment: options.Deployment,
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % at once: no more watches, bake or confirmation")] = False,
    reason: options.Reason = "",
) -> None:
    """End the waiting of the current step and go on to the next."""
    _verb(session, deployment, "promote", {"reason": reason, "full": full})


def override(session: Session, deployment: options.Deployment, reason: options.Reason) -> None:
    """Take the decision from the analysis: it still tells, but holds nothing and takes nothing back."""
    _verb(session, deployment, "override", {"reason": reason})


def approve(
    session: Session,
    deployment: options.Deployment,
    reason: options.Reason = "",
    override: Annotated[bool, typer.Option("--override", help="Admins, in an emergency: also one's own; needs --reason")] = False,
) -> None:
    """Approve an upgrade that somebody else has asked for; it then begins in its turn."""
    _verb(session, deployment, "approve", {"reason": reason, **({"override": True} if override else {})})


def reject(session: Session, deployment: options.Deployment, reason: options.Reason) -> None:
    """Withdraw an upgrade that waits for approval."""
    _verb(session, deployment, "reject", {"reason": reason})


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


def given(**values: Any) -> Json:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


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
        ("waits for", view.get("message") or view.get("waiting_for")),
        ("takes about", number(minutes, " min") if minutes else None),
        ("watch it", f"servicing status {deployment} --watch"),
    )


def _verb(session: Session, deployment: str, verb: str, body: Json, *, watching: bool = False) -> None:
    agent = str(find(session.api, deployment).get("agent_id", ""))
    view = session.api.verb(agent, deployment, verb, {name: value for name, value in body.items() if value != ""})
    if watching:
        follow(session, {"agent_id": agent, **view})
    session.out.result(view, lambda: facts((("deployment", deployment), ("what", headline(view)), ("status", view.get("status")))))
