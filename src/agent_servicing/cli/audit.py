"""Commands on the history: `servicing audit [list]` with filters, `servicing audit verify|anchor|export`. `main` registers them."""

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent_servicing.cli.answers import Json
from agent_servicing.cli.audit_file import check_file, read_anchor
from agent_servicing.cli.client import path_of
from agent_servicing.cli.exits import ExitCode, Usage
from agent_servicing.cli.output import clean, table
from agent_servicing.cli.session import Session
from agent_servicing.cli.when import past
from agent_servicing.cli.words import duration, local

LIMIT: Final = 100
FORMATS: Final = ("table", "csv", "json")
PANEL: Final = "Filters"

COLUMNS: Final = (
    "event_id", "timestamp", "type", "operator", "agent_id", "upgrade_id", "from_version", "to_version", "strategy", "status",
    "duration_seconds", "reason",
)  # fmt: skip
"""Columns of the CSV; whatever else an entry carries is in the JSON."""

AgentFilter = Annotated[str | None, typer.Option("--agent", metavar="AGENT", rich_help_panel=PANEL)]
OperatorFilter = Annotated[
    str | None, typer.Option("--operator", metavar="NAME", rich_help_panel=PANEL, help="Who did it; system: nobody asked")
]
TypeFilter = Annotated[str | None, typer.Option("--type", metavar="TYPE", rich_help_panel=PANEL, help="upgrade, rollback, install, …")]
StatusFilter = Annotated[
    str | None, typer.Option("--status", metavar="S", rich_help_panel=PANEL, help="success, rolled_back, failed, cancelled")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", rich_help_panel=PANEL, help="From then on: RFC 3339, 2026-01-02, 24h, 7d")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", rich_help_panel=PANEL, help="Before that time")]
Says = Annotated[str | None, typer.Option("--says", metavar="WORDS", rich_help_panel=PANEL, help="The reason holds these words")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most entries shown, newest first")]
Everything = Annotated[bool, typer.Option("--all", help="Every entry, however many")]
To = Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there")]
AnchorFile = Annotated[Path | None, typer.Option("--anchor", metavar="FILE", help="Also compare with what `audit anchor` wrote then")]
EntriesFile = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Check this export or archive instead; needs no server")]
ExportFormat = Annotated[str, typer.Option("--format", metavar="json|csv", help="csv is for spreadsheets and cannot be verified")]
Format = Annotated[str, typer.Option("--format", metavar="table|csv|json", help="How to print them")]


def list_events(
    session: Session,
    agent: AgentFilter = None,
    operator: OperatorFilter = None,
    type_: TypeFilter = None,
    status: StatusFilter = None,
    since: Since = None,
    until: Until = None,
    says: Says = None,
    limit: Limit = LIMIT,
    everything: Everything = False,
    format_: Format = "table",
) -> None:
    """Who did what, when, why, and how it ended; newest first."""
    if format_ not in FORMATS:
        raise Usage(f"--format is {', '.join(FORMATS)}, not {format_!r}.")
    wanted = {"agent": agent, "operator": operator, "type": type_, "status": status, "says": says}
    found = session.api.audit(_filters(session, wanted, since, until))
    events = list(found if everything else itertools.islice(found, limit + 1))
    more = not everything and len(events) > limit
    events = events if everything else events[:limit]
    _print(session, events, "json" if session.out.machine else format_)
    if more:
        session.out.note(f"Only the newest {limit} are shown; --all shows every one.")


def verify(session: Session, anchor: AnchorFile = None, file: EntriesFile = None) -> None:
    """Check that no entry of the history was changed, removed, moved or put in. Exit code 1 when one was."""
    kept = read_anchor(anchor) if anchor is not None else None
    found = asdict(check_file(file, kept)) if file is not None else session.api.verify_audit(asdict(kept) if kept else None)
    valid = found.get("valid") is True
    session.out.result(found, lambda: _sound(found) if valid else clean(_broken(found)))
    if not valid:
        raise typer.Exit(ExitCode.FAILED)


def anchor(session: Session, to: To = None) -> None:
    """Where the history ends now: two values to keep elsewhere, for `verify --anchor`."""
    found = session.api.audit_anchor()
    text = json.dumps(found)
    if to is None:
        session.out.result(found, lambda: text)
        return
    _write(to, (text.encode() + b"\n",))
    session.out.result({"file": str(to), **found}, lambda: f"{to} holds the anchor of {found.get('entries')} entries.")


def export(
    session: Session,
    agent: AgentFilter = None,
    operator: OperatorFilter = None,
    type_: TypeFilter = None,
    status: StatusFilter = None,
    since: Since = None,
    until: Until = None,
    says: Says = None,
    format_: ExportFormat = "json",
    to: To = None,
) -> None:
    """The history as a file, made by the server: all of it in JSON is what `verify --file` checks without a server."""
    if format_ not in {"csv", "json"}:
        raise Usage(f"--format is csv or json, not {format_!r}.")
    wanted = {"agent": agent, "operator": operator, "type": type_, "status": status, "says": says, "format": format_}
    pieces = session.api.export_audit(_filters(session, wanted, since, until))
    if to is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    size = _write(to, pieces)
    session.out.result({"file": str(to), "bytes": size}, lambda: f"{to} has {size} bytes.")


def sinks(session: Session) -> None:
    """Where entries are sent besides, how far each has come, and what went wrong. Exit code 1 when one is failing."""
    found = list(session.api.get(path_of("settings", "audit-sinks")).get("sinks", []))
    titles = ("name", "target", "format", "behind", "delivered", "problem")
    rows = [
        (each.get("name"), each.get("target"), each.get("format"), each.get("behind"), local(each.get("delivered_at")), each.get("problem"))
        for each in found
    ]
    session.out.result({"sinks": found}, lambda: table(titles, rows) if rows else "No sinks: the setting audit_sinks names none.")
    if any(each.get("failures") for each in found):
        raise typer.Exit(ExitCode.FAILED)


def _filters(session: Session, wanted: Mapping[str, str | None], since: str | None, until: str | None) -> dict[str, str]:
    now = session.surroundings.clock.now()
    times = {"since": _utc(past(since, now)) if since else None, "until": _utc(past(until, now)) if until else None}
    return {name: value for name, value in {**wanted, **times}.items() if value}


def _write(to: Path, pieces: Iterable[bytes]) -> int:
    try:
        with to.open("xb") as file:
            return sum(file.write(piece) for piece in pieces)
    except OSError as error:
        raise Usage(f"{to} cannot be written: {error.strerror}.", hint="Name a file that is not there yet.") from error


def _sound(found: Json) -> str:
    entries, note = found.get("entries", 0), clean(str(found.get("message") or ""))
    if found.get("filtered"):
        return f"{entries} entries, each as it was written. Whether any is missing a filtered file cannot show."
    span = f" (numbers {found['first']} to {found['last']})" if found.get("first") is not None else ""
    archived = f" Older ones, {found['archived']}, are archived." if found.get("archived") else ""
    return f"{entries} entries{span}, the chain is whole.{archived} {note}".strip()


def _broken(found: Json) -> str:
    kind = f" ({found['kind']})" if found.get("kind") else ""
    return f"The history was changed{kind}: entry {found.get('broken_at')} does not fit. {found.get('message') or ''}".strip()


def _print(session: Session, events: list[Json], format_: str) -> None:
    if format_ == "json":
        session.out.json({"events": events})
    elif format_ == "csv":
        sys.stdout.write(as_csv(events))
    elif events:
        session.out.result(None, lambda: _table(events))
    else:
        session.out.line("No entries.")


def as_csv(events: list[Json]) -> str:
    """The entries as CSV with a header. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(event.get(column)) for column in COLUMNS] for event in events)
    return buffer.getvalue()


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


def _table(events: list[Json]) -> Any:
    rows = [
        (
            local(e.get("timestamp")),
            e.get("type"),
            e.get("agent_id"),
            " → ".join(str(v) for v in (e.get("from_version"), e.get("to_version")) if v),
            e.get("status"),
            duration(e.get("duration_seconds")),
            _touched(e.get("impact")),
            e.get("operator"),
            e.get("reason"),
        )
        for e in events
    ]
    return table(("time", "type", "agent", "versions", "status", "took", "touched", "operator", "reason"), rows)


def _touched(impact: object) -> str | None:
    """Whom the new version of a deployment reached; None for whatever is no deployment, or reached nobody."""
    if not isinstance(impact, dict) or not impact.get("candidate_requests"):
        return None
    conversations = impact.get("conversations_touched")
    parts = [f"{impact['candidate_requests']} requests", f"{impact.get('candidate_errors', 0)} failed"]
    return ", ".join([*parts, f"{conversations} conversations"] if conversations is not None else parts)
