"""Runs the server as a process: data directory, sockets, signals. Called by the commands `serve`, `demo` and `stop`."""

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TextIO
from urllib.parse import urlsplit

import anyio
import structlog
import uvicorn

from agent_servicing import __version__, log
from agent_servicing.adapters.registry import load_driver
from agent_servicing.adapters.runtime.apart import ApartRuntime
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.bootstrap import datadir, heap, swap
from agent_servicing.bootstrap.app import App, open_app
from agent_servicing.core.errors import PermanentError, TemporaryError, Unavailable
from agent_servicing.services.redaction import Redactor
from agent_servicing.settings import Settings, listed
from agent_servicing.web.server import Edge, check_tls, uvicorn_config

STOP_SECONDS = 15.0
"""How long `servicing stop` waits for a server to end."""

THREAD_SWITCH_SECONDS = 0.001
"""How long a thread of the database waits for the interpreter while the event loop is busy. Python's own 5 ms, several times in each
transaction, made the engine wait for most of a hot patch of a thousand instances."""

EVENT_LOOP: Final = {"use_uvloop": True}
"""libuv's loop: one server's hot patch of ten instances under load takes two thirds of the time it takes on Python's own."""

UMASK: Final = 0o077

Beside = Callable[[App, str], Coroutine[None, None, None]]
"""Something to run beside the server, given the app and the API's address; when it returns, the server goes on."""


def serve(
    settings: Settings, *, beside: Beside | None = None, ready: Callable[[App, str], None] | None = None, log_stream: TextIO | None = None
) -> None:
    """Run until SIGINT or SIGTERM. `ready` is called once everything answers; the log goes to `log_stream`, else to stderr.

    Raises ServicingError when it cannot start.
    """
    redactor = Redactor()
    log.configure(form=settings.log_format, level_name=settings.log_level, stream=log_stream, mask=redactor.mask_all)
    # Files of ours are for their owner alone, those of agents too unless they ask for more themselves.
    os.umask(UMASK)
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    with datadir.owned(settings.data_dir), _said_plainly():
        if swap.finish(settings.data_dir):
            structlog.get_logger(__name__).warning("restore_finished", data_dir=str(settings.data_dir))
        anyio.run(_serve, settings, beside, ready, redactor, backend_options=EVENT_LOOP)


def stop(settings: Settings, *, everything: bool, log_stream: TextIO | None = None) -> list[str]:
    """End the server of this data directory, and with `everything` its agents and its data plane too. Returns what was ended."""
    log.configure(form=settings.log_format, level_name=settings.log_level, stream=log_stream)
    return anyio.run(_stop, settings, everything)


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What a driver could not do at start-up, as an error of the family that commands print in one line."""
    try:
        yield
    except (PermanentError, TemporaryError) as error:
        raise Unavailable(str(error)) from error


async def _serve(settings: Settings, beside: Beside | None, ready: Callable[[App, str], None] | None, redactor: Redactor) -> None:
    with _listening(settings) as doors:
        front, own = doors[0], doors[-1]
        async with open_app(settings, api_url=own.url, redactor=redactor) as app, _answering(app, doors) as finished:
            local_url = own.url if own is not front else None
            datadir.announce(settings.data_dir, api_url=front.url, router_url=app.router_url, version=__version__, local_url=local_url)
            structlog.get_logger(__name__).info("serving", api=front.url, router=app.router_url, data_dir=str(settings.data_dir))
            if ready is not None:
                ready(app, front.url)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app.run_loops)
                tasks.start_soon(heap.settle, SystemClock())
                if beside is not None:
                    tasks.start_soon(beside, app, own.url)
                await finished.wait()
                tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    """One way in: where it listens, and how."""

    listener: socket.socket
    edge: Edge

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"http{'s' if self.edge.tls_cert else ''}://{host if ':' not in host else f'[{host}]'}:{port}"


@contextmanager
def _listening(settings: Settings) -> Iterator[list[_Door]]:
    """The way in from outside and, when that is over TLS, a plain one for what runs on this machine, whom no certificate has to name it."""
    edge = Edge(
        allowed_hosts=(*listed(settings.allowed_hosts), *filter(None, [urlsplit(settings.public_url or "").hostname])),
        trusted_proxies=listed(settings.trusted_proxies),
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )
    check_tls(edge)
    doors = [_Door(listener=listen(settings.host, settings.port), edge=edge)]
    try:
        if settings.tls_cert is not None:
            doors.append(_Door(listener=datadir.listen_locally(settings.data_dir, listen), edge=Edge()))
        yield doors
    finally:
        for door in doors:
            door.listener.close()
        datadir.withdraw(settings.data_dir)


@asynccontextmanager
async def _answering(app: App, doors: Sequence[_Door]) -> AsyncIterator[anyio.Event]:
    """The HTTP server, already answering inside the block; the event is set when it was told to end."""
    finished, left = anyio.Event(), len(doors)
    host, port = app.settings.host, app.settings.port
    servers = [uvicorn.Server(uvicorn_config(app.asgi, host=host, port=port, edge=door.edge)) for door in doors]

    async def run(server: uvicorn.Server, listener: socket.socket) -> None:
        nonlocal left
        await server.serve(sockets=[listener])
        left -= 1
        end()
        if not left:
            finished.set()

    def end() -> None:
        app.stop_streams()
        for server in servers:
            server.should_exit = True

    async def on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                end()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(on_signal)
        for server, door in zip(servers, doors, strict=True):
            tasks.start_soon(run, server, door.listener)
        while not all(server.started for server in servers) and not finished.is_set():
            await app.clock.sleep(0.005)
        yield finished
        end()
        await finished.wait()
        tasks.cancel_scope.cancel()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, or an error that says which port is taken and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host}:{port}: {error.strerror}"
        raise Unavailable(message, hint="Choose another with --port, or --port 0 for any free one.", code="port_taken") from error
    return listener


async def _stop(settings: Settings, everything: bool) -> list[str]:
    ended: list[str] = []
    pid = datadir.holder(settings.data_dir)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        await _wait_until_free(settings, pid)
        ended.append(f"server (pid {pid})")
    if everything:
        with datadir.owned(settings.data_dir):
            ended += await _stop_agents(settings)
            ended += await _stop_router(settings)
    return ended


async def _wait_until_free(settings: Settings, pid: int) -> None:
    clock = SystemClock()
    with anyio.move_on_after(STOP_SECONDS):
        while datadir.holder(settings.data_dir) == pid:
            await clock.sleep(0.05)
        return
    raise Unavailable(f"the server (pid {pid}) did not end within {STOP_SECONDS:g} s", hint=f"End it with: kill -9 {pid}")


async def _stop_agents(settings: Settings) -> list[str]:
    runtime = load_driver("runtime", "process")(settings=settings, sources={}, clock=SystemClock(), ids=RandomIds())
    async with runtime:
        ended = [f"instance {name}" for name in await runtime.stop_everything()]
        # What a server that was killed left of staging; entering it is what ends it.
        async with ApartRuntime(settings=settings, live=runtime, clock=SystemClock(), ids=RandomIds()):
            return ended


async def _stop_router(settings: Settings) -> list[str]:
    router = load_driver("router", "haproxy")
    try:
        stopped = await router.stop(settings, SystemClock())  # type: ignore[attr-defined]
    except PermanentError as error:
        raise Unavailable(str(error)) from error
    return ["data plane"] if stopped else []
