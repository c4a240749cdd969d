"""The way to the simulated instances for their configurations: they take their time, refuse, fail, lie, fall silent or die of what they get."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.ports import ConfigTarget
from agent_servicing.testing.channel import MemoryChannel
from agent_servicing.testing.simulation.parts import SimRuntime, Timer


@dataclass(slots=True)
class SimChannel(MemoryChannel):
    """`MemoryChannel` in real virtual seconds, whatever the wall clock says. Only living instances hear and say anything.

    `poison`: whoever applies this revision dies of it soon. An instance that is new has what its process was started with.
    """

    runtime: SimRuntime = field(kw_only=True)
    timer: Timer = field(kw_only=True)
    poison: set[str] = field(default_factory=set)

    async def reports(self, wanted: Sequence[ConfigTarget]) -> dict[str, ConfigReport]:
        self._check()
        for target in wanted:
            self.starts_with(target.process.instance)
        return {t.process.instance: self._report(t.process.instance) for t in wanted if self.runtime.alive(t.agent, t.process.instance)}

    def starts_with(self, instance: str) -> None:
        """What its process was given, unless it has got something else since."""
        if instance not in self.applied and instance in self.runtime.configs:
            revision, text = self.runtime.configs[instance]
            self.applied[instance] = ConfigDocument(revision=revision, values=json.loads(text or "{}"))

    def _later(self, target: ConfigTarget, *, commit: bool) -> None:
        act = self._applies if commit else self._accepts

        def heard() -> None:
            if self.runtime.alive(target.agent, target.process.instance):
                act(target)

        self.timer(self._manners(target).seconds, heard)

    def _applies(self, target: ConfigTarget) -> None:
        # Named, because a dataclass with slots is another class than the one that `super()` finds here.
        MemoryChannel._applies(self, target)  # noqa: SLF001
        if target.document.revision in self.poison:
            self.timer(0.2, lambda: self.runtime.fell(target.agent, target.process.instance))
