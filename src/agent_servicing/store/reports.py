"""Keeps and counts what agents report about themselves. `SqlReports` is the judge's port; the functions are for the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, false, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.reports import Limit, Tally
from agent_servicing.store.database import Database
from agent_servicing.store.tables import reports

QUESTIONS_KEPT = 256
"""Tallies kept to be gone on with: one for each deployment under way that has limits on reported metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One value of one metric, as one instance reported it."""

    generation: int
    instance: str
    metric: str
    value: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The values of one metric from one generation, or from one of its instances (`instance` None: from all of them). Percentiles are
    values that were reported, by the nearest rank; `last` is the one observed last, at `last_at`.
    """

    metric: str
    generation: int
    instance: str | None
    count: int
    mean: float
    p50: float
    p95: float
    last: float
    last_at: datetime


class SqlReports:
    """Implements `ports.Reports`. Counts only what arrived since it was asked the same before, so that asking every second costs nothing
    and values that were pruned meanwhile stay counted. A new server counts anew what is there.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._counted: dict[_Question, _Counted] = {}

    async def tallies(self, agent: str, metrics: Sequence[Limit], since: datetime) -> Mapping[int, Mapping[str, Tally]]:
        if not metrics:
            return {}
        question = (agent, tuple(metrics), since)
        before = self._counted.get(question, _Counted())
        async with self._database.read() as connection:
            head = (await connection.execute(select(func.max(reports.c.number)).where(reports.c.agent == agent))).scalar()
            query = tallies_query(agent, metrics, since, after=before.upto)
            rows = (await connection.execute(query)).all() if head is not None and head > before.upto else ()
        tallies = {generation: dict(found) for generation, found in before.tallies.items()}
        for row in rows:
            of_generation = tallies.setdefault(row.generation, {})
            was = of_generation.get(row.metric, Tally())
            of_generation[row.metric] = Tally(total=was.total + int(row.total), bad=was.bad + int(row.bad))
        # Last in, so that the question not asked for longest goes first.
        self._counted.pop(question, None)
        self._counted[question] = _Counted(upto=max(head or 0, before.upto), tallies=tallies)
        if len(self._counted) > QUESTIONS_KEPT:
            del self._counted[next(iter(self._counted))]
        return tallies


_Question = tuple[str, tuple[Limit, ...], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """`upto`: the newest value that is in. Of one agent, a lower number never becomes visible later: see `AgentReports.add`."""

    upto: int = 0
    tallies: Mapping[int, Mapping[str, Tally]] = field(default_factory=dict)


def tallies_query(agent: str, limits: Sequence[Limit], since: datetime, *, after: int = 0) -> Select[Any]:
    """All of them are answered from one index alone, those `after` a number from the order of arrival."""
    bad = case((or_(false(), *(and_(reports.c.metric == limit.name, _broken(limit)) for limit in limits)), 1), else_=0)
    query = (
        select(reports.c.generation, reports.c.metric, func.count().label("total"), func.sum(bad).label("bad"))
        .where(reports.c.agent == agent, reports.c.metric.in_(sorted({limit.name for limit in limits})), reports.c.at >= since)
        .group_by(reports.c.generation, reports.c.metric)
    )
    return query.where(reports.c.number > after) if after else query


async def insert_reports(connection: AsyncConnection, agent: str, rows: Sequence[ReportRow]) -> None:
    await connection.execute(
        insert(reports),
        [
            {"agent": agent, "generation": r.generation, "instance": r.instance, "metric": r.metric, "value": r.value, "at": r.at}
            for r in rows
        ],
    )


async def prune_reports(connection: AsyncConnection, agent: str, *, keep: int) -> int:
    """Delete all but the `keep` that arrived last; returns how many went."""
    newest_to_go = select(reports.c.number).where(reports.c.agent == agent).order_by(reports.c.number.desc()).offset(keep).limit(1)
    statement = delete(reports).where(reports.c.agent == agent, reports.c.number <= newest_to_go.scalar_subquery())
    return (await connection.execute(statement)).rowcount


async def metric_names(connection: AsyncConnection, agent: str) -> set[str]:
    """Every metric there is a value of."""
    return set((await connection.execute(select(reports.c.metric).where(reports.c.agent == agent).distinct())).scalars())


async def distributions(
    connection: AsyncConnection, agent: str, *, metric: str | None, since: datetime, per_instance: bool, values: int, limit: int
) -> list[Distribution]:
    """One for each metric and generation, or for each instance too, of the last `values` values observed at `since` or later: metrics by
    name, newest generation first, at most `limit`.
    """
    conditions = [reports.c.agent == agent, reports.c.at >= since, *([reports.c.metric == metric] if metric is not None else [])]
    newest = select(reports).where(*conditions).order_by(reports.c.number.desc()).limit(values).subquery().c
    group = [newest.metric, newest.generation, *([newest.instance] if per_instance else [])]
    ranked = select(
        *group,
        newest.value,
        newest.at,
        func.row_number().over(partition_by=group, order_by=newest.value).label("place"),
        func.row_number().over(partition_by=group, order_by=(newest.at.desc(), newest.number.desc())).label("newness"),
        func.count().over(partition_by=group).label("size"),
    ).subquery()
    c = ranked.c
    keys = [c.metric, c.generation, *([c.instance] if per_instance else [])]
    query = (
        select(
            *keys,
            func.count().label("count"),
            func.avg(c.value).label("mean"),
            func.max(case((c.place == (c.size + 1) // 2, c.value))).label("p50"),
            func.max(case((c.place == (c.size * 95 + 99) // 100, c.value))).label("p95"),
            func.max(case((c.newness == 1, c.value))).label("last"),
            func.max(c.at).label("last_at"),
        )
        .group_by(*keys)
        .order_by(c.metric, c.generation.desc(), *keys[2:])
        .limit(limit)
    )
    return [
        Distribution(
            metric=row.metric,
            generation=row.generation,
            instance=row.instance if per_instance else None,
            count=int(row[len(keys)]),  # a row has a method of that name
            mean=float(row.mean),
            p50=row.p50,
            p95=row.p95,
            last=row.last,
            last_at=row.last_at,
        )
        for row in (await connection.execute(query)).all()
    ]


def _broken(limit: Limit) -> ColumnElement[bool]:
    above = [reports.c.value > float(limit.above)] if limit.above is not None else []
    below = [reports.c.value < float(limit.below)] if limit.below is not None else []
    return or_(false(), *above, *below)
