"""A real server in a process of its own, with real agents behind the real HAProxy, driven from outside only: commands, HTTP, signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

LONG = 90.0
"""Seconds after which a wait has failed. Generous: the machine that runs the tests may be busy with others."""

AGENT = "Echo"

PROGRAM = textwrap.dedent('''
    """An agent that says who it is. Knows GET and POST on every path, /healthz, /slow?seconds=, /stream?seconds=."""
    import asyncio, json, os, sys
    from urllib.parse import parse_qs

    VERSION, BEHAVIOUR = os.environ["SERVICING_VERSION"], json.load(open(os.path.join(os.path.dirname(__file__), "behaviour.json")))
    served = 0

    async def app(scope, receive, send):
        global served
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        path, query = scope["path"], parse_qs(scope["query_string"].decode())
        status = 200
        if path == "/healthz":
            status = BEHAVIOUR.get("health", 200)
        elif path == "/stream":
            return await stream(send, float(query["seconds"][0]))
        else:
            served += 1
            await asyncio.sleep(float(query.get("seconds", [BEHAVIOUR.get("delay", 0)])[0]))
            every = BEHAVIOUR.get("fail_every", 0)
            status = 500 if every and served % every == 0 else 200
            if BEHAVIOUR.get("die_after") and served >= BEHAVIOUR["die_after"]:
                os._exit(3)
        answer = json.dumps({"version": VERSION, "pid": os.getpid(), "path": path, "method": scope["method"], "body": len(body)}).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})

    async def stream(send, seconds):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for n in range(int(seconds * 10)):
            await send({"type": "http.response.body", "body": f"data: {n}\\n\\n".encode(), "more_body": True})
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"event: end\\ndata: bye\\n\\n"})
''')

MANIFEST = """
[agent]
id = "{agent}"
description = "echoes"
[source]
path = "{source}"
[run]
command = ["{python}", "-m", "uvicorn", "program:app", "--host", "{{host}}", "--port", "{{port}}", "--log-level", "warning"]
instances = {instances}
[health]
path = "/healthz"
interval_seconds = 0.5
startup_timeout_seconds = {startup}
[routing]
conversation_key = "header:X-Conversation-Id"
[drain]
timeout_seconds = 5
stream_timeout_seconds = 60
conversation_timeout_seconds = 1
{extra}
"""

ENDED = ("completed", "rolled_back", "cancelled", "failed")


def wait_for(what: str, condition: Callable[[], Any], *, seconds: float = LONG) -> Any:
    """Ask until the answer is true; the answer. Errors of connection count as not yet."""
    until, last = time.monotonic() + seconds, None
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            last = condition()
            if last:
                return last
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {last!r}")


@dataclass
class Server:
    """`servicing serve` on free ports in its own data directory. Agents and data plane end with `close`."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agent_servicing.cli.main", *words]

    def start(self, *more: str) -> "Server":
        (self.data_dir / "server.json").unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SERVICING_")}
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            self.command("serve", "--data-dir", str(self.data_dir), "--port", "0", "--router-port", "0", *more),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**environ, "SERVICING_VERSION_REFRESH_SECONDS": "0", **self.environ},
        )
        log.close()
        try:
            wait_for("the server", self._ready)
        except AssertionError as late:
            raise AssertionError(f"{late}; it said:\n{self.log()[-4000:]}") from None
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended:\n{self.log()[-4000:]}"
        return (self.data_dir / "server.json").exists()

    def kill(self) -> None:
        """As an out-of-memory killer would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        subprocess.run(self.command("--data-dir", str(self.data_dir), "stop", "--all"), capture_output=True, timeout=120, check=False)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data_dir / "server.json").read_text())
        return found

    @property
    def router_url(self) -> str:
        return str(self.info["router_url"])

    def api(self) -> httpx.Client:
        token = (self.data_dir / "admin.token").read_text().strip()
        return httpx.Client(base_url=self.info["api_url"] + "/api/platform", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def get(self, path: str, **params: Any) -> Any:
        with self.api() as api:
            answer = api.get(path, params=params)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()

    def post(self, path: str, body: object = None, *, expect: int = 202) -> Any:
        with self.api() as api:
            answer = api.post(path, json=body)
        assert answer.status_code == expect, (path, answer.status_code, answer.text)
        return answer.json()

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """A command as an operator types it."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SERVICING_")}
        done = subprocess.run(
            self.command("--data-dir", str(self.data_dir), *words), capture_output=True, text=True, timeout=240, check=False, env=environ
        )
        assert done.returncode == expect, (words, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done

    def upgrade(self, version: str, *, agent: str = AGENT, **options: Any) -> str:
        body = {
            "target_version": version,
            "strategy": "blue-green",
            "reason": "a test",
            "blue_green": {"steps": [25, 50, 100], "monitor_seconds": 2},
            **options,
        }
        name: str = self.post(f"/agents/{agent}/upgrade", body)["upgrade_id"]
        return name

    def deployment(self, name: str, *, agent: str = AGENT) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/agents/{agent}/upgrades/{name}")
        return found

    def outcome(self, name: str, *, agent: str = AGENT, seconds: float = 180) -> dict[str, Any]:
        """The deployment once it has ended."""

        def ended() -> dict[str, Any] | None:
            found = self.deployment(name, agent=agent)
            return found if found["status"] in ENDED else None

        done: dict[str, Any] = wait_for(f"{name} to end", ended, seconds=seconds)
        return done

    def stage(self, name: str, *stages: str, agent: str = AGENT) -> None:
        """Wait until the deployment is in one of these stages; one that has ended instead fails with what it says."""
        self.meanwhile(name, f"{name} in {stages}", lambda found: found["current_stage"] in stages, agent=agent)

    def meanwhile(self, name: str, what: str, condition: Callable[[dict[str, Any]], Any], *, agent: str = AGENT) -> None:
        """Wait for something that is to happen while a deployment goes on."""

        def seen() -> Any:
            found = self.deployment(name, agent=agent)
            happened = condition(found)
            assert happened or found["status"] not in ENDED, (what, found)
            return happened

        wait_for(what, seen)

    def share(self, *, agent: str = AGENT, requests: int = 40) -> set[str]:
        """Which versions answer now."""
        with httpx.Client() as client:
            answers = [client.get(f"{self.router_url}/{agent}/") for _ in range(requests)]
        return {a.json()["version"] for a in answers if a.status_code == 200}


def a_version(source: Path, version: str, **behaviour: Any) -> None:
    """One version of the echo agent as a sub-folder of a path source."""
    folder = source / version
    folder.mkdir(parents=True)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "behaviour.json").write_text(json.dumps(behaviour))


def an_agent(
    server: Server, *, agent: str = AGENT, instances: int = 2, version: str = "1.0.0", startup: float = 30, extra: str = ""
) -> Path:
    """Add the echo agent with its first version and wait until it serves; its source folder, to add versions to."""
    source = server.folder / f"source-{agent}"
    if not (source / version).exists():
        a_version(source, version)
    manifest = MANIFEST.format(agent=agent, source=source, python=sys.executable, instances=instances, startup=startup, extra=extra)
    added = server.post("/agents", {"manifest": manifest, "version": version}, expect=201)
    name = added["upgrade_id"]
    done = server.outcome(name, agent=agent)
    assert done["status"] == "completed", done
    return source


@contextlib.contextmanager
def a_server(folder: Path, **environ: str) -> Iterator[Server]:
    server = Server(folder, environ)
    try:
        yield server.start()
    finally:
        server.close()


def haproxies(server: Server) -> list[psutil.Process]:
    return [p for p in processes_of(str(server.data_dir)) if p.name() == "haproxy"]


def processes_of(data_dir: str, *, running: str = "") -> list[psutil.Process]:
    """Processes that belong to a data directory: by their command line, their folder or their environment. `running`: a part of the command."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            words = [*command, process.cwd(), process.environ().get("SERVICING_DATA_DIR", "")]
            mine = any(data_dir in word for word in words) and any(running in word for word in command)
            if mine and process.status() != psutil.STATUS_ZOMBIE and "pytest" not in " ".join(command):
                found.append(process)
        except psutil.Error:
            continue
    return found
