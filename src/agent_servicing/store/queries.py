"""What the services ask the database, and the few rows they write. Everything here runs inside a transaction its caller opened."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, Deployment
from agent_servicing.core.standing import Standing
from agent_servicing.core.status import ACTIVE, TERMINAL, WAITING, DeploymentStatus, Verb
from agent_servicing.ports.uploads import UPLOAD_REF
from agent_servicing.store import codec
from agent_servicing.store.codec import AgentBody, VersionBody
from agent_servicing.store.event_log import stored_event
from agent_servicing.store.marks import Mark, load_marks
from agent_servicing.store.outlines import note_change
from agent_servicing.store.tables import NAMED, agents, deployments, events, intents, version_marks, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """An agent without its deployments. `base` is the manifest it was added with."""

    body: AgentBody
    base: Manifest
    refreshed_at: datetime | None
    source_problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One known version; `manifest` is complete. `problem` says why it cannot be used, empty when it can. `mark` is what people said of it."""

    version: str
    ref: str
    released_at: datetime | None
    discovered_at: datetime
    manifest: Manifest
    body: VersionBody = field(default_factory=VersionBody)
    security: bool = False
    critical: bool = False
    moved_ref: str | None = None
    problem: str = ""
    mark: Mark | None = None

    @property
    def standing(self) -> Standing:
        """What people said counts more than what the source says."""
        return self.mark.standing if self.mark is not None else self.body.standing

    @property
    def standing_reason(self) -> str:
        return self.mark.reason if self.mark is not None else self.body.standing_reason

    @property
    def config_schema(self) -> str | None:
        """The text of its configuration's schema."""
        return self.body.files.get(self.manifest.config.schema or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How deployments to one version went: all of them, those finished, those completed."""

    total: int = 0
    finished: int = 0
    completed: int = 0


# --- agents ---


async def agent_row(connection: AsyncConnection, agent: str, *, lock: bool = False) -> AgentRow | None:
    """`lock`: other writers that ask the same wait until this transaction is over (on SQLite they do anyway)."""
    query = select(agents).where(agents.c.agent == agent)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        return None
    return AgentRow(
        body=codec.decode_agent(row.body),
        base=codec.decode_manifest(row.manifest),
        refreshed_at=row.refreshed_at,
        source_problem=row.source_problem,
    )


async def agent_names(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(select(agents.c.agent).order_by(agents.c.agent))).scalars())


async def agent_called(connection: AsyncConnection, name: str) -> str | None:
    """The agent of this name, written in capitals or not."""
    query = select(agents.c.agent).where(func.lower(agents.c.agent) == name.lower()).limit(1)
    return (await connection.execute(query)).scalar_one_or_none()


async def insert_agent(connection: AsyncConnection, agent: Agent, *, now: datetime) -> None:
    """A new agent, due at once; `agent.manifest` is kept as its base."""
    await connection.execute(
        insert(agents).values(
            agent=agent.agent,
            status=agent.status,
            created_at=agent.created_at,
            manifest=codec.encode_manifest(agent.manifest),
            body=codec.encode_agent(AgentBody(agent=agent)),
            due_at=now,
            woken=True,
            refreshed_at=now,
        )
    )


async def wake(connection: AsyncConnection, agent: str, *, now: datetime) -> None:
    """Make the agent due at once, also when an engine holds it just now: it is then due again when given back."""
    await connection.execute(update(agents).where(agents.c.agent == agent).values(due_at=now, woken=True))


async def note_refresh(connection: AsyncConnection, agent: str, *, now: datetime, problem: str = "") -> None:
    await connection.execute(update(agents).where(agents.c.agent == agent).values(refreshed_at=now, source_problem=problem))


async def add_intent(
    connection: AsyncConnection,
    agent: str,
    verb: Verb,
    *,
    actor: str,
    at: datetime,
    deployment: str | None = None,
    reason: str = "",
    value: int = 0,
) -> None:
    """Write a wish down and wake the agent."""
    await connection.execute(
        insert(intents).values(agent=agent, verb=verb, actor=actor, at=at, deployment=deployment, reason=reason, value=value)
    )
    await wake(connection, agent, now=at)


async def intent_count(connection: AsyncConnection, agent: str) -> int:
    return (await connection.execute(select(func.count()).select_from(intents).where(intents.c.agent == agent))).scalar_one()


# --- versions ---


async def version_rows(connection: AsyncConnection, agent: str) -> list[VersionRow]:
    """Every known version of the agent, in no particular order."""
    marks = await load_marks(connection, agent)
    rows = (await connection.execute(select(versions).where(versions.c.agent == agent))).all()
    return [_version_row(row, marks.get(row.version)) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFlags:
    version: str
    security: bool
    critical: bool
    standing: Standing = Standing.AVAILABLE


_USABLE: Final = (
    select(
        versions.c.agent,
        versions.c.version,
        versions.c.security,
        versions.c.critical,
        func.coalesce(version_marks.c.standing, versions.c.standing).label("standing"),
    )
    .outerjoin(version_marks, (version_marks.c.agent == versions.c.agent) & (version_marks.c.version == versions.c.version))
    .where(versions.c.agent.in_(NAMED), versions.c.problem == "")
)
_NEWEST: Final = select(func.max(deployments.c.number)).where(deployments.c.agent.in_(NAMED)).group_by(deployments.c.agent)
_LAST: Final = select(deployments.c.agent, deployments.c.body).where(deployments.c.number.in_(_NEWEST.scalar_subquery()))


async def usable_versions(connection: AsyncConnection, only: Sequence[str]) -> Mapping[str, list[VersionFlags]]:
    """The versions without a problem of each of these agents, by their flags alone: for lists of agents."""
    found: dict[str, list[VersionFlags]] = {}
    for row in (await connection.execute(_USABLE, {"names": list(only)})).all():
        flags = VersionFlags(version=row.version, security=row.security, critical=row.critical, standing=Standing(row.standing))
        found.setdefault(row.agent, []).append(flags)
    return found


async def save_version(connection: AsyncConnection, agent: str, row: VersionRow) -> None:
    """Insert it or write it over the one of that name."""
    values = {
        "ref": row.ref,
        "released_at": row.released_at,
        "manifest": codec.encode_manifest(row.manifest),
        "body": codec.encode_version(row.body),
        "security": row.security,
        "critical": row.critical,
        "moved_ref": row.moved_ref,
        "problem": row.problem,
        "config_schema": row.config_schema,
        "standing": row.body.standing.value,
    }
    statement = update(versions).where(versions.c.agent == agent, versions.c.version == row.version).values(**values)
    if (await connection.execute(statement)).rowcount == 0:
        await connection.execute(insert(versions).values(agent=agent, version=row.version, discovered_at=row.discovered_at, **values))
    await note_change(connection, agent)


async def upload_refs(connection: AsyncConnection) -> list[str]:
    """The refs of every uploaded version, of all agents."""
    query = select(versions.c.ref).where(versions.c.ref.startswith(UPLOAD_REF, autoescape=True))
    return list((await connection.execute(query)).scalars())


async def delete_versions(connection: AsyncConnection, agent: str, names: Sequence[str]) -> None:
    if names:
        await connection.execute(delete(versions).where(versions.c.agent == agent, versions.c.version.in_(list(names))))
        await note_change(connection, agent)


async def records(connection: AsyncConnection, agent: str) -> Mapping[str, Record]:
    """How deployments went, by target version, over the agent's whole history."""
    finished = func.sum(case((deployments.c.status.in_(sorted(TERMINAL - {DeploymentStatus.CANCELLED})), 1), else_=0))
    completed = func.sum(case((deployments.c.status == DeploymentStatus.COMPLETED, 1), else_=0))
    query = (
        select(deployments.c.to_version, func.count().label("total"), finished.label("finished"), completed.label("completed"))
        .where(deployments.c.agent == agent)
        .group_by(deployments.c.to_version)
    )
    rows = (await connection.execute(query)).all()
    return {row.to_version: Record(total=row.total, finished=int(row.finished), completed=int(row.completed)) for row in rows}


def _version_row(row: Row[Any], mark: Mark | None) -> VersionRow:
    return VersionRow(
        version=row.version,
        ref=row.ref,
        released_at=row.released_at,
        discovered_at=row.discovered_at,
        manifest=codec.decode_manifest(row.manifest),
        body=codec.decode_version(row.body),
        security=row.security,
        critical=row.critical,
        moved_ref=row.moved_ref,
        problem=row.problem,
        mark=mark,
    )


# --- deployments ---


class ListState(StrEnum):
    """What lists of deployments are narrowed by; `open` is everything but `over`."""

    OPEN = "open"
    UPCOMING = "upcoming"
    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"


OPEN_STATES: Final = (ListState.OPEN, ListState.UPCOMING, ListState.WAITING, ListState.RUNNING)

_LATER = deployments.c.status == DeploymentStatus.SCHEDULED
_STATES: Final[Mapping[ListState, ColumnElement[bool]]] = {
    ListState.OPEN: deployments.c.status.in_(sorted(WAITING | ACTIVE)),
    # What somebody has to approve waits, whenever it is to begin.
    ListState.UPCOMING: and_(_LATER, ~deployments.c.unapproved),
    ListState.WAITING: or_(deployments.c.status == DeploymentStatus.QUEUED, and_(_LATER, deployments.c.unapproved)),
    ListState.RUNNING: deployments.c.status.in_(sorted(ACTIVE)),
    # Nearly all are: without an index, so that the newest are found from the end and nothing is sorted.
    ListState.OVER: deployments.c.status.not_in(sorted(WAITING | ACTIVE)),
}


async def deployment(connection: AsyncConnection, name: str) -> Deployment | None:
    body = (await connection.execute(select(deployments.c.body).where(deployments.c.deployment == name))).scalar_one_or_none()
    return codec.decode_deployment(body) if body is not None else None


async def waiting_count(connection: AsyncConnection) -> int:
    """How many deployments wait, over all agents."""
    query = select(func.count()).select_from(deployments).where(deployments.c.status.in_(sorted(WAITING)))
    return int((await connection.execute(query)).scalar_one())


async def deployment_page(
    connection: AsyncConnection, *, of: Collection[str] | None, state: ListState | None = None, before: int | None, limit: int
) -> list[tuple[int, Deployment]]:
    """Deployments with their numbers, newest first, older than number `before`; `of` these agents, None meaning all."""
    query = select(deployments.c.number, deployments.c.body).order_by(deployments.c.number.desc()).limit(limit)
    query = query.where(*_deployments_of(of))
    if state is not None:
        query = query.where(_STATES[state])
    if before is not None:
        query = query.where(deployments.c.number < before)
    return [(row.number, codec.decode_deployment(row.body)) for row in (await connection.execute(query)).all()]


async def open_counts(connection: AsyncConnection, *, of: Collection[str] | None) -> Mapping[ListState, int]:
    """How many there are of each state but `over`, whose number only grows."""
    columns = [func.count().filter(_STATES[state]).label(state) for state in OPEN_STATES]
    query = select(*columns).select_from(deployments).where(_STATES[ListState.OPEN], *_deployments_of(of))
    row = (await connection.execute(query)).one()
    return {state: int(getattr(row, state)) for state in OPEN_STATES}


def _deployments_of(of: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if of is None else [deployments.c.agent.in_(sorted(of))]


async def last_deployments(connection: AsyncConnection, only: Sequence[str]) -> Mapping[str, Deployment]:
    """The newest deployment of each of these agents."""
    rows = (await connection.execute(_LAST, {"names": list(only)})).all()
    return {row.agent: codec.decode_deployment(row.body) for row in rows}


# --- events ---


async def events_after(
    connection: AsyncConnection, seq: int, *, agent: str | None, deployment: str | None, limit: int
) -> list[StoredEvent]:
    """Oldest first."""
    query = select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
    if agent is not None:
        query = query.where(events.c.agent == agent)
    if deployment is not None:
        query = query.where(events.c.deployment == deployment)
    return [stored_event(row) for row in (await connection.execute(query)).all()]
