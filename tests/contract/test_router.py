"""What the engine may rely on in every router. A router joins by adding its opener to `ROUTERS`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import Backend, GenerationRoute, RateLimit, Routing
from agent_servicing.ports import Router, SeesAllRoutings
from agent_servicing.testing.memory import MemoryRouter
from tests.integration.haproxy_world import open_world

pytestmark = pytest.mark.anyio

GENEROUS_SECONDS = 30.0


class Opener(Protocol):
    def __call__(self, folder: Path) -> AbstractAsyncContextManager[Router]: ...


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Router]:
    yield MemoryRouter()


@asynccontextmanager
async def haproxy(folder: Path) -> AsyncIterator[Router]:
    async with open_world(folder) as world:
        yield world.router


ROUTERS: list[Opener] = [memory, haproxy]


@pytest.fixture(params=ROUTERS, ids=lambda opener: opener.__name__)
async def router(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Router]:
    async with request.param(tmp_path) as opened:
        yield opened


def route(number: int, version: str, *instances: str, state: str = "ready") -> GenerationRoute:
    backends = (Backend(instance=n, host="127.0.0.1", port=20_000 + i, state=state) for i, n in enumerate(instances))  # type: ignore[arg-type]
    return GenerationRoute(generation=number, version=version, backends=tuple(backends))


ONE = Routing(agent="WowMemory", generations=(route(1, "1.0.0", "g1-1-0", "g1-2-0"),), stable=1)
TWO = replace(ONE, generations=(*ONE.generations, route(2, "1.1.0", "g2-1-0")), candidate=2, share=25.0)

ROUTINGS = {
    "no generation": Routing(agent="WowMemory"),
    "a generation without instances": Routing(agent="WowMemory", generations=(route(1, "1.0.0"),), stable=1),
    "one generation": ONE,
    "instances of any order": replace(ONE, generations=(route(1, "1.0.0", "g1-10-0", "g1-2-0", "g1-1-3"),)),
    "two generations and a share": TWO,
    "a share of a hundredth of a percent": replace(TWO, share=33.33),
    "a share of everything": replace(TWO, share=100.0),
    "only a candidate": replace(TWO, stable=None),
    "a share without a candidate": replace(TWO, candidate=None, share=10.0),
    "draining instances": replace(TWO, generations=(route(1, "1.0.0", "g1-1-0", state="drain"), route(2, "1.1.0", "g2-1-0"))),
    "a redirect": replace(TWO, stable=2, candidate=None, redirects={1: 2}),
    "redirects that follow one another": replace(TWO, stable=2, candidate=None, redirects={1: 2, 3: 1}),
    "a redirect of a generation that is gone": replace(ONE, redirects={7: 1}),
    "a patched version": replace(ONE, generations=(route(1, "1.2.5+patch.1", "g1-1-0"),)),
    "three generations": replace(TWO, generations=(*TWO.generations, route(12, "2.0.0-rc.1", "g12-1-0"))),
    "a conversation key": replace(TWO, conversation_key=ConversationKey(kind="header", name="X-Conversation-Id")),
    "a key in a cookie": replace(TWO, conversation_key=ConversationKey(kind="cookie", name="session")),
    "a rate limit": replace(TWO, rate_limit=RateLimit(requests_per_second=50.0, burst=10)),
    "a rate that does not divide a second": replace(TWO, rate_limit=RateLimit(requests_per_second=0.3, burst=1)),
    "a high rate": replace(TWO, rate_limit=RateLimit(requests_per_second=9999.9, burst=100_000)),
    "a request timeout": replace(TWO, request_timeout_seconds=1.5),
    "a timeout of a millisecond and a limit": replace(
        ONE, request_timeout_seconds=0.001, rate_limit=RateLimit(requests_per_second=7.0, burst=7)
    ),
    "a key in the query": replace(TWO, conversation_key=ConversationKey(kind="query", name="conversation_id")),
}


@pytest.mark.parametrize("wanted", ROUTINGS.values(), ids=ROUTINGS.keys())
async def test_what_was_applied_is_observed(router: Router, wanted: Routing) -> None:
    await router.apply(wanted)
    assert (await router.observe(wanted.agent)).routing == wanted


async def test_any_routing_may_follow_any_other(router: Router) -> None:
    for wanted in [*ROUTINGS.values(), *reversed(ROUTINGS.values())]:
        await router.apply(wanted)
        assert (await router.observe(wanted.agent)).routing == wanted


async def test_one_look_at_everything_says_the_same_as_a_look_at_each(router: Router) -> None:
    assert isinstance(router, SeesAllRoutings)
    other = replace(ONE, agent="wowmemory2")
    await router.apply(other)
    for wanted in ROUTINGS.values():
        await router.apply(wanted)
        assert await router.observe_all() == {wanted.agent: wanted, other.agent: other}
    await router.remove(other.agent)
    assert await router.observe_all() == {wanted.agent: wanted}


async def test_one_look_at_everything_still_sees_that_an_instance_drains_when_nobody_answers_there_any_more(router: Router) -> None:
    assert isinstance(router, SeesAllRoutings)
    wanted = ROUTINGS["draining instances"]
    await router.apply(wanted)
    with anyio.fail_after(GENEROUS_SECONDS):
        # Nobody listens at these addresses, and HAProxy comes to know it.
        while not await is_down(router):
            await SystemClock().sleep(0.01)
    assert await router.observe_all() == {wanted.agent: wanted}


async def is_down(router: Router) -> bool:
    """Whether every server in use fails its checks; a router that does not check has nothing to wait for."""
    if not isinstance(router, HaproxyRouter):
        return True
    rows = (await router.link.ask("show stat -1 4 -1 no-maint"))[0].splitlines()[1:]
    return all(",DOWN," in row for row in rows)


async def test_applying_again_changes_nothing(router: Router) -> None:
    await router.apply(TWO)
    before = await router.observe(TWO.agent)
    await router.apply(TWO)
    assert await router.observe(TWO.agent) == before


async def test_an_unknown_agent_has_no_routing(router: Router) -> None:
    assert (await router.observe("Nobody")).routing is None


async def test_a_removed_agent_is_forgotten_and_may_be_removed_again(router: Router) -> None:
    await router.apply(TWO)
    await router.remove(TWO.agent)
    await router.remove(TWO.agent)
    assert (await router.observe(TWO.agent)).routing is None


async def test_agents_do_not_disturb_one_another(router: Router) -> None:
    other = replace(ONE, agent="wowmemory2")
    await router.apply(TWO)
    await router.apply(other)
    await router.remove(TWO.agent)
    assert (await router.observe(other.agent)).routing == other


async def test_an_instance_may_come_back_elsewhere(router: Router) -> None:
    moved = replace(
        ONE, generations=(GenerationRoute(generation=1, version="1.0.0", backends=(replace(ONE.generations[0].backends[0], port=20_900),)),)
    )
    await router.apply(ONE)
    await router.apply(moved)
    assert (await router.observe(ONE.agent)).routing == moved
