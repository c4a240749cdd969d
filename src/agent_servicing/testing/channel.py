"""`ConfigChannel` in memory, for engine tests and simulation: pretended instances that take documents as their test wants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import ConfigDocument, text_of
from agent_servicing.core.config.report import Attempt, Attempted, ConfigReport, Level, Load, Problem
from agent_servicing.core.errors import TemporaryError
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.ports import Clock, ConfigTarget


@dataclass(slots=True)
class Manners:
    """How instances take a document. None for `accepts` and `applies`: they never answer. Seconds of virtual time until the answer shows."""

    accepts: bool | None = True
    applies: bool | None = True
    lies: bool = False
    seconds: float = 0.0
    level: Level = "sdk"


@dataclass(slots=True)
class MemoryChannel:
    """`manners` by instance, else by version, else well-behaved. `history` holds what was committed: (instance, revision)."""

    clock: Clock
    manners: dict[str, Manners] = field(default_factory=dict)
    reachable: bool = True
    history: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    applied: dict[str, ConfigDocument] = field(default_factory=dict)
    prepared: dict[str, ConfigDocument] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Instances that have no configuration as far as anybody can see, until they are given one."""
    states: dict[str, str] = field(default_factory=dict)
    drained: dict[str, float] = field(default_factory=dict)
    """Who was told that it leaves, with the seconds until its streams are to end."""
    resumed: list[str] = field(default_factory=list)
    """Who was told that it serves on."""
    listens: bool = False
    """Instances say that they drain once they were told, as the SDK does."""
    _due: list[tuple[datetime, ConfigTarget, bool]] = field(default_factory=list)

    async def render(self, agent: str, document: ConfigDocument) -> str:  # noqa: ARG002 (the port's)
        return text_of(document.values)

    async def prepare(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:  # noqa: ARG002
        self._check()
        for target in targets:
            self.asked.append((target.process.instance, target.document.revision))
            self._later(target, commit=False)

    async def commit(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:  # noqa: ARG002
        self._check()
        for target in targets:
            self.history.append((target.process.instance, target.document.revision))
            self._later(target, commit=True)

    async def abort(self, targets: Sequence[ConfigTarget]) -> None:
        self._check()
        for target in targets:
            self.prepared.pop(target.process.instance, None)

    async def drain(self, manifest: Manifest, process: Process, goodbye: Goodbye | None) -> None:  # noqa: ARG002 (the port's)
        name = process.instance
        if goodbye is None:
            self.resumed.append(name)
            self.drained.pop(name, None)
        else:
            self.drained[name] = goodbye.seconds
        if self.listens:
            self.states[name] = "ready" if goodbye is None else "draining"

    async def known(self, agent: str) -> Mapping[str, ConfigReport]:  # noqa: ARG002
        return {name: self._report(name) for name in self.applied}

    async def reports(self, wanted: Sequence[ConfigTarget]) -> Mapping[str, ConfigReport]:
        """An instance that is new has what it was started with, which is what was wanted when it was first asked for."""
        self._check()
        for target in wanted:
            self.applied.setdefault(target.process.instance, target.document)
        self._settle()
        return {target.process.instance: self._report(target.process.instance) for target in wanted}

    async def forget(self, agent: str, instance: str) -> None:  # noqa: ARG002
        for kept in (self.applied, self.prepared, self.attempts):
            kept.pop(instance, None)

    def says(self, instance: str, revision: str, result: Attempted, *problems: Problem) -> None:
        """The instance reports this by itself."""
        document = self.applied[instance]
        self.attempts[instance] = Attempt(revision=revision, key=document.key, result=result, at=self.clock.now(), problems=problems)

    def _later(self, target: ConfigTarget, *, commit: bool) -> None:
        at = self.clock.now() + timedelta(seconds=self._manners(target).seconds)
        self._due.append((at, target, commit))
        self._settle()

    def _settle(self) -> None:
        now = self.clock.now()
        due = [(target, commit) for at, target, commit in self._due if at <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        for target, commit in due:
            (self._applies if commit else self._accepts)(target)

    def _accepts(self, target: ConfigTarget) -> None:
        name, answer = target.process.instance, self._manners(target).accepts
        if answer:
            self.prepared[name] = target.document
        elif answer is False:
            self._attempt(target, "rejected", "the agent's own check says no")

    def _applies(self, target: ConfigTarget) -> None:
        name, manners = target.process.instance, self._manners(target)
        if manners.lies:
            self._attempt(target, "failed", "it acknowledged another document")
        elif manners.applies:
            self.applied[name] = target.document
            self.lost.discard(name)
            self._attempt(target, "applied")
        elif manners.applies is False:
            self._attempt(target, "failed", "it could not open its model")

    def _attempt(self, target: ConfigTarget, result: Attempted, message: str = "") -> None:
        problems = (Problem(path="", message=message),) if message else ()
        document = target.document
        self.attempts[target.process.instance] = Attempt(
            revision=document.revision, key=document.key, result=result, at=self.clock.now(), problems=problems
        )

    def _manners(self, target: ConfigTarget) -> Manners:
        process = target.process
        return self.manners.get(process.instance) or self.manners.get(process.version) or Manners()

    def _report(self, name: str) -> ConfigReport:
        prepared, applied = self.prepared.get(name), self.applied.get(name) if name not in self.lost else None
        return ConfigReport(
            instance=name,
            level=self.manners[name].level if name in self.manners else "sdk",
            at=self.clock.now(),
            applied=applied.key if applied else None,
            prepared=prepared.key if prepared else None,
            attempt=self.attempts.get(name),
            state=self.states.get(name, ""),
            load=self.loads.get(name),
        )

    def _check(self) -> None:
        if not self.reachable:
            raise TemporaryError("the channel is down")
