"""The split between generations and the conversations pinned to them, through the real data plane."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.haproxy_world import AGENT, World, generation, open_world, routing

pytestmark = pytest.mark.anyio
CONVERSATIONS = [f"conversation-{number}" for number in range(200)]


async def two_versions(world: World) -> tuple[object, object]:
    one, two = await world.fleet("one", "two")
    return generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend())


@pytest.mark.parametrize("share", [0.0, 25.0, 90.0, 100.0])
async def test_the_measured_share_is_the_one_asked_for(tmp_path: Path, share: float) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        await world.router.apply(routing(one, two, candidate=2, share=share))
        requests = 10_000 if share == 25.0 else 1_000
        measured = 100 * (await world.shares(requests))["2.0.0"] / requests
        assert measured == pytest.approx(share, abs=2 if requests == 10_000 else 5)
        assert share not in (0.0, 100.0) or measured == share


async def test_raising_the_share_moves_no_conversation_back_and_pinned_ones_not_at_all(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        await world.router.apply(routing(one, two, candidate=2, share=25.0))
        first = await world.crowd(CONVERSATIONS)
        assert 25 < Counter(first)["2.0.0"] < 75
        for share in (50.0, 100.0, 0.0):
            await world.router.apply(routing(one, two, candidate=2, share=share))
            assert await world.crowd(CONVERSATIONS) == first


async def test_without_pins_a_higher_share_only_adds_conversations(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        on_candidate: set[str] = set()
        for share in (10.0, 30.0, 60.0):
            await world.router.apply(routing(one, two, candidate=2, share=share))
            versions = await world.crowd(CONVERSATIONS)
            now = {c for c, version in zip(CONVERSATIONS, versions, strict=True) if version == "2.0.0"}
            assert now >= on_candidate
            on_candidate = now
            await world.router.link.ask("clear table pins")


async def test_a_redirect_moves_conversations_at_their_next_request_and_for_good(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        split = routing(one, two, candidate=2, share=50.0)
        await world.router.apply(split)
        assert set(await world.crowd(CONVERSATIONS)) == {"1.0.0", "2.0.0"}
        await world.router.apply(replace(split, candidate=None, share=0.0, redirects={2: 1}))
        assert set(await world.crowd(CONVERSATIONS)) == {"1.0.0"}
        await world.router.apply(replace(split, share=100.0, redirects={}))
        assert set(await world.crowd(CONVERSATIONS)) == {"1.0.0"}


async def test_redirects_are_followed_to_their_end(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        three = generation(3, "3.0.0", (await world.agent("three")).backend())
        await world.router.apply(routing(one, two, three, stable=3))
        await world.router.apply(routing(one, two, three, stable=1))
        await world.crowd(CONVERSATIONS)
        await world.router.apply(routing(one, two, three, stable=1, redirects={1: 2, 2: 3}))
        assert set(await world.crowd(CONVERSATIONS)) == {"3.0.0"}
        assert set(await world.crowd([None] * 20)) == {"1.0.0"}


async def test_a_pin_to_a_generation_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        await world.router.apply(routing(one))
        await world.crowd(CONVERSATIONS)
        await world.router.apply(routing(two, stable=2))
        assert set(await world.crowd(CONVERSATIONS)) == {"2.0.0"}
        await world.router.apply(routing(two, one, stable=1))
        assert set(await world.crowd(CONVERSATIONS)) == {"2.0.0"}


async def test_two_agents_do_not_share_conversations(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        await world.router.apply(routing(one, two, stable=1))
        await world.router.apply(routing(one, two, stable=2, agent="Other"))
        assert await world.served_by("same") == "1.0.0/one"
        assert await world.served_by("same", "Other") == "2.0.0/two"
        assert await world.served_by("same") == "1.0.0/one"


async def test_a_generation_without_a_usable_instance_is_replaced_by_the_other(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await two_versions(world)
        await world.router.apply(routing(one, generation(2, "2.0.0"), candidate=2, share=100.0))
        assert await world.shares(20) == {"1.0.0": 20}
        await world.router.apply(routing(generation(1, "1.0.0"), two, candidate=2, share=0.0))
        assert await world.shares(20) == {"2.0.0": 20}
        await world.router.apply(routing(generation(1, "1.0.0"), two, stable=None, candidate=2, share=0.0))
        assert await world.shares(20) == {"2.0.0": 20}


async def test_a_draining_instance_answers_only_when_nothing_else_can(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        last = generation(1, "1.0.0", one.backend("drain"))
        await world.router.apply(routing(last, generation(2, "2.0.0", two.backend()), candidate=2, share=0.0))
        assert await world.shares(20) == {"2.0.0": 20}
        await world.router.apply(routing(last, generation(2, "2.0.0"), candidate=2, share=0.0))
        assert await world.shares(20) == {"1.0.0": 20}
        assert (await world.counters()).unserved == 0


async def test_every_instance_of_a_generation_gets_requests(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        fleet = await world.fleet("a", "b", "c")
        await world.router.apply(routing(generation(1, "1.0.0", *(agent.backend() for agent in fleet))))
        assert {(await world.get("/who")).json()["instance"] for _ in range(30)} == {"a", "b", "c"}
        assert (await world.get("/who")).headers["x-served-by"].startswith(f"{AGENT}@1.0.0/")
