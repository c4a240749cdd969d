"""From a request for an upgrade to what would be done, or why not: pure, so that the dry run and the request cannot differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent_servicing.calendars import CALENDAR
from agent_servicing.core.analysis import Policy
from agent_servicing.core.config.layers import effective
from agent_servicing.core.errors import Conflict, Denied, FieldError, Invalid, NotFound, ServicingError
from agent_servicing.core.manifest import StateSpec, Tests
from agent_servicing.core.model import AgentState, Deployment, DeploymentSpec
from agent_servicing.core.schedule import Line, next_open
from agent_servicing.core.standing import Standing
from agent_servicing.core.state import door
from agent_servicing.core.status import DeploymentKind, DeploymentStatus
from agent_servicing.core.strategies import STRATEGIES, UPGRADES
from agent_servicing.core.thresholds import NOTHING_SET, Defaults, in_force
from agent_servicing.core.versions import check_upgrade, try_parse
from agent_servicing.services import catalogue
from agent_servicing.services.config_checks import problems as problems_of
from agent_servicing.services.config_views import layers_in_force
from agent_servicing.services.requests import UpgradeRequest
from agent_servicing.services.rights import Asker, calendar_warnings, right_refusals
from agent_servicing.services.specs import problems, spec_of
from agent_servicing.services.stage_words import estimated_minutes, sentence
from agent_servicing.services.staging_gate import gate_refusals, gate_warnings
from agent_servicing.services.strategy_warnings import strategy_warnings
from agent_servicing.services.transaction import checked_reason, leaving, shown
from agent_servicing.services.views import Plan, PlannedStage, Refusal
from agent_servicing.store.queries import VersionRow

QUEUE_MAX: Final = 20
"""Deployments waiting for one agent. More than a handful is a runaway script."""

LATE_SECONDS_MAX: Final = 300
"""A scheduled time so far in the past is taken as "now": clocks differ, and a form stays open for a while."""

SCHEDULE_DAYS_MAX: Final = 366
"""Further ahead is a typing error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan and the spec it was made from; without refusals the spec is what is stored."""

    plan: Plan
    spec: DeploymentSpec


def make_plan(
    state: AgentState,
    rows: Sequence[VersionRow],
    request: UpgradeRequest,
    *,
    now: datetime,
    keep_warm_seconds: float,
    asker: Asker,
    line: Line,
    shut: str | None = None,
    defaults: Defaults = NOTHING_SET,
) -> Planned:
    """What `request` would do to the agent as it is now, with the line's calendar as it is. `shut`: why the staging gate is; `defaults`:
    the thresholds that are set."""
    parsed = try_parse(request.target_version)
    target = str(parsed) if parsed else request.target_version
    row = next((row for row in rows if row.version == target), None)
    start = scheduled_start(request, now)
    tests = row.manifest.tests if row is not None else Tests()
    current = next((row for row in rows if row.version == state.agent.version), None)
    before, after = (found.manifest.state if found is not None else StateSpec() for found in (current, row))
    thresholds = in_force(defaults, request.auto_rollback.thresholds)
    spec = spec_of(request, thresholds=thresholds, keep_warm_seconds=keep_warm_seconds, tests=tests, before=before, after=after)
    refusals = (
        *_input_refusals(request, spec.policy, now),
        *right_refusals(state, request, asker, now),
        *_version_refusals(state, rows, row, target, request),
        *_config_refusals(state, row),
        *gate_refusals(request, shut if row is not None else None, state.agent.agent),
        *_busy_refusals(state, target, request, start),
    )
    compiles = request.strategy in UPGRADES and not any(r.code == "bad_value" for r in refusals)
    stages = STRATEGIES[request.strategy](spec, state.agent.instances) if compiles else ()
    opening = (start or now) if request.override_freeze else next_open(line, state.agent.agent, start or now, CALENDAR)
    plan = Plan(
        agent=state.agent.agent,
        from_version=state.agent.version,
        to_version=target,
        strategy=request.strategy,
        stages=tuple(PlannedStage(stage=stage.name, sentence=sentence(stage, state, target)) for stage in stages),
        refusals=refusals,
        warnings=(
            *calendar_warnings(state, request, line, start or now, opening),
            *gate_warnings(request, shut),
            *_warnings(state, current, row, request),
            *strategy_warnings(spec, state.agent.instances),
        ),
        estimated_duration_minutes=estimated_minutes(stages),
        scheduled_at=start,
        expected_start=opening,
        state_door=door(current.manifest.state, row.manifest.state)[0] if current and row else "unknown",
        policy=spec.policy,
        thresholds=thresholds,
    )
    return Planned(plan=plan, spec=spec)


def raise_first(refusals: Sequence[Refusal]) -> None:
    """Raise what the request would have met first; all problems of the input at once."""
    if not refusals:
        return
    first = refusals[0]
    families: dict[str, type[ServicingError]] = {"invalid": Invalid, "conflict": Conflict, "not_found": NotFound, "denied": Denied}
    same = [r for r in refusals if r.family == first.family and r.field]
    errors = tuple(FieldError(path=r.field, message=r.message) for r in same) if first.field else ()
    raise families[first.family](first.message, hint=first.hint, errors=errors, code=first.code)


def scheduled_start(request: UpgradeRequest, now: datetime) -> datetime | None:
    """When it is to begin, None for now."""
    return request.schedule if request.schedule is not None and _aware(request.schedule) and request.schedule > now else None


def busy_with(state: AgentState) -> Deployment | None:
    """The deployment that stands before a new one: under way, or waiting its turn."""
    return next((d for d in state.deployments if d.active), None) or next(
        (d for d in state.deployments if d.status is DeploymentStatus.QUEUED), None
    )


def describe_holder(holder: Deployment) -> str:
    """Who holds the agent, with what, since when."""
    since = holder.started_at or holder.requested_at
    return f"{holder.deployment} to {holder.to_version} by {holder.actor}, {holder.status} since {since:%Y-%m-%d %H:%M:%S} UTC"


def _input_refusals(request: UpgradeRequest, policy: Policy, now: datetime) -> Iterator[Refusal]:
    if request.strategy not in UPGRADES:
        message = f"There is no strategy {request.strategy!r}; available: {', '.join(sorted(UPGRADES))}."
        yield _invalid("unknown_strategy", message, "strategy")
    if try_parse(request.target_version) is None:
        message = f"{request.target_version!r} is no semantic version; allowed is MAJOR.MINOR.PATCH, for example 1.3.0."
        yield _invalid("bad_version", message, "target_version")
    try:
        checked_reason(request.reason, needed=True)
    except Invalid as error:
        yield _invalid(error.code, error.message, "reason")
    for path, message in problems(request, policy):
        yield _invalid("bad_value", message, path)
    if request.schedule is not None:
        yield from schedule_refusals(request.schedule, now)
        if request.when_busy == "take_over":
            yield _invalid("bad_value", "Taking over is for now; leave the schedule out.", "when_busy")
    yield from _end_refusals(request, now)


def _end_refusals(request: UpgradeRequest, now: datetime) -> Iterator[Refusal]:
    """Moments at which something is to end must come after the one at which it begins."""
    start = scheduled_start(request, now) or now
    for name in ("bake_until", "confirm_until"):
        until: datetime | None = getattr(request, name)
        if until is not None and _aware(until) and until <= start:
            yield _invalid("bad_value", f"{until.isoformat()} is not after its start, {start:%Y-%m-%dT%H:%M:%SZ}.", name)


def schedule_refusals(schedule: datetime, now: datetime) -> Iterator[Refusal]:
    """What is wrong with a wanted start."""
    if not _aware(schedule):
        yield _invalid("bad_value", "The time needs a zone: end it with Z or an offset such as +01:00.", "schedule")
    elif schedule < now - timedelta(seconds=LATE_SECONDS_MAX):
        yield _invalid("schedule_in_past", f"{schedule.isoformat()} is over; it is {now:%Y-%m-%dT%H:%M:%SZ} now.", "schedule")
    elif schedule > now + timedelta(days=SCHEDULE_DAYS_MAX):
        yield _invalid("bad_value", f"The time must be within {SCHEDULE_DAYS_MAX} days.", "schedule")


def _version_refusals(
    state: AgentState, rows: Sequence[VersionRow], row: VersionRow | None, target: str, request: UpgradeRequest
) -> Iterator[Refusal]:
    if try_parse(target) is None:
        return
    if row is None:
        names = [each.version for each in catalogue.newest_first(rows)]
        hint = f"Known versions: {shown(names)}; refresh to look for newer ones." if names else "No version is known; refresh first."
        yield Refusal(
            family="not_found",
            code="unknown_version",
            message=f"{state.agent.agent} has no version {target}.",
            field="target_version",
            hint=hint,
        )
        return
    if row.problem:
        yield Refusal(family="invalid", code="unusable_version", message=f"{target} cannot be used: {row.problem}")
        return
    if row.standing is Standing.WITHDRAWN and target != state.agent.version:
        yield Refusal(
            family="conflict",
            code="version_withdrawn",
            message=f"{target} is withdrawn: {row.standing_reason}.",
            hint=f"Choose another one, or restore it first (servicing version restore {state.agent.agent} {target}).",
        )
    notes = catalogue.breaking_notes(catalogue.between(rows, state.agent.version, target)) if state.agent.version else ()
    from_range, known = row.manifest.upgrade.from_range, catalogue.ranges(rows)
    acknowledged = request.acknowledge_breaking
    for against in check_upgrade(state.agent.version, target, from_range, notes, acknowledged=acknowledged, available=known):
        yield Refusal(family="conflict", code=against.code, message=_sentence(against.sentence), hint=_sentence(against.hint))


def _config_refusals(state: AgentState, row: VersionRow | None) -> Iterator[Refusal]:
    """What operators set goes along to the new version, which must be able to use it."""
    if row is None or row.problem:
        return
    layers = layers_in_force(state)
    try:
        found = problems_of(row.config_schema, effective(row.manifest.config, row.config_schema, layers))
    except Invalid as error:
        yield Refusal(family="conflict", code=error.code, message=error.message, hint=error.hint)
        return
    if found:
        what = "; ".join(f"{e.path} {e.message}" if e.path else e.message for e in found[:5])
        agent = state.agent.agent
        hint = f"Patch it first (servicing patch {agent} KEY=VALUE, or KEY=null to leave it to the version)."
        yield Refusal(
            family="conflict",
            code="config_incompatible",
            message=f"{row.version} could not use the configuration in force: {what}.",
            hint=hint,
        )


def _busy_refusals(state: AgentState, target: str, request: UpgradeRequest, start: datetime | None) -> Iterator[Refusal]:
    if leaving(state):
        yield Refusal(family="conflict", code="agent_removing", message=f"{state.agent.agent} is being removed.")
        return
    if len(state.deployments) >= QUEUE_MAX:
        yield Refusal(family="conflict", code="queue_full", message=f"{QUEUE_MAX} deployments are waiting for {state.agent.agent} already.")
    holder = busy_with(state)
    if start is not None or holder is None:
        return
    again = [d for d in state.deployments if d.to_version == target and (d.active or d.status is DeploymentStatus.QUEUED)]
    going = [d for d in again if d.status is not DeploymentStatus.ROLLING_BACK]
    if going:
        yield Refusal(family="conflict", code="already_requested", message=f"{describe_holder(going[0])} brings it there already.")
    elif request.when_busy == "reject" or (request.when_busy == "take_over" and holder.active and holder.kind is DeploymentKind.ROLLBACK):
        yield Refusal(
            family="conflict",
            code="agent_busy",
            message=f"{state.agent.agent} is busy: {describe_holder(holder)}.",
            hint="Wait for it, cancel it, or ask to be queued.",
        )


def _warnings(state: AgentState, current: VersionRow | None, row: VersionRow | None, request: UpgradeRequest) -> Iterator[str]:
    holder = busy_with(state)
    if holder is not None:
        yield f"It waits its turn behind {describe_holder(holder)}."
    if not request.auto_rollback.enabled:
        yield "Automatic rollback is off: a bad version keeps its traffic until somebody takes it back."
    if row is None:
        return
    yield from _word_warnings(row)
    if current is not None:
        verdict, note = door(current.manifest.state, row.manifest.state)
        if verdict == "one_way":
            yield f"There is no way back that keeps its state: {note}."
        elif verdict == "two_way_by_migration":
            yield f"Going back needs a conversion of its state: {note}."
        elif verdict == "unknown":
            yield f"Whether a rollback keeps its state is unknown: {note}."
    if row.manifest.upgrade.migration_notes:
        yield f"Migration: {row.manifest.upgrade.migration_notes}"


def _word_warnings(row: VersionRow) -> Iterator[str]:
    """What is known against the version itself."""
    if row.standing is Standing.DEPRECATED:
        yield f"{row.version} is deprecated: {row.standing_reason}."
    if row.moved_ref is not None:
        yield f"{row.version} was changed at its source after it was first deployed; the artifact deployed then is used."


def _invalid(code: str, message: str, path: str) -> Refusal:
    return Refusal(family="invalid", code=code, message=message, field=path)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "?")) else ".")


def _aware(moment: datetime) -> bool:
    return moment.tzinfo is not None
