"""Commands on reports: `servicing issue report|list|download|send|test`."""

from pathlib import Path
from typing import Annotated

import typer

from agent_servicing.cli import options, telling
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import local
from agent_servicing.core.errors import Conflict

IssueId = Annotated[str, typer.Argument(metavar="ISSUE", help="From `servicing issue list`")]


def report(
    session: Session,
    agent: options.Agent,
    deployment: Annotated[str | None, typer.Argument(metavar="[ID]", help="A deployment; omitted: the newest that ended badly")] = None,
    note: Annotated[str, typer.Option("--note", "-n", metavar="TEXT", help="What you saw")] = "",
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Omitted: made from the deployment")] = "",
    window_seconds: Annotated[float, typer.Option("--window-seconds", metavar="S", help="How far back events and readings go")] = 3600.0,
) -> None:
    """Report a deployment: a bundle of what is known of it, kept, and opened as an issue where a tracker is set up."""
    body = {"title": title, "note": note, "window_seconds": window_seconds, **({"upgrade_id": deployment} if deployment else {})}
    view = telling.report(session.api, agent, body)
    more = "It is being sent to the tracker." if view.get("status") == "sending" else "It is kept."
    text = f"{view.get('issue_id')}: {view.get('title')}\n{more} Download it with: servicing issue download {agent} {view.get('issue_id')}"
    session.out.result(view, lambda: text)


def list_issues(session: Session, agent: options.Agent) -> None:
    """Reports of an agent, newest first."""
    issues = telling.issues(session.api, agent)
    columns = ("issue", "at", "by", "status", "title", "where")
    rows = [
        (i.get("issue_id"), local(i.get("at")), i.get("reported_by"), i.get("status"), i.get("title"), i.get("url") or i.get("problem"))
        for i in issues
    ]
    session.out.result({"issues": issues}, lambda: table(columns, rows))


def download(
    session: Session,
    agent: options.Agent,
    issue: IssueId,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Omitted: ISSUE.zip here")] = None,
) -> None:
    """Download the bundle of a report."""
    target = to or Path(f"{issue}.zip")
    size = 0
    try:
        with target.open("xb") as file:
            for piece in telling.bundle(session.api, agent, issue):
                size += file.write(piece)
    except OSError as error:
        raise Usage(f"{target} cannot be written: {error.strerror}.", hint="Name a file that is not there yet with --to.") from error
    except Exception:
        target.unlink(missing_ok=True)
        raise
    session.out.result({"file": str(target), "bytes": size}, lambda: f"{target} has {size} bytes.")


def send(session: Session, agent: options.Agent, issue: IssueId) -> None:
    """Send a report to the tracker once more, or for the first time."""
    view = telling.send(session.api, agent, issue)
    session.out.result(view, lambda: f"{issue} is being sent.")


def test(session: Session) -> None:
    """Ask the tracker whether it would take a report; nothing is opened there. Exit code 1 when it would not."""
    view = telling.test_tracker(session.api)
    if not view.get("reached"):
        session.out.result(view)
        raise Conflict(f"The issue tracker cannot be used: {view.get('problem')}", hint="An admin mends it in the settings of the page.")
    session.out.result(view, lambda: f"{view.get('kind')} answered in {view.get('duration_ms')} ms.")
