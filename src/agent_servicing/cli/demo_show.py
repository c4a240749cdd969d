"""Runs beside the server while `servicing demo` is up: prepares the agents, keeps traffic on them, plays the acts, tells the tally, waits.

`demo` starts it and reads afterwards what became of it. Everything that asks the API happens in one worker thread, because the command
line's client waits for its answers and the server lives in this event loop.
"""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from agent_servicing.cli import telling
from agent_servicing.cli.demo_acts import LOADS, REQUESTS_PER_SECOND, acts, canary
from agent_servicing.cli.demo_folder import DemoFolder
from agent_servicing.cli.demo_meanwhile import Meanwhile
from agent_servicing.cli.demo_prepare import Preparation
from agent_servicing.cli.demo_screen import Screen
from agent_servicing.cli.demo_stage import Ending, Stage
from agent_servicing.cli.demo_words import Place, tally, traffic_line
from agent_servicing.cli.discovery import Options
from agent_servicing.cli.exits import ServerAbsent
from agent_servicing.cli.session import Session
from agent_servicing.core.errors import ServicingError
from agent_servicing.testing.ledger import Snapshot
from agent_servicing.testing.traffic import Traffic

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from agent_servicing.bootstrap import App

SETTLE_SECONDS: Final = 2.0
"""Traffic before the first act, and between the last one and its tally, so that a loss at either end would be seen."""

REFRESH_SECONDS: Final = 1.0
QUIET_SECONDS: Final = 60.0
"""Between two lines about the traffic when there is no terminal to redraw."""

ENDING_SECONDS: Final = 60.0
"""A server that was told to end answers nobody from then on, and ends us within this time; else it is too busy to be reached, which is an error."""


class _Stopped(Exception):
    """Ends the worker thread wherever it waits; no error, the demo was told to end."""


@dataclass(slots=True, kw_only=True)
class Show:
    """`beside` is what runs; `began`, `endings`, `counts` and `error` say afterwards what became of it."""

    session: Session
    screen: Screen
    folder: DemoFolder
    place: Callable[[str, str], Place]
    quick: bool
    once: bool
    began: bool = False
    patched: bool = False
    endings: list[Ending] = field(default_factory=list)
    counts: Snapshot | None = None
    error: ServicingError | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def played(self) -> bool:
        """Whether every act has ended, one way or another."""
        return len(self.endings) == len(acts(quick=self.quick))

    @property
    def well(self) -> bool:
        """Every act ended as told, the patch too, and nothing was lost."""
        as_told = self.played and self.patched and all(ending.as_told for ending in self.endings)
        return self.error is None and as_told and self.counts is not None and self.counts.lost == 0

    async def beside(self, app: "App", api_url: str) -> None:
        """What `bootstrap.serve` runs beside the server. Ends the server itself after `once`, and when something cannot be done."""
        self.began = True
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_the_thread)
            tasks.start_soon(self._end_with_the_terminal)
            try:
                await self._perform(app, api_url, tasks)
            except ServerAbsent as error:
                await app.clock.sleep(ENDING_SECONDS)
                self.error = error
            except ServicingError as error:
                self.error = error
            except _Stopped:
                return  # only ever while we are being cancelled
            tasks.cancel_scope.cancel()
        signal.raise_signal(signal.SIGTERM)

    async def _perform(self, app: "App", api_url: str, tasks: "TaskGroup") -> None:
        place = self.place(api_url, app.router_url)
        self.folder.remember(app.router_url)
        self.screen.facts((*place.addresses, ("sign in, once", api_url + await app.sign_in_path())))
        clock, ids = app.clock, self.session.surroundings.ids
        traffic = Traffic(app.router_url, LOADS, requests_per_second=REQUESTS_PER_SECOND, clock=clock, ids=ids)
        ended = anyio.Event()
        with self._client(api_url, app.admin_token) as client:
            self.screen.title("Sample agents")
            await to_thread.run_sync(self._preparation(client, app.router_url).run)
            began_at = clock.monotonic()
            tasks.start_soon(self._keep_traffic, traffic, ended)
            self.screen.say(
                f"Now under traffic: about {REQUESTS_PER_SECOND:g} requests a second, conversations and open streams among them."
            )
            await clock.sleep(SETTLE_SECONDS)
            # What was prepared is history to whoever opens the page: unread is what happens from here on.
            await to_thread.run_sync(telling.read_all, client.api)
            meanwhile, done = Meanwhile(client), anyio.Event()
            if not self.once:
                tasks.start_soon(self._beside_the_acts, meanwhile, done)
            await to_thread.run_sync(self._play, client, traffic)
            if not self.once:
                await done.wait()
                self.screen.title("Meanwhile")
                self.screen.say(*meanwhile.told or ("What there is beside the acts was done by an earlier demo.",))
                await to_thread.run_sync(self._stage(client, traffic).leave, canary())
            await clock.sleep(SETTLE_SECONDS)
        if self.once:
            traffic.stop()
            await ended.wait()
        self.screen.title("What users noticed")
        self.screen.facts(tally(traffic.snapshot(), clock.monotonic() - began_at))
        self.screen.say("  (What WowOrchestrator asks of the other agents by itself is not among these.)")
        if not self.once:
            self.screen.title("Now you")
            self.screen.steps(place.ideas)
            await self._wait_for_ctrl_c(app, traffic)

    def _client(self, api_url: str, token: str) -> Session:
        """A client like any other, over HTTP; its waiting ends when the demo does."""
        options = Options(server=api_url, token=token, json=self.session.options.json)
        return Session(options=options, surroundings=replace(self.session.surroundings, pause=self._pause))

    def _preparation(self, client: Session, router_url: str) -> Preparation:
        samples = self.folder.samples
        return Preparation(api=client.api, around=client.surroundings, screen=self.screen, samples=samples, router_url=router_url)

    def _stage(self, client: Session, traffic: Traffic) -> Stage:
        return Stage(session=client, screen=self.screen, check=self._check, footer=lambda: traffic_line(traffic.snapshot()))

    def _play(self, client: Session, traffic: Traffic) -> None:
        stage = self._stage(client, traffic)
        good, bad = acts(quick=self.quick)
        self.endings.append(stage.play(good))
        self.patched = stage.patch()
        self.endings.append(stage.play(bad))

    async def _beside_the_acts(self, meanwhile: Meanwhile, done: anyio.Event) -> None:
        with suppress(_Stopped):  # the demo ends, and this with it
            await to_thread.run_sync(meanwhile.run)
        done.set()

    async def _keep_traffic(self, traffic: Traffic, ended: anyio.Event) -> None:
        try:
            await traffic.run()
        finally:
            self.counts = traffic.snapshot()
            ended.set()

    async def _wait_for_ctrl_c(self, app: "App", traffic: Traffic) -> None:
        ending = "Ctrl-C ends the demo."
        self.screen.say("")
        if not self.screen.live:
            while True:
                self.screen.say(f"{traffic_line(traffic.snapshot())}. {ending}")
                await app.clock.sleep(QUIET_SECONDS)
        with self.screen.picture() as picture:
            while True:
                picture(f"{traffic_line(traffic.snapshot())}. {ending}")
                await app.clock.sleep(REFRESH_SECONDS)

    async def _tell_the_thread(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._stopped.set()

    async def _end_with_the_terminal(self) -> None:
        """A window that is closed ends the demo as Ctrl-C does, unless it was started to outlive it (nohup)."""
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            return
        with anyio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                signal.raise_signal(signal.SIGTERM)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise _Stopped
