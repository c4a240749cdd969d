"""Streams through everything the product does: an SSE stream and a WebSocket go on through a shift, a promotion, a hot patch, a reload of the
data plane and a rollback; when the time of their instance is over, an agent with the SDK says goodbye instead of being cut.
"""

import json
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.e2e.harness import Server, a_server, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

GOING_AWAY = 1012

PROGRAM = textwrap.dedent('''
    """Counts for ever, over SSE and over a WebSocket; every message names who counts."""
    import asyncio, json, os
    from fastapi import FastAPI, WebSocket
    from fastapi.responses import StreamingResponse
    from servicing_sdk import Servicing

    servicing = Servicing()
    app = FastAPI(lifespan=servicing.lifespan)
    servicing.mount(app)

    async def counting():
        number = 0
        while True:
            yield json.dumps({"n": number, "pid": os.getpid(), "timeout": servicing.config.get("timeout_seconds")})
            number += 1
            await asyncio.sleep(0.05)

    async def chunks():
        async for text in counting():
            yield f"data: {text}\\n\\n".encode()

    @app.get("/stream")
    async def stream():
        return StreamingResponse(servicing.sse(chunks()), media_type="text/event-stream")

    @app.websocket("/socket")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        async for text in counting():
            await websocket.send_text(text)

    @app.get("/{rest:path}")
    async def answer(rest: str):
        return {"pid": os.getpid()}
''')

SCHEMA = {"type": "object", "properties": {"timeout_seconds": {"type": "number", "default": 30}}}


@dataclass
class Listener:
    """What one stream brought. `ended` is why it came to an end, None while it goes on."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    ended: str | None = None

    @property
    def pid(self) -> int:
        return int(self.messages[-1]["pid"])

    def goes_on(self) -> None:
        """It brings something that it had not brought before, by the same process, without a gap."""
        before = len(self.messages)
        wait_for("the stream to go on", lambda: len(self.messages) > before + 3 or self.ended)
        assert self.ended is None, self.ended
        assert [m["n"] for m in self.messages] == list(range(len(self.messages)))
        assert len({m["pid"] for m in self.messages}) == 1


@contextmanager
def over_sse(server: Server, agent: str) -> Iterator[Listener]:
    listener = Listener()

    def listen() -> None:
        try:
            with httpx.stream("GET", f"{server.router_url}/{agent}/stream", timeout=httpx.Timeout(30)) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        listener.events.append(line.removeprefix("event: "))
                    elif line.startswith("data: ") and not listener.events:
                        listener.messages.append(json.loads(line.removeprefix("data: ")))
            listener.ended = "whole"
        except httpx.HTTPError as error:
            listener.ended = f"cut: {error!r}"

    with listening(listener, listen):
        yield listener


@contextmanager
def over_websocket(server: Server, agent: str) -> Iterator[Listener]:
    listener = Listener()

    def listen() -> None:
        with connect(f"{server.router_url.replace('http', 'ws', 1)}/{agent}/socket", open_timeout=30) as socket:
            try:
                while True:
                    listener.messages.append(json.loads(socket.recv(timeout=30)))
            except ConnectionClosed as closed:
                listener.ended = str(closed.rcvd.code if closed.rcvd else "cut")

    with listening(listener, listen):
        yield listener


@contextmanager
def listening(listener: Listener, listen: Any) -> Iterator[None]:
    threading.Thread(target=listen, daemon=True).start()
    wait_for("the first message", lambda: listener.messages)
    yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("streams")) as running:
        yield running


def an_agent(server: Server, agent: str, *, stream_timeout_seconds: float, conversation_key: str = "header:X-Conversation-Id") -> None:
    for version in ("1.0.0", "1.1.0"):
        folder = server.folder / agent / version
        folder.mkdir(parents=True)
        (folder / "program.py").write_text(PROGRAM)
        (folder / "config.schema.json").write_text(json.dumps(SCHEMA))
    command = [sys.executable, "-m", "uvicorn", "program:app", "--host", "{host}", "--port", "{port}", "--no-access-log"]
    manifest = f"""
[agent]
id = "{agent}"
[source]
path = "{server.folder / agent}"
[run]
command = {json.dumps(command)}
instances = 1
[health]
path = "/healthz"
interval_seconds = 0.2
[routing]
conversation_key = "{conversation_key}"
[drain]
timeout_seconds = 1
conversation_timeout_seconds = 0
stream_timeout_seconds = {stream_timeout_seconds}
[config]
schema = "config.schema.json"
reload = "sdk"
"""
    first = server.post("/agents", {"manifest": manifest, "version": "1.0.0"}, expect=201)
    assert server.outcome(first["upgrade_id"], agent=agent)["status"] == "completed"


def haproxy_workers(server: Server) -> set[int]:
    master = int((server.data_dir / "router" / "haproxy.pid").read_text().split()[0])
    return {worker.pid for worker in psutil.Process(master).children()}


def work_of(server: Server, agent: str, version: str) -> dict[str, Any]:
    return next(dict(g) for g in server.get(f"/agents/{agent}/generations")["generations"] if g["version"] == version)


def own_state(pid: int) -> str:
    """What the process says of itself where only its server may ask."""
    port = next(connection.laddr.port for connection in psutil.Process(pid).net_connections("tcp") if connection.status == "LISTEN")
    return str(httpx.get(f"http://127.0.0.1:{port}/.well-known/servicing/ready").json()["state"])


def upgraded(server: Server, agent: str, **more: Any) -> dict[str, Any]:
    body = {"target_version": "1.1.0", "reason": "a test", "blue_green": {"steps": [50, 100], "monitor_seconds": 1}, **more}
    with Load(server.router_url, agent, method="GET"):  # without requests nobody could judge it
        return dict(server.outcome(server.post(f"/agents/{agent}/upgrade", body)["upgrade_id"], agent=agent))


def test_streams_outlive_whatever_is_done_around_them_the_end_of_the_server_included(server: Server) -> None:
    an_agent(server, "Lasting", stream_timeout_seconds=600)
    with over_sse(server, "Lasting") as sse, over_websocket(server, "Lasting") as socket:
        first = sse.pid
        httpx.get(f"{server.router_url}/Lasting/who", headers={"X-Conversation-Id": "mine"}).raise_for_status()
        with server.api() as api:
            answer = api.patch("/agents/Lasting/config", json={"config_updates": {"timeout_seconds": 60}, "reason": "a test"})
        assert answer.status_code == 200, answer.text
        for listener in (sse, socket):
            listener.goes_on()
            wait_for("the new value in the stream", lambda listener=listener: listener.messages[-1]["timeout"] == 60)
        workers = haproxy_workers(server)
        an_agent(server, "Reloads", stream_timeout_seconds=10, conversation_key="cookie:talk")
        wait_for("a reload of HAProxy", lambda: len(haproxy_workers(server)) == 2)
        assert workers < haproxy_workers(server), "the worker from before the reload still has its streams"
        sse.goes_on()
        socket.goes_on()
        assert upgraded(server, "Lasting")["status"] == "completed"
        assert httpx.get(f"{server.router_url}/Lasting/who").json()["pid"] != first, "new requests go to the new version"
        wait_for("the old one to hear that it was replaced", lambda: own_state(first) == "draining")
        wait_for("its word", lambda: work_of(server, "Lasting", "1.0.0")["active_streams"] == 2)
        old = work_of(server, "Lasting", "1.0.0")
        assert (old["phase"], old["in_flight"]) == ("draining", 2), "kept for a rollback, but not idle"
        assert 0 < old["stream_seconds_left"] <= 600
        assert old["conversations"] == 1, "which moves at its next request"
        server.kill()
        sse.goes_on()
        server.start()
        sse.goes_on()
        socket.goes_on()
        sse.goes_on()
        socket.goes_on()
        server.post("/agents/Lasting/rollback", {"reason": "a test"})
        wait_for("the old version", lambda: server.get("/agents/Lasting")["current_version"] == "1.0.0")
        assert httpx.get(f"{server.router_url}/Lasting/who").json()["pid"] == first, "a warm rollback: the same process serves again"
        wait_for("it to hear that it serves again", lambda: own_state(first) == "ready")
        sse.goes_on()
        socket.goes_on()
        assert sse.pid == socket.pid == first
        one = work_of(server, "Lasting", "1.0.0")
        assert (one["phase"], one["active_streams"]) == ("active", 2)
        assert one["in_flight"] >= 2, "those in the worker from before the reload count as well"


def test_streams_of_an_instance_that_leaves_have_a_time_of_their_own_and_then_a_goodbye(server: Server) -> None:
    an_agent(server, "Leaving", stream_timeout_seconds=10)
    with over_sse(server, "Leaving") as sse, over_websocket(server, "Leaving") as socket:
        old = sse.pid
        assert upgraded(server, "Leaving", keep_warm_seconds=0)["status"] == "completed"
        wait_for("both ends", lambda: sse.ended and socket.ended)
    assert (sse.ended, sse.events) == ("whole", ["servicing-reconnect"])
    assert socket.ended == str(GOING_AWAY)
    assert [m["n"] for m in sse.messages] == list(range(len(sse.messages)))
    assert {m["pid"] for m in [*sse.messages, *socket.messages]} == {old}
    wait_for("the end of its instance", lambda: {i["version"] for i in server.get("/agents/Leaving/instances")["instances"]} == {"1.1.0"})
