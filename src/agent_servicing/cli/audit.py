"""Commands on the history: `servicing audit [list]` with filters, `servicing audit verify`. `main` registers them."""

import csv
import io
import itertools
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from agent_servicing.cli.client import Json
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
Limit = Annotated[int, typer.Option("--limit", min=1, help="Most entries shown, newest first")]
Everything = Annotated[bool, typer.Option("--all", help="Every entry, however many")]
Format = Annotated[str, typer.Option("--format", metavar="table|csv|json", help="How to print them")]


def list_events(
    session: Session,
    agent: AgentFilter = None,
    operator: OperatorFilter = None,
    type_: TypeFilter = None,
    status: StatusFilter = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = LIMIT,
    everything: Everything = False,
    format_: Format = "table",
) -> None:
    """Who did what, when, why, and how it ended; newest first."""
    if format_ not in FORMATS:
        raise Usage(f"--format is {', '.join(FORMATS)}, not {format_!r}.")
    now = session.surroundings.clock.now()
    wanted = {
        "agent": agent,
        "operator": operator,
        "type": type_,
        "status": status,
        "since": _utc(past(since, now)) if since else None,
        "until": _utc(past(until, now)) if until else None,
    }
    found = session.api.audit({name: value for name, value in wanted.items() if value})
    events = list(found if everything else itertools.islice(found, limit + 1))
    more = not everything and len(events) > limit
    events = events if everything else events[:limit]
    _print(session, events, "json" if session.out.machine else format_)
    if more:
        session.out.note(f"Only the newest {limit} are shown; --all shows every one.")


def verify(session: Session) -> None:
    """Check that no entry of the history was changed or removed. Exit code 1 when one was."""
    found = session.api.verify_audit()
    valid = found.get("valid") is True
    broken = f"The history was changed: entry {found.get('broken_at')} does not fit. {found.get('message') or ''}"
    session.out.result(found, lambda: f"{found.get('entries', 0)} entries, the chain is whole." if valid else clean(broken.strip()))
    if not valid:
        raise typer.Exit(ExitCode.FAILED)


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
            e.get("operator"),
            e.get("reason"),
        )
        for e in events
    ]
    return table(("time", "type", "agent", "versions", "status", "took", "operator", "reason"), rows)
