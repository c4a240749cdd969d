"""Sends notifications to their targets: each has a queue in the database, is tried with growing pauses, and is given up after a while.

Called by the transaction that makes a notification (`enqueue`), by a loop of the server (`run`) and by `web` for the test button. A row leaves its
queue when the message got through, so one that was under way when the server ended is sent again: at least once, under the same key.
Targets do not wait for one another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import PermanentError, ServicingError, TemporaryError
from agent_servicing.core.events import Event
from agent_servicing.core.notices import TARGET_FAILED, TEST, Severity
from agent_servicing.core.outward import OutwardSettings, pause_seconds
from agent_servicing.ports import Clock, Ids
from agent_servicing.ports.outward import Letter, Sender
from agent_servicing.services.outward_settings import OutwardStore, require_target
from agent_servicing.services.transaction import record
from agent_servicing.settings import Settings
from agent_servicing.store import outbox
from agent_servicing.store.database import Database
from agent_servicing.store.notifications import Notification
from agent_servicing.store.outbox import Waiting

QUEUE_MAX: Final = 500
"""Notifications that wait for one target; more are not kept for it, and that is told."""

LOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What the test button found. `problem` is empty when the message got through."""

    __test__ = False

    target: str
    delivered: bool
    problem: str
    duration_ms: float


class Outward:
    """One for the server. `store` opens addresses, `sender` sends."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, settings: Settings, store: OutwardStore, sender: Sender) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._store, self._sender = store, sender
        self._working: set[str] = set()

    async def same_for(self, connection: AsyncConnection) -> timedelta:
        """For how long the same thing is told once and counted."""
        return timedelta(seconds=(await outbox.load_settings(connection)).same_for_seconds)

    async def enqueue(self, connection: AsyncConnection, made: Notification) -> None:
        """Into the queues of the targets whose rules want it."""
        settings = await outbox.load_settings(connection)
        chosen = settings.chosen(made.kind, made.severity, made.agent)
        if made.kind == TARGET_FAILED and chosen:  # not to those that it is about
            rows = await outbox.target_rows(connection)
            chosen = tuple(name for name in chosen if rows[name].failures == 0)
        if not chosen:
            return
        give_up_at = self._clock.now() + timedelta(seconds=settings.give_up_seconds)
        full = await outbox.enqueue(connection, made.number, chosen, give_up_at=give_up_at, queue_max=QUEUE_MAX)
        await self._tell(connection, dict.fromkeys(full, f"{QUEUE_MAX} wait for it already; newer ones are not kept for it"))

    async def run(self) -> None:
        """Look after all queues until cancelled. A target that is slow holds up nobody but itself."""
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self._give_up()
                    for target in await self._due():
                        tasks.start_soon(self._work, target)
                except (ServicingError, TemporaryError) as error:
                    log.warning("notifications_postponed", problem=str(error))
                await self._clock.sleep(LOOK_SECONDS)

    async def deliver(self) -> None:
        """Look after all queues once: until they are empty or have to wait."""
        await self._give_up()
        async with anyio.create_task_group() as tasks:
            for target in await self._due():
                tasks.start_soon(self._work, target)

    async def test(self, name: str, *, actor: str) -> TestResult:
        """Send a message now, past the queue. Raises NotFound `unknown_target`."""
        settings, _ = await self._store.get()
        require_target(settings, name)
        text = f"{actor} tried whether notifications reach {name}. They do."
        letter = Letter(key=self._ids.new("ntf"), title="Agent Servicing: a test", text=text, severity=Severity.INFO, good=True)
        began = self._clock.monotonic()
        problem = await self._try(name, letter)
        took_ms = round((self._clock.monotonic() - began) * 1000, 1)
        now = self._clock.now()
        async with self._database.write() as connection:
            if problem is None:
                await outbox.note_sent(connection, name, delivery=None, now=now)
            else:
                await outbox.note_failed(connection, name, delivery=None, problem=problem, now=now, next_at=None)
            data = {"target": name, "kind": TEST, "status": "success" if problem is None else "failed", "problem": problem or ""}
            event = Event(type="notification_target_tested", at=now, actor=actor, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        return TestResult(target=name, delivered=problem is None, problem=problem or "", duration_ms=took_ms)

    async def _due(self) -> "list[str]":
        """Targets to be worked on now, marked as such."""
        async with self._database.read() as connection:
            due = await outbox.due_targets(connection, self._clock.now())
            known = (await outbox.load_settings(connection)).targets if due else {}
        found = [name for name in due if name not in self._working and name in known and known[name].enabled]
        self._working.update(found)
        return found

    async def _work(self, target: str) -> None:
        try:
            while await self._deliver_one(target):
                pass
        except (ServicingError, TemporaryError) as error:  # the database; the queue is as it was
            log.warning("notifications_postponed", target=target, problem=str(error))
        except Exception:  # a fault of ours with one target must end neither the server nor the other targets
            log.exception("notifications_failed", target=target)
        finally:
            self._working.discard(target)

    async def _deliver_one(self, target: str) -> bool:
        """Whether one got through, so that the next may be tried at once."""
        async with self._database.read() as connection:
            settings = await outbox.load_settings(connection)
            waiting = await outbox.next_delivery(connection, target)
        if waiting is None:
            return False
        problem = await self._try(target, _letter(waiting, settings))
        now = self._clock.now()
        async with self._database.write() as connection:
            if problem is None:
                await outbox.note_sent(connection, target, delivery=waiting.delivery, now=now)
                return True
            rows = await outbox.target_rows(connection)
            failures = rows[target].failures + 1 if target in rows else 1
            next_at = now + timedelta(seconds=pause_seconds(failures))
            await outbox.note_failed(connection, target, delivery=waiting.delivery, problem=problem, now=now, next_at=next_at)
        log.warning("notification_not_sent", target=target, notification=waiting.notification, failures=failures, problem=problem)
        return False

    async def _try(self, target: str, letter: Letter) -> str | None:
        """None when it got through, else why not, without anything secret."""
        settings, rows = await self._store.get()
        if target not in settings.targets or target not in rows:
            return "the target was removed"
        try:
            address = await self._store.address(settings.targets[target], rows[target])
            await self._sender.send(target, address, letter)
        except (TemporaryError, PermanentError) as error:
            return str(error)
        return None

    async def _give_up(self) -> None:
        now = self._clock.now()
        async with self._database.read() as connection:
            if not await outbox.any_over(connection, now):
                return
        async with self._database.write() as connection:
            rows = await outbox.target_rows(connection)
            lost = await outbox.give_up(connection, now)
            words = {
                name: f"{count} notification{'s' if count > 1 else ''} given up: {rows[name].last_error}" for name, count in lost.items()
            }
            await self._tell(connection, words)

    async def _tell(self, connection: AsyncConnection, problems: "dict[str, str]") -> None:
        """Of targets that do not get what they should; read back from the log as a notification."""
        if problems:
            await record(connection, self._ids, self._settings, *self._events(problems))

    def _events(self, problems: "dict[str, str]") -> Iterator[Event]:
        for target, problem in problems.items():
            data = {"target": target, "problem": problem, "status": "failed"}
            yield Event(type=TARGET_FAILED, at=self._clock.now(), data=data)


def _letter(waiting: Waiting, settings: OutwardSettings) -> Letter:
    """The key in the last line tells a repetition."""
    link = f"{settings.page_url}{waiting.link}" if settings.page_url else ""
    when = f"{waiting.at:%Y-%m-%d %H:%M:%S} UTC"
    lines = [waiting.message, link, " · ".join(part for part in (waiting.agent, when, waiting.notification) if part)]
    text = "\n".join(line for line in lines if line)
    return Letter(key=waiting.notification, title=waiting.title, text=text, severity=waiting.severity, good=waiting.good)
