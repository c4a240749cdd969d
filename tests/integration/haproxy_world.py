"""A real HAProxy in a folder of the test, real small agents behind it, and the few ways in which tests send requests."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
import psutil

from agent_servicing.adapters.metrics.haproxy import HaproxyMetrics
from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.metrics import Counters
from agent_servicing.core.routing import Backend, GenerationRoute, Routing
from agent_servicing.settings import Settings

AGENT = "WowMemory"
KEY = ConversationKey(kind="header", name="X-Conversation-Id")
PATIENCE_SECONDS = 120


@dataclass
class Agent:
    """One running small agent."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def backend(self, state: str = "ready") -> Backend:
        return Backend(instance=self.name, host="127.0.0.1", port=self.port, state=state)  # type: ignore[arg-type]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class World:
    """One data directory with its router open."""

    settings: Settings
    clock: SystemClock
    router: HaproxyRouter
    http: httpx.AsyncClient
    stack: AsyncExitStack
    agents: list[Agent] = field(default_factory=list)

    @property
    def metrics(self) -> HaproxyMetrics:
        """A new one each time, so that nothing is served from its memory."""
        return HaproxyMetrics(self.router)

    async def counters(self, agent: str = AGENT) -> Counters:
        return await self.metrics.counters(agent)

    async def agent(self, name: str) -> Agent:
        return (await self.fleet(name))[0]

    async def fleet(self, *names: str) -> list[Agent]:
        """Started together, answering when this returns."""
        script = str(Path(__file__).with_name("haproxy_agent.py"))
        processes = [_begin(script, name) for name in names]
        started = []
        for name, process in zip(names, processes, strict=True):
            self.stack.callback(_end, process)
            assert process.stdout is not None
            started.append(Agent(name=name, port=int(await anyio.to_thread.run_sync(process.stdout.readline)), process=process))
        self.agents += started
        return started

    async def get(self, path: str, agent: str = AGENT, **options: object) -> httpx.Response:
        return await self.http.get(f"{self.router.url}/{agent}{path}", **options)  # type: ignore[arg-type]

    async def raw(self, path: str, *, host: str = "127.0.0.1") -> str:
        """The answer's text to a request for exactly this path, which no client tidies up."""
        stream = await anyio.connect_tcp("127.0.0.1", self.router.port)
        async with stream:
            await stream.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            received = b""
            async for piece in stream:
                received += piece
            return received.decode("latin-1")

    async def served_by(self, conversation: str | None = None, agent: str = AGENT) -> str:
        """Who answers a request of this conversation, as version/instance."""
        headers = {KEY.name: conversation} if conversation else {}
        answer = await self.get("/who", agent, headers=headers)
        return answer.headers["x-served-by"].partition("@")[2]

    async def crowd(self, conversations: Sequence[str | None], agent: str = AGENT) -> list[str]:
        """Versions that answer one request of each, sent over one connection without waiting in between."""
        stream = await anyio.connect_tcp("127.0.0.1", self.router.port)
        async with stream:
            versions: list[str] = []
            for start in range(0, len(conversations), 100):
                batch = conversations[start : start + 100]
                await stream.send(b"".join(_request(agent, conversation) for conversation in batch))
                versions += await _versions(stream, len(batch))
            return versions

    async def shares(self, count: int) -> Counter[str]:
        return Counter(await self.crowd([None] * count))


def generation(number: int, version: str, *backends: Backend) -> GenerationRoute:
    return GenerationRoute(generation=number, version=version, backends=backends)


def routing(*generations: GenerationRoute, agent: str = AGENT, key: ConversationKey | None = KEY, **fields: object) -> Routing:
    """Of these generations; the first is stable unless told otherwise."""
    given = {"stable": generations[0].generation if generations else None, **fields}
    return Routing(agent=agent, conversation_key=key, generations=generations, **given)  # type: ignore[arg-type]


def settings_in(folder: Path, **fields: object) -> Settings:
    given = {"router_port": 0, "agent_slots": 2, "instance_slots": 3, **fields}
    return Settings(data_dir=folder / "data", **given)  # type: ignore[arg-type]


@asynccontextmanager
async def open_world(folder: Path, **fields: object) -> AsyncIterator[World]:
    """Everything that was started in it is ended, HAProxy included."""
    settings, clock = settings_in(folder, **fields), SystemClock()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(HaproxyRouter.stop, settings, clock)
        router = await stack.enter_async_context(HaproxyRouter.open(settings, clock))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=PATIENCE_SECONDS))
        yield World(settings=settings, clock=clock, router=router, http=http, stack=stack)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until it is true; a test that hangs here shows which condition."""
    clock = SystemClock()
    with anyio.fail_after(PATIENCE_SECONDS):
        while not await condition():
            await clock.sleep(0.02)


def worker_of(master: int) -> int:
    return psutil.Process(master).children()[0].pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _request(agent: str, conversation: str | None) -> bytes:
    extra = f"{KEY.name}: {conversation}\r\n" if conversation else ""
    return f"GET /{agent}/who HTTP/1.1\r\nHost: here\r\n{extra}\r\n".encode()


async def _versions(stream: anyio.abc.SocketStream, count: int) -> list[str]:
    text = b""
    with anyio.fail_after(PATIENCE_SECONDS):
        while text.lower().count(b"x-served-by: ") < count or not text.endswith(b"}"):
            text += await stream.receive()
    lines = [line for line in text.decode().split("\r\n") if line.lower().startswith("x-served-by: ")]
    return [line.partition("@")[2].partition("/")[0] for line in lines]


def _begin(script: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, script, name], stdout=subprocess.PIPE)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()
