"""The laws about configurations: one refusal and nothing is applied, what was refused stays away, everything ends, and then all have the same."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent_servicing.core.config.patch import PatchStatus
from agent_servicing.core.config.wanted import wanted
from agent_servicing.core.status import InstanceStatus
from agent_servicing.ports import ConfigTarget
from agent_servicing.testing.simulation.moments import Committed
from agent_servicing.testing.simulation.site import Site
from agent_servicing.testing.store import Row

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import World

ENDED = (PatchStatus.APPLIED, PatchStatus.REVERTED, PatchStatus.REFUSED)
TAKEN_BACK = (PatchStatus.REVERTED, PatchStatus.REFUSED)


def one_refusal_and_nobody_gets_it(world: "World", site: Site, targets: Sequence[ConfigTarget]) -> str | None:
    """A change is given to the first instance only when nobody has said no."""
    channel = world.channel
    if channel is None:
        return None
    for target in targets:
        revision = target.document.revision
        if revision in site.given or revision not in site.patches:
            continue
        site.given.add(revision)
        for name, attempt in channel.attempts.items():
            if attempt.revision == revision and attempt.result == "rejected" and world.runtime.alive(site.agent, name):
                return f"{target.process.instance} is given {revision}, which {name} refused"
    return None


def what_was_refused_is_not_offered_again(world: "World", site: Site, targets: Sequence[ConfigTarget]) -> str | None:
    """A change that was refused or taken back is over for good."""
    for target in targets:
        patch = world.store.patches.get((site.agent, target.document.revision))
        if patch is not None and patch.status in TAKEN_BACK and patch.revision in site.patches:
            return f"{target.process.instance} is given {patch.revision}, which was {patch.status}"
    return None


def a_change_has_one_closing_entry(_world: "World", site: Site, moment: Committed) -> str | None:
    for event in moment.commit.events:
        if event.audit and event.type == "config_patch":
            name = str(event.data["config_version"])
            site.closed[name] = site.closed.get(name, 0) + 1
            withdrawn = event.data["status"] == "reverted" and site.closed[name] == 2  # applied, and taken back while it was watched
            if site.closed[name] > 1 and not withdrawn:
                return f"{name} ended {site.closed[name]} times"
    return None


def every_change_ends(world: "World", site: Site, row: Row | None) -> str | None:
    """In peace, and with a closing entry."""
    if row is None:
        return None
    for name in site.patches:
        patch = world.store.patches.get((site.agent, name))
        if patch is None or patch.status not in ENDED:
            return f"{name} is {patch.status if patch else 'nowhere'}"
        if not site.closed.get(name):
            return f"{name} was {patch.status} without a closing entry"
    return None


def everybody_has_what_is_in_force(world: "World", site: Site, row: Row | None) -> str | None:
    """Except those who refused just that; and what is in force was never refused."""
    channel = world.channel
    if row is None or channel is None:
        return None
    for generation in row.state.generations:
        patch = world.store.patches.get((site.agent, generation.config))
        if patch is not None and patch.status in TAKEN_BACK:
            return f"generation {generation.number} has {generation.config}, which was {patch.status}"
    documents = wanted(row.state)
    for instance in row.state.instances:
        attempt, document = channel.attempts.get(instance.instance), documents[instance.instance]
        declined = attempt is not None and attempt.key == document.key and attempt.result in ("rejected", "failed", "reverted")
        if instance.status is not InstanceStatus.READY or declined:
            continue
        channel.starts_with(instance.instance)
        applied = channel.applied.get(instance.instance)
        if applied is None or applied.key != document.key:
            return f"{instance.instance} has {applied.values if applied else None}, in force is {document.revision} {document.values}"
    return None


ON_COMMIT = (a_change_has_one_closing_entry,)
ON_GIVEN = (one_refusal_and_nobody_gets_it, what_was_refused_is_not_offered_again)
ON_SETTLED = (every_change_ends, everybody_has_what_is_in_force)
