"""The `ConfigChannel` of a server: for each instance the best way there is. `bootstrap` opens it; the engine drives it through the port.

A connected instance is told over its subscription (L3); one that is not is asked over HTTP (L2) or gets its file replaced (L1).
"""

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import anyio
import httpx

from agent_servicing.adapters.config.awaited import Awaited
from agent_servicing.adapters.config.direct import CONCURRENCY_MAX, Direct
from agent_servicing.adapters.config.files import Files
from agent_servicing.adapters.config.hub import Hub
from agent_servicing.adapters.config.rendering import TEXT_KEPT_SECONDS, Renderer
from agent_servicing.adapters.config.well_known import WellKnown
from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Process
from agent_servicing.ports import Clock, ConfigTarget, ConfiguresInstances, Secrets

CONNECT_SECONDS: Final = 2.0
"""An instance on this machine takes a connection at once or not at all; how long its answer may take is the deadline of what it is asked."""


class InstanceChannel:
    """An async context manager. `link` is where instances connect to. Also `TellsOfAnswers`."""

    def __init__(self, *, runtime: ConfiguresInstances, clock: Clock, secrets: Secrets | None = None) -> None:
        self._runtime, self._clock = runtime, clock
        self._renderer = Renderer(clock=clock, secrets=secrets)
        self._awaited = Awaited()
        self.link = Hub(renderer=self._renderer, clock=clock, awaited=self._awaited)

    async def __aenter__(self) -> Self:
        # Connections are not kept and proxies of the environment ignored, for the same reasons as in health checks.
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONCURRENCY_MAX, max_keepalive_connections=0),
            headers={"User-Agent": "agent-servicing-config"},
        )
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._direct = Direct(
            files=Files(runtime=self._runtime, client=self._client),
            well_known=WellKnown(runtime=self._runtime, client=self._client),
            renderer=self._renderer,
            clock=self._clock,
            tasks=self._tasks,
            awaited=self._awaited,
        )
        self._tasks.start_soon(self._purge_for_ever)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.link.close()
        # Without telling the task group of an error under way, which it would wrap into a group and hide from whoever handles it.
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._client.aclose()

    async def render(self, agent: str, document: ConfigDocument) -> str:
        return (await self._renderer.rendered(agent, document)).text

    async def prepare(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        self._awaited.ask(targets, "prepare")
        for target in targets:
            agent, instance = target.agent, target.process.instance
            rendered = await self._renderer.rendered(agent, target.document)
            self.link.ask(agent, instance, target.document, deadline_seconds=deadline_seconds)
            if not self.link.reaches(agent, instance):
                self._direct.begin(target, "prepare", rendered, deadline_seconds=deadline_seconds)
        self._said_before(targets)

    async def commit(self, targets: Sequence[ConfigTarget], *, deadline_seconds: float) -> None:
        self._awaited.ask(targets, "commit")
        for target in targets:
            agent, instance = target.agent, target.process.instance
            rendered = await self._renderer.rendered(agent, target.document)
            self.link.commit(agent, instance, target.document, deadline_seconds=deadline_seconds)
            if not self.link.reaches(agent, instance):
                self._direct.begin(target, "commit", rendered, deadline_seconds=deadline_seconds)
        self._said_before(targets)

    async def abort(self, targets: Sequence[ConfigTarget]) -> None:
        for target in targets:
            self._awaited.withdraw(target.agent, target.process.instance)
            self.link.withdraw(target.agent, target.process.instance)
            self._direct.withdraw(target)

    async def drain(self, manifest: Manifest, process: Process, goodbye: Goodbye | None) -> None:
        if not self.link.drain(manifest.agent, process.instance, goodbye):
            self._direct.drain(manifest, process, goodbye)

    async def answered(self) -> Collection[str]:
        return await self._awaited.answered()

    async def known(self, agent: str) -> Mapping[str, ConfigReport]:
        reports = dict(self._direct.known(agent))
        for name, report in self.link.known(agent).items():
            other = reports.get(name)
            reports[name] = report if other is None or other.at <= report.at else other
        return reports

    async def reports(self, wanted: Sequence[ConfigTarget]) -> Mapping[str, ConfigReport]:
        reports: dict[str, ConfigReport] = {}
        for target in wanted:
            agent, instance = target.agent, target.process.instance
            # What the instance acknowledges is known by its digest from here on, after a restart of the server too.
            await self._renderer.digest(agent, target.document)
            self.link.want(agent, instance, target.document)
            if not self.link.reaches(agent, instance):
                self._direct.look(target)
            both = (self.link.latest(agent, instance), self._direct.latest(agent, instance))
            newest = max((report for report in both if report is not None), key=lambda report: report.at, default=None)
            if newest is not None:
                reports[instance] = newest
        return reports

    async def forget(self, agent: str, instance: str) -> None:
        self._awaited.withdraw(agent, instance)
        self.link.forget(agent, instance)
        self._direct.forget(agent, instance)

    def _said_before(self, targets: Sequence[ConfigTarget]) -> None:
        """Who has the document already, or is a script that cannot be asked, says nothing more of it."""
        for target in targets:
            agent, instance = target.agent, target.process.instance
            for report in (self.link.latest(agent, instance), self._direct.latest(agent, instance)):
                self._awaited.heard(agent, instance, report)

    async def _purge_for_ever(self) -> None:
        while True:
            await self._clock.sleep(TEXT_KEPT_SECONDS)
            self._renderer.purge()
