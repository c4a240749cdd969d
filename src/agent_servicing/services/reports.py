"""Metrics that agents report about themselves: taken in, kept within bounds, summed up. Called by `web`; the judge counts through `ports.Reports`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound
from agent_servicing.core.reports import METRIC_NAME, generation_of
from agent_servicing.ports import Clock
from agent_servicing.services.transaction import shown, unknown_agent
from agent_servicing.store import queries, reports
from agent_servicing.store.database import Database
from agent_servicing.store.queries import AgentRow
from agent_servicing.store.reports import Distribution, ReportRow

VALUES_MAX: Final = 1_000
"""Values in one request."""

REPORTS_KEPT: Final = 200_000
"""Values kept per agent, about 30 MB of database; the oldest go. At ten values a second that is five hours."""

METRICS_MAX: Final = 100
"""Metrics of one agent. More of them are names made from data, which nobody could set limits on."""

LATE_SECONDS_MAX: Final = 86_400.0
"""How long ago a value may have been observed: quality is often judged hours after the answer."""

AHEAD_SECONDS_MAX: Final = 60.0
"""How far an agent's clock may be ahead of ours; such a value counts as observed now."""

WINDOW_SECONDS_MAX: Final = 86_400.0

SUMMARY_VALUES_MAX: Final = 20_000
"""Values one summary looks at, the newest: half a second of the database's time."""

GROUPS_MAX: Final = 2_000
"""Lines of one summary: metric, generation and instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One value as it was sent; `at` None: just now."""

    metric: str
    value: float
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsSummary:
    """Distributions of the newest values in the window, per generation and per instance. `versions`: of the generations still there."""

    agent: str
    window_seconds: float
    generations: Sequence[Distribution]
    instances: Sequence[Distribution]
    versions: Mapping[int, str]

    @property
    def truncated(self) -> bool:
        """Whether there may be more than this shows."""
        lines = max(len(self.generations), len(self.instances))
        return lines >= GROUPS_MAX or sum(found.count for found in self.generations) >= SUMMARY_VALUES_MAX


class AgentReports:
    """Use cases on reported metrics. `kept` is the limit per agent."""

    def __init__(self, *, database: Database, clock: Clock, kept: int = REPORTS_KEPT) -> None:
        self._database, self._clock = database, clock
        # Pruned once per so many values, down to where the next so many still fit.
        self._prune_every = max(1, kept // 20)
        self._keep = kept - self._prune_every
        self._unpruned: dict[str, int] = defaultdict(lambda: self._prune_every)
        self._names: dict[str, set[str]] = {}

    async def add(self, agent: str, values: Sequence[Report], *, instance: str) -> int:
        """Take in what this instance reports (1–1000 values); returns how many.

        An instance that has ended counts as long as its generation is there: its answers may be judged later. Raises NotFound
        `unknown_agent` or `unknown_instance`, Invalid `bad_value`, Conflict `too_many_metrics`.
        """
        if not 1 <= len(values) <= VALUES_MAX:
            raise Invalid(f"A request reports 1 to {VALUES_MAX} values.", code="bad_value")
        now = self._clock.now()
        moments = [_moment(number, value.at, now) for number, value in enumerate(values)]
        # Nobody waits for the disk: after a power cut a few values may be missing, which no verdict rests on.
        async with self._database.write(durable=False) as connection:
            # With the lock, numbers of one agent become visible in their order, which `SqlReports` relies on.
            row = await queries.agent_row(connection, agent, lock=True)
            if row is None:
                raise await unknown_agent(connection, agent)
            generation = _generation(row, agent, instance)
            await self._check_names(connection, agent, {value.metric for value in values})
            rows = [
                ReportRow(generation=generation, instance=instance, metric=value.metric, value=value.value, at=at)
                for value, at in zip(values, moments, strict=True)
            ]
            await reports.insert_reports(connection, agent, rows)
            self._unpruned[agent] += len(rows)
            if self._unpruned[agent] >= self._prune_every:
                await reports.prune_reports(connection, agent, keep=self._keep)
                self._unpruned[agent] = 0
        return len(rows)

    async def summary(self, agent: str, *, metric: str | None = None, window_seconds: float = 3_600.0) -> ReportsSummary:
        """How the values of the last `window_seconds` (1 to a day) are distributed. Raises NotFound `unknown_agent`, Invalid `bad_window`."""
        if not 1 <= window_seconds <= WINDOW_SECONDS_MAX:
            raise Invalid(f"window must be from 1 to {WINDOW_SECONDS_MAX:g} seconds.", code="bad_window")
        if metric is not None and not METRIC_NAME.fullmatch(metric):
            raise Invalid(f"metric must match {METRIC_NAME.pattern}.", code="bad_name")
        since = self._clock.now() - timedelta(seconds=window_seconds)
        async with self._database.read() as connection:
            row = await queries.agent_row(connection, agent)
            if row is None:
                raise await unknown_agent(connection, agent)
            per_generation, per_instance = [
                await reports.distributions(
                    connection, agent, metric=metric, since=since, per_instance=each, values=SUMMARY_VALUES_MAX, limit=GROUPS_MAX
                )
                for each in (False, True)
            ]
        return ReportsSummary(
            agent=agent,
            window_seconds=window_seconds,
            generations=per_generation,
            instances=per_instance,
            versions={generation.number: generation.version for generation in row.body.generations},
        )

    async def _check_names(self, connection: AsyncConnection, agent: str, wanted: set[str]) -> None:
        """Looks into the table only for names it has not seen: they are few, values are many."""
        if wanted <= self._names.get(agent, set()):
            return
        known = await reports.metric_names(connection, agent)
        if len(known | wanted) > METRICS_MAX:
            hint = f"It has: {shown(sorted(known))}." if known else ""
            raise Conflict(f"{agent} would report more than {METRICS_MAX} metrics.", hint=hint, code="too_many_metrics")
        self._names[agent] = known | wanted


def _generation(row: AgentRow, agent: str, instance: str) -> int:
    generation = generation_of(instance)
    if generation is None or all(known.number != generation for known in row.body.generations):
        names = sorted(known.instance for known in row.body.instances)
        hint = f"Its instances: {shown(names)}." if names else "It has no instance now."
        raise NotFound(f"{agent} has no instance {instance}.", hint=hint, code="unknown_instance")
    return generation


def _moment(number: int, at: datetime | None, now: datetime) -> datetime:
    if at is None:
        return now
    ahead = (at - now).total_seconds()
    if not -LATE_SECONDS_MAX <= ahead <= AHEAD_SECONDS_MAX:
        message = f"must be within the last {LATE_SECONDS_MAX / 3600:g} hours"
        raise Invalid(f"values.{number}.at {message}.", errors=[FieldError(path=f"values.{number}.at", message=message)], code="bad_value")
    return min(at, now)
