"""Commands on agents' state: `servicing state show|snapshot|rehearse|unpack|remove|restore|bring|export|offer|discard`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import started
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import local

if TYPE_CHECKING:
    from rich.console import RenderableType

Epoch = Annotated[int, typer.Argument(metavar="NUMBER", help="From `servicing state show`", min=0)]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there")]
Snapshot = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="From `servicing state show`")]


def show(session: Session, agent: options.Agent) -> None:
    """What an agent keeps, the way back to each earlier version, and its snapshots."""
    view = session.api.state(agent)
    session.out.result(view, lambda: _shown(view))


def snapshot(session: Session, agent: options.Agent, reason: options.Reason) -> None:
    """Copy the state while the agent goes on serving; the copy stays until it is removed."""
    view = session.api.take_snapshot(agent, {"reason": reason})
    session.out.result(view, lambda: f"{view.get('snapshot')} is being taken; servicing state show {agent} lists it once it is usable.")


def rehearse(session: Session, agent: options.Agent, snapshot: Snapshot) -> None:
    """Restore a snapshot into a scratch folder and check it; ends with 1 when it could not be used."""
    view = session.api.rehearse(agent, snapshot)
    result = view.get("rehearsal") or {}
    session.out.result(view, lambda: f"{snapshot}: {result.get('detail')}.")
    if not result.get("passed"):
        raise typer.Exit(1)


def unpack(session: Session, agent: options.Agent, snapshot: Snapshot, reason: options.Reason = "") -> None:
    """Restore a snapshot into a folder beside the state, which stays as it is; to put back by hand."""
    view = session.api.unpack(agent, snapshot, reason)
    session.out.result(view, lambda: f"{snapshot} is in {view.get('folder')}.")


def remove(session: Session, agent: options.Agent, snapshot: Snapshot, reason: options.Reason = "") -> None:
    """Remove a snapshot for good."""
    session.api.remove_snapshot(agent, snapshot, reason)
    session.out.result({"snapshot": snapshot, "removed": True}, lambda: f"{snapshot} is removed.")


def restore(session: Session, agent: options.Agent, snapshot: Snapshot, reason: options.Reason, watch: options.Watch = False) -> None:
    """Put a snapshot back for the version that serves, without a gap: new instances get it, and what was written since is set aside."""
    version = session.api.state(agent).get("version")
    body = {"target_version": version, "state": "restore", "snapshot": snapshot, "reason": reason}
    started(session, session.api.rollback(agent, body), agent=agent, watching=watch)


def bring(session: Session, agent: options.Agent, snapshot: Snapshot, reason: options.Reason) -> None:
    """Offer what the agent itself had exported for a snapshot (a store of kind http) to the version that serves."""
    view = session.api.bring_snapshot(agent, snapshot, reason)
    session.out.result(view, lambda: f"{view.get('taken')} records taken in, {view.get('refused')} refused.")


def export(session: Session, agent: options.Agent, epoch: Epoch, to: To = None) -> None:
    """What was set aside when a snapshot was put back, one record a line (JSON): to a file, or to the standard output."""
    pieces = session.api.export_set_aside(agent, epoch)
    if to is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    size = 0
    try:
        with to.open("xb") as file:
            for piece in pieces:
                size += file.write(piece)
    except OSError as error:
        raise Usage(f"{to} cannot be written: {error.strerror}.", hint="Name a file that is not there yet.") from error
    session.out.result({"file": str(to), "bytes": size}, lambda: f"{to} has {size} bytes.")


def offer(session: Session, agent: options.Agent, epoch: Epoch, reason: options.Reason = "") -> None:
    """Offer what was set aside to the version that serves now; what it takes in is not offered again."""
    view = session.api.offer_set_aside(agent, epoch, reason)
    session.out.result(view, lambda: f"{view.get('detail')}.")


def discard(session: Session, agent: options.Agent, epoch: Epoch, reason: options.Reason) -> None:
    """Drop what was set aside for good."""
    session.api.discard_set_aside(agent, epoch, reason)
    session.out.result({"epoch": epoch, "discarded": True}, lambda: f"What was set aside as {epoch} is gone.")


def _shown(view: Json) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 (a third of a second that other commands need not wait)

    directory, schema = view.get("directory"), view.get("schema")
    written = f", schema {schema}" if schema is not None else ""
    first = (
        f"{view.get('agent_id')} {view.get('version')} keeps {directory}{written}."
        if directory
        else f"{view.get('agent_id')} keeps no state."
    )
    ways = [(w.get("version"), str(w.get("door")).replace("_", " "), w.get("sentence")) for w in view.get("ways_back") or ()]
    copies = [
        (s.get("snapshot"), s.get("version"), local(s.get("taken_at")), s.get("size_bytes"), s.get("stored_bytes"), _tried(s))
        for s in view.get("snapshots") or ()
    ]
    left = [
        (s.get("epoch"), s.get("version"), local(s.get("at")), s.get("kept"), s.get("set_aside"), s.get("detail"))
        for s in view.get("set_aside") or ()
    ]
    parts: list[RenderableType] = [first]
    if ways:
        parts.append(table(("back to", "door", "because"), ways))
    if copies:
        parts.append(table(("snapshot", "version", "taken", "bytes", "stored", "rehearsed"), copies))
    if left:
        parts.append(table(("set aside", "by", "when", "kept", "left", "what"), left))
    return Group(*parts)


def _tried(snapshot: Json) -> str:
    result = snapshot.get("rehearsal")
    if not result:
        return "no"
    return f"{result.get('seconds')} s" if result.get("passed") else str(result.get("detail"))
