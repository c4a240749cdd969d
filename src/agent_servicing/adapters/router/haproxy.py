"""The router driver over HAProxy: the engine hands it a `Routing`, it makes HAProxy carry it out, and tells what HAProxy really does.

HAProxy outlives the server. Opening the router adopts the one that runs, or starts one; while the router is open, a HAProxy that was
killed comes back with its routing and its pins.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from agent_servicing.adapters.haproxy_reading import read_map, read_stat
from agent_servicing.adapters.haproxy_rows import LABELS, Plan, Servers, backends_of, check, decode, server_name
from agent_servicing.adapters.haproxy_socket import HaproxySocket
from agent_servicing.adapters.router import haproxy_state
from agent_servicing.adapters.router.haproxy_book import Book, counters_of, place, without
from agent_servicing.adapters.router.haproxy_changes import changes, forgotten_counters, removal
from agent_servicing.adapters.router.haproxy_config import MAX_THREADS, Structure
from agent_servicing.adapters.router.haproxy_overview import Overview
from agent_servicing.adapters.router.haproxy_plane import HaproxyPlane
from agent_servicing.adapters.router.haproxy_process import HaproxyProcess, find_binary, free_port, is_free
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.routing import Routing, RoutingView
from agent_servicing.ports import Clock
from agent_servicing.settings import Settings

FOLDER = "router"
"""Where in the data directory everything of the data plane lies."""


class HaproxyRouter:
    """`Router` over one HAProxy. `link` and `clock` are for the metrics driver, which reads from the same HAProxy.

    `observe` gives generations and instances back in the order in which they were applied. Orders are carried out one after the other.
    """

    def __init__(self, *, host: str, plane: HaproxyPlane, link: HaproxySocket, clock: Clock) -> None:
        self.link, self.clock = link, clock
        self._host, self._plane = host, plane
        self._overview = Overview(link)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, clock: Clock) -> AsyncIterator["HaproxyRouter"]:
        """Adopt the HAProxy of `settings.data_dir` or start one; it is left running at the end. Raises `PermanentError` with what to do."""
        folder, process, link = _parts(settings, clock)
        running = await process.find()
        kept = await anyio.to_thread.run_sync(_kept, folder, running is not None)
        before = running.structure if running else None
        if before is None and kept is not None:
            before = kept.structure
        structure = _structure(settings, before, running=running is not None)
        plane = HaproxyPlane(
            folder=folder, process=process, link=link, clock=clock, book=replace(kept or Book(structure=structure), structure=structure)
        )
        await plane.begin(running)
        problem: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(plane.watch)
            try:
                yield cls(host=settings.router_host, plane=plane, link=link, clock=clock)
            except Exception as error:  # noqa: BLE001 (raised below, so that the task group does not wrap the caller's own error)
                problem = error
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem

    @staticmethod
    async def stop(settings: Settings, clock: Clock) -> bool:
        """End the HAProxy of that data directory at once, without a router being open; False when none runs."""
        _, process, _ = _parts(settings, clock)
        return await process.end()

    @property
    def port(self) -> int:
        return self._plane.book.structure.port

    @property
    def url(self) -> str:
        """Where agents are reached from this machine: `url/AGENT/…`."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (looked up, not bound)
        host = anywhere.get(self._host, self._host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The master's, None while HAProxy is down."""
        return self._plane.running.processes.master if self._plane.running else None

    @property
    def alive(self) -> bool:
        """Whether HAProxy was there when it was last looked at."""
        return self._plane.running is not None

    async def observe(self, agent: str) -> RoutingView:
        """What HAProxy does for `agent`, read from its maps and servers; `in_flight` counts what workers from before a reload still answer."""
        rows, info, servers = await self._plane.read(agent)
        plan = decode(agent, rows, servers)
        epoch = f"{info.get('Pid', '')}-{info.get('Start_time_sec', '')}"
        if plan is None:
            return RoutingView(routing=None, epoch=epoch)
        flight = _in_flight(plan, rows[LABELS], servers)
        for pid in self._plane.running.processes.old if self._plane.running else ():
            for instance, count in (await self._in_old_worker(pid, plan)).items():
                flight[instance] = flight.get(instance, 0) + count
        return RoutingView(routing=plan.routing, epoch=epoch, in_flight=flight)

    async def observe_all(self) -> Mapping[str, Routing]:
        """What HAProxy does for each agent it knows, in one reading."""
        return await self._overview.read()

    async def conversations(self, agent: str) -> Mapping[int, int] | None:
        """By generation, how many conversations would come back to it, or already were sent on from it but have not asked since."""
        plan = self._plane.book.agents.get(agent)
        if plan is None or plan.routing.conversation_key is None:
            return None
        counted = await self._plane.pins.count([place.tally for place in plan.places.values()])
        return {generation: counted[place.tally] for generation, place in plan.places.items()}

    async def apply(self, routing: Routing) -> None:
        """Make HAProxy carry out `routing`; returns when it does. Only more agents, instances or kinds of keys than declared cost a reload."""
        check(routing)
        plane = self._plane
        async with plane.lock:
            before = plane.book.agents.get(routing.agent)
            rows, _, servers = await plane.read(routing.agent)
            grown = place(plane.book, routing, servers)
            reload = grown.structure != plane.book.structure
            await plane.keep(grown)
            if reload:
                await plane.restructure()
                rows, _, servers = await plane.read(routing.agent)
            plan = plane.book.agents[routing.agent]
            await self.link.order(*changes(plan, rows, servers))
            plane.pins.note(before, plan)
            await self._drop_counters(counters_of(before) - counters_of(plan))

    async def remove(self, agent: str) -> None:
        """Forget the agent; requests for it are answered with 404, those under way are finished."""
        plane = self._plane
        async with plane.lock:
            rows, _, servers = await plane.read(agent)
            plan = decode(agent, rows, servers)
            known = counters_of(plane.book.agents.get(agent))
            await plane.keep(without(plane.book, agent))
            if plan is not None:
                await self.link.order(*removal(plan, rows, servers))
            await self._drop_counters(known | counters_of(plan))

    async def shutdown(self) -> bool:
        """End HAProxy for good; what it was doing is kept for the next start."""
        return await self._plane.end()

    async def _drop_counters(self, tallies: frozenset[int]) -> None:
        """Best effort: a counter that a request still holds is refused and stays, unread, until the next restart."""
        for tally in sorted(tallies):
            await self.link.ask(*forgotten_counters(tally))

    async def _in_old_worker(self, pid: int, plan: Plan) -> dict[str, int]:
        """By instance, what a worker from before a reload still answers. It knows the servers by the labels of its time."""
        try:
            labels = read_map(await self.link.ask_master(f"@!{pid} show map {LABELS}"))
            stats = [await self.link.ask_master(f"@!{pid} show stat {backend} 4 -1") for backend in backends_of(plan.slot)]
        except TemporaryError:
            # It has ended since it was listed, and with it everything it had.
            return {}
        found: dict[str, int] = {}
        for name, (count, *_) in (item for stat in stats for item in read_stat(stat).items()):
            instance = _instance(plan, labels.get(name, ""))
            if instance and count:
                found[instance] = found.get(instance, 0) + count
        return found


def _in_flight(plan: Plan, labels: Mapping[str, str], servers: Servers) -> dict[str, int]:
    """By instance: of those routed to always, of those taken out only while they still answer somebody."""
    found = {backend.instance: 0 for route in plan.routing.generations for backend in route.backends}
    for backend, members in servers.items():
        for number, server in members.items():
            instance = _instance(plan, labels.get(server_name(backend, number), ""))
            if instance and (server.in_flight or instance in found):
                found[instance] = found.get(instance, 0) + server.in_flight
    return found


def _instance(plan: Plan, label: str) -> str:
    """The instance of `plan`'s agent that a label names, nothing when it names another agent's."""
    agent, _, rest = label.partition("@")
    return rest.rpartition("/")[2] if agent == plan.routing.agent else ""


def _parts(settings: Settings, clock: Clock) -> tuple[Path, HaproxyProcess, HaproxySocket]:
    folder = settings.data_dir.absolute() / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PermanentError(f"the data plane's folder {folder} cannot be created: {error.strerror}") from error
    link = HaproxySocket(folder)
    return folder, HaproxyProcess(folder, find_binary(settings.haproxy), link, clock), link


def _kept(folder: Path, running: bool) -> Book | None:
    try:
        return haproxy_state.load(folder)
    except PermanentError:
        if running:
            # HAProxy itself knows everything; the damaged file is written anew.
            return None
        raise


def _structure(settings: Settings, before: Structure | None, *, running: bool) -> Structure:
    """What the settings ask for, with everything that has grown since."""
    port = settings.router_port or _any_port(settings.router_host, before, running=running)
    fresh = Structure(
        host=settings.router_host,
        port=port,
        agent_slots=settings.agent_slots,
        instance_slots=settings.instance_slots,
        threads=min(MAX_THREADS, os.cpu_count() or 1),
    )
    if before is None:
        return fresh
    return replace(
        fresh,
        agent_slots=max(fresh.agent_slots, before.agent_slots),
        instance_slots=max(fresh.instance_slots, before.instance_slots),
        keys=tuple(dict.fromkeys((*fresh.keys, *before.keys))),
    )


def _any_port(host: str, before: Structure | None, *, running: bool) -> int:
    """The one it had, so that whoever knows it finds it again; another where somebody has taken that since HAProxy ended."""
    if before is not None and (running or is_free(host, before.port)):
        return before.port
    return free_port(host)
