"""What the configuration of an agent looks like from outside: values with the layer that set them, revisions, and how each instance stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from agent_servicing.core.config.endings import plain
from agent_servicing.core.config.enforced import enforcer
from agent_servicing.core.config.layers import (
    RESERVED,
    Layers,
    changed_keys,
    effective,
    explained,
    flat,
    scope_of,
    scopes,
    secret_keys,
)
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.config.wanted import document_of, revision_of, shown_name, wanted
from agent_servicing.core.manifest import ConfigSpec
from agent_servicing.core.model import AgentState, Deployment, Instance
from agent_servicing.core.status import DeploymentStatus, GenerationStatus, InstanceStatus
from agent_servicing.store.config import RevisionRow

Explained = Mapping[str, tuple[object, str]]

SUCCESS: Final = frozenset({PatchStatus.APPLIED})

LEVELS: Final[Mapping[str, str]] = {
    "sdk": "acknowledged by the agent's SDK with the hash it uses",
    "http": "acknowledged by the agent over HTTP with the hash it uses",
    "script": "acknowledged by a script with the hash it uses",
    "runtime": "done by the runtime and read back from the kernel",
    "file": "the file is in place and the reload was asked for; the agent itself confirms nothing",
}
"""How far an acknowledgement can be trusted, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKey:
    """One top-level key, or one of the reserved ones: its value, the layer that set it, when a change takes effect and who makes it do so,
    whether it is a secret (`value` is then masked).
    """

    key: str
    value: object
    layer: str
    scope: str
    secret: bool
    description: str = ""
    applied_by: str = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """How one instance stands. `status` ∈ in_sync, applying, pending_restart, pending_conversation, drifted, stale, at_start, unknown.

    `applied_at` is when the last change was confirmed; `level` says how it is known.
    """

    instance: str
    version: str
    config_version: str
    status: str
    level: str | None = None
    seen_at: datetime | None = None
    result: str | None = None
    applied_at: datetime | None = None
    pending: tuple[str, ...] = ()
    problems: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """The configuration in force. `parent` is the revision it followed, `change` the one under way or the last, when there was any."""

    agent: str
    version: str | None
    config_version: str
    values: Mapping[str, object]
    keys: Sequence[ConfigKey]
    reload: str
    schema: str | None
    overrides: Sequence[Mapping[str, object]]
    instances: Sequence[InstanceConfig]
    change: "RevisionView | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """One change, past or under way. `status` as `PatchStatus`, a rolling restart's own end included."""

    config_version: str
    parent: str
    version: str
    status: str
    profile: str
    actor: str
    reason: str
    requested_at: datetime
    applied_at: datetime | None
    changes: Mapping[str, Mapping[str, object]]
    results: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    downtime_seconds: float | None = None
    message: str = ""
    undo: str | None = None
    deployment: str | None = None
    number: int = 0


def spec_of(state: AgentState, version: str | None) -> tuple[ConfigSpec, str | None]:
    """What a version says about its configuration: its `[config]` and the text of its schema."""
    release = state.releases.get(version or "")
    return (release.manifest.config, release.config_schema) if release else (state.agent.manifest.config, None)


def config_of(state: AgentState) -> str:
    """The revision in force: that of the generation that serves; empty when nobody ever patched it."""
    stable = next((g for g in state.generations if g.number == state.agent.stable), None)
    newest = max(state.generations, key=lambda g: g.number, default=None)
    chosen = stable or newest
    return chosen.config if chosen is not None else ""


def layers_in_force(state: AgentState) -> Layers:
    return state.layers.get(config_of(state), Layers())


def config_keys(spec: ConfigSpec, schema: str | None, layers: Layers, rules: Mapping[str, Mapping[str, object]]) -> Sequence[ConfigKey]:
    hidden, apply = secret_keys(schema), scopes(schema)
    return [
        ConfigKey(
            key=key,
            value=shown(value, key, hidden),
            layer=layer,
            scope="hot" if key.startswith(f"{RESERVED}.") else scope_of(key, apply),
            secret=key in hidden,
            description=str(rules.get(key, {}).get("description", "")),
            applied_by=enforcer(key),
        )
        for key, (value, layer) in sorted(_each(explained(spec, schema, layers), explained(spec, schema, layers, within=RESERVED)))
    ]


def _each(whole: Explained, reserved: Explained) -> Iterator[tuple[str, tuple[object, str]]]:
    """The reserved keys one by one, as somebody else makes each of them take effect."""
    yield from ((key, value) for key, value in whole.items() if key != RESERVED)
    yield from ((f"{RESERVED}.{key}", value) for key, value in reserved.items())


def applied_by(changes: Iterable[str], by: str) -> Mapping[str, str]:
    """By dotted key of a change, who makes it take effect: router, agent, or the rolling restart that brings what is the agent's."""
    found = {key: enforcer(key.rpartition(": ")[2]) for key in changes}
    return {key: "restart" if who == "agent" and by == "rolling_restart" else who for key, who in found.items()}


def shown(value: object, key: str, hidden: frozenset[str]) -> object:
    """Masked where the schema or a reference says that it is a secret."""
    if key in hidden and not isinstance(value, Mapping):
        return None if value is None else "•••"
    if isinstance(value, Mapping) and plain(value) == value:
        return {name: shown(inner, f"{key}.{name}", hidden) for name, inner in value.items()}
    return plain(value)


def shown_values(spec: ConfigSpec, schema: str | None, layers: Layers) -> Mapping[str, object]:
    hidden = secret_keys(schema)
    return {key: shown(value, key, hidden) for key, value in effective(spec, schema, layers).items()}


def differences(spec: ConfigSpec, schema: str | None, old: Layers, new: Layers) -> Mapping[str, Mapping[str, object]]:
    """By dotted key, `old` and `new` as they may be shown; places and overrides stand under names of their own."""
    hidden = secret_keys(schema)
    before, after = effective(spec, schema, old), effective(spec, schema, new)
    left, right = dict(flat(before)), dict(flat(after))
    found = {
        key: {"old": shown(left.get(key), key, hidden), "new": shown(right.get(key), key, hidden)} for key in changed_keys(before, after)
    }
    for place in sorted(old.places.keys() | new.places.keys()):
        was, now = old.places.get(place, {}), new.places.get(place, {})
        for key in changed_keys(was, now):
            values = (dict(flat(was)).get(key), dict(flat(now)).get(key))
            found[f"place {place}: {key}"] = {"old": shown(values[0], key, hidden), "new": shown(values[1], key, hidden)}
    return found


def revision_view(state: AgentState, row: RevisionRow, parent: Layers, deployment: Deployment | None) -> RevisionView:
    patch = row.patch
    spec, schema = spec_of(state, row.version if row.version in state.releases else state.agent.version)
    return RevisionView(
        config_version=patch.revision,
        parent=shown_name(row.version or state.agent.version, patch.parent),
        version=row.version,
        status=_status(patch, deployment),
        profile=patch.profile,
        actor=patch.actor,
        reason=patch.reason,
        requested_at=patch.requested_at,
        applied_at=deployment.finished_at if _restarted(deployment) and deployment is not None else patch.applied_at,
        changes=differences(spec, schema, parent, patch.layers),
        results={name: _result(result.result, result.at, result.level, result.problems) for name, result in sorted(patch.results.items())},
        downtime_seconds=_downtime(patch, deployment),
        message=patch.message or (deployment.message if deployment is not None else ""),
        undo=patch.undo,
        deployment=row.deployment,
        number=row.number,
    )


def _result(result: str, at: datetime | None, level: str | None, problems: Sequence[object]) -> Mapping[str, object]:
    return {"result": result, "applied_at": at if result == "applied" else None, "level": level, "problems": list(problems)}


def _downtime(patch: Patch, deployment: Deployment | None) -> float | None:
    return deployment.impact.downtime_seconds if deployment is not None and deployment.terminal else patch.downtime_seconds


def _restarted(deployment: Deployment | None) -> bool:
    return deployment is not None and deployment.status is DeploymentStatus.COMPLETED


def _status(patch: Patch, deployment: Deployment | None) -> str:
    """A change that a rolling restart brings ends as that does."""
    if patch.status is not PatchStatus.RESTARTING or deployment is None or not deployment.terminal:
        return patch.status.value
    return PatchStatus.APPLIED.value if _restarted(deployment) else PatchStatus.REVERTED.value


def instance_configs(
    state: AgentState, reports: Mapping[str, ConfigReport], patch: Patch | None, stale: Mapping[str, bool]
) -> list[InstanceConfig]:
    """Every instance that runs, by name. `stale`: those whose last word is too old to count."""
    generations = {g.number: g for g in state.generations}
    documents = wanted(state)
    found = []
    for instance in state.instances:
        generation = generations.get(instance.generation)
        if instance.status is InstanceStatus.FAILED or generation is None or generation.status is GenerationStatus.STOPPING:
            continue
        spec, _ = spec_of(state, instance.version)
        report = reports.get(instance.instance)
        result = patch.results.get(instance.instance) if patch is not None else None
        level = result.level if result is not None and result.level == "runtime" else report.level if report is not None else None
        status = "at_start" if spec.reload == "restart" else _standing(state, instance, report, documents[instance.instance].key, stale)
        found.append(
            InstanceConfig(
                instance=instance.instance,
                version=instance.version,
                config_version=shown_name(instance.version, revision_of(instance, generations, state.patch)),
                status=status,
                level=level,
                seen_at=report.at if report is not None else None,
                result=result.result if result is not None else None,
                applied_at=result.at if result is not None and result.result == "applied" else None,
                pending=tuple(sorted(report.pending)) if report is not None else (),
                problems=tuple({"path": p.path, "message": p.message} for p in result.problems) if result is not None else (),
            )
        )
    return found


def _standing(state: AgentState, instance: Instance, report: ConfigReport | None, key: str, stale: Mapping[str, bool]) -> str:
    if report is None:
        return "unknown"
    if stale.get(instance.instance, False):
        return "stale"
    if report.applied != key:
        new = state.patch.revision if state.patch is not None and state.patch.open else None
        trying = new is not None and report.applied == document_of(state, instance, new).key
        return "applying" if trying or (state.patch is not None and state.patch.open) else "drifted"
    if report.pending:
        return "pending_restart" if "restart" in report.pending.values() else "pending_conversation"
    return "in_sync"
