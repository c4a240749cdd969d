"""Which configuration each instance is to have at this moment. Asked by the decision, and by the observer before it looks."""

from collections.abc import Iterable, Mapping

from agent_servicing.core.config.layers import ConfigDocument, Layers, document
from agent_servicing.core.config.patch import Patch, PatchStatus
from agent_servicing.core.model import AgentState, Generation, Instance

NEVER_PATCHED = ""
"""The revision of a generation that nobody ever patched: what its schema and its manifest say."""


def shown_name(version: str | None, revision: str) -> str:
    """What people and instances see of a revision: an unpatched one is called after the version it came with."""
    return revision or f"cfg-{version or 'none'}-p0"


def revision_of(instance: Instance, generations: Mapping[int, Generation], patch: Patch | None) -> str:
    """The first ones of a patch have its revision before their generation has."""
    trying = patch is not None and patch.status in (PatchStatus.TRYING, PatchStatus.APPLYING)
    if patch is not None and trying and instance.instance in patch.first:
        return patch.revision
    generation = generations.get(instance.generation)
    return generation.config if generation is not None else NEVER_PATCHED


def document_of(state: AgentState, instance: Instance, revision: str) -> ConfigDocument:
    """What this revision means for this instance: its version's schema and defaults lie below what operators set."""
    release = state.releases.get(instance.version)
    spec = (release.manifest if release else state.agent.manifest).config
    schema = release.config_schema if release else None
    return document(shown_name(instance.version, revision), spec, schema, layers_of(state, revision), place=instance.place)


def layers_of(state: AgentState, revision: str) -> Layers:
    if state.patch is not None and state.patch.revision == revision:
        return state.patch.layers
    return state.layers.get(revision, Layers())


def wanted(state: AgentState, instances: Iterable[Instance] | None = None) -> Mapping[str, ConfigDocument]:
    """By name, for these instances (default: all)."""
    generations = {generation.number: generation for generation in state.generations}
    chosen = state.instances if instances is None else instances
    return {i.instance: document_of(state, i, revision_of(i, generations, state.patch)) for i in chosen}
