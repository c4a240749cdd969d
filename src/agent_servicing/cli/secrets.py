"""Commands on secrets: `servicing secret set|apply|list|remove`.

A value comes from the terminal unseen or from standard input, never as an argument.
"""

import sys
from getpass import getpass
from typing import Annotated, Final

import typer

from agent_servicing.cli import options
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import local
from agent_servicing.core.errors import Conflict

READ_CHARACTERS_MAX: Final = 65_537
"""One more than a value may have, so that the server sees when it is too long."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="From `servicing secret list`, or a new one")]


def set_secret(
    session: Session,
    name: Name,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT", help="Only for this agent; omitted for a new one: for all")
    ] = None,
) -> None:
    """Set a secret: asks for the value without showing it, or reads standard input (one line break at the end is dropped)."""
    value = _value(name)
    view = session.api.set_secret(name, {"value": value, **({"agent": agent} if agent else {})})
    whose = view.get("agent_id") or "all agents"
    text = f"{name} is at version {view.get('version')} for {whose}, fingerprint {view.get('fingerprint')}."
    uses = [use for use in view.get("used_by") or () if use.get("in_force") and use.get("version") != view.get("version")]
    behind = sorted({str(use.get("agent_id")) for use in uses})
    if behind:
        text += f"\nAn older version is still used by {', '.join(behind)}. To bring this one there: servicing secret apply {name}"
    session.out.result(view, lambda: text)


def apply(
    session: Session,
    name: Name,
    reason: options.Reason = "",
    restart: Annotated[bool, typer.Option("--restart", help="Also restart, one by one, agents that nothing else can bring it to")] = False,
) -> None:
    """Bring a secret's newest version to the agents that use an older one, by a hot patch of each. Exit code 1 when one did not get it."""
    view = session.api.apply_secret(name, {"reason": reason, "restart": restart})
    deliveries = view.get("deliveries") or []
    columns = ("agent", "status", "configuration", "reason")
    rows = [(d.get("agent_id"), d.get("status"), d.get("config_version") or "", d.get("reason")) for d in deliveries]
    nobody = f"No agent in your reach uses {name}."
    session.out.result(view, lambda: table(columns, rows) if rows else nobody)
    failed = [str(d.get("agent_id")) for d in deliveries if d.get("status") == "failed"]
    if failed:
        raise Conflict(f"Not brought to {', '.join(failed)}.", hint="What was in the way is said above; then do this again.")


def list_secrets(session: Session) -> None:
    """All secrets, without their values."""
    secrets = session.api.secrets()
    columns = ("name", "agent", "version", "fingerprint", "set", "by", "used by")
    rows = [
        (
            s.get("name"),
            s.get("agent_id") or "all",
            s.get("version"),
            s.get("fingerprint"),
            local(s.get("created_at")),
            s.get("created_by"),
            ", ".join(f"{use.get('agent_id')} ({use.get('revision')})" for use in s.get("used_by") or ()),
        )
        for s in secrets
    ]
    session.out.result({"secrets": secrets}, lambda: table(columns, rows))


def remove(session: Session, name: Name) -> None:
    """Remove a secret with all its versions. Refused while a configuration needs it."""
    session.api.remove_secret(name)
    session.out.result({"name": name, "removed": True}, lambda: f"{name} is removed.")


def _value(name: str) -> str:
    value = _typed(name) if sys.stdin.isatty() else sys.stdin.read(READ_CHARACTERS_MAX + 1).removesuffix("\n").removesuffix("\r")
    if not value:
        raise Usage("There is no value: type one, or pipe it in.")
    return value


def _typed(name: str) -> str:
    try:
        return getpass(f"Value of {name}: ")
    except EOFError:
        return ""
