"""A server with its link on a real socket, over the world of the API tests; instances are whoever holds their tokens."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import uvicorn

from agent_servicing.adapters.config.channel import InstanceChannel
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.config.layers import ConfigDocument, text_of
from agent_servicing.core.config.report import ConfigReport
from agent_servicing.core.manifest import ConfigSpec, Manifest, Run, Source
from agent_servicing.ports import ConfigTarget
from agent_servicing.web.app import PREFIX, create_app
from agent_servicing.web.server import uvicorn_config
from tests.integration.api_world import AGENT, ApiWorld
from tests.integration.channel_world import FIRST, Safe

PATIENCE_SECONDS = 120
INSTANCE = "g1-1-1"
OTHER = "g1-2-2"
PATH = f"{PREFIX}/agents/{AGENT}/link"


def digest(document: ConfigDocument) -> str:
    return sha256(text_of(document.values).encode()).hexdigest()


def held(document: ConfigDocument) -> dict[str, str]:
    return {"revision": document.revision, "hash": digest(document)}


def said(applied: ConfigDocument | None = None, level: str = "sdk", **config: Any) -> dict[str, Any]:
    return {"level": level, "config": {"applied": held(applied) if applied else None, **config}, "state": "ready"}


@dataclass(kw_only=True)
class Linked:
    """A server with its channel, over the world of the API tests; instances are whoever holds their tokens."""

    world: ApiWorld
    channel: InstanceChannel
    address: str
    server: uvicorn.Server

    def target(self, document: ConfigDocument, instance: str = INSTANCE, reload: str = "sdk") -> ConfigTarget:
        manifest = Manifest(agent=AGENT, source=Source(kind="path", location="."), run=Run(), config=ConfigSpec(reload=reload))
        return ConfigTarget(agent=AGENT, manifest=manifest, process=self.world.runtime.processes[AGENT][instance], document=document)

    @asynccontextmanager
    async def client(self, instance: str = INSTANCE, token: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {token or self.world.runtime.token_of(AGENT, instance)}"}
        async with httpx.AsyncClient(base_url=self.address, headers=headers, timeout=PATIENCE_SECONDS) as client:
            yield client

    @asynccontextmanager
    async def subscribed(self, instance: str = INSTANCE) -> AsyncIterator["Events"]:
        async with self.client(instance) as client, client.stream("GET", PATH, headers={"Accept": "text/event-stream"}) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            events = Events(response)
            assert await events.line() == ": connected"
            yield events

    async def report(self, wanted: ConfigDocument, instance: str = INSTANCE) -> ConfigReport | None:
        return (await self.channel.reports([self.target(wanted, instance)])).get(instance)


class Events:
    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def line(self) -> str:
        """The next one that is not empty."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                line = await anext(self._lines)
                if line:
                    return line

    async def next(self) -> tuple[str, str]:
        """Phase and revision of the next configuration, whose text has the hash it is sent with."""
        event, data = await self.line(), await self.line()
        assert event == "event: config"
        values = json.loads(data.removeprefix("data: "))
        assert sha256(values["document"].encode()).hexdigest() == values["hash"]
        return values["phase"], values["revision"]

    async def rest(self) -> list[str]:
        """Every line until the server ends it."""
        with anyio.fail_after(PATIENCE_SECONDS):
            return [line async for line in self._lines if line]


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while not await condition():
            await SystemClock().sleep(0.005)


@asynccontextmanager
async def open_linked(api_world: ApiWorld) -> AsyncIterator[Linked]:
    """The agent serves with two instances; what they are to have is known."""
    world = api_world
    async with world.client(world.admin_token) as admin:
        await world.add(admin)
    async with InstanceChannel(runtime=world.runtime, clock=SystemClock(), secrets=Safe()) as channel:  # type: ignore[arg-type]
        context = world.app.state.context
        app = create_app(
            world.services, settings=context.settings, clock=world.clock, ids=context.ids, bus=world.bus, instance_link=channel.link
        )
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            with anyio.fail_after(PATIENCE_SECONDS):
                while not server.started:
                    await anyio.lowlevel.checkpoint()
            one = Linked(world=world, channel=channel, address=f"http://127.0.0.1:{listener.getsockname()[1]}", server=server)
            channel.link.want(AGENT, INSTANCE, FIRST)
            yield one
            channel.link.close()
            server.should_exit = True
