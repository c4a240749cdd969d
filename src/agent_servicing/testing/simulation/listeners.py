"""The instances of the simulated world as listeners: they have the configuration they are to have, and do and say what they were told of their end.

Every third word is lost, so that a law can ask whether the engine says it again.
"""
# ruff: noqa: ARG002  (the port's methods)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import ConfigDocument, text_of
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.ports import Clock, ConfigTarget

LOST: Final = 3


@dataclass
class Listeners:
    """Implements `ConfigChannel`. `leaving` are those that believe that they leave, by agent and instance."""

    clock: Clock
    leaving: set[tuple[str, str]] = field(default_factory=set)
    said: int = 0

    async def render(self, agent: str, document: ConfigDocument) -> str:
        return text_of(document.values)

    async def prepare(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        return

    async def commit(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        return

    async def abort(self, targets: Sequence[ConfigTarget]) -> None:
        return

    async def drain(self, manifest: Manifest, process: Process, goodbye: Goodbye | None) -> None:
        self.said += 1
        name = (manifest.agent, process.instance)
        if self.said % LOST == 0:
            return
        if goodbye is None:
            self.leaving.discard(name)
        else:
            self.leaving.add(name)

    async def known(self, agent: str) -> Mapping[str, ConfigReport]:
        return {}

    async def reports(self, wanted: Sequence[ConfigTarget]) -> Mapping[str, ConfigReport]:
        return {target.process.instance: self._report(target) for target in wanted}

    async def forget(self, agent: str, instance: str) -> None:
        self.leaving.discard((agent, instance))

    def _report(self, target: ConfigTarget) -> ConfigReport:
        name, key = target.process.instance, target.document.key
        state = "draining" if (target.agent, name) in self.leaving else "ready"
        return ConfigReport(instance=name, level="sdk", at=self.clock.now(), applied=key, state=state)
