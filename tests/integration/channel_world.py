"""Agents for the tests of the configuration channel: real processes of a few lines, started by the real runtime."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from agent_servicing.adapters.config.channel import InstanceChannel
from agent_servicing.adapters.runtime.process import ProcessRuntime
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConfigSpec
from agent_servicing.core.model import Process, Release
from agent_servicing.ports import ConfigTarget
from tests.integration.process_world import AGENT, end_everything, open_runtime, release, started, until

INSTANCE = "g1-1-0"
DEADLINE_SECONDS = 10.0

AGENT_SCRIPT = """
import hashlib, http.server, json, os, signal, sys, threading, time
HOW = os.environ.get("HOW", "")
FILE = os.environ["SERVICING_CONFIG_FILE"]
BASE = "/.well-known/servicing/"
held = {"revision": os.environ["SERVICING_CONFIG_REVISION"], "text": open(FILE).read()}

def log(*what):
    print(*what, flush=True)

def read(*_):
    log("read", json.dumps(json.load(open(FILE))))

signal.signal(signal.SIGHUP, read)
read()

def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == BASE + "info" and self.allowed():
            applied = {"revision": held["revision"], "hash": digest(held["text"])}
            self.answer(200, {"level": "http", "state": "ready", "config": {"applied": applied}})
        else:
            self.answer(404, {})

    def do_DELETE(self):
        if self.path == BASE + "drain" and self.allowed():
            log("serves on")
            self.answer(200, {})

    def do_POST(self):
        length = int(self.headers["Content-Length"] or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        if self.path == "/-/reload":
            read()
            self.answer(500 if HOW == "reload-fails" else 200, {})
        elif self.path == BASE + "config/prepare" and self.allowed():
            self.prepare(body)
        elif self.path == BASE + "config/commit" and self.allowed():
            self.commit(body)
        elif self.path == BASE + "drain" and self.allowed() and HOW != "unprepared":
            log("ends in", body["deadline_seconds"], body["reason"])
            self.answer(200, {})
        else:
            self.answer(404, {})

    def prepare(self, body):
        if HOW == "hangs":
            time.sleep(1000)
        if HOW == "refuses":
            errors = [{"path": "timeout_seconds", "message": "too long\\x07 for " + body["values"].get("api_key", "me")}] * 60
            self.answer(422, {"errors": errors})
        elif HOW == "floods":
            self.answer(200, {"hash": "x" * 1000000})
        elif HOW == "moves":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(200, {"revision": body["revision"], "hash": "0" * 64 if HOW == "lies" else digest(body["document"])})

    def commit(self, body):
        if HOW == "dies":
            os._exit(3)
        held.update(revision=body["revision"], text=body["document"])
        pending = [{"path": key, "scope": scope} for key, scope in body["apply"].items()]
        log("committed", body["revision"], json.dumps(body["runtime"]))
        self.answer(200, {"revision": body["revision"], "hash": digest(body["document"]), "pending": pending})

    def allowed(self):
        return self.headers["Authorization"] == "Bearer " + os.environ["SERVICING_INSTANCE_TOKEN"]

    def answer(self, status, values):
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


class Safe:
    """A `Secrets` with one value under every name; `asked` are the references it was asked for."""

    def __init__(self, value: str = "correct-horse") -> None:
        self.value, self.asked = value, list[tuple[str, ...]]()

    async def resolve(self, agent: str, references: Any) -> Mapping[str, str]:  # noqa: ARG002 (the port's)
        self.asked.append(tuple(references))
        if any(reference.startswith("lost") for reference in references):
            raise PermanentError("there is no secret lost@1")
        return dict.fromkeys(references, self.value)


def document(
    revision: str, apply: Mapping[str, Any] | None = None, runtime: Mapping[str, Any] | None = None, **values: Any
) -> ConfigDocument:
    return ConfigDocument(revision=revision, values=values, apply=apply or {}, runtime=runtime or {})


FIRST = document("cfg-1.0.0-p0", timeout_seconds=30)
SECOND = document("cfg-1.0.0-p1", timeout_seconds=60)


@dataclass(kw_only=True)
class ChannelWorld:
    """One instance that was started with `FIRST`, and the channel to it."""

    runtime: ProcessRuntime
    channel: InstanceChannel
    release: Release
    safe: Safe
    data_dir: Path
    process: Process = field(init=False)

    def target(self, document: ConfigDocument) -> ConfigTarget:
        return ConfigTarget(agent=AGENT, manifest=self.release.manifest, process=self.process, document=document)

    async def start(self) -> None:
        await started(self.runtime, self.release, "unused")
        await self.runtime.stop(AGENT, "unused", kill=True)
        text = await self.channel.render(AGENT, FIRST)
        await self.runtime.start(self.release, instance=INSTANCE, generation=1, config=text, revision=FIRST.revision)
        self.process = (await self.runtime.observe(AGENT))[INSTANCE]

    async def report(self, wanted: ConfigDocument = FIRST) -> ConfigReport | None:
        return (await self.channel.reports([self.target(wanted)])).get(INSTANCE)

    async def reported(self, condition: Callable[[ConfigReport], object], wanted: ConfigDocument = FIRST) -> ConfigReport:
        """Its report once that holds."""

        async def holds() -> bool:
            report = await self.report(wanted)
            return report is not None and bool(condition(report))

        await until(holds)
        report = await self.report(wanted)
        assert report is not None
        return report

    async def prepared(self, document: ConfigDocument) -> ConfigReport:
        await self.channel.prepare([self.target(document)], deadline_seconds=DEADLINE_SECONDS)
        return await self.reported(lambda report: _tried(report, document) or report.prepared == document.key)

    async def committed(self, document: ConfigDocument) -> ConfigReport:
        await self.channel.commit([self.target(document)], deadline_seconds=DEADLINE_SECONDS)
        return await self.reported(lambda report: _tried(report, document) and report.prepared is None, wanted=document)

    async def lines(self) -> list[str]:
        return [line for _, line in await self.runtime.logs(AGENT, INSTANCE)]

    async def printed(self, text: str) -> None:
        async def there() -> bool:
            return any(text in line for line in await self.lines())

        await until(there)

    async def listens(self) -> None:
        async def answers() -> bool:
            try:
                await (await anyio.connect_tcp(self.process.host, self.process.port)).aclose()
            except OSError:
                return False
            return True

        await until(answers)


def _tried(report: ConfigReport, document: ConfigDocument) -> bool:
    return report.attempt is not None and report.attempt.revision == document.revision


@asynccontextmanager
async def open_channel_world(data_dir: Path, reload: str, how: str = "", *, safe: Safe | None = None) -> AsyncIterator[ChannelWorld]:
    wanted = release(command=("python", "-c", AGENT_SCRIPT), env={"HOW": how}, config=ConfigSpec(reload=reload))
    safe = safe or Safe()
    try:
        async with open_runtime(data_dir) as runtime, InstanceChannel(runtime=runtime, clock=SystemClock(), secrets=safe) as channel:
            world = ChannelWorld(runtime=runtime, channel=channel, release=wanted, safe=safe, data_dir=data_dir)
            await world.start()
            await world.listens()
            yield world
    finally:
        await end_everything(data_dir)


def read_lines(values: Mapping[str, Any]) -> str:
    return f"read {json.dumps(values)}"
