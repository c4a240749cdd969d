"""From a wanted change to what it would do, or why not: pure, so that the dry run and the change itself cannot differ.

Agents that read their configuration only at their start, and keys that do, get a rolling restart instead of a hot patch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from agent_servicing.core.config.enforced import enforcer
from agent_servicing.core.config.layers import RESERVED, ROUTER, Layers, Override, Values, changed_keys, effective, merged, scope_of, scopes
from agent_servicing.core.config.patch import Profile
from agent_servicing.core.errors import Conflict, FieldError, Invalid
from agent_servicing.core.model import AgentState
from agent_servicing.services import config_views
from agent_servicing.services.config_checks import problems
from agent_servicing.services.config_secrets import filled
from agent_servicing.services.config_views import RevisionView, config_of, layers_in_force, spec_of
from agent_servicing.services.planning import busy_with, describe_holder
from agent_servicing.store.queries import VersionRow

OVERRIDE_SECONDS_MAX: Final = 30 * 24 * 3600.0
"""A temporary value that is to last longer than a month is no temporary one."""

RESOURCES: Final = frozenset({"memory_mb", "cpu"})
"""In the words of a manifest's `[run] resources`; which of them can be limited is up to the runtime."""

OVERRIDES_MAX: Final = 20
PLACE_MAX: Final = 128

LOOK_SECONDS: Final[Mapping[Profile, float]] = {"fast": 1.0, "safe": 60.0, "instant": 0.0}
"""How long the first instances are looked at before the others follow."""

LOOK_SECONDS_MAX: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an operator asks for. Seconds and percent.

    `places`: only these instances (1, 2, … in every generation). `expires_seconds`: goes back by itself. `parent`: the revision the
    operator saw. `restart`: `later` leaves keys that are read at the start only to the next one.
    """

    updates: Values
    reason: str
    profile: Profile = "fast"
    places: Sequence[int] = ()
    expires_seconds: float | None = None
    parent: str | None = None
    look_seconds: float | None = None
    share_percent: float = 25.0
    restart: Literal["rolling", "later"] = "rolling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A change that passed every check."""

    layers: Layers
    parent: str
    by: Literal["hot_patch", "rolling_restart"]
    changes: Mapping[str, Mapping[str, object]]
    warnings: Sequence[str]


def plan_layers(state: AgentState, rows: Sequence[VersionRow], layers: Layers, change: Change, *, plain: Mapping[str, str]) -> Planned:
    """Checked by the schema of every version that answers requests now. Raises Invalid, Conflict."""
    _check_free(state)
    known = {row.version: row for row in rows}
    live = _live_versions(state)
    errors = []
    for version in live:
        more = f" (by the schema of {version})" if len(live) > 1 else ""
        errors += [FieldError(path=e.path, message=e.message + more) for e in _problems(known.get(version), layers, plain)]
    if errors:
        hint = f"`servicing config show {state.agent.agent}` lists every key and what it may be."
        raise Invalid("The configuration would not be valid; nothing was applied.", errors=tuple(errors), hint=hint, code="invalid_config")
    spec, schema = spec_of(state, state.agent.version)
    before = layers_in_force(state)
    changes = config_views.differences(spec, schema, before, layers)
    restarting = _restarting(known, live, before, layers, change)
    if restarting and changes:
        _check_idle(state)
    return Planned(
        layers=layers,
        parent=config_of(state),
        by="rolling_restart" if restarting else "hot_patch",
        changes=changes,
        warnings=(*_warnings(state, known, live, layers, plain), *_apply_notes(state, known, live, changes, restarting, change)),
    )


def changed_layers(layers: Layers, change: Change, updates: Values, now: datetime) -> Layers:
    """The layers with the change in the place it is meant for."""
    left = layers.without_expired(now)
    if change.expires_seconds is not None:
        until = now + timedelta(seconds=change.expires_seconds)
        override = Override(values=updates, expires_at=until, reason=change.reason)
        if len(left.overrides) >= OVERRIDES_MAX:
            raise Conflict(f"There are {OVERRIDES_MAX} temporary values already.", code="too_many_overrides")
        return Layers(agent=left.agent, places=left.places, overrides=(*left.overrides, override))
    if change.places:
        own = {place: merged(left.places.get(place, {}), updates) for place in change.places}
        places = {place: values for place, values in {**left.places, **own}.items() if values}
        return Layers(agent=left.agent, places=places, overrides=left.overrides)
    return Layers(agent=merged(left.agent, updates), places=left.places, overrides=left.overrides)


def check_options(change: Change, limitable: frozenset[str]) -> None:
    """Raises Invalid `bad_value` for everything that is out of bounds, at once."""
    errors = []
    if change.expires_seconds is not None and not 1 <= change.expires_seconds <= OVERRIDE_SECONDS_MAX:
        errors.append(FieldError(path="expires_seconds", message=f"must be from 1 to {OVERRIDE_SECONDS_MAX:g}"))
    if change.places and change.expires_seconds is not None:
        errors.append(FieldError(path="places", message="a temporary value is for all instances"))
    reserved = change.updates.get(RESERVED)
    resources = reserved.get("resources") if isinstance(reserved, Mapping) else None
    impossible = sorted((RESOURCES & set(resources)) - limitable) if isinstance(resources, Mapping) else ()
    message = "cannot be limited by the runtime of this server, with or without a restart; `servicing doctor` tells why"
    errors += [FieldError(path=f"{RESERVED}.resources.{name}", message=message) for name in impossible]
    whole = sorted(ROUTER & set(reserved)) if change.places and isinstance(reserved, Mapping) else ()
    errors += [FieldError(path=f"{RESERVED}.{name}", message="is enforced for all instances together, not for places") for name in whole]
    if any(not 1 <= place <= PLACE_MAX for place in change.places):
        errors.append(FieldError(path="places", message=f"must be from 1 to {PLACE_MAX}"))
    if change.look_seconds is not None and not 0 <= change.look_seconds <= LOOK_SECONDS_MAX:
        errors.append(FieldError(path="monitor_seconds", message=f"must be from 0 to {LOOK_SECONDS_MAX:g}"))
    if not 0 < change.share_percent <= 100:
        errors.append(FieldError(path="percent", message="must be above 0 and at most 100"))
    if errors:
        raise Invalid("The change cannot be made like this.", errors=tuple(errors), code="bad_value")


def look_seconds(change: Change) -> float:
    return LOOK_SECONDS[change.profile] if change.look_seconds is None else change.look_seconds


def failure(agent: str, view: RevisionView) -> Conflict:
    """Why nothing of the change is left, with what every instance said."""
    results = {name: dict(result) for name, result in view.results.items()}
    current = {"config_version": view.config_version, "status": view.status, "instances": results}
    if view.status == "refused":
        message = f"{view.config_version} was refused, nothing was applied: {view.message}."
        return Conflict(message, code="config_refused", hint="Mend the value, or the agent's own check.", current=current)
    message = f"{view.config_version} was taken back from {agent}: {view.message}."
    return Conflict(message, code="config_reverted", hint=f"`servicing logs {agent}` may say why.", current=current)


def _check_free(state: AgentState) -> None:
    agent = state.agent.agent
    if state.patch is not None and state.patch.open:
        who = f"{state.patch.revision} by {state.patch.actor} is {state.patch.status}"
        hint = f"Wait for it, or take it back: servicing config rollback {agent}."
        raise Conflict(f"The configuration of {agent} is being changed: {who}.", hint=hint, code="config_busy")
    answering = [g for g in state.generations if g.answering]
    bringing = next((d for d in state.deployments if d.config is not None), None)
    if bringing is not None or len({g.config for g in answering}) > 1:
        what = describe_holder(bringing) if bringing is not None else "a rollback restores an earlier configuration"
        raise Conflict(f"The configuration of {agent} is being changed: {what}.", hint="Wait until that is over.", code="config_busy")


def _check_idle(state: AgentState) -> None:
    holder = busy_with(state)
    if holder is not None:
        message = f"This change needs a rolling restart, and {state.agent.agent} is busy: {describe_holder(holder)}."
        raise Conflict(message, hint="Wait for it or cancel it.", code="agent_busy", deployment=holder)


def _live_versions(state: AgentState) -> list[str]:
    """Versions that answer requests, the one that serves first."""
    found = [g.version for g in state.generations if g.answering]
    if state.agent.version is not None:
        found.insert(0, state.agent.version)
    return list(dict.fromkeys(found))


def _problems(row: VersionRow | None, layers: Layers, plain: Mapping[str, str]) -> list[FieldError]:
    """Of everything that an instance of this version could get: with each place's own values too."""
    if row is None:
        return []
    found: dict[tuple[str, str], FieldError] = {}
    for place in (None, *layers.places):
        values = effective(row.manifest.config, row.config_schema, layers, place=place)
        for error in problems(row.config_schema, filled(values, plain)):
            found.setdefault((error.path, error.message), error)
    return list(found.values())


def _restarting(rows: Mapping[str, VersionRow], live: Sequence[str], before: Layers, after: Layers, change: Change) -> bool:
    """Whether it can reach running instances by starting new ones only, as far as that is wanted now."""
    for version in live:
        row = rows.get(version)
        if row is None:
            continue
        own = [key for key in _changes_of(row, before, after) if enforcer(key) == "agent"]
        if own and row.manifest.config.reload == "restart":
            return True
        if change.restart == "rolling" and any(scope_of(key, scopes(row.config_schema)) == "restart" for key in own):
            return True
    return False


def _changes_of(row: VersionRow, before: Layers, after: Layers) -> set[str]:
    """Dotted keys that become different for any instance of this version."""
    keys: set[str] = set()
    for place in (None, *before.places, *after.places):
        keys.update(changed_keys(*(effective(row.manifest.config, row.config_schema, layers, place=place) for layers in (before, after))))
    return keys


def _warnings(
    state: AgentState, rows: Mapping[str, VersionRow], live: Sequence[str], layers: Layers, plain: Mapping[str, str]
) -> Iterator[str]:
    for version in live:
        row = rows.get(version)
        if row is not None and row.config_schema is None:
            yield f"{version} has no configuration schema: only the agent itself can say whether the values are right."
    for version in state.rollback_points:
        if version in live:
            continue
        try:
            against = _problems(rows.get(version), layers, plain)
        except Invalid:
            continue  # its schema cannot be used; that was said when it was deployed
        if against:
            what = "; ".join(f"{e.path} {e.message}" for e in against[:3])
            yield f"Valid now, but {version}, a rollback point, could not use it ({what}); a rollback restores the configuration it had."


def _apply_notes(
    state: AgentState, rows: Mapping[str, VersionRow], live: Sequence[str], changes: Mapping[str, object], restarting: bool, change: Change
) -> Iterator[str]:
    """How it reaches the instances, where that is not at once and for all."""
    row = rows.get(state.agent.version or (live[0] if live else ""))
    if row is None:
        return
    apply = scopes(row.config_schema)
    by_router = sorted(key for key in changes if enforcer(key) == "router")
    if by_router:
        yield f"{', '.join(by_router)}: enforced by the router, for all instances at once; no instance is asked, none is restarted."
    by_runtime = sorted(key for key in changes if enforcer(key.rpartition(": ")[2]) == "runtime")
    if by_runtime:
        yield f"{', '.join(by_runtime)}: set by the runtime for the processes that run, and read back; new ones start with it."
    if len(by_router) + len(by_runtime) == len(changes):
        return
    later = sorted(key for key in changes if scope_of(key, apply) == "next-conversation")
    at_start = sorted(key for key in changes if scope_of(key, apply) == "restart")
    if row.manifest.config.reload == "restart":
        yield f"{row.version} reads its configuration only when it starts: a rolling restart brings it, without downtime."
    elif restarting:
        yield f"{', '.join(at_start)} is read at the start only: a rolling restart brings the change, without downtime."
    elif at_start and change.restart == "later":
        yield f"{', '.join(at_start)} takes effect at the next start of each instance."
    if later:
        yield f"{', '.join(later)} takes effect in conversations that begin from now on; open ones keep what they began with."
    level = row.manifest.config.reload
    if level.startswith("signal:") and not restarting:
        yield "The agent gets its file and a signal; it confirms nothing itself, so only the file on disk is checked."
