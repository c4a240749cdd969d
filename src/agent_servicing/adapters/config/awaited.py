"""Who was asked something and has not answered yet. The channel says who is asked, hub and direct what was said; whoever waits is told of an
agent's last answer, or of the first refusal, instead of looking again and again.
"""

from collections.abc import Collection, Sequence

import anyio

from agent_servicing.adapters.config.well_known import Phase
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.ports import ConfigTarget

_REFUSALS = frozenset({"rejected", "failed", "reverted"})


class Awaited:
    """One question per instance, the newest."""

    def __init__(self) -> None:
        self._asked: dict[str, dict[str, tuple[Phase, ConfigDocument]]] = {}
        self._answered: set[str] = set()
        self._news = anyio.Event()

    def ask(self, targets: Sequence[ConfigTarget], phase: Phase) -> None:
        for target in targets:
            self._asked.setdefault(target.agent, {})[target.process.instance] = (phase, target.document)

    def withdraw(self, agent: str, instance: str) -> None:
        """Nothing is awaited of it any more; the others may be complete without it."""
        if self._asked.get(agent, {}).pop(instance, None) is not None:
            self._settle(agent)

    def expects(self, agent: str, instance: str) -> bool:
        return instance in self._asked.get(agent, ())

    def heard(self, agent: str, instance: str, report: ConfigReport | None) -> None:
        question = self._asked.get(agent, {}).get(instance)
        answer = _answer(*question, report) if question is not None and report is not None else None
        if answer is not None:
            del self._asked[agent][instance]
            self._settle(agent, refused=not answer)

    async def answered(self) -> Collection[str]:
        """The agents of which the last answer or a refusal came since the last call; waits until there is one."""
        await self._news.wait()
        answered, self._answered, self._news = self._answered, set(), anyio.Event()
        return answered

    def _settle(self, agent: str, *, refused: bool = False) -> None:
        if not self._asked[agent]:
            del self._asked[agent]
        elif not refused:
            return
        self._answered.add(agent)
        self._news.set()


def _answer(phase: Phase, document: ConfigDocument, report: ConfigReport) -> bool | None:
    """Whether it agreed, None when it has said nothing of it yet."""
    attempt = report.attempt
    if attempt is not None and attempt.revision == document.revision and attempt.result in _REFUSALS:
        return False
    agreed = report.applied == document.key or (phase == "prepare" and report.prepared == document.key)
    return True if agreed else None
