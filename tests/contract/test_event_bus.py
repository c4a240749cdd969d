"""What everybody may rely on in every event bus: hints reach all subscribers of a topic in all processes, and nobody waits for anybody."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import anyio
import pytest

from agent_servicing.adapters.events.local import LocalEventBus, open_local
from agent_servicing.adapters.events.nats import open_nats
from agent_servicing.adapters.events.postgres import open_postgres
from agent_servicing.adapters.events.relay import QUEUED_MAX, RelayBus
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.errors import PermanentError
from tests.nats_server import NatsServer, a_nats_server
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

GENEROUS_SECONDS = 60.0
Bus = LocalEventBus | RelayBus


@dataclass
class Harness:
    """`first` and `second` are two processes' buses on one broker; without a broker they are the same one."""

    first: Bus
    second: Bus


@pytest.fixture(scope="module")
def nats() -> "AsyncIterator[NatsServer]":  # type: ignore[misc]  (a plain generator)
    with a_nats_server() as server:
        yield server  # type: ignore[misc]


@pytest.fixture(params=["local", "postgres", "nats"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        if request.param == "local":
            bus = await stack.enter_async_context(open_local(""))
            yield Harness(bus, bus)
            return
        opened: Callable[[str], AbstractAsyncContextManager[RelayBus]] = {"postgres": open_postgres, "nats": open_nats}[request.param]
        url = request.getfixturevalue("postgres_url") if request.param == "postgres" else request.getfixturevalue("nats").url
        buses = [await stack.enter_async_context(opened(url)) for _ in range(2)]
        for bus in buses:
            await until(lambda bus=bus: bus.problem is None)
        yield Harness(*buses)
    gc.collect()  # a connection that was left open complains here, and not in somebody else's test


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(GENEROUS_SECONDS):
        while not true():
            await SystemClock().sleep(0.01)  # a real broker, in real time


async def hinted(hints: AsyncIterator[None]) -> None:
    with anyio.fail_after(GENEROUS_SECONDS):
        await anext(hints)


async def quiet(hints: AsyncIterator[None], bus: Bus) -> bool:
    """Nothing came by the time that something published later has arrived."""
    marker = bus.subscribe("marker")
    await bus.publish("marker")
    await hinted(marker)
    with anyio.move_on_after(0.05):
        await anext(hints)
        return False
    return True


async def test_a_hint_reaches_every_subscriber_of_its_topic_here_and_elsewhere(harness: Harness) -> None:
    here, also_here, there = harness.first.subscribe("agent"), harness.first.subscribe("agent"), harness.second.subscribe("agent")
    await harness.first.publish("agent")
    for hints in (here, also_here, there):
        await hinted(hints)


async def test_a_hint_does_not_reach_another_topic(harness: Harness) -> None:
    other = harness.second.subscribe("events")
    await quiet(other, harness.second)  # whatever came when it connected
    await harness.first.publish("agent")
    here = harness.second.subscribe("agent")
    await harness.second.publish("agent")
    await hinted(here)
    assert await quiet(other, harness.second)


async def test_what_is_published_before_a_subscriber_looks_is_one_hint(harness: Harness) -> None:
    hints = harness.second.subscribe("agent")
    for _ in range(20):
        await harness.second.publish("agent")
    await hinted(hints)


async def test_nobody_waits_for_a_subscriber_that_never_looks(harness: Harness) -> None:
    idle, hints = harness.second.subscribe("agent"), harness.second.subscribe("agent")
    with anyio.fail_after(GENEROUS_SECONDS):
        for _ in range(2 * QUEUED_MAX):
            await harness.first.publish("agent")
    await hinted(hints)
    del idle


async def test_after_nats_was_killed_and_started_again_hints_come_again_and_everybody_looks_once() -> None:
    with a_nats_server() as server:
        async with open_nats(server.url) as first, open_nats(server.url) as second:
            for bus in (first, second):
                await until(lambda bus=bus: bus.problem is None)
            await killed_and_back(first, second, server.kill, server.start)


async def test_after_postgresql_dropped_everybody_hints_come_again_and_everybody_looks_once(
    postgres: PostgresServer, postgres_url: str
) -> None:
    async with open_postgres(postgres_url) as first, open_postgres(postgres_url) as second:
        for bus in (first, second):
            await until(lambda bus=bus: bus.problem is None)
        hints = second.subscribe("agent")
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")
        await hinted(hints)  # what was missed meanwhile
        await until(lambda: first.problem is None and second.problem is None)
        await delivered(first, second)


async def killed_and_back(first: RelayBus, second: RelayBus, kill: Callable[[], None], start: Callable[[], None]) -> None:
    kill()
    await until(lambda: first.problem is not None and second.problem is not None)
    mine = first.subscribe("agent")
    with anyio.fail_after(GENEROUS_SECONDS):
        await first.publish("agent")  # nobody waits for the broker, and this process is told
    await hinted(mine)
    missed = second.subscribe("agent")
    start()
    await hinted(missed)
    await until(lambda: first.problem is None and second.problem is None)
    await delivered(first, second)


async def delivered(first: RelayBus, second: RelayBus) -> None:
    """From one to the other; anew while the other one is still connecting."""
    hints = second.subscribe("fresh")
    with anyio.fail_after(GENEROUS_SECONDS):
        while True:
            await first.publish("fresh")
            with anyio.move_on_after(0.5):
                await anext(hints)
                return


async def test_a_broker_that_is_not_there_yet_holds_nobody_up() -> None:
    with a_nats_server() as server:
        server.kill()
        async with open_nats(server.url) as bus:
            hints = bus.subscribe("agent")
            await bus.publish("agent")
            await hinted(hints)
            assert bus.problem is not None
            server.start()
            await until(lambda: bus.problem is None)


async def test_the_postgres_bus_needs_a_postgresql_database() -> None:
    with pytest.raises(PermanentError, match="needs a postgresql:// database"):
        async with open_postgres("sqlite:///x.db"):
            pass


async def test_the_postgres_bus_takes_the_address_with_the_drivers_name_too(postgres_url: str) -> None:
    named = postgres_url.replace("postgresql://", "postgresql+psycopg://", 1)
    assert named != postgres_url
    async with open_postgres(named) as bus:
        await until(lambda: bus.problem is None)


async def test_an_address_that_is_none_leaves_hints_in_this_process_and_ends_nothing() -> None:
    async with open_nats("nats://127.0.0.1:notaport") as bus:
        hints = bus.subscribe("agent")
        await bus.publish("agent")
        await hinted(hints)
        await until(lambda: bus.problem not in (None, "not connected yet"))
