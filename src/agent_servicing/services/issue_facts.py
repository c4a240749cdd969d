"""Gathers what a report needs: the deployment, what it was judged by, both generations' figures, configurations, instances, events, logs.

Called by `services.issues`. What cannot be read is named and left out: a report of a broken agent must not fail for what is broken.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing import __version__
from agent_servicing.core.audit import StoredEvent
from agent_servicing.core.config.layers import Layers
from agent_servicing.core.errors import PermanentError, ServicingError, TemporaryError
from agent_servicing.core.events import METRICS_UPDATE
from agent_servicing.core.model import Deployment
from agent_servicing.core.notices import NOTIFICATION
from agent_servicing.ports import Masker, Runtime
from agent_servicing.services.config_views import shown_values
from agent_servicing.services.differences import differences
from agent_servicing.store import queries
from agent_servicing.store.blocks import block_page
from agent_servicing.store.config import layers_named
from agent_servicing.store.database import Database
from agent_servicing.store.issues import events_in_window
from agent_servicing.store.state import load_states

LOG_LINES: Final = 2_000
"""Last lines of each instance."""

INSTANCES_MAX: Final = 10
"""Instances whose logs are taken; of more, those that were in trouble first."""

EVENTS_MAX: Final = 2_000
BLOCKS_MAX: Final = 500
LOGS_SECONDS: Final = 10.0

AFTER_SECONDS: Final = 60.0
"""Events of so long after a deployment's end belong to it: its old instances leave."""

log = structlog.get_logger(__name__)


class FactFinder:
    """Reads only."""

    def __init__(self, *, database: Database, runtime: Runtime, masker: Masker) -> None:
        self._database, self._runtime, self._masker = database, runtime, masker

    async def parts(self, agent: str, deployment: Deployment | None, now: datetime, window_seconds: float) -> Mapping[str, object]:
        """By the name of their file. Raises what the database raises."""
        end = (deployment.finished_at if deployment is not None else None) or now
        since = end - timedelta(seconds=window_seconds)
        async with self._database.read() as connection:
            name = deployment.deployment if deployment is not None else None
            until = end + timedelta(seconds=AFTER_SECONDS)
            events = await events_in_window(connection, agent, name, since=since, until=until, limit=EVENTS_MAX)
            found: dict[str, object] = {
                "events": [_event(stored) for stored in events if stored.event.type not in (METRICS_UPDATE, NOTIFICATION)],
                "instances": await _instances(connection, agent, events, deployment),
            }
            if deployment is not None:
                readings = [_event(stored) for stored in events if stored.event.type == METRICS_UPDATE]
                blocks = await block_page(connection, deployment.deployment, after=0, limit=BLOCKS_MAX)
                found |= {
                    "deployment": deployment,
                    "judgement": {"judgement": deployment.judgement, "trigger": deployment.trigger, "policy": deployment.spec.policy},
                    "metrics": {"impact": deployment.impact, "readings": readings[-BLOCKS_MAX:], "blocks": blocks},
                    "configuration": await _configuration(connection, agent, deployment),
                }
        return found

    async def logs(self, agent: str, deployment: Deployment | None) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
        """Masked last lines by instance, those of the new version first; and what could not be read. Ended instances' logs are kept a while."""
        try:
            with anyio.fail_after(LOGS_SECONDS):
                everything = await self._runtime.logs(agent, lines=LOG_LINES)
                names = list(dict.fromkeys(name for name, _ in reversed(everything)))
                mine = _of_generation(names, deployment)
                found = {name: await self._runtime.logs(agent, name, lines=LOG_LINES) for name in mine[:INSTANCES_MAX]}
        except (TemporaryError, PermanentError, ServicingError, TimeoutError) as error:
            log.warning("issue_without_logs", agent=agent, problem=str(error))
            return {}, ["the logs: " + (str(error) or f"no answer within {LOGS_SECONDS:g} s")]
        missing = [] if any(found.values()) else ["the logs of the instances of the new version: none are left"]
        return {name: self._masker.mask(agent, "\n".join(line for _, line in lines)).split("\n") for name, lines in found.items()}, missing


def software() -> Mapping[str, str]:
    return {"agent-servicing": __version__, "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}


def _of_generation(names: Sequence[str], deployment: Deployment | None) -> Sequence[str]:
    """Instances are called after their generation; without a deployment all are meant."""
    if deployment is None or deployment.candidate is None:
        return names
    return [name for name in names if name.startswith(f"g{deployment.candidate}-")]


def _event(stored: StoredEvent) -> Mapping[str, object]:
    event = stored.event
    data = dict(event.data)
    return {"seq": stored.seq, "type": event.type, "at": event.at, "actor": event.actor, "reason": event.reason, "data": data}


async def _instances(
    connection: AsyncConnection, agent: str, events: Sequence[StoredEvent], deployment: Deployment | None
) -> Mapping[str, object]:
    """As they are now, and what became of those that the events name."""
    states = await load_states(connection, [agent])
    said = [_event(stored) for stored in events if "instance" in stored.event.data]
    generations = {"stable": deployment.stable, "candidate": deployment.candidate} if deployment is not None else {}
    return {"now": states[0].instances if states else (), "said": said, "generations": generations}


async def _configuration(connection: AsyncConnection, agent: str, deployment: Deployment) -> Mapping[str, object]:
    """What differs between the configurations of both versions; secrets by name only."""
    rows = {row.version: row for row in await queries.version_rows(connection, agent)}
    old, new = deployment.from_config or "", deployment.config or deployment.from_config or ""
    layers = (await layers_named(connection, {agent: {old, new}})).get(agent, {})
    sides = []
    for version, revision in ((deployment.from_version, old), (deployment.to_version, new)):
        row = rows.get(version or "")
        if row is not None:
            sides.append(shown_values(row.manifest.config, row.config_schema, layers.get(revision, Layers())))
    names = {"from_version": deployment.from_version, "from_config": old, "to_version": deployment.to_version, "to_config": new}
    if len(sides) < 2:
        return {**names, "differences": None, "note": "one of the versions is not known any more"}
    return {**names, "differences": {found.key: {"old": found.old, "new": found.new} for found in differences(*sides)}}
