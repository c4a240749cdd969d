"""Capacity trails traffic down: while a candidate takes over part by part, the stable side gives up what it does not need any more.

Called by `conduct` in every turn of a deployment that replaces instances; grows nothing, taking back does that.
"""

from dataclasses import replace

from agent_servicing.core.capacity import stable_places
from agent_servicing.core.draft import Draft
from agent_servicing.core.metrics import Counts
from agent_servicing.core.model import Deployment, Generation
from agent_servicing.core.spans import LONGEST_SECONDS, span
from agent_servicing.core.stages import Replace
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.core.traffic import able, in_force

MEASURED_SECONDS = 10.0
"""Whose requests are still answered by the old version is read from about so many seconds."""


def trail(draft: Draft, deployment: Deployment) -> None:
    reached = [r.stage for r in deployment.stages if isinstance(r.stage, Replace) and r.started_at is not None]
    stable = draft.generations.get(deployment.stable or 0)
    forward = deployment.status in (DeploymentStatus.IN_PROGRESS, DeploymentStatus.BAKING) and not deployment.handed_over
    if not reached or stable is None or not forward or draft.agent.candidate != deployment.candidate or not in_force(draft):
        return
    measured = _measured(draft, deployment)
    if measured is None or draft.world.routing is None or draft.world.routing.routing is None:
        return
    needed = stable_places(
        instances=draft.agent.instances,
        candidate=able(draft, deployment.candidate),
        share=draft.world.routing.routing.share,
        measured=measured,
        spare=reached[-1].spare,
    )
    if needed < stable.desired:
        _shrink(draft, stable, needed)


def _shrink(draft: Draft, stable: Generation, needed: int) -> None:
    part = 100.0 * needed / draft.agent.instances
    draft.put(replace(stable, part=part, desired=needed, shrunk_until=draft.now + span(LONGEST_SECONDS)))
    draft.wake_in(0)


def _measured(draft: Draft, deployment: Deployment) -> float | None:
    """Percent of all requests that the stable side still gets; None when it keeps conversations and nothing could be measured.

    Without conversations the share in force says it all.
    """
    if draft.agent.manifest.conversation_key is None:
        return 0.0
    if draft.world.counters is None:
        return None
    recent = [s for s in deployment.samples if draft.since(s.at) <= MEASURED_SECONDS]
    stable = sum((s.stable for s in recent), Counts()).routed
    total = stable + sum((s.candidate for s in recent), Counts()).routed
    return 100.0 * stable / total if total else 0.0
