"""The audit trail as a file, page by page, so that its length never matters for memory. Called by `routes.audit`."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Final

from pydantic_core import to_jsonable_python

from agent_servicing.core.audit_text import shown
from agent_servicing.services.audit_logger import AuditFilters, AuditLogger
from agent_servicing.services.views import StoredEvent

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


async def csv_export(audit: AuditLogger, filters: AuditFilters) -> AsyncIterator[str]:
    """A header line, then a line for each entry (RFC 4180). Each chunk is one batch: the next is read when this one has been taken."""
    head = _line((*COLUMNS, "details"))
    async for batch in audit.export(filters):
        yield head + "".join(_row(_plain(stored)) for stored in batch)
        head = ""
    if head:
        yield head


async def json_export(audit: AuditLogger, filters: AuditFilters) -> AsyncIterator[str]:
    """One object: under `chain` where the history ended as it was read, under `events` the entries, each on a line of its own."""
    head = await audit.head()
    chain = {"entries": head.written.entries, "head": head.written.head, "filtered": not filters.everything}
    if head.archived.entries:
        chain["archived"] = head.archived.entries
    before = f'{{"chain": {json.dumps(chain)}, "events": [\n'
    async for batch in audit.export(filters, upto=head.last_seq):
        yield before + ",\n".join(json.dumps(_plain(stored), ensure_ascii=False) for stored in batch)
        before = ",\n"
    yield before.removesuffix(",\n") + "\n]}\n"


def cell(value: object) -> str:
    """One CSV cell. A text that a spreadsheet would run as a formula is made plain text by an apostrophe; numbers stay numbers."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA_STARTS) else text


def _plain(stored: StoredEvent) -> dict[str, object]:
    fields: dict[str, object] = to_jsonable_python(shown(stored))
    return fields


def _row(entry: dict[str, object]) -> str:
    details = {name: value for name, value in entry.items() if name not in COLUMNS}
    cells = [cell(entry.get(name)) for name in COLUMNS]
    return _line((*cells, json.dumps(details, ensure_ascii=False, sort_keys=True) if details else ""))


def _line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()
