"""What `servicing doctor` asks a running server: event bus, history, each agent's version, configuration and deployment. Called by `doctor`."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from agent_servicing.cli.answers import Json
from agent_servicing.cli.checks import Finding
from agent_servicing.cli.client import Api
from agent_servicing.cli.doctor_data import history, orphans
from agent_servicing.cli.progress import is_terminal
from agent_servicing.core.errors import ServicingError

AGENTS_ASKED: Final = 200
"""Each costs three requests; of more agents the rest is left to the dashboard."""

WAITS: Final = timedelta(hours=24)
"""A person may hold a deployment over night; longer, it was probably forgotten."""

STAGE_LASTS: Final = timedelta(hours=2)
"""Longer than any stage without a watch may take by default; watches say how long they last."""


def event_bus(said: str) -> Iterator[Finding]:
    """`said`: the answer of /readyz, which names what is degraded."""
    if "degraded" in said:
        why = "Changes made elsewhere are found by polling, within a second instead of at once."
        yield Finding(subject="event bus", level="warn", detail=said, why=why, fix="Bring the broker back, or check `event_bus`.")


def audit(api: Api) -> Iterator[Finding]:
    found = api.verify_audit()
    yield history(valid=bool(found.get("valid")), entries=int(found.get("entries") or 0), said=str(found.get("message") or ""))


def each_agent(api: Api, now: datetime) -> Iterator[Finding]:
    for agent in api.agents()[:AGENTS_ASKED]:
        name = str(agent.get("agent_id"))
        yield from _deployment(name, agent.get("deployment") or {}, now)
        # What this token may not see, or an agent that is just being removed does not have, is left out.
        with suppress(ServicingError):
            yield from _version(name, api.versions(name))
            yield from _configuration(name, api.config(name))


def strays(api: Api, data_dir: Path) -> Iterator[Finding]:
    """Only on the server's machine."""
    known: dict[str, frozenset[str]] = {}
    for agent in api.agents():
        name = str(agent.get("agent_id"))
        known[name] = frozenset(str(instance.get("instance")) for instance in api.instances(name))
    yield from orphans(data_dir, known)


def _version(name: str, listed: Json) -> Iterator[Finding]:
    current = listed.get("current_version")
    found: Mapping[str, object] = next((v for v in listed.get("versions") or () if v.get("version") == current), {})
    fix = f"`servicing versions {name}` shows where it can go."
    reason = f" ({found['standing_reason']})" if found.get("standing_reason") else ""
    if found.get("standing") == "withdrawn":
        why = f"It was taken back{reason}."
        yield Finding(subject=f"version {name}", level="fail", detail=f"{current} was withdrawn", why=why, fix=fix)
    elif found.get("standing") == "deprecated":
        why = f"Another one should be used{reason}."
        yield Finding(subject=f"version {name}", level="warn", detail=f"{current} is deprecated", why=why, fix=fix)
    if found.get("moved"):
        why = "The source has another artifact under this name; what runs cannot be installed anew."
        yield Finding(subject=f"version {name}", level="warn", detail=f"{current} was changed at its source", why=why, fix=fix)
    if listed.get("source_problem"):
        why = "New versions do not appear, and none can be installed."
        yield Finding(subject=f"source {name}", level="warn", detail=str(listed["source_problem"]), why=why, fix="Make it reachable.")


def _configuration(name: str, config: Json) -> Iterator[Finding]:
    drifted = [str(i.get("instance")) for i in config.get("instances") or () if i.get("status") == "drifted"]
    if drifted:
        why = "They run with another configuration than the one in force; the server gives it to them again."
        fix = f"If it stays: `servicing config show {name}`, then `servicing agent restart {name}`."
        yield Finding(subject=f"config {name}", level="warn", detail=f"drifted: {', '.join(drifted)}", why=why, fix=fix)


def _deployment(name: str, deployment: Json, now: datetime) -> Iterator[Finding]:
    status, upgrade = deployment.get("status"), deployment.get("upgrade_id")
    stage: Json = next((s for s in deployment.get("stages") or () if s.get("status") == "in_progress"), {})
    began = _time(stage.get("started_at") or deployment.get("started_at"))
    if status is None or began is None or is_terminal(deployment):
        return
    lasts = now - began
    limit = (
        WAITS if status in {"paused", "baking"} or "monitor" in str(stage.get("stage")) or stage.get("stage") == "confirm" else STAGE_LASTS
    )
    if lasts > limit:
        hours = lasts.total_seconds() / 3600
        detail = f"{upgrade} is {status} in {stage.get('stage') or 'no stage'} for {hours:.0f} h"
        why = str(stage.get("note") or deployment.get("message") or "It waits for something, or was forgotten.")
        fix = f"docs/runbooks/stuck-deployment.md; `servicing status {upgrade}`, then promote, resume or cancel it."
        yield Finding(subject=f"deployment {name}", level="warn", detail=detail, why=why, fix=fix)


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
