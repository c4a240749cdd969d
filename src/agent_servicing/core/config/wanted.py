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


class Documents:
    """What revisions mean for instances: a version's schema and defaults lie below what operators set. Each is worked out once.

    `patch` brings a revision that the state may not know yet.
    """

    def __init__(self, state: AgentState, patch: Patch | None) -> None:
        self._state, self._patch = state, patch
        self.revision = patch.revision if patch is not None else None
        self._made: dict[tuple[str, str, int], ConfigDocument] = {}

    def of(self, instance: Instance, revision: str) -> ConfigDocument:
        return self.at(instance.version, revision, place=instance.place)

    def at(self, version: str, revision: str, *, place: int = 0) -> ConfigDocument:
        """Of the instance at this place; at place 0, of everybody who has no values of their own."""
        layers = self._layers(revision)
        place = place if place in layers.places else 0
        key = (version, revision, place)
        if key not in self._made:
            release = self._state.releases.get(version)
            spec = (release.manifest if release else self._state.agent.manifest).config
            schema = release.config_schema if release else None
            self._made[key] = document(shown_name(version, revision), spec, schema, layers, place=place)
        return self._made[key]

    def _layers(self, revision: str) -> Layers:
        if self._patch is not None and self._patch.revision == revision:
            return self._patch.layers
        return self._state.layers.get(revision, Layers())


def document_of(state: AgentState, instance: Instance, revision: str) -> ConfigDocument:
    """For who wants only one."""
    return Documents(state, state.patch).of(instance, revision)


def layers_of(state: AgentState, revision: str) -> Layers:
    if state.patch is not None and state.patch.revision == revision:
        return state.patch.layers
    return state.layers.get(revision, Layers())


def wanted(state: AgentState, instances: Iterable[Instance] | None = None) -> Mapping[str, ConfigDocument]:
    """By name, for these instances (default: all)."""
    generations, documents = {generation.number: generation for generation in state.generations}, Documents(state, state.patch)
    chosen = state.instances if instances is None else instances
    return {i.instance: documents.of(i, revision_of(i, generations, state.patch)) for i in chosen}
