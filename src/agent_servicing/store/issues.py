"""Rows of reports and the settings of where they are sent. Used by `services.issues` inside its transactions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.outward import TrackerSettings
from agent_servicing.store.event_log import stored_event
from agent_servicing.store.notification_tables import issue_settings, issues
from agent_servicing.store.tables import events

IssueStatus = Literal["kept", "sending", "opened", "failed"]

_COLUMNS = [column for column in issues.c if column.name not in ("bundle", "summary")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One report without its contents. `url`: where it was opened. `problem`: why it is not, or was not at the last attempt."""

    number: int
    issue: str
    agent: str
    deployment: str | None
    title: str
    note: str
    actor: str
    at: datetime
    bundle_bytes: int
    status: IssueStatus
    url: str = ""
    problem: str = ""
    attempts: int = 0
    next_at: datetime | None = None
    give_up_at: datetime | None = None


async def load_tracker(connection: AsyncConnection) -> TrackerSettings:
    row = (await connection.execute(select(issue_settings))).one()
    found = json.loads(row.body)
    return TrackerSettings(**{**found, "labels": tuple(found.get("labels", ())), "revision": row.revision})


async def save_tracker(connection: AsyncConnection, settings: TrackerSettings) -> None:
    body = {key: value for key, value in asdict(settings).items() if key != "revision"}
    await connection.execute(update(issue_settings).values(revision=settings.revision, body=json.dumps(body)))


async def secret_named(connection: AsyncConnection) -> Mapping[str, str]:
    """The secret that holds the token, with what it is needed for."""
    secret = (await load_tracker(connection)).secret
    return {secret: "the issue tracker"} if secret is not None else {}


async def insert_issue(connection: AsyncConnection, values: Mapping[str, Any]) -> Issue:
    await connection.execute(insert(issues).values(**values))
    found = await find_issue(connection, values["issue"])
    assert found is not None  # noqa: S101  (it was just written)
    return found


async def find_issue(connection: AsyncConnection, issue: str) -> Issue | None:
    row = (await connection.execute(_select().where(issues.c.issue == issue))).one_or_none()
    return _made(row) if row is not None else None


async def issue_page(connection: AsyncConnection, agent: str, *, before: int | None, limit: int) -> Sequence[Issue]:
    """Newest first."""
    query = _select().where(issues.c.agent == agent)
    if before is not None:
        query = query.where(issues.c.number < before)
    return [_made(row) for row in (await connection.execute(query.order_by(issues.c.number.desc()).limit(limit))).all()]


async def bundle_of(connection: AsyncConnection, issue: str) -> bytes:
    return bytes((await connection.execute(select(issues.c.bundle).where(issues.c.issue == issue))).scalar_one())


async def summary_of(connection: AsyncConnection, issue: str) -> str:
    return str((await connection.execute(select(issues.c.summary).where(issues.c.issue == issue))).scalar_one())


async def due_issues(connection: AsyncConnection, now: datetime, *, limit: int) -> Sequence[Issue]:
    query = _select().where(issues.c.status == "sending", issues.c.next_at <= now)
    return [_made(row) for row in (await connection.execute(query.order_by(issues.c.number).limit(limit))).all()]


async def change_issue(connection: AsyncConnection, issue: str, **values: Any) -> None:
    await connection.execute(update(issues).where(issues.c.issue == issue).values(values))


async def prune_issues(connection: AsyncConnection, *, keep: int) -> None:
    """The newest `keep` stay."""
    newest = (await connection.execute(select(func.max(issues.c.number)))).scalar_one()
    if newest is not None and newest > keep:
        await connection.execute(delete(issues).where(issues.c.number <= newest - keep))


async def events_in_window(
    connection: AsyncConnection, agent: str, deployment: str | None, *, since: datetime, until: datetime, limit: int
) -> Sequence[StoredEvent]:
    """The newest `limit` of the agent in the window, and of this deployment whenever they were; oldest first."""
    within = (events.c.at >= since) & (events.c.at <= until)
    wanted = (events.c.agent == agent) & (within | (events.c.deployment == deployment))
    rows = (await connection.execute(select(events).where(wanted).order_by(events.c.seq.desc()).limit(limit))).all()
    return [stored_event(row) for row in reversed(rows)]


def _select() -> Any:
    return select(*_COLUMNS, func.length(issues.c.bundle).label("bundle_bytes"))


def _made(row: Row[Any]) -> Issue:
    return Issue(**row._mapping)  # noqa: SLF001  (public, whatever its name says)
