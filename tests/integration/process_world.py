"""What the tests of the process runtime share: a tiny agent, a source that writes it, and a runtime on a folder of the test's own."""

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil

from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.core.manifest import Manifest, Run, Source
from agent_servicing.core.model import Process, Release
from agent_servicing.core.status import PreparationStatus
from agent_servicing.core.versions import SourceVersion
from agent_servicing.settings import Settings

AGENT = "Tiny"
PATIENCE_SECONDS = 120

AGENT_SCRIPT = """
import http.server, json, os, signal, subprocess, sys
if os.environ.get("IGNORE_TERM"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("WITH_WORKER"):
    worker = subprocess.Popen(["sleep", "1000"], process_group=0)
    print("worker", worker.pid, flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = {"/healthz": 200, "/env": 200, "/broken": 500, "/moved": 302}.get(self.path, 404)
        body = json.dumps({"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}).encode()
        self.send_response(status)
        self.send_header("Location", "/healthz")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        print(*args, flush=True)

server = http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
print("listening", flush=True)
server.serve_forever()
"""

SERVES = ("python", "agent.py")
SLEEPS = ("sleep", "1000")


class ScriptSource:
    """A `VersionSource` whose every version is the tiny agent. `gate` holds fetches back until it is set."""

    def __init__(self, *, command: Sequence[str] | None = None, error: Exception | None = None) -> None:
        self.command = command
        self.error = error
        self.fetched: list[str] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def versions(self, manifest: Manifest) -> Sequence[SourceVersion]:  # noqa: ARG002 (the port's)
        return []

    async def fetch(self, manifest: Manifest, version: str, ref: str, folder: Path) -> None:  # noqa: ARG002 (the port's)
        self.fetched.append(version)
        await self.gate.wait()
        if self.error:
            raise self.error
        (folder / "agent.py").write_text(AGENT_SCRIPT)

    def install_command(self, manifest: Manifest, version: str, folder: Path) -> Sequence[str] | None:  # noqa: ARG002 (the port's)
        return self.command


def release(
    version: str = "1.0.0",
    *,
    agent: str = AGENT,
    command: Sequence[str] = SLEEPS,
    install: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    **manifest: Any,
) -> Release:
    run = Run(command=tuple(command), install=tuple(install) if install else None, env=env or {})
    whole = Manifest(agent=agent, source=Source(kind="path", location="dist"), run=run)
    return Release(agent=agent, version=version, manifest=replace(whole, **manifest), ref="r1")


@asynccontextmanager
async def open_runtime(
    data_dir: Path, *, source: ScriptSource | None = None, environ: Mapping[str, str] = os.environ, **settings: Any
) -> AsyncIterator[ProcessRuntime]:
    """A runtime as the server makes one. Leaving it leaves the instances; `end_everything` ends them."""
    async with ProcessRuntime(
        settings=Settings(data_dir=data_dir, **{"stop_grace_seconds": 5, **settings}),
        sources={"path": source or ScriptSource()},
        clock=SystemClock(),
        ids=RandomIds(),
        server_url="http://127.0.0.1:8700",
        router_url="http://127.0.0.1:8800",
        environ=environ,
    ) as runtime:
        yield runtime


async def end_everything(data_dir: Path) -> None:
    async with open_runtime(data_dir) as runtime:
        await runtime.stop_everything()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Waits for the condition to hold, patiently: a slow machine is no failure."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not await condition():
            await SystemClock().sleep(0.02)


async def install(runtime: ProcessRuntime, wanted: Release) -> None:
    await runtime.prepare(wanted)

    async def done() -> bool:
        return (await runtime.preparation(wanted.agent, wanted.version)).status is not PreparationStatus.INSTALLING

    await until(done)
    prepared = await runtime.preparation(wanted.agent, wanted.version)
    assert prepared.status is PreparationStatus.READY, prepared.detail


async def started(runtime: ProcessRuntime, wanted: Release, instance: str = "g1-1-0", generation: int = 1) -> Process:
    await install(runtime, wanted)
    await runtime.start(wanted, instance=instance, generation=generation)
    return (await runtime.observe(wanted.agent))[instance]


async def ended(runtime: ProcessRuntime, instance: str = "g1-1-0", agent: str = AGENT) -> Process:
    """The instance once it has ended."""

    async def is_over() -> bool:
        return not (await runtime.observe(agent))[instance].alive

    await until(is_over)
    return (await runtime.observe(agent))[instance]


async def printed(runtime: ProcessRuntime, text: str, instance: str = "g1-1-0", agent: str = AGENT) -> list[str]:
    """The instance's lines once one of them holds `text`."""

    async def is_there() -> bool:
        return any(text in line for _, line in await runtime.logs(agent, instance))

    await until(is_there)
    return [line for _, line in await runtime.logs(agent, instance)]


def living(data_dir: Path) -> list[psutil.Process]:
    """Every process that carries this data directory in its environment and has not ended."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        ours = (process.info["environ"] or {}).get("SERVICING_DATA_DIR") == str(data_dir)
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


async def nothing_lives(data_dir: Path) -> None:
    async def is_empty() -> bool:
        return not living(data_dir)

    await until(is_empty)


def record_file(data_dir: Path, instance: str = "g1-1-0", agent: str = AGENT) -> Path:
    return data_dir / "agents" / agent / "instances" / instance / "instance.json"


def edit_record(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def owner_command(data_dir: Path, *, script: str) -> list[str]:
    """A server of its own process: runs `script`, an async function body with `runtime` and the helpers here, then waits to be killed."""
    lines = "\n".join(f"        {line}" for line in script.splitlines())
    program = (
        "import anyio, pathlib\n"
        "from tests.integration.process_world import *\n"
        "async def main():\n"
        f"    async with open_runtime(pathlib.Path({str(data_dir)!r})) as runtime:\n"
        f"{lines}\n"
        "        print('up', flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    return [sys.executable, "-c", program]
