"""Commands on people: `servicing user add|list|show|disable|enable|password|grant|link|sign-out`. `main` registers them.

A password comes from the terminal unseen or from standard input, never as an argument, which others on the machine could read.
"""

import sys
from getpass import getpass
from typing import Annotated, Final

import typer

from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.tokens import ROLES
from agent_servicing.cli.words import local

READ_CHARACTERS_MAX: Final = 1_025
"""One more than the API takes, so that the server sees when it is too long."""

User = Annotated[str, typer.Argument(metavar="USER", help="Name or id, from `servicing user list`")]
Agents = Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="The role holds for this agent only; repeat for more")]
Grants = Annotated[
    list[str] | None, typer.Option("--grant", metavar="AGENT=ROLE", help="Another role for one agent; repeat for more", show_default=False)
]


def add(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or mail address; the audit trail shows it")],
    role: Annotated[str, typer.Option("--role", metavar="viewer|operator|admin", help="viewer reads, operator acts, admin manages access")],
    agents: Agents = None,
    grants: Grants = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="They come in by `servicing user link` and set one themselves")
    ] = False,
) -> None:
    """Add a person: asks for the password without showing it, or reads standard input (one line break at the end is dropped)."""
    body: dict[str, object] = {"name": name, "role": _role(role, "--role"), "grants": _grants(grants)}
    if agents:
        body["agents"] = list(agents)
    if not no_password:
        body["password"] = _password(name)
    view = session.api.add_user(body)
    session.out.result(view, lambda: f"{view.get('name')} may now sign in as {view.get('role')}.")


def list_users(session: Session) -> None:
    """All people, disabled ones too."""
    users = session.api.users()
    columns = ("name", "role", "agents", "grants", "status", "signs in by", "last signed in", "id")
    rows = [
        (
            u.get("name"),
            u.get("role"),
            "all" if u.get("agents") is None else ", ".join(u.get("agents") or ()) or "none",
            ", ".join(f"{agent}={role}" for agent, role in (u.get("grants") or {}).items()),
            u.get("status"),
            "provider" if u.get("external") else "password" if u.get("has_password") else "link",
            local(u.get("last_signed_in_at")) or "never",
            u.get("user_id"),
        )
        for u in users
    ]
    session.out.result(
        {"users": users}, lambda: table(columns, rows) if rows else "There is no user yet: servicing user add NAME --role admin"
    )


def disable(session: Session, user: User) -> None:
    """Sign a person out everywhere and let them in no more."""
    view = session.api.act_on_user(user, "disable")
    session.out.result(view, lambda: f"{view.get('name')} is disabled and signed out everywhere.")


def enable(session: Session, user: User) -> None:
    """Let a disabled person in again."""
    view = session.api.act_on_user(user, "enable")
    session.out.result(view, lambda: f"{view.get('name')} may sign in again.")


def password(session: Session, user: User) -> None:
    """Set a person's password: asked for without showing it, or read from standard input. Signs them out everywhere."""
    view = session.api.set_user_password(user, _password(user))
    session.out.result(view, lambda: f"{view.get('name')} has a new password and is signed out everywhere.")


def grant(
    session: Session,
    user: User,
    grants: Annotated[
        list[str] | None,
        typer.Argument(metavar="AGENT=ROLE", help="Another role for these agents; AGENT= takes it away", show_default=False),
    ] = None,
    role: Annotated[str | None, typer.Option("--role", metavar="viewer|operator|admin", help="The role for all other agents")] = None,
    agents: Agents = None,
    all_agents: Annotated[bool, typer.Option("--all-agents", help="The role holds for all agents")] = False,
) -> None:
    """Change what a person may, from their next request on."""
    body: dict[str, object] = {}
    if role is not None:
        body["role"] = _role(role, "--role")
    if agents:
        body["agents"] = list(agents)
    if all_agents:
        body["all_agents"] = True
    if grants:
        changes = _changes(grants)
        body["grants"] = {agent: held for agent, held in {**_held(session, user), **changes}.items() if held}
    if not body:
        raise Usage("There is nothing to change: name AGENT=ROLE, --role, --agent or --all-agents.")
    view = session.api.change_user(user, body)
    more = ", ".join(f"{agent}={held}" for agent, held in (view.get("grants") or {}).items())
    session.out.result(view, lambda: f"{view.get('name')} is {view.get('role')}{f', and {more}' if more else ''}.")


def link(session: Session, user: User) -> None:
    """Make a one-time sign-in link for a person, good for 15 minutes; they can set a new password then."""
    made = session.api.user_link(user)
    session.out.result(made, lambda: str(made.get("url")))


def sign_out(session: Session, user: User) -> None:
    """Sign a person out everywhere."""
    view = session.api.sign_user_out(user)
    session.out.result(view, lambda: f"{user} is signed out; {view.get('sessions_ended')} sessions ended.")


def _held(session: Session, user: str) -> dict[str, str]:
    return dict(session.api.user(user).get("grants") or {})


def _grants(given: list[str] | None) -> dict[str, str]:
    changes = _changes(given or [])
    empty = [agent for agent, role in changes.items() if not role]
    if empty:
        raise Usage(f"--grant {empty[0]}= names no role.", hint="It looks like --grant WowMemory=operator.")
    return changes


def _changes(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        agent, separator, role = each.partition("=")
        if not separator or not agent:
            raise Usage(f"{each!r} is not AGENT=ROLE.", hint="It looks like WowMemory=operator.")
        found[agent] = _role(role, each) if role else ""
    return found


def _role(role: str, where: str) -> str:
    if role not in ROLES:
        raise Usage(f"{where}: the role is one of {', '.join(ROLES)}, not {role!r}.")
    return role


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        read = sys.stdin.read(READ_CHARACTERS_MAX).removesuffix("\n").removesuffix("\r")
        if not read:
            raise Usage("There is no password: type one, or pipe it in.")
        return read
    first, again = _typed(f"Password of {name}: "), _typed("Once more: ")
    if first != again:
        raise Usage("The two are not the same.")
    return first


def _typed(prompt: str) -> str:
    try:
        typed = getpass(prompt)
    except EOFError:
        typed = ""
    if not typed:
        raise Usage("There is no password: type one, or pipe it in.")
    return typed
