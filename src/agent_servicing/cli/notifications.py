"""Commands on notifications: `servicing notifications`, what has been read, where they are sent.

An address is asked for unseen or read from standard input, never given as an argument. Settings are changed as a whole, only if nobody was first.
"""

import sys
from getpass import getpass
from typing import Annotated, Any

import typer

from agent_servicing.cli import telling
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import local
from agent_servicing.core.errors import Conflict, NotFound

Json = dict[str, Any]
ADDRESS_CHARACTERS_MAX = 4_097

Name = Annotated[str, typer.Argument(metavar="NAME")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="Only this kind; repeat for more")]
Agents = Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="Only of this agent; repeat for more")]
Least = Annotated[str, typer.Option("--min-severity", metavar="SEVERITY", help="info, warning, error or critical")]


def list_notifications(
    session: Session,
    unread: Annotated[bool, typer.Option("--unread", help="Only what you have not read")] = False,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only this kind")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only of this agent")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="Newest N")] = 50,
) -> None:
    """What happened that somebody should know, newest first."""
    asked = {"unread": str(unread).lower(), "limit": str(limit), **({"kind": kind} if kind else {}), **({"agent": agent} if agent else {})}
    view = telling.notifications(session.api, asked)
    columns = ("", "at", "severity", "what", "times", "id")
    rows = [
        ("" if n.get("read") else "•", local(n.get("at")), n.get("severity"), n.get("title"), n.get("count"), n.get("notification_id"))
        for n in view.get("notifications") or ()
    ]
    session.out.result(view, lambda: table(columns, rows, title=f"{view.get('unread_count')} unread"))


def read(
    session: Session,
    notification: Annotated[str | None, typer.Argument(metavar="[ID]", help="From the list; omitted: all of them")] = None,
) -> None:
    """Mark one notification as read, or all of them."""
    if notification is None:
        view = telling.read_all(session.api)
        session.out.result(view, lambda: f"{view.get('read')} marked as read.")
        return
    view = telling.read(session.api, notification)
    session.out.result(view, lambda: f"{view.get('title')}\n{view.get('message')}")


def target_add(
    session: Session,
    name: Name,
    secret: Annotated[str | None, typer.Option("--secret", metavar="SECRET", help="The shared secret that holds the address")] = None,
    least: Least = "warning",
    kinds: Kinds = None,
    agents: Agents = None,
) -> None:
    """Add a target, or give it another address: an Apprise URL, asked for unseen or read from standard input. A rule sends it what the
    options say.
    """
    target: Json = {"name": name, "url": {"$secret": secret} if secret else _address(name)}

    def change(body: Json) -> None:
        body["targets"] = [one for one in body["targets"] if one["name"] != name] + [target]
        body["rules"] = [one for one in body["rules"] if one["name"] != name] + [_rule(name, [name], least, kinds, agents)]

    view = _changed(session, change)
    session.out.result(view, lambda: f"{name} is told from {least} on. Try it with: servicing notifications target test {name}")


def target_list(session: Session) -> None:
    """Targets, what they are, and how sending goes."""
    view = telling.settings(session.api)
    how = {one["target"]: one for one in view.get("delivery") or ()}
    columns = ("target", "address", "status", "waiting", "last ok", "last error")
    rows = [(t.get("name"), _shown(t), *_how(how.get(t.get("name"), {}))) for t in view.get("targets") or ()]
    session.out.result(view, lambda: table(columns, rows))


def target_remove(session: Session, name: Name) -> None:
    """Remove a target with what waits for it, and rules that name no other."""

    def change(body: Json) -> None:
        if name not in [one["name"] for one in body["targets"]]:
            raise NotFound(f"There is no target {name}.", hint="servicing notifications target list shows them.")
        body["targets"] = [one for one in body["targets"] if one["name"] != name]
        rules = [{**one, "targets": [target for target in one["targets"] if target != name]} for one in body["rules"]]
        body["rules"] = [one for one in rules if one["targets"]]

    session.out.result(_changed(session, change), lambda: f"{name} is removed.")


def target_test(session: Session, name: Name) -> None:
    """Send a message now and say what became of it. Exit code 1 when it did not get through."""
    view = telling.test_target(session.api, name)
    if not view.get("delivered"):
        session.out.result(view)
        raise Conflict(f"{name} was not reached: {view.get('problem')}", hint="Check the address, then try again.")
    session.out.result(view, lambda: f"{name} got it in {view.get('duration_ms')} ms.")


def rule_add(
    session: Session,
    name: Name,
    targets: Annotated[list[str], typer.Option("--target", metavar="TARGET", help="Where to; repeat for more")],
    least: Least = "info",
    kinds: Kinds = None,
    agents: Agents = None,
) -> None:
    """Add a rule, or replace the one of this name."""

    def change(body: Json) -> None:
        body["rules"] = [one for one in body["rules"] if one["name"] != name] + [_rule(name, targets, least, kinds, agents)]

    session.out.result(_changed(session, change), lambda: f"The rule {name} is set.")


def rule_list(session: Session) -> None:
    """What goes where."""
    view = telling.settings(session.api)
    columns = ("rule", "targets", "agents", "kinds", "from")
    rows = [
        (r.get("name"), ", ".join(r["targets"]), ", ".join(r["agents"] or ["all"]), ", ".join(r["kinds"] or ["all"]), r.get("min_severity"))
        for r in view.get("rules") or ()
    ]
    session.out.result({"rules": view.get("rules")}, lambda: table(columns, rows))


def rule_remove(session: Session, name: Name) -> None:
    """Remove a rule; its targets stay."""

    def change(body: Json) -> None:
        if name not in [one["name"] for one in body["rules"]]:
            raise NotFound(f"There is no rule {name}.", hint="servicing notifications rule list shows them.")
        body["rules"] = [one for one in body["rules"] if one["name"] != name]

    session.out.result(_changed(session, change), lambda: f"The rule {name} is removed.")


def _changed(session: Session, change: Any) -> Json:
    """The settings, changed, unless somebody changed them meanwhile."""
    view = telling.settings(session.api)
    body = {key: view[key] for key in ("rules", "same_for_seconds", "give_up_seconds", "page_url")}
    body["targets"] = [{key: target[key] for key in ("name", "url", "enabled")} for target in view["targets"]]
    change(body)
    return telling.put_settings(session.api, {**body, "if_revision": view["revision"]})


def _rule(name: str, targets: list[str], least: str, kinds: list[str] | None, agents: list[str] | None) -> Json:
    return {"name": name, "targets": targets, "min_severity": least, "kinds": kinds or None, "agents": agents or None}


def _shown(target: Json) -> str:
    url = target.get("url")
    return f"secret {url.get('$secret')}" if isinstance(url, dict) else str(url)


def _how(row: Json) -> tuple[object, ...]:
    return row.get("status"), row.get("waiting"), local(row.get("last_ok_at")), row.get("last_error")


def _address(name: str) -> str:
    try:
        given = getpass(f"Address of {name}: ") if sys.stdin.isatty() else sys.stdin.readline(ADDRESS_CHARACTERS_MAX)
    except EOFError:
        given = ""
    if not given.strip():
        raise Usage("There is no address: type an Apprise URL, pipe it in, or name a secret with --secret.")
    return given.strip()
