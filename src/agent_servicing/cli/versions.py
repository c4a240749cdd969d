"""Commands on versions: what there is, and what changes between two. `main` registers them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from agent_servicing.cli import options
from agent_servicing.cli.answers import Json
from agent_servicing.cli.client import path_of
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import clean, facts, table, text
from agent_servicing.cli.session import Session
from agent_servicing.cli.words import local, number

Version = Annotated[str, typer.Argument(metavar="VERSION", help="From `servicing versions AGENT --all`")]


def versions(
    session: Session,
    agent: options.Agent,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask the source for new versions first")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also versions older than the running one")] = False,
) -> None:
    """Versions of AGENT that it can be upgraded to, with what is new in each, and those it can be taken back to."""
    view = session.api.refresh(agent) if refresh else session.api.versions(agent)
    shown = view.get("versions" if everything else "available_versions") or []
    points = view.get("rollback_points") or []
    session.out.result(
        view,
        lambda: facts(
            (
                ("agent", view.get("agent_id") or agent),
                ("running", f"{view.get('current_version') or 'nothing'} since {local(view.get('current_deployed_at')) or '–'}"),
                ("", _standing(view)),
                ("recommended", _recommended(view.get("recommended"))),
                ("asked source", local(view.get("refreshed_at"))),
                ("new", ", ".join(view.get("new_versions") or ()) or ("nothing" if refresh else None)),
                ("source problem", view.get("source_problem")),
            )
        ),
        lambda: "",
        lambda: _table(shown) if shown else "No newer version.",
        lambda: "",
        lambda: (
            table(
                ("rollback to", "deployed", "possible", "notes"),
                [(p.get("version"), local(p.get("deployed_at")), p.get("can_rollback"), p.get("note")) for p in points],
            )
            if points
            else "No rollback points yet."
        ),
    )


def changes(
    session: Session,
    agent: options.Agent,
    from_version: Annotated[str, typer.Argument(metavar="FROM")],
    to_version: Annotated[str, typer.Argument(metavar="TO")],
) -> None:
    """What differs between two versions of AGENT: changelog, breaking changes, configuration, manifest, state."""
    view = session.api.changes(agent, from_version, to_version)
    session.out.result(view, lambda: "\n".join(_changes(view)))


def upload(
    session: Session,
    agent: options.Agent,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An archive (.tar.gz, .zip), a wheel, or a unified diff; - reads standard input")
    ],
    reason: options.Reason,
    base: Annotated[str | None, typer.Option("--base", metavar="V", help="What it was made on; omitted: the version that serves")] = None,
    summary: Annotated[str, typer.Option("--summary", help="What the version is; omitted: the reason")] = "",
    change: Annotated[
        list[str] | None, typer.Option("--change", help='A line of its changelog, such as "fix: a leak"; may be repeated')
    ] = None,
    security: Annotated[bool, typer.Option("--security", help="It closes a security hole")] = False,
    critical: Annotated[bool, typer.Option("--critical", help="Nobody should stay on the base")] = False,
) -> None:
    """Upload a custom patch; it becomes the next BASE+patch.N, which can be deployed like any other version."""
    named = {"base_version": base, "summary": summary, "file_name": "" if str(file) == "-" else file.name}
    params: dict[str, str | list[str]] = {"reason": reason, **{name: value for name, value in named.items() if value}}
    params |= {name: "true" for name, wanted in (("security", security), ("critical", critical)) if wanted}
    if change:
        params["changelog"] = change
    view = session.api.upload_version(agent, _content(file), params)
    changed = (view.get("upload") or {}).get("changed") or ()
    lines = [f"  {c.get('action')} {c.get('path')} +{c.get('added')} -{c.get('removed')}" for c in changed]
    told = [f"{agent} has {view.get('version')} now, on {view.get('base_version')}.", *lines]
    session.out.result(view, lambda: "\n".join(map(clean, told)))
    session.out.note(f"servicing upgrade {agent} {view.get('version')} --reason … deploys it.")


def remove(session: Session, agent: options.Agent, version: Version, reason: options.Reason) -> None:
    """Remove an uploaded VERSION that nothing needs any more."""
    session.api.send("DELETE", path_of("agents", agent, "versions", version), params={"reason": reason})
    session.out.result({"agent_id": agent, "version": version, "removed": True}, lambda: f"{agent} {version} is removed.")


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Usage(f"{file} cannot be read: {error.strerror}.", hint="Name an archive, a wheel or a unified diff.") from error


def deprecate(session: Session, agent: options.Agent, version: Version, reason: options.Reason) -> None:
    """Advise against VERSION: it can still be deployed, and is recommended no more."""
    _mark(session, agent, version, "deprecate", reason)


def withdraw(session: Session, agent: options.Agent, version: Version, reason: options.Reason) -> None:
    """Let VERSION not be deployed any more; upgrades to it that wait are cancelled, and where it runs it goes on."""
    _mark(session, agent, version, "withdraw", reason)


def restore(session: Session, agent: options.Agent, version: Version, reason: options.Reason) -> None:
    """Take back that VERSION is deprecated or withdrawn, whoever said so."""
    _mark(session, agent, version, "restore", reason)


def _mark(session: Session, agent: str, version: str, word: str, reason: str) -> None:
    view = session.api.send("POST", path_of("agents", agent, "versions", version, word), {"reason": reason})
    session.out.result(view, lambda: f"{agent} {view.get('version')} is {view.get('standing')}.")
    for name in view.get("cancelled") or ():
        session.out.note(f"{name}, which waited to bring it, is cancelled.")
    if view.get("standing") == "withdrawn":
        for name in view.get("under_way") or ():
            session.out.note(f"{name} brings it just now and goes on; servicing cancel {name} takes it back.")
        if view.get("running"):
            session.out.note(f"It serves now. servicing versions {agent} says what to go to.")


def _standing(view: Json) -> str | None:
    """A warning about the running version, where there is one."""
    standing = view.get("current_standing")
    return None if standing in {None, "available"} else f"{standing}: {view.get('current_standing_reason')}"


def _recommended(advice: Json | None) -> str | None:
    return f"{advice.get('version')} ({advice.get('type')}): {advice.get('reason')}" if advice else None


def _table(shown: list[Json]) -> Any:
    columns = ("version", "type", "released", "author", "deployed", "success", "changes", "notes")
    return table(columns, [_row(version) for version in shown])


def _row(version: Json) -> tuple[object, ...]:
    counts = [f"{len(entries)} {kind}" for kind, entries in (version.get("changelog") or {}).items() if entries]
    marks = [
        *(word for word, key in (("security", "security_patch"), ("critical", "critical"), ("tag moved", "moved")) if version.get(key)),
        *(["breaking"] if version.get("breaking_changes") else []),
        *([str(version["standing"])] if version.get("standing") in {"deprecated", "withdrawn"} else []),
        *(["configuration does not fit"] if version.get("config_problems") else []),
        *([str(version["problem"])] if version.get("problem") else []),
    ]
    return (
        version.get("version"),
        version.get("type"),
        local(version.get("release_date"))[:10],
        version.get("author"),
        f"{version.get('deployment_count', 0)}×",
        number(version.get("success_rate"), " %"),
        ", ".join(counts),
        ", ".join(marks),
    )


def _changes(view: Json) -> Iterator[str]:
    yield clean(f"{view.get('agent_id', '')} {view.get('from', '')} → {view.get('to', '')} ({view.get('type', '')})")
    if view.get("compatibility"):
        yield clean(str(view["compatibility"]))
    for kind, entries in (view.get("changelog") or {}).items():
        yield from _section(kind.capitalize(), entries)
    yield from _section("Breaking changes", view.get("breaking_changes") or [])
    yield from _section("Migration notes", [_note(note) for note in view.get("migration_notes") or ()])
    yield from _section("Configuration", [_difference(d) for d in view.get("config_schema") or ()])
    yield from _section("Manifest", [_difference(d) for d in view.get("manifest") or ()])
    door = {
        "two_way": "can be taken back",
        "two_way_by_migration": "can be taken back by converting its state",
        "one_way": "cannot be taken back",
        "unknown": "not known whether it can be taken back",
    }
    if view.get("state_door"):
        yield ""
        yield clean(f"State: {door.get(view['state_door'], view['state_door'])}. {view.get('state_note', '')}".rstrip())


def _section(title: str, entries: list[Any]) -> Iterator[str]:
    if entries:
        yield ""
        yield clean(title)
        yield from (f"  {clean(str(entry))}" for entry in entries)


def _note(note: object) -> str:
    return f"{note.get('version', '')}: {note.get('text', '')}" if isinstance(note, dict) else str(note)


def _difference(difference: Json) -> str:
    return f"{difference.get('key')}: {text(difference.get('old'))} → {text(difference.get('new'))}"
