"""The audit trail as a file, page by page, so that its length never matters for memory. Called by `routes.audit`."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from pydantic_core import to_jsonable_python

from agent_servicing.services.audit_logger import AuditFilters, AuditLogger, AuditPage, render
from agent_servicing.web.limits import EXPORT_EVENTS_MAX

COLUMNS: Final = (
    "event_id",
    "timestamp",
    "type",
    "agent_id",
    "upgrade_id",
    "operator",
    "status",
    "from_version",
    "to_version",
    "strategy",
    "duration_seconds",
    "downtime_seconds",
    "reason",
)
"""Columns of their own; everything else of an entry is JSON in the last column, `details`."""

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


async def csv_export(audit: AuditLogger, filters: AuditFilters, first: AuditPage) -> AsyncIterator[str]:
    """A header line, then a line for each entry (RFC 4180)."""
    yield _line((*COLUMNS, "details"))
    async for entry in _entries(audit, filters, first):
        details = {name: value for name, value in entry.items() if name not in COLUMNS}
        cells = [cell(entry.get(name)) for name in COLUMNS]
        yield _line((*cells, json.dumps(details, ensure_ascii=False, sort_keys=True) if details else ""))


async def json_export(audit: AuditLogger, filters: AuditFilters, first: AuditPage) -> AsyncIterator[str]:
    """One object with all entries under `events`."""
    yield '{"events": ['
    separator = "\n"
    async for entry in _entries(audit, filters, first):
        yield separator + json.dumps(entry, ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


def cell(value: object) -> str:
    """One CSV cell. A text that a spreadsheet would run as a formula is made plain text by an apostrophe; numbers stay numbers."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text


async def _entries(audit: AuditLogger, filters: AuditFilters, page: AuditPage) -> AsyncIterator[dict[str, object]]:
    written = 0
    while True:
        for stored in page.events:
            yield to_jsonable_python(render(stored), fallback=str)
            written += 1
        if page.next_cursor is None or written >= EXPORT_EVENTS_MAX:
            return
        page = await audit.list(replace(filters, cursor=page.next_cursor))


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
