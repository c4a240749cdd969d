"""Brings audit entries to compliance systems: to each in order, at least once, however long it was away. `bootstrap` runs it, `web` shows it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import anyio
import structlog

from agent_servicing.core.errors import ServicingError, TemporaryError
from agent_servicing.ports import Clock
from agent_servicing.ports.audit import AuditSink
from agent_servicing.store import audit, audit_sinks
from agent_servicing.store.audit_sinks import SinkRow
from agent_servicing.store.database import Database

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""Entries handed over at once; the position is kept after each batch, so this is also the most that is sent twice."""

POLL_SECONDS: Final = 2.0
"""How long a new entry may wait when there is nothing else to deliver."""

PAUSE_SECONDS_MAX: Final = 300.0
"""Between two attempts: 1, 2, 4 … seconds, up to this."""

PROBLEM_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """`behind`: entries not delivered yet. `failures` since the last success, of which `problem` is the newest; `retry_at` when it is tried again."""

    name: str
    target: str
    format: str
    position: int
    behind: int
    delivered_at: datetime | None
    failures: int
    problem: str
    retry_at: datetime | None


class AuditSinks:
    """Each sink has a loop and a position of its own: one that is down holds up neither the others nor the product."""

    def __init__(self, *, database: Database, clock: Clock, sinks: Sequence[AuditSink] = ()) -> None:
        self._database, self._clock, self._sinks = database, clock, tuple(sinks)
        self._retry_at: dict[str, datetime] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            for sink in self._sinks:
                tasks.start_soon(self._follow, sink)

    async def statuses(self) -> list[SinkStatus]:
        """In the order of the setting."""
        async with self._database.read() as connection:
            written = (await audit.head(connection)).written.entries
            rows = [await audit_sinks.load(connection, sink.name) for sink in self._sinks]
        return [
            SinkStatus(
                name=sink.name,
                target=sink.target,
                format=sink.form,
                position=row.position,
                behind=max(0, written - row.position),
                delivered_at=row.delivered_at,
                failures=row.failures,
                problem=row.problem,
                retry_at=self._retry_at.get(sink.name),
            )
            for sink, row in zip(self._sinks, rows, strict=True)
        ]

    async def deliver(self, sink: AuditSink) -> bool:
        """One batch. Returns whether there may be more at once. Raises TemporaryError when the database is away."""
        async with self._database.read() as connection:
            row = await audit_sinks.load(connection, sink.name)
            entries = await audit.entries_after(connection, row.position, limit=BATCH)
        if not entries:
            return False
        try:
            await sink.deliver(entries)
        except Exception as error:  # noqa: BLE001 (what a sink did not foresee, a name that no resolver takes say, must not end the server)
            await self._failed(sink, row, str(error) if isinstance(error, TemporaryError) else f"{type(error).__name__}: {error}")
            return False
        self._retry_at.pop(sink.name, None)
        last = entries[-1].link
        position = last.entry if last is not None else row.position
        await self._save(replace(row, position=position, delivered_at=self._clock.now(), failures=0, problem=""))
        return len(entries) == BATCH

    async def _follow(self, sink: AuditSink) -> None:
        while True:
            more = False
            with suppress(ServicingError, TemporaryError):  # a database that is away is reported by the engine
                more = await self.deliver(sink)
            retry_at = self._retry_at.get(sink.name)
            if retry_at is not None:
                await self._clock.sleep(max(0.0, (retry_at - self._clock.now()).total_seconds()))
            elif not more:
                await self._clock.sleep(POLL_SECONDS)

    async def _failed(self, sink: AuditSink, row: SinkRow, problem: str) -> None:
        failures = row.failures + 1
        pause = min(PAUSE_SECONDS_MAX, 2.0 ** min(failures - 1, 10))
        self._retry_at[sink.name] = self._clock.now() + timedelta(seconds=pause)
        log.warning("audit_sink_failed", sink=sink.name, failures=failures, problem=problem, retry_in_seconds=pause)
        await self._save(replace(row, failures=failures, problem=problem[:PROBLEM_CHARACTERS_MAX]))

    async def _save(self, row: SinkRow) -> None:
        async with self._database.write(durable=False) as connection:
            await audit_sinks.save(connection, row)
