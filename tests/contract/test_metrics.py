"""What the engine may rely on in every counting of conversations: each that comes to a generation counts there once, and stays counted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from agent_servicing.core.routing import Backend, Routing
from agent_servicing.ports import Metrics, Router
from agent_servicing.testing.clock import VirtualClock
from agent_servicing.testing.memory import MemoryMetrics, MemoryRouter, MemoryRuntime
from tests.integration.haproxy_world import AGENT, World, generation, open_world, routing

pytestmark = pytest.mark.anyio

TALKS = [f"conversation-{number}" for number in range(60)]


class Plane(Protocol):
    """A data plane with two instances of different versions behind it, and users."""

    @property
    def router(self) -> Router: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def backends(self) -> tuple[Backend, Backend]: ...
    async def ask(self, conversations: Sequence[str | None]) -> None: ...


@dataclass(kw_only=True)
class MemoryPlane:
    router: MemoryRouter
    metrics: MemoryMetrics
    backends: tuple[Backend, Backend]

    async def ask(self, conversations: Sequence[str | None]) -> None:
        for conversation in conversations:
            if conversation is None:
                self.metrics.send(AGENT, 1)
            else:
                self.metrics.converse(AGENT, conversation)


@dataclass(kw_only=True)
class HaproxyPlane:
    world: World
    backends: tuple[Backend, Backend]

    @property
    def router(self) -> Router:
        return self.world.router

    @property
    def metrics(self) -> Metrics:
        return self.world.metrics

    async def ask(self, conversations: Sequence[str | None]) -> None:
        await self.world.crowd(conversations)


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Plane]:
    clock, router = VirtualClock(), MemoryRouter()
    backends = (Backend(instance="one", host="127.0.0.1", port=1), Backend(instance="two", host="127.0.0.1", port=2))
    yield MemoryPlane(router=router, metrics=MemoryMetrics(clock, router, MemoryRuntime(clock)), backends=backends)


@asynccontextmanager
async def haproxy(folder: Path) -> AsyncIterator[Plane]:
    async with open_world(folder) as world:
        one, two = await world.fleet("one", "two")
        yield HaproxyPlane(world=world, backends=(one.backend(), two.backend()))


@pytest.fixture(params=[memory, haproxy], ids=lambda opener: opener.__name__)
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Plane]:
    async with request.param(tmp_path) as opened:
        yield opened


async def came(plane: Plane) -> dict[int, int]:
    """Conversations that came, by generation."""
    counters = await plane.metrics.counters(AGENT)
    return {number: counters.generation(number).total.conversations for number in (1, 2)}


def split(plane: Plane, **fields: object) -> Routing:
    one, two = plane.backends
    given = {"candidate": 2, "share": 50.0, **fields}
    return routing(generation(1, "1.0.0", one), generation(2, "2.0.0", two), **given)  # type: ignore[arg-type]


async def test_a_conversation_counts_once_however_often_it_asks(plane: Plane) -> None:
    await plane.router.apply(split(plane))
    await plane.ask(TALKS)
    counted = await came(plane)
    assert sum(counted.values()) == len(TALKS)
    assert min(counted.values()) > 0
    await plane.ask(TALKS * 3)
    assert await came(plane) == counted
    total = (await plane.metrics.counters(AGENT)).generation(2).total
    assert (total.conversations, total.routed) == (counted[2], 4 * counted[2])


async def test_one_that_is_moved_counts_where_it_comes_and_stays_counted_where_it_was(plane: Plane) -> None:
    await plane.router.apply(split(plane, share=0.0))
    await plane.ask(TALKS)
    assert await came(plane) == {1: 60, 2: 0}
    await plane.router.apply(split(plane, share=100.0, redirects={1: 2}))
    await plane.ask(TALKS[:20] * 2)
    assert await came(plane) == {1: 60, 2: 20}, "those that asked since"
    await plane.router.apply(split(plane, share=0.0, candidate=None, redirects={2: 1}))
    await plane.ask(TALKS * 2)
    assert await came(plane) == {1: 80, 2: 20}, "what was taken back was touched all the same"


async def test_requests_outside_of_conversations_touch_none(plane: Plane) -> None:
    await plane.router.apply(split(plane))
    await plane.ask([None] * 20)
    assert await came(plane) == {1: 0, 2: 0}
    await plane.router.apply(replace(split(plane), conversation_key=None))
    await plane.ask(TALKS)
    assert await came(plane) == {1: 0, 2: 0}, "no key, no conversations"


async def test_a_difference_of_two_readings_is_what_came_between_them(plane: Plane) -> None:
    await plane.router.apply(split(plane, share=100.0))
    await plane.ask(TALKS[:25])
    before = await plane.metrics.counters(AGENT)
    await plane.ask(TALKS)
    assert (await plane.metrics.counters(AGENT)).since(before).generation(2).total.conversations == 35
