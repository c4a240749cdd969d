"""The audit trail with a million entries: filtered pages, verification, export with its memory. `python benchmarks/audit.py [--entries N]`.

The entries are written by the product's own `append`, into SQLite, or with `--postgres` into a real PostgreSQL. Pages are asked for through
`AuditLogger` (what the API answers with); verification and export too. The export's memory is its process's growth while it runs.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import psutil
from common import percentile, report

from agent_servicing.adapters.system import RandomIds
from agent_servicing.core.events import Event
from agent_servicing.services.audit_logger import AuditFilters, AuditLogger
from agent_servicing.store.database import Database
from agent_servicing.store.event_log import append
from agent_servicing.web.export import csv_export, json_export

BATCH = 2_000
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
APART = timedelta(seconds=31)
AGENTS = 1_000
TYPES = ("upgrade", "rollback", "config_patch", "requested", "paused", "resumed", "token_created", "instance_unhealthy")
WEIGHTS = (20, 5, 25, 30, 5, 5, 1, 9)
OPERATORS = ("system", "admin", "ci", *(f"operator-{number}" for number in range(40)))
RARE = 250_000
"""One entry in so many is of the rare kind, by the rare operator."""

ROUNDS = 25


def an_event(number: int, dice: random.Random) -> Event:
    rare = number % RARE == RARE // 2
    kind = "secret_removed" if rare else dice.choices(TYPES, WEIGHTS)[0]
    agent = f"Agent-{min(int(dice.expovariate(1 / 120)), AGENTS - 1)}"
    return Event(
        type=kind,
        at=BEGAN + number * APART,
        agent=agent,
        deployment=f"upg-{number:026d}" if kind in TYPES[:2] else None,
        actor="rare-operator" if rare else dice.choice(OPERATORS) if dice.random() < 0.6 else "system",
        reason=f"Upgrade for performance improvements, ticket {dice.randrange(10_000)}",
        audit=True,
        data={
            "status": "failed" if dice.random() < 0.001 else "success",
            "from_version": "1.2.5",
            "to_version": "1.3.0",
            "strategy": "blue-green",
            "duration_seconds": round(dice.uniform(1, 900), 3),
            "downtime_seconds": 0.0,
            "impact": {"requests": dice.randrange(100_000), "candidate_requests": 4711, "candidate_errors": 0, "unserved": 0},
            "source": {"kind": "api", "address": "127.0.0.1", "request_id": f"{number:032x}"},
        },
    )


FILTERS: dict[str, AuditFilters] = {
    "none": AuditFilters(),
    "agent": AuditFilters(agent="Agent-7"),
    "agent with few entries": AuditFilters(agent="Agent-900"),
    "common type": AuditFilters(type="requested"),
    "rare type": AuditFilters(type="secret_removed"),
    "rare operator": AuditFilters(operator="rare-operator"),
    "rare status": AuditFilters(status="failed"),
    "type and status, both common": AuditFilters(type="upgrade", status="success"),
    "type and operator that never meet": AuditFilters(type="secret_removed", operator="operator-3"),
    "common type and rare operator, never together": AuditFilters(type="requested", operator="rare-operator"),
    "two common ones and a rare one": AuditFilters(type="requested", operator="system", status="failed"),
    "status and operator, both common": AuditFilters(operator="system", status="success"),
    "an agent's failures": AuditFilters(agent="Agent-7", status="failed"),
    "nobody": AuditFilters(operator="nobody"),
    "common type with a status that never was": AuditFilters(type="requested", status="cancelled"),
    "since the last day": AuditFilters(since=BEGAN + 997_000 * APART),
    "until the first day": AuditFilters(until=BEGAN + 2_800 * APART),
    "one hour in the middle": AuditFilters(since=BEGAN + 500_000 * APART, until=BEGAN + 500_120 * APART),
    "failures of a month in the middle": AuditFilters(
        since=BEGAN + 400_000 * APART, until=BEGAN + 480_000 * APART, status="failed", type="rollback"
    ),
    "a word in the reason": AuditFilters(says="ticket 77"),
    "a word that no reason has": AuditFilters(says="zebra"),
}


async def fill(database: Database, entries: int) -> float:
    dice, ids, began = random.Random(1), RandomIds(), time.monotonic()
    for start in range(0, entries, BATCH):
        new = [an_event(number, dice) for number in range(start, min(start + BATCH, entries))]
        async with database.write(durable=False) as connection:
            await append(connection, ids, new, keep=100_000)
    return time.monotonic() - began


async def pages(audit: AuditLogger) -> dict[str, Any]:
    found = {}
    for name, filters in FILTERS.items():
        times, shown = [], 0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            page = await audit.list(filters)
            times.append((time.perf_counter() - began) * 1000)
            shown = len(page.events)
        found[name] = {
            "entries": shown,
            "first_ms": round(times[0], 1),
            "p50_ms": round(percentile(times, 0.5), 1),
            "max_ms": round(max(times), 1),
        }
        print(f"{name:50} {found[name]}", file=sys.stderr, flush=True)
    return found


async def deep(audit: AuditLogger, filters: AuditFilters, depth: int) -> dict[str, Any]:
    """The slowest of the next pages when somebody pages on and on."""
    times, cursor = [], None
    for _ in range(depth):
        began = time.perf_counter()
        page = await audit.list(AuditFilters(type=filters.type, cursor=cursor, limit=200))
        times.append((time.perf_counter() - began) * 1000)
        cursor = page.next_cursor
        if cursor is None:
            break
    return {"pages": len(times), "p50_ms": round(percentile(times, 0.5), 1), "max_ms": round(max(times), 1)}


async def exports(audit: AuditLogger) -> dict[str, Any]:
    found = {}
    for name, chunks in (("json", json_export), ("csv", csv_export)):
        before, began = psutil.Process().memory_info().rss, time.monotonic()
        size, most = 0, before
        async for chunk in chunks(audit, AuditFilters()):
            size += len(chunk)
            most = max(most, psutil.Process().memory_info().rss) if size % 97 == 0 else most
        seconds = time.monotonic() - began
        found[name] = {"seconds": round(seconds, 1), "megabytes": round(size / 1e6), "memory_growth_mb": round((most - before) / 1e6, 1)}
        print(name, found[name], file=sys.stderr, flush=True)
    return found


async def measure(url: str, entries: int, file: Path | None) -> dict[str, Any]:
    async with Database.open(url) as database:
        audit = AuditLogger(database=database)
        filling = await fill(database, entries)
        print(f"filled in {filling:.0f} s", file=sys.stderr, flush=True)
        figures: dict[str, Any] = {"entries": entries, "written_per_second": round(entries / filling)}
        if file:
            figures["database_megabytes"] = round(sum(each.stat().st_size for each in file.parent.iterdir()) / 1e6)
        figures["pages"] = await pages(audit)
        figures["paging_on"] = await deep(audit, AuditFilters(type="requested"), 500)
        rates, busy = [], []
        for _ in range(3):
            began, cpu = time.monotonic(), time.process_time()
            checked = await audit.verify()
            rates.append(round(entries / (time.monotonic() - began)))
            busy.append(round(entries / (time.process_time() - cpu)))
            if not checked.valid or checked.entries != entries:
                raise AssertionError(checked)
        figures["verified_per_second"] = sorted(rates)
        figures["verified_per_second_of_processor_time"] = sorted(busy)
        print(rates, busy, file=sys.stderr, flush=True)
        figures["export"] = await exports(audit)
        figures["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


@contextmanager
def a_postgres() -> Iterator[str]:
    from tests.postgres_server import a_postgres_server  # noqa: PLC0415  (only with --postgres)

    with a_postgres_server() as server:
        yield server.new_database()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    wanted = parser.parse_args()
    if wanted.postgres:
        with a_postgres() as url:
            report("audit_postgres", anyio.run(measure, url, wanted.entries, None))
        return
    with tempfile.TemporaryDirectory(prefix="servicing-bench-") as folder:
        file = Path(folder) / "audit.db"
        report("audit", anyio.run(measure, f"sqlite:///{file}", wanted.entries, file))


if __name__ == "__main__":
    main()
