"""Versions as the list shows them: rows and the agent's state in, `VersionInfo`s and advice out; pure. `VersionManager` calls it."""

from collections.abc import Mapping, Sequence
from functools import cache

from agent_servicing.core.config.layers import effective
from agent_servicing.core.errors import Invalid
from agent_servicing.core.manifest import StateSpec
from agent_servicing.core.model import AgentState
from agent_servicing.core.standing import Candidate, Hints, Standing, hints
from agent_servicing.core.state import door
from agent_servicing.core.versions import by_kind, parse, step
from agent_servicing.services import catalogue
from agent_servicing.services.config_checks import problems as problems_of
from agent_servicing.services.config_views import layers_in_force
from agent_servicing.services.views import VersionInfo
from agent_servicing.store.queries import Record, VersionRow

PROBLEMS_SHOWN = 5
"""Reasons against a configuration that are told; a patch's dry run tells all."""


class Infos:
    """One look at the versions of one agent. `rows` are newest first."""

    def __init__(self, state: AgentState, rows: Sequence[VersionRow]) -> None:
        self._state, self._rows = state, rows
        self._current = next((row for row in rows if row.version == state.agent.version), None)
        self._config_problems = cache(self._problems)

    def info(self, row: VersionRow, record: Record, results: Mapping[str, str] | None = None) -> VersionInfo:
        """Everything about one version, seen from the running one. `results`: what its newest staging run came to."""
        current = self._state.agent.version
        upgradable, sentence = catalogue.compatibility(self._rows, current, row)
        against = self.config_problems(row)
        if upgradable and against:
            upgradable, sentence = False, f"cannot use the configuration in force: {'; '.join(against)}"
        before = self._current.manifest.state if self._current is not None else StateSpec()
        verdict, note = door(before, row.manifest.state) if self._current is not None else ("unknown", "")
        return VersionInfo(
            version=row.version,
            ref=row.ref,
            type="first" if current is None else step(parse(current), parse(row.version)).replace("same", "current"),
            release_date=row.released_at,
            author=row.body.author,
            summary=row.body.summary,
            security=row.security,
            critical=row.critical,
            changelog=by_kind(row.body.changes),
            breaking_changes=catalogue.breaking_notes([row]),
            migration_notes=row.manifest.upgrade.migration_notes,
            test_results=results or {},
            deployment_count=record.total,
            success_rate=round(100 * record.completed / record.finished, 1) if record.finished else None,
            compatibility=sentence,
            upgradable=upgradable,
            state_door=verdict,
            state_note=note,
            config_problems=against,
            standing=row.standing.value,
            standing_reason=row.standing_reason,
            standing_by=_said_by(row),
            moved=row.moved_ref is not None,
            problem=row.problem,
        )

    def advice(self) -> Hints:
        """Which update to take."""
        current = self._state.agent.version
        if current is None:
            return Hints()
        standing = self._current.standing if self._current is not None else Standing.AVAILABLE
        newer = [row for row in self._rows if not row.problem and catalogue.order(row.version) > catalogue.order(current)]
        return hints(current, [self._candidate(row) for row in newer], standing=standing)

    def config_problems(self, row: VersionRow) -> tuple[str, ...]:
        """What the version's schema has against the configuration in force laid over its defaults; empty: it goes along unchanged."""
        return () if row.problem else self._config_problems(row.version)

    def _problems(self, version: str) -> tuple[str, ...]:
        row = next(row for row in self._rows if row.version == version)
        try:
            found = problems_of(row.config_schema, effective(row.manifest.config, row.config_schema, layers_in_force(self._state)))
        except Invalid as error:
            return (error.message,)
        return tuple(f"{e.path} {e.message}" if e.path else e.message for e in found[:PROBLEMS_SHOWN])

    def _candidate(self, row: VersionRow) -> Candidate:
        current = self._state.agent.version
        reachable = catalogue.compatibility(self._rows, current, row)[0] and not self.config_problems(row)
        breaking = bool(current and catalogue.breaking_notes(catalogue.between(self._rows, current, row.version)))
        return Candidate(
            version=row.version,
            security=row.security,
            critical=row.critical,
            standing=row.standing,
            breaking=breaking,
            reachable=reachable,
        )


def _said_by(row: VersionRow) -> str:
    """Who said what its standing is; empty when nobody said anything."""
    if row.mark is not None:
        return row.mark.actor
    return "source" if row.standing is not Standing.AVAILABLE else ""
