"""Rows of what is sent outward: settings, targets, and the queue of each target. Used by `services.outward` inside its transactions."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.notices import Severity
from agent_servicing.core.outward import OutwardSettings, Rule, Target
from agent_servicing.store.notification_tables import notification_deliveries as deliveries
from agent_servicing.store.notification_tables import notification_settings, notifications
from agent_servicing.store.notification_tables import notification_targets as targets

TRIED_BEFORE_THE_NEXT = 3
"""A message that failed so often stands behind the others: it may be the message and not the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """How sending to one target goes. `waiting` is the length of its queue."""

    target: str
    sealed: bytes
    last_ok_at: datetime | None
    last_error_at: datetime | None
    last_error: str
    failures: int
    next_at: datetime | None
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One notification on its way to one target."""

    delivery: int
    target: str
    attempts: int
    notification: str
    severity: Severity
    good: bool
    title: str
    message: str
    agent: str | None
    link: str
    at: datetime


async def secrets_named(connection: AsyncConnection) -> Mapping[str, str]:
    """Secrets that hold addresses, each with what it is needed for."""
    known = (await load_settings(connection)).targets.values()
    return {target.secret: f"the notification target {target.name}" for target in known if target.secret is not None}


async def load_settings(connection: AsyncConnection) -> OutwardSettings:
    row = (await connection.execute(select(notification_settings.c.revision, notification_settings.c.body))).one()
    found = json.loads(row.body)
    rules = [_rule(rule) for rule in found.pop("rules", ())]
    known = {target["name"]: Target(**target) for target in found.pop("targets", ())}
    return OutwardSettings(revision=row.revision, targets=known, rules=tuple(rules), **found)


async def save_settings(connection: AsyncConnection, settings: OutwardSettings) -> None:
    body = {
        "targets": [asdict(target) for target in settings.targets.values()],
        "rules": [asdict(rule) for rule in settings.rules],
        "same_for_seconds": settings.same_for_seconds,
        "give_up_seconds": settings.give_up_seconds,
        "page_url": settings.page_url,
    }
    await connection.execute(update(notification_settings).values(revision=settings.revision, body=json.dumps(body)))


async def target_rows(connection: AsyncConnection) -> Mapping[str, TargetRow]:
    """By name."""
    waiting = select(func.count()).where(deliveries.c.target == targets.c.target).scalar_subquery().label("waiting")
    found = (await connection.execute(select(targets, waiting).order_by(targets.c.target))).mappings()
    return {row["target"]: TargetRow(**row) for row in found}


async def put_target(connection: AsyncConnection, target: str, sealed: bytes) -> None:
    """A new one, or another address for one that is there, which then begins anew."""
    anew = {"sealed": sealed, "failures": 0, "next_at": None, "last_error": ""}
    changed = await connection.execute(update(targets).where(targets.c.target == target).values(anew))
    if not changed.rowcount:
        await connection.execute(insert(targets).values(target=target, sealed=sealed))


async def seal_target(connection: AsyncConnection, target: str, sealed: bytes) -> None:
    await connection.execute(update(targets).where(targets.c.target == target).values(sealed=sealed))


async def drop_targets(connection: AsyncConnection, names: Collection[str]) -> None:
    """With their queues."""
    await connection.execute(delete(targets).where(targets.c.target.in_(sorted(names))))


async def enqueue(
    connection: AsyncConnection, notification: int, names: Sequence[str], *, give_up_at: datetime, queue_max: int
) -> Sequence[str]:
    """Put it into the queues; names of the targets whose queue is full, which do not get it."""
    counts = select(deliveries.c.target, func.count().label("waiting")).where(deliveries.c.target.in_(names)).group_by(deliveries.c.target)
    waiting = {row.target: row.waiting for row in (await connection.execute(counts)).all()}
    full = [name for name in names if waiting.get(name, 0) >= queue_max]
    rows = [{"notification": notification, "target": name, "give_up_at": give_up_at} for name in names if name not in full]
    if rows:
        await connection.execute(insert(deliveries), rows)
    return full


async def due_targets(connection: AsyncConnection, now: datetime) -> Sequence[str]:
    """Targets that something waits for and that may be tried now."""
    ready = targets.c.next_at.is_(None) | (targets.c.next_at <= now)
    query = select(targets.c.target).where(ready, select(deliveries.c.number).where(deliveries.c.target == targets.c.target).exists())
    return list((await connection.execute(query.order_by(targets.c.target))).scalars())


async def next_delivery(connection: AsyncConnection, target: str) -> Waiting | None:
    """The oldest that waits for this target; what failed several times comes after the others."""
    behind = case((deliveries.c.attempts >= TRIED_BEFORE_THE_NEXT, 1), else_=0)
    columns = (
        deliveries.c.number.label("delivery"),
        deliveries.c.target,
        deliveries.c.attempts,
        *(notifications.c[name] for name in ("notification", "severity", "good", "title", "message", "agent", "link", "at")),
    )
    joined = select(*columns).join(notifications, notifications.c.number == deliveries.c.notification)
    query = joined.where(deliveries.c.target == target).order_by(behind, deliveries.c.number).limit(1)
    row = (await connection.execute(query)).mappings().one_or_none()
    return Waiting(**{**row, "severity": Severity(row["severity"])}) if row is not None else None


async def note_sent(connection: AsyncConnection, target: str, *, delivery: int | None, now: datetime) -> None:
    """It got through, so the target is well."""
    await connection.execute(delete(deliveries).where(deliveries.c.number == delivery))
    well = {"last_ok_at": now, "failures": 0, "next_at": None}
    await connection.execute(update(targets).where(targets.c.target == target).values(well))


async def note_failed(
    connection: AsyncConnection, target: str, *, delivery: int | None, problem: str, now: datetime, next_at: datetime | None
) -> None:
    """`next_at` None: a test, which puts nothing off."""
    values: dict[str, Any] = {"last_error": problem, "last_error_at": now}
    if next_at is not None:
        values |= {"failures": targets.c.failures + 1, "next_at": next_at}
    await connection.execute(update(targets).where(targets.c.target == target).values(values))
    await connection.execute(update(deliveries).where(deliveries.c.number == delivery).values(attempts=deliveries.c.attempts + 1))


async def any_over(connection: AsyncConnection, now: datetime) -> bool:
    """Whether something has been tried for long enough."""
    return (await connection.execute(select(deliveries.c.number).where(deliveries.c.give_up_at <= now).limit(1))).first() is not None


async def give_up(connection: AsyncConnection, now: datetime) -> Mapping[str, int]:
    """Drop what has been tried for long enough: how many by target."""
    over = deliveries.c.give_up_at <= now
    counts = (await connection.execute(select(deliveries.c.target, func.count()).where(over).group_by(deliveries.c.target))).all()
    if counts:
        await connection.execute(delete(deliveries).where(over))
    return {row[0]: row[1] for row in counts}


def _rule(found: Mapping[str, Any]) -> Rule:
    agents, kinds = (tuple(found[key]) if found[key] is not None else None for key in ("agents", "kinds"))
    return Rule(name=found["name"], targets=tuple(found["targets"]), agents=agents, kinds=kinds, least=Severity(found["least"]))
