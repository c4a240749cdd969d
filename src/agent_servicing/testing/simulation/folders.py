"""The laws about state folders: nobody runs on one that is not whole, nobody changes it, and in the end everybody uses the same."""

from typing import TYPE_CHECKING

from agent_servicing.core.status import GenerationStatus
from agent_servicing.testing.simulation.moments import Committed
from agent_servicing.testing.simulation.site import Site

if TYPE_CHECKING:
    from agent_servicing.testing.simulation.world import World


def nobody_uses_half_a_state(world: "World", site: Site, _moment: Committed) -> str | None:
    """A process is begun in a folder that a snapshot makes only once that is unpacked."""
    for name, process in world.runtime.processes.get(site.agent, {}).items():
        epoch = world.runtime.epochs.get((site.agent, name), 0)
        if epoch and (site.agent, epoch) not in world.restores.folders:
            return f"{process.instance} runs in state folder {epoch}, which is not there"
    return None


def a_generation_keeps_its_state(_world: "World", _site: Site, moment: Committed) -> str | None:
    """What an instance has open is never changed under it."""
    before = {g.number: g.epoch for g in moment.before.state.generations}
    for generation in moment.state.generations:
        was = before.get(generation.number, generation.epoch)
        if was != generation.epoch:
            return f"generation {generation.number} went from state folder {was} to {generation.epoch}"
    return None


def what_serves_shares_one_state(_world: "World", _site: Site, moment: Committed) -> str | None:
    """Outside of a deployment, whoever is left in another folder is on the way out."""
    state = moment.state
    if any(d.active for d in state.deployments):
        return None
    for generation in state.generations:
        if generation.epoch != state.agent.epoch and generation.status is not GenerationStatus.STOPPING:
            return f"generation {generation.number} stays with state folder {generation.epoch}, the agent is at {state.agent.epoch}"
    return None


ON_COMMIT = (nobody_uses_half_a_state, a_generation_keeps_its_state, what_serves_shares_one_state)
