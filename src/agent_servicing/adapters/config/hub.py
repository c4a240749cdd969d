"""The instances that are connected: what each is to have, what it said last, and one iterator per subscription. `web` feeds it through
`ports.InstanceLink`, the channel tells it what is wanted and reads what was said.

There is no queue: a subscriber that slept through ten changes gets the state after the tenth.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from zlib import crc32

import anyio
import structlog

from agent_servicing.adapters.config.awaited import Awaited
from agent_servicing.adapters.config.rendering import Renderer
from agent_servicing.adapters.config.reports import checked, report_of
from agent_servicing.adapters.config.told import Told
from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.config.said import Held, Said, SaidConfig
from agent_servicing.core.errors import PermanentError, TemporaryError, Unavailable
from agent_servicing.ports import Clock, LinkDocument, LinkEvent

log = structlog.get_logger(__name__)

SILENCE_SECONDS: Final = 45.0
"""An instance that has said nothing for so long is not connected; it says something every ten seconds."""

BEAT_SECONDS: Final = 10.0
"""How often a silent subscription gets a sign of life, so that both ends notice when the other is gone."""

SUBSCRIBERS_MAX: Final = 2_000
"""Open subscriptions and polls; each costs a socket and about 50 kB."""

BACK_SECONDS: Final = 5
BACK_SPREAD_SECONDS: Final = 20
"""When one that found no place is to come again: not all of them at the same moment."""

DEADLINE_SECONDS: Final = 3.0
"""Told with a document that no change brought: what an instance is given when it connects."""


@dataclass(slots=True)
class _Instance:
    """One instance. `commits`, `asks` and `drains` count what it was told, so that a subscription knows what it has not passed on yet;
    `asked` without `asking` is a question that was withdrawn. `line` counts its subscriptions: only the last one lives. `told`: by
    when its streams are to end.
    """

    wanted: ConfigDocument | None = None
    asked: ConfigDocument | None = None
    asking: bool = False
    deadline_seconds: float = DEADLINE_SECONDS
    commits: int = 0
    asks: int = 0
    said: Said | None = None
    said_at: datetime | None = None
    polled: bool = False
    polls: int = 0
    subscribed: bool = False
    line: int = 0
    drains: int = 0
    told: Told = field(default_factory=Told)
    heard_at: float | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def documents(self) -> list[ConfigDocument]:
        return [document for document in (self.wanted, self.asked) if document is not None]


class Hub:
    """Implements `InstanceLink`. Lives on the event loop of the server, in memory: after a restart instances connect and say it all again.

    `awaited` hears what those say who were asked.
    """

    def __init__(
        self,
        *,
        renderer: Renderer,
        clock: Clock,
        awaited: Awaited | None = None,
        beat_seconds: float = BEAT_SECONDS,
        subscribers_max: int = SUBSCRIBERS_MAX,
    ) -> None:
        self._renderer, self._clock, self._awaited = renderer, clock, awaited or Awaited()
        self._beat_seconds, self._subscribers_max = beat_seconds, subscribers_max
        self._instances: dict[str, dict[str, _Instance]] = {}
        self._open = 0
        self._closed = False

    # --- what the channel wants ----------------------------------------------------------------------------------------------------

    def want(self, agent: str, instance: str, document: ConfigDocument) -> None:
        """What it is to have from now on, if that is news."""
        found = self._of(agent, instance)
        if found.wanted != document:
            found.wanted, found.deadline_seconds = document, DEADLINE_SECONDS
            found.commits += 1
            found.tell()

    def ask(self, agent: str, instance: str, document: ConfigDocument, *, deadline_seconds: float) -> None:
        found = self._of(agent, instance)
        found.asked, found.asking, found.deadline_seconds = document, True, deadline_seconds
        found.asks += 1
        found.tell()

    def commit(self, agent: str, instance: str, document: ConfigDocument, *, deadline_seconds: float) -> None:
        """It ends an open question: what an instance prepared is over once it is given anything."""
        found = self._of(agent, instance)
        found.wanted, found.asked, found.asking, found.deadline_seconds = document, None, False, deadline_seconds
        found.commits += 1
        found.tell()

    def withdraw(self, agent: str, instance: str) -> None:
        found = self._of(agent, instance)
        if found.asking:
            found.asking = False
            found.asks += 1
            found.tell()

    def drain(self, agent: str, instance: str, goodbye: Goodbye | None) -> bool:
        """Whether it is subscribed, and will hear of it."""
        found = self._of(agent, instance)
        if found.told.news(goodbye, self._clock.monotonic()):
            found.drains += 1
            found.tell()
        return found.subscribed and self._hears(found)

    def reaches(self, agent: str, instance: str) -> bool:
        """Whether it will hear of a change from here: it is subscribed, or polls and does nothing else."""
        found = self._instances.get(agent, {}).get(instance)
        return found is not None and self._hears(found) and (found.subscribed or (found.polled and _is_script(found)))

    def latest(self, agent: str, instance: str) -> ConfigReport | None:
        """What it said last; None when it is not connected or has said nothing yet."""
        found = self._instances.get(agent, {}).get(instance)
        return self._report(agent, instance, found) if found is not None and self._hears(found) else None

    def known(self, agent: str) -> Mapping[str, ConfigReport]:
        """What its instances said last, those that have fallen silent among them."""
        every = ((name, self._report(agent, name, found)) for name, found in self._instances.get(agent, {}).items())
        return {name: report for name, report in every if report is not None}

    def forget(self, agent: str, instance: str) -> None:
        found = self._instances.get(agent, {}).pop(instance, None)
        if found is not None:
            found.line += 1
            found.tell()
        if not self._instances.get(agent):
            self._instances.pop(agent, None)

    def close(self) -> None:
        """End every subscription and poll, and take no new one: the server stops."""
        self._closed = True
        for instances in self._instances.values():
            for found in instances.values():
                found.tell()

    # --- what instances do ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(self, agent: str, instance: str) -> AsyncIterator[AsyncIterator[LinkEvent | None]]:
        with self._place(agent, instance) as found:
            found.line += 1
            line = found.line
            found.subscribed = True
            found.tell()
            try:
                yield self._events(agent, found, line)
            finally:
                if found.line == line:
                    found.subscribed = False

    async def document(self, agent: str, instance: str, *, has: str | None, wait_seconds: float) -> LinkDocument | None:
        with self._place(agent, instance) as found, anyio.move_on_after(wait_seconds):
            found.polled = True
            found.polls += 1
            try:
                if has is not None and _is_script(found):
                    self._take(agent, instance, found, _acknowledged(found.said, has))
                return await self._other_than(agent, found, has)
            finally:
                found.polls -= 1
        return None

    async def report(self, agent: str, instance: str, said: Said) -> Held | None:
        found = self._of(agent, instance)
        self._take(agent, instance, found, await checked(self._renderer, agent, said, found.documents))
        if found.wanted is None:
            return None
        return Held(revision=found.wanted.revision, hash=await self._renderer.digest(agent, found.wanted))

    async def _other_than(self, agent: str, found: _Instance, has: str | None) -> LinkDocument | None:
        while not self._closed:
            changed = found.changed
            if found.wanted is not None and await self._renderer.digest(agent, found.wanted) != has:
                rendered = await self._renderer.rendered(agent, found.wanted)
                return LinkDocument(held=Held(revision=found.wanted.revision, hash=rendered.digest), text=rendered.text)
            await changed.wait()
        return None

    def _take(self, agent: str, instance: str, found: _Instance, said: Said) -> None:
        found.said, found.said_at, found.heard_at = said, self._clock.now(), self._clock.monotonic()
        if self._awaited.expects(agent, instance):
            self._awaited.heard(agent, instance, self._report(agent, instance, found))

    @contextmanager
    def _place(self, agent: str, instance: str) -> Iterator[_Instance]:
        if self._closed:
            raise Unavailable("The server is stopping.", code="stopping", retry_after_seconds=BACK_SECONDS)
        if self._open >= self._subscribers_max:
            later = BACK_SECONDS + crc32(f"{agent}/{instance}".encode()) % BACK_SPREAD_SECONDS
            raise Unavailable(f"{self._open} instances are connected.", code="too_many_subscribers", retry_after_seconds=later)
        found = self._of(agent, instance)
        found.heard_at = self._clock.monotonic()
        self._open += 1
        try:
            yield found
        finally:
            self._open -= 1
            found.heard_at = self._clock.monotonic()

    async def _events(self, agent: str, found: _Instance, line: int) -> AsyncIterator[LinkEvent | None]:
        commits = asks = drains = 0
        while found.line == line and not self._closed:
            changed = found.changed
            if commits != found.commits and found.wanted is not None:
                commits = found.commits
                event = await self._event(agent, "commit", found.wanted, found.deadline_seconds)
            elif asks != found.asks:
                known, asks = asks, found.asks
                phase = "prepare" if found.asking else "abort"
                # A question that came and went before this subscription is not worth an answer.
                silent = found.asked is None or (phase == "abort" and known == 0)
                event = None if silent or found.asked is None else await self._event(agent, phase, found.asked, found.deadline_seconds)
            elif drains != found.drains:
                drains, event = found.drains, _drain(found.told.left(self._clock.monotonic()))
            else:
                with anyio.move_on_after(self._beat_seconds) as waiting:
                    await changed.wait()
                if waiting.cancelled_caught:
                    yield None
                continue
            if event is not None:
                yield event

    async def _event(self, agent: str, phase: str, document: ConfigDocument, deadline_seconds: float) -> LinkEvent | None:
        try:
            rendered = await self._renderer.rendered(agent, document)
        except (TemporaryError, PermanentError) as error:
            log.warning("document_not_sent", agent=agent, revision=document.revision, problem=str(error))
            return None
        values = {
            "phase": phase,
            "revision": document.revision,
            "hash": rendered.digest,
            "apply": dict(document.apply),
            "runtime": dict(document.runtime),
            "deadline_seconds": deadline_seconds,
        }
        # The text was quoted once for all instances: it is by far the longest part.
        return LinkEvent(event="config", data=f'{json.dumps(values, ensure_ascii=False)[:-1]}, "document": {rendered.quoted}}}')

    # --- common --------------------------------------------------------------------------------------------------------------------

    def _of(self, agent: str, instance: str) -> _Instance:
        return self._instances.setdefault(agent, {}).setdefault(instance, _Instance())

    def _hears(self, found: _Instance) -> bool:
        return found.polls > 0 or (found.heard_at is not None and self._clock.monotonic() - found.heard_at <= SILENCE_SECONDS)

    def _report(self, agent: str, instance: str, found: _Instance) -> ConfigReport | None:
        if found.said is None or found.said_at is None:
            return None
        report = report_of(self._renderer, agent, instance, found.said, found.said_at)
        if _is_script(found) and found.asking and found.asked is not None:
            return replace(report, prepared=found.asked.key)  # a script cannot be asked beforehand
        return report


def _drain(goodbye: Goodbye | None) -> LinkEvent:
    if goodbye is None:
        return LinkEvent(event="resume", data="{}")
    return LinkEvent(event="drain", data=json.dumps({"deadline_seconds": goodbye.seconds, "reason": goodbye.reason}))


def _is_script(found: _Instance) -> bool:
    return not found.subscribed and (found.said is None or found.said.level == "script")


def _acknowledged(said: Said | None, has: str) -> Said:
    """For a shell script the question is the acknowledgement: it names what it has."""
    applied = Held(revision="", hash=has)
    if said is None:
        return Said(level="script", config=SaidConfig(applied=applied))
    return replace(said, config=replace(said.config, applied=applied))
