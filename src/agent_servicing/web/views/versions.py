"""Versions and their differences as the API shows them; pure."""

from collections.abc import Sequence
from typing import Any

from agent_servicing.services.version_standing import Marked
from agent_servicing.services.views import ChangesView, VersionInfo, VersionsView
from agent_servicing.web.schemas.versions import (
    Changes,
    DifferenceView,
    MigrationNote,
    Refreshed,
    RollbackPointView,
    StandingView,
    VersionList,
    VersionView,
)


def version_list(view: VersionsView) -> VersionList:
    return VersionList.model_validate(_list(view))


def refreshed(view: VersionsView, new_versions: Sequence[str]) -> Refreshed:
    return Refreshed.model_validate({**_list(view), "new_versions": list(new_versions)})


def changes_view(view: ChangesView) -> Changes:
    same = ("type", "changelog", "breaking_changes", "state_door", "state_note", "compatibility")
    return Changes.model_validate(
        {
            "agent_id": view.agent,
            "from": view.from_version,
            "to": view.to_version,
            "migration_notes": [MigrationNote(version=version, text=text) for version, text in view.migration_notes],
            "config_schema": [DifferenceView.model_validate(difference) for difference in view.config_schema],
            "manifest": [DifferenceView.model_validate(difference) for difference in view.manifest],
            **{name: getattr(view, name) for name in same},
        }
    )


def standing_view(marked: Marked) -> StandingView:
    same = ("version", "standing", "reason", "at", "running", "cancelled", "under_way")
    return StandingView.model_validate({"agent_id": marked.agent, "by": marked.actor, **{name: getattr(marked, name) for name in same}})


def _list(view: VersionsView) -> dict[str, Any]:
    return {
        "agent_id": view.agent,
        "current_version": view.current_version,
        "current_deployed_at": view.current_deployed_at,
        "current_standing": view.current_standing,
        "current_standing_reason": view.current_standing_reason,
        "recommended": view.hints.recommended._asdict() if view.hints.recommended else None,
        "newest": {step: getattr(view.hints, step) for step in ("patch", "minor", "major")},
        "available_versions": [_version(info) for info in view.available],
        "rollback_points": [RollbackPointView.model_validate(point) for point in view.rollback_points],
        "versions": [_version(info) for info in view.versions],
        "refreshed_at": view.refreshed_at,
        "source_problem": view.source_problem,
    }


def _version(info: VersionInfo) -> VersionView:
    fields = {name: getattr(info, name) for name in VersionView.model_fields if name != "security_patch"}
    return VersionView.model_validate({**fields, "security_patch": info.security})
