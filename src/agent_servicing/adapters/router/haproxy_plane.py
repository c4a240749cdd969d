"""The life of one HAProxy: adopted or started, kept up to date, reloaded when its structure must grow, brought back when it was killed.

The router decides what each agent's routing is; this keeps the book of it, and HAProxy in accordance with the book.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import structlog

from agent_servicing.adapters.haproxy_reading import SHOW_MAPS, Processes, read_info, read_maps, read_processes, read_servers, show_servers
from agent_servicing.adapters.haproxy_rows import AGENTS, MAPS, Plan, Rows, Servers, backends_of, decode, encode, forget_counts, slot_of_row
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.adapters.router import haproxy_state
from agent_servicing.adapters.router.haproxy_book import Book, counters_of
from agent_servicing.adapters.router.haproxy_changes import changes, removal
from agent_servicing.adapters.router.haproxy_config import digest
from agent_servicing.adapters.router.haproxy_pins import SavedPins
from agent_servicing.adapters.router.haproxy_process import HaproxyProcess, Running
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.ports import Clock

WATCH_SECONDS = 0.25
"""How often HAProxy is looked at; a killed one is back about this long after its end."""

SAVE_AGAIN_SECONDS = 5.0
"""When to try again to write the state after the disk refused it."""

log = structlog.get_logger(__name__)


class HaproxyPlane:
    """`book` is what HAProxy should do. Whoever changes it holds `lock`; reading waits for nobody."""

    def __init__(self, *, folder: Path, process: HaproxyProcess, link: HaproxySocket, clock: Clock, book: Book) -> None:
        self.book, self.link = book, link
        self.pins = SavedPins(folder=folder, link=link)
        self.running: Running | None = None
        self.lock = anyio.Lock()
        self._folder, self._process, self._clock = folder, process, clock
        self._saved: Book | None = None
        self._save_at = float("-inf")
        self._ended = False

    async def begin(self, running: Running | None) -> None:
        """Adopt `running` without disturbing it, or start HAProxy from the book."""
        async with self.lock:
            if running is None:
                await self._start()
                return
            self.running = running
            if running.structure and running.digest == digest(running.structure):
                await self._adopt()
            if running.digest != digest(self.book.structure):
                await self.restructure()

    async def end(self) -> bool:
        """End HAProxy for good; what it was doing is kept for the next start."""
        async with self.lock:
            self._ended, self.running = True, None
            return await self._process.end()

    async def watch(self) -> None:
        """Look after HAProxy until cancelled; nothing that goes wrong here ends the server."""
        while not self._ended:
            await self._clock.sleep(WATCH_SECONDS)
            try:
                await self._look()
            except (TemporaryError, PermanentError, OSError) as error:
                log.warning("data_plane_not_well", problem=str(error))

    async def keep(self, book: Book) -> None:
        """Make `book` the one to come back to. A full disk must not stop a rollback: the file is then written when there is room again."""
        self.book = book
        now = self._clock.monotonic()
        if book is self._saved or now < self._save_at:
            return
        try:
            await anyio.to_thread.run_sync(haproxy_state.save, self._folder, book)
            self._saved, self._save_at = book, float("-inf")
        except OSError as error:
            self._save_at = now + SAVE_AGAIN_SECONDS
            log.warning("data_plane_state_not_saved", problem=str(error))

    async def restructure(self) -> None:
        """The only reload: the book's structure is not the one that runs."""
        await self.pins.save()
        await self.keep(_without_counts(self.book))
        self.running = await self._process.reload(self.book.structure, *_content(self.book))
        structure = self.book.structure
        log.info("data_plane_reloaded", pid=self.running.worker, agents=structure.agent_slots, instances=structure.instance_slots)
        await self._bring_up_to_date()

    async def read(self, agent: str) -> tuple[dict[str, dict[str, str]], Mapping[str, str], Servers]:
        """The maps, `show info`, and the servers of the slot that the agent has or would get."""
        expected = self.book.slot_of(agent)
        backends = backends_of(expected)
        answers = await self.link.ask(*SHOW_MAPS, "show info", *(c for b in backends for c in show_servers(b)))
        maps, info, states = answers[: len(SHOW_MAPS)], answers[len(SHOW_MAPS)], answers[len(SHOW_MAPS) + 1 :]
        rows = read_maps(maps)
        row = rows[AGENTS].get(agent)
        if row is not None and slot_of_row(row) != expected:
            return rows, read_info(info), await self._servers(slot_of_row(row))
        return rows, read_info(info), _by_backend(backends, states)

    async def _look(self) -> None:
        processes = await self._processes()
        if self._ended:
            return
        if self.running and processes and processes.worker == self.running.worker:
            self.running = replace(self.running, processes=processes)
            await self.pins.save_if_due(self.book, self._clock.monotonic())
            if self.book is not self._saved:
                async with self.lock:
                    await self.keep(self.book)
            return
        async with self.lock:
            await self._heal()

    async def _heal(self) -> None:
        if self._ended:
            return
        found = await self._process.find()
        if found is not None:
            # Another worker than ours was: somebody reloaded it by hand, from the files of the last start. Or it was reloaded by us meanwhile.
            known, self.running = self.running, found
            if known is None or known.worker != found.worker:
                await self._bring_up_to_date()
            return
        if await anyio.to_thread.run_sync(self._process.lives):
            # It is there but slow to answer. Killing it would cost every request it has.
            raise TemporaryError("HAProxy runs but does not answer")
        log.warning("data_plane_gone", port=self.book.structure.port)
        self.running = None
        await self._start()

    async def _processes(self) -> Processes | None:
        try:
            return read_processes(await self.link.ask_master("show proc"))
        except TemporaryError:
            # That it does not answer is what the caller wants to know.
            return None

    async def _start(self) -> None:
        await self.keep(_without_counts(self.book))
        self.running = await self._process.start(self.book.structure, *_content(self.book))
        log.info("data_plane_started", pid=self.running.worker, port=self.book.structure.port)
        await self._bring_up_to_date()

    async def _adopt(self) -> None:
        """Rebuild the book from what HAProxy does; the saved one serves only to never use a counter number twice."""
        rows = read_maps(await self.link.ask(*SHOW_MAPS))
        agents: dict[str, Plan] = {}
        for agent, row in rows[AGENTS].items():
            plan = decode(agent, rows, await self._servers(slot_of_row(row)))
            if plan is not None:
                agents[agent] = plan
        highest = max((tally for plan in agents.values() for tally in counters_of(plan)), default=0)
        await self.keep(replace(self.book, agents=agents, next_tally=max(self.book.next_tally, highest + 1)))

    async def _bring_up_to_date(self) -> None:
        rows = read_maps(await self.link.ask(*SHOW_MAPS))
        for plan in self.book.agents.values():
            await self.link.order(*changes(plan, rows, await self._servers(plan.slot)))
        for agent in set(rows[AGENTS]) - set(self.book.agents):
            surplus = decode(agent, rows, {})
            if surplus is not None:
                await self.link.order(*removal(surplus, rows, await self._servers(surplus.slot)))

    async def _servers(self, slot: int) -> Servers:
        backends = backends_of(slot)
        return _by_backend(backends, await self.link.ask(*(c for b in backends for c in show_servers(b))))


def _by_backend(backends: list[str], answers: list[str]) -> Servers:
    return {backend: read_servers(*answers[2 * i : 2 * i + 2]) for i, backend in enumerate(backends)}


def _without_counts(book: Book) -> Book:
    return replace(book, agents={agent: forget_counts(plan) for agent, plan in book.agents.items()})


def _content(book: Book) -> tuple[Mapping[str, Mapping[int, str]], Rows]:
    """Servers and map rows of every agent, for the files that HAProxy starts from."""
    servers: dict[str, dict[int, str]] = {}
    rows: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    for plan in book.agents.values():
        for name, content in encode(plan).items():
            rows[name].update(content)
        for route in plan.routing.generations:
            numbers = plan.places[route.generation].servers
            ready = (b for b in route.backends if b.state == "ready")
            servers[plan.backend(route.generation)] = {numbers[b.instance]: _address(b.host, b.port) for b in ready}
    return servers, rows


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
