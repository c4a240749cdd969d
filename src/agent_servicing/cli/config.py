"""Commands on the configuration of agents: patch, show, history, rollback. `main` registers them."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.deployments import given
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import facts, table
from agent_servicing.cli.session import Session
from agent_servicing.cli.when import length
from agent_servicing.cli.words import local

PROFILES: Final = ("fast", "safe", "instant")

HISTORY_MAX: Final = 50
"""Changes shown at once; the API has all of them."""

_DOT = re.compile(r"(?<!\\)\.")

Assignments = Annotated[
    list[str],
    typer.Argument(
        help="Values as JSON, else as text; null takes a key back; secret:NAME refers to a secret; a.b=1 is nested", metavar="KEY=VALUE …"
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        help="fast: one instance first; safe: a part, compared for a while; instant: all",
        autocompletion=lambda: list(PROFILES),
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would do and change nothing")]
Expires = Annotated[str | None, typer.Option("--for", metavar="SPAN", help="Temporary: goes back by itself after 30min, 2h, 1d")]
Places = Annotated[str | None, typer.Option("--places", metavar="1,2", help="Only these instances")]
Monitor = Annotated[float | None, typer.Option("--monitor-seconds", metavar="S", min=0, help="How long the first ones are looked at")]
Percent = Annotated[float | None, typer.Option("--percent", metavar="%", help="With safe: the part that gets it first")]
Restart = Annotated[str | None, typer.Option("--restart", metavar="rolling|later", help="For keys that are read at the start only")]
IfVersion = Annotated[str | None, typer.Option("--if-version", metavar="CFG", help="Only while this configuration is in force")]


def patch(
    session: Session,
    agent: options.Agent,
    values: Assignments,
    reason: options.Reason,
    profile: Profile = "fast",
    dry_run: DryRun = False,
    expires: Expires = None,
    places: Places = None,
    monitor_seconds: Monitor = None,
    percent: Percent = None,
    restart: Restart = None,
    if_version: IfVersion = None,
) -> None:
    """Change configuration values of the running AGENT, without a restart where it can do that.

    Every instance is asked first; one that refuses, and nothing is applied. What fails is taken back everywhere.
    """
    if profile not in PROFILES:
        raise Usage(f"There is no profile {profile!r}.", hint=f"Choose one of {', '.join(PROFILES)}.")
    body: Json = {
        "config_updates": assigned(values),
        "reason": reason,
        "profile": profile,
        "dry_run": dry_run,
        **given(
            expires_seconds=length(expires).total_seconds() if expires else None,
            places=_places(places),
            monitor_seconds=monitor_seconds,
            percent=percent,
            restart=restart,
            if_version=if_version,
        ),
    }
    _tell(session, session.api.patch_config(agent, body))


def show(session: Session, agent: options.Agent) -> None:
    """Show every value in force, who set it, and how each instance stands."""
    view = session.api.config(agent)
    keys = [(k.get("key"), _value(k.get("value")), k.get("layer"), _effect(k), k.get("description")) for k in view.get("keys") or ()]
    session.out.result(
        view,
        lambda: facts(_facts(view)),
        lambda: "",
        lambda: table(("key", "value", "set by", "takes effect", ""), keys) if keys else "Nothing is configured.",
        lambda: "",
        lambda: _instances(view),
    )


def history(session: Session, agent: options.Agent) -> None:
    """List the changes of AGENT's configuration, newest first, refused ones too."""
    found = session.api.config_revisions(agent, HISTORY_MAX)
    rows = [
        (
            r.get("config_version"),
            r.get("status"),
            local(r.get("requested_at")),
            r.get("operator"),
            _changes(r),
            r.get("message") or r.get("reason"),
        )
        for r in found
    ]
    columns = ("revision", "status", "at", "operator", "changes", "reason")
    session.out.result({"revisions": found}, lambda: table(columns, rows) if rows else f"{agent} was never patched.")


def rollback(
    session: Session,
    agent: options.Agent,
    reason: options.Reason,
    revision: Annotated[
        str | None, typer.Argument(help="The revision to bring back; omitted: the one before", metavar="[REVISION]")
    ] = None,
) -> None:
    """Bring back an earlier configuration; a change under way is taken back."""
    body: Json = {"reason": reason, **given(config_version=revision)}
    _tell(session, session.api.roll_back_config(agent, body))


def assigned(values: Sequence[str]) -> Json:
    """`a.b=1` as nested objects. Raises `Usage`."""
    found: Json = {}
    for each in values:
        key, equals, text = each.partition("=")
        if not equals or not key.strip():
            raise Usage(f"Cannot read {each!r}.", hint="Write KEY=VALUE, for example timeout_seconds=60 or limits.most=3.")
        parts = [part.replace("\\.", ".") for part in _DOT.split(key.strip())]
        inner = found
        for part in parts[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise Usage(f"{key} lies below a key that is given a value too.")
        inner[parts[-1]] = _read(text)
    return found


def _read(text: str) -> Any:
    if text.startswith("secret:"):
        return {"$secret": text.removeprefix("secret:")}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _places(text: str | None) -> list[int] | None:
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError as error:
        raise Usage(f"Cannot read {text!r} as places.", hint="Write 1 or 1,2.") from error


def _tell(session: Session, view: Json) -> None:
    session.out.result(view, lambda: facts(_outcome(view)), lambda: "", lambda: _instances(view))


def _outcome(view: Json) -> Iterator[tuple[str, object]]:
    words = {"planned": "nothing yet: this is a dry run", "unchanged": "nothing: it is like that already"}
    status = str(view.get("status", ""))
    downtime = view.get("downtime_seconds")
    yield "configuration", view.get("config_version")
    yield "done", words.get(status, status)
    yield "by", str(view.get("by", "")).replace("_", " ")
    for key, change in (view.get("config_changes") or {}).items():
        who = (view.get("applied_by") or {}).get(key, "agent")
        yield key, f"{_value(change.get('old'))} → {_value(change.get('new'))}{'' if who in ('agent', 'restart') else f' (by the {who})'}"
    yield "applied at", local(view.get("applied_at"))
    yield "downtime", f"{downtime:g} s" if isinstance(downtime, int | float) and status == "applied" else None
    for warning in view.get("warnings") or ():
        yield "note", warning
    yield "follow it", f"servicing status {view['upgrade_id']} --watch" if view.get("upgrade_id") else None


def _effect(key: Json) -> str:
    who = key.get("applied_by") or "agent"
    return f"{key.get('scope')}" if who == "agent" else f"{key.get('scope')}, by the {who}"


def _facts(view: Json) -> Iterator[tuple[str, object]]:
    change = view.get("change") or {}
    yield "agent", view.get("agent_id")
    yield "version", view.get("version")
    yield "configuration", view.get("config_version")
    yield "reaches it by", view.get("reload")
    yield "last change", f"{change['config_version']} {change['status']} by {change['operator']}: {change['reason']}" if change else None
    for override in view.get("overrides") or ():
        yield "temporary", f"{', '.join(override.get('keys') or ())} until {local(override.get('expires_at'))}: {override.get('reason')}"


def _instances(view: Json) -> Any:
    rows = [
        (
            i.get("instance"),
            i.get("version"),
            i.get("config_version"),
            str(i.get("status", "")).replace("_", " "),
            local(i.get("applied_at")),
            i.get("known_by"),
        )
        for i in view.get("instances") or ()
    ]
    return (
        table(("instance", "version", "configuration", "status", "applied at", "how that is known"), rows) if rows else "No instance runs."
    )


def _changes(revision: Json) -> str:
    changes = revision.get("config_changes") or {}
    return ", ".join(f"{key}: {_value(c.get('old'))} → {_value(c.get('new'))}" for key, c in changes.items())


def _value(value: object) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
