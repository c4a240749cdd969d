"""Commands on deployments: rollback, pause, resume, promote, cancel. `main` registers them."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.client import Api, Json
from agent_servicing.cli.output import facts
from agent_servicing.cli.progress import headline, identity
from agent_servicing.cli.session import Session
from agent_servicing.cli.watch import watch as follow
from agent_servicing.cli.words import moment, number, with_zone
from agent_servicing.core.errors import NotFound

IfVersion = Annotated[str | None, typer.Option("--if-version", help="Only while this version serves", metavar="V")]


def rollback(
    session: Session,
    agent: options.Agent,
    reason: options.Reason,
    version: Annotated[str | None, typer.Argument(help="A rollback point; omitted: the previous version", metavar="[VERSION]")] = None,
    watch: options.Watch = False,
    keep_config: Annotated[bool, typer.Option("--keep-config", help="Leave the configuration as it is now")] = False,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="keep", help="Go back with the state as it is, though the version may be unable to read it"),
    ] = None,
    if_version: IfVersion = None,
) -> None:
    """Take AGENT back to an earlier version, at once: a running upgrade is aborted for it."""
    body = {"reason": reason, **given(target_version=version, if_version=if_version, state=state, config="keep" if keep_config else None)}
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
    full: Annotated[bool, typer.Option("--full", help="Go to 100 % at once: no more watches, bake or confirmation")] = False,
    reason: options.Reason = "",
) -> None:
    """End the waiting of the current step and go on to the next."""
    _verb(session, deployment, "promote", {"reason": reason, "full": full})


def override(session: Session, deployment: options.Deployment, reason: options.Reason) -> None:
    """Take the decision from the analysis: it still tells, but holds nothing and takes nothing back."""
    _verb(session, deployment, "override", {"reason": reason})


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
