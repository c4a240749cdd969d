"""Turns what the configuration services say into the models of `schemas.config`."""

import json
from typing import Any

from agent_servicing.services.config_checks import RESERVED_SCHEMA
from agent_servicing.services.config_hotpatch import Outcome
from agent_servicing.services.config_views import LEVELS, ConfigView, InstanceConfig, RevisionView, applied_by
from agent_servicing.web.schemas.config import (
    ConfigKeyView,
    ConfigModel,
    ConfigPatchView,
    InstanceConfigView,
    InstanceProblem,
    OverrideView,
    RevisionModel,
)

NOTHING_KNOWN = "it has not said anything yet"
AT_START = "it reads its configuration when it starts"


def config_model(view: ConfigView) -> ConfigModel:
    return ConfigModel(
        agent_id=view.agent,
        version=view.version,
        config_version=view.config_version,
        config=dict(view.values),
        keys=[ConfigKeyView.model_validate(key) for key in view.keys],
        reload=view.reload,
        config_schema=_schema(view.schema),
        reserved_schema=_schema(RESERVED_SCHEMA) or {},
        overrides=[OverrideView.model_validate(dict(override)) for override in view.overrides],
        instances=[instance_view(each) for each in view.instances],
        change=revision_model(view.change) if view.change is not None else None,
    )


def patch_view(outcome: Outcome, now: ConfigView) -> ConfigPatchView:
    revision = outcome.revision
    applied = outcome.status == "applied"
    return ConfigPatchView(
        agent_id=outcome.agent,
        config_version=outcome.config_version,
        status=outcome.status,
        by="rolling_restart" if outcome.by == "rolling_restart" else "hot_patch",
        applied_at=revision.applied_at if revision is not None else None,
        agent_reloaded=applied and any(each.result == "applied" for each in now.instances),
        downtime_seconds=revision.downtime_seconds if revision is not None else 0.0,
        config_changes=dict(outcome.changes),
        applied_by=dict(applied_by(outcome.changes, outcome.by)),
        warnings=list(outcome.warnings),
        instances=[instance_view(each) for each in now.instances],
        upgrade_id=revision.deployment if revision is not None else None,
        message=revision.message if revision is not None else "",
    )


def revision_model(view: RevisionView) -> RevisionModel:
    return RevisionModel(
        config_version=view.config_version,
        parent=view.parent,
        version=view.version,
        status=view.status,
        profile=view.profile,
        operator=view.actor,
        reason=view.reason,
        requested_at=view.requested_at,
        applied_at=view.applied_at,
        downtime_seconds=view.downtime_seconds,
        config_changes=dict(view.changes),
        message=view.message,
        restored_from=view.undo,
        upgrade_id=view.deployment,
        instances={name: dict(result) for name, result in view.results.items()},
    )


def instance_view(each: InstanceConfig) -> InstanceConfigView:
    known = LEVELS.get(each.level or "", AT_START if each.status == "at_start" else NOTHING_KNOWN)
    return InstanceConfigView(
        instance=each.instance,
        version=each.version,
        config_version=each.config_version,
        status=each.status,
        result=each.result,
        applied_at=each.applied_at,
        level=each.level,
        known_by=known,
        seen_at=each.seen_at,
        pending=list(each.pending),
        problems=[InstanceProblem(path=p["path"], message=p["message"]) for p in each.problems],
    )


def _schema(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
