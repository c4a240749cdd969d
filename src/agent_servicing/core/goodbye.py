"""Tells instances that are on their way out by when their streams have to end, so that these say goodbye instead of being cut. A step of `decide`.

The data plane drains them in any case; an agent that takes no such word just goes on until its budget is spent.
"""

from typing import Final

from agent_servicing.core.actions import AnnounceDrain
from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Instance
from agent_servicing.core.status import InstanceStatus

PART: Final = 0.8
"""Of the budget for streams, after which they say goodbye: the rest is for what their clients were just being sent."""

AGAIN_SECONDS: Final = 2.0
"""One that has had so long to hear of it, and says that it serves as ever, is told once more."""


def announce(draft: Draft) -> None:
    deadlines = {}
    for instance in draft.instances.values():
        drains = instance.status is InstanceStatus.DRAINING and instance.draining_at is not None and instance.stopping_since is None
        if drains and _to_be_told(draft, instance):
            left = PART * draft.manifest(instance.version).drain.stream_budget_seconds - draft.since(instance.draining_at)
            deadlines[instance.instance] = round(max(0.0, left), 3)
    if deadlines:
        draft.do(AnnounceDrain(agent=draft.agent.agent, deadlines=deadlines))


def _to_be_told(draft: Draft, instance: Instance) -> bool:
    before = next((i for i in draft.before.instances if i.instance == instance.instance), None)
    if before is None or before.draining_at is None:
        return True
    report = (draft.world.configs or {}).get(instance.instance)
    speaks = report is not None and report.state not in ("", "draining")
    return speaks and draft.since(instance.draining_at) >= AGAIN_SECONDS
