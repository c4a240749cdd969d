"""How a change of the configuration ends, and what is told of it: the live event, and one audit entry for each change."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_servicing.core import events
from agent_servicing.core.config.layers import changed_keys, effective, flat, is_secret
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.config.wanted import layers_of
from agent_servicing.core.draft import Draft
from agent_servicing.core.events import SYSTEM
from agent_servicing.core.model import AgentState


def applied(draft: Draft, patch: Patch) -> Patch:
    """Everybody has it."""
    ended = _measured(draft, replace(patch, status=PatchStatus.APPLIED, applied_at=draft.now))
    _tell(draft, ended, events.CONFIG_APPLIED, "success")
    return ended


def refused(draft: Draft, patch: Patch, why: str) -> Patch:
    """Nobody ever had it."""
    ended = replace(patch, status=PatchStatus.REFUSED, since=draft.now, message=why, live=patch.actor == SYSTEM)
    _tell(draft, ended, events.CONFIG_REFUSED, "refused")
    return ended


def reverted(draft: Draft, patch: Patch, *, stragglers: Sequence[str]) -> Patch:
    """Everybody has back what they had, but for the stragglers."""
    more = f"; not confirmed by {', '.join(stragglers)}" if stragglers else ""
    ended = _measured(
        draft, replace(patch, status=PatchStatus.REVERTED, since=draft.now, message=patch.message + more, live=patch.actor == SYSTEM)
    )
    _tell(draft, ended, events.CONFIG_REVERTED, "reverted")
    return ended


def changes(state: AgentState, patch: Patch) -> Mapping[str, Mapping[str, object]]:
    """By dotted key what the change makes of each value, as the version that serves sees it; secrets by name only."""
    release = state.releases.get(state.agent.version or "")
    spec = (release.manifest if release else state.agent.manifest).config
    schema = release.config_schema if release else None
    old, new = (effective(spec, schema, layers) for layers in (layers_of(state, patch.parent), patch.layers))
    before, after = dict(flat(old)), dict(flat(new))
    return {key: {"old": plain(before.get(key)), "new": plain(after.get(key))} for key in changed_keys(old, new)}


def plain(value: object) -> object:
    """A value as it may be shown: of a secret its name and version."""
    if is_secret(value) and isinstance(value, Mapping):
        version = value.get("version")
        return f"secret {value.get('$secret')}" + (f" (version {version})" if version is not None else "")
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _measured(draft: Draft, patch: Patch) -> Patch:
    """Whether anybody found nobody meanwhile: then it may have lasted as long as the change."""
    counters = draft.world.counters
    if counters is None or patch.unserved is None:
        return patch
    seconds = max(0.0, (draft.now - patch.requested_at).total_seconds()) if counters.unserved > patch.unserved else 0.0
    return replace(patch, downtime_seconds=round(seconds, 3))


def _tell(draft: Draft, patch: Patch, live: str, status: str) -> None:
    duration = round((draft.now - patch.requested_at).total_seconds(), 3)
    data: dict[str, object] = {
        "config_version": patch.revision,
        "parent": patch.parent,
        "profile": patch.profile,
        "status": status,
        "duration_seconds": max(0.0, duration),
        "downtime_seconds": patch.downtime_seconds,
        "config_changes": changes(draft.before, patch),
        "instances": {name: result.result for name, result in sorted(patch.results.items())},
        "message": patch.message,
    }
    draft.tell(live, actor=patch.actor, reason=patch.reason, data=data)
    draft.tell(events.AUDIT_CONFIG_PATCH, actor=patch.actor, reason=patch.reason, audit=True, data=data)
