"""Appends to and reads from the one event log. Called inside the transaction of the change the events tell of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import Link, Record, StoredEvent, canonical, sealed
from agent_servicing.core.events import Event
from agent_servicing.ports import Ids
from agent_servicing.store.tables import events, log_head

ENGINE: Final[Mapping[str, object]] = {"kind": "engine"}
"""The source of what the server decided by itself."""

PRUNE_EVERY = 500
"""Old live events are deleted once per so many new ones: often enough to stay near the limit, rarely enough to cost nothing."""


async def append(connection: AsyncConnection, ids: Ids, new: Sequence[Event], *, keep: int, source: Mapping[str, object] = ENGINE) -> int:
    """Write `new` in order after the newest event, chain the audit entries, and return the last number (unchanged for no events).

    Updating the head first makes concurrent writers wait for each other until commit, so numbers are gapless and in commit order.
    `keep`: how many numbers back live events are kept. `source`: what audit entries say of where they came from.
    """
    audits = sum(event.audit for event in new)
    head = (
        await connection.execute(
            update(log_head)
            .values(last_seq=log_head.c.last_seq + len(new), audit_entries=log_head.c.audit_entries + audits)
            .returning(log_head.c.last_seq, log_head.c.audit_entries, log_head.c.audit_head, log_head.c.pruned_seq)
        )
    ).one()
    if not new:
        return int(head.last_seq)
    chain, entry, rows = head.audit_head, head.audit_entries - audits, []
    for seq, event in enumerate(new, start=head.last_seq - len(new) + 1):
        event_id, record = ids.new("evt"), None
        told = replace(event, data={**event.data, "source": source}) if event.audit else event
        if told.audit:
            entry += 1
            record = sealed(told, previous=chain, entry=entry, seq=seq, event_id=event_id)
            chain = record.digest
        rows.append(_row(seq, event_id, told, record))
    await connection.execute(insert(events), rows)
    if audits:
        await connection.execute(update(log_head).values(audit_head=chain))
    if head.last_seq - keep - head.pruned_seq >= PRUNE_EVERY:
        await _prune(connection, after=head.pruned_seq, upto=head.last_seq - keep)
    return int(head.last_seq)


def stored_event(row: Row[Any]) -> StoredEvent:
    """A row of `events` as a value."""
    event = Event(
        type=row.type,
        at=row.at,
        agent=row.agent,
        deployment=row.deployment,
        actor=row.actor,
        reason=row.reason,
        audit=row.audit,
        data=json.loads(row.data),
    )
    link = Link(entry=row.entry or 0, previous=row.previous or "", digest=row.digest or "") if row.audit else None
    return StoredEvent(seq=row.seq, event_id=row.event_id, event=event, link=link)


async def last_seq(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(log_head.c.last_seq))).scalar_one())


def _row(seq: int, event_id: str, event: Event, record: Record | None) -> dict[str, object]:
    status = event.data.get("status")
    return {
        "seq": seq,
        "event_id": event_id,
        "type": event.type,
        "at": event.at,
        "agent": event.agent,
        "deployment": event.deployment,
        "actor": event.actor,
        "reason": event.reason,
        "audit": event.audit,
        "status": str(status) if status is not None else None,
        "data": canonical(dict(event.data)) if record is None else record.data,
        "entry": None if record is None else record.entry,
        "previous": None if record is None else record.previous,
        "digest": None if record is None else record.digest,
    }


async def _prune(connection: AsyncConnection, *, after: int, upto: int) -> None:
    """Delete live events up to a number; audit entries stay for good."""
    await connection.execute(delete(events).where(events.c.seq > after, events.c.seq <= upto, events.c.audit.is_(False)))
    await connection.execute(update(log_head).values(pruned_seq=upto))
