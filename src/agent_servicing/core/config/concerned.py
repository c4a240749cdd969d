"""Whom a change of the configuration concerns, and what of it others enforce for them: asked by `rollout` in every status. Pure."""

from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.draft import Draft
from agent_servicing.core.model import Generation, Instance
from agent_servicing.core.status import InstanceStatus
from agent_servicing.core.traffic import limits_in_force, ruling_generation


def changed(draft: Draft, patch: Patch) -> list[Generation]:
    """The generations it concerns: all that answer requests."""
    return [g for g in draft.generations.values() if g.answering and g.config in (patch.parent, patch.revision)]


def of_changed(draft: Draft, patch: Patch, instance: Instance) -> bool:
    return any(g.number == instance.generation for g in changed(draft, patch))


def concerned(draft: Draft, patch: Patch) -> list[Instance]:
    """Whoever is ready and can be told while it runs. Who starts now reads its file; who is on its way out still answers for a while."""
    numbers = {g.number for g in changed(draft, patch)}
    if patch.status is PatchStatus.REVERTING:
        numbers |= set(patch.before)
    chosen = [i for i in draft.instances.values() if i.generation in numbers and i.status is InstanceStatus.READY]
    told = [i for i in chosen if draft.manifest(i.version).config.reload != "restart"]
    if not any(differs(draft, patch, i) for i in told):
        # What the router enforces is nothing that an instance could refuse or confirm.
        told = []
    narrowed = [i for i in chosen if i not in told and limits_differ(draft, patch, i)]
    return sorted([*told, *narrowed], key=lambda i: (i.generation, i.place))


def differs(draft: Draft, patch: Patch, instance: Instance) -> bool:
    """Whether it is told something else by the change."""
    before = patch.before.get(instance.generation, patch.parent)
    return draft.document(instance, before).key != draft.document(instance, patch.revision).key


def limits_differ(draft: Draft, patch: Patch, instance: Instance) -> bool:
    """Whether it may use something else by the change, and its runtime can see to that while it runs."""
    process = (draft.world.processes or {}).get(instance.instance)
    before = patch.before.get(instance.generation, patch.parent)
    limits = process is not None and process.resources is not None
    return limits and draft.may_use(instance, before) != draft.may_use(instance, patch.revision)


def limited(draft: Draft, patch: Patch, instance: Instance) -> bool:
    """Whether the kernel says so, where the change is about that."""
    if not limits_differ(draft, patch, instance):
        return True
    return (draft.world.processes or {})[instance.instance].resources == draft.may_use(instance, patch.revision)


def unenforced(draft: Draft, patch: Patch) -> bool:
    """Whether the router has still to take up what the change makes of its limits."""
    ruling = ruling_generation(draft)
    if ruling is None or ruling.number not in patch.before:
        return False
    before = draft.enforced(ruling, patch.before[ruling.number])
    return before.by_router != draft.enforced(ruling).by_router and not limits_in_force(draft)
