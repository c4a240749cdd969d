"""What the data plane counts is exactly what was sent."""

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from agent_servicing.core import latency
from tests.integration.haproxy_world import AGENT, generation, open_world, routing, until

pytestmark = pytest.mark.anyio


async def test_requests_are_counted_by_generation_and_kind(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        wanted = routing(generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend()), candidate=2, share=50.0)
        await world.router.apply(wanted)
        seen = await world.shares(200)
        await world.router.apply(replace(wanted, share=100.0))
        await world.crowd(["talk"] * 7)
        counters = await world.counters()
        first, second = counters.generation(1), counters.generation(2)
        assert (first.new.routed, first.new.answered) == (seen["1.0.0"], seen["1.0.0"])
        assert (second.new.routed, second.new.answered) == (seen["2.0.0"] + 1, seen["2.0.0"] + 1)
        assert (second.pinned.routed, second.pinned.answered, second.pinned.errors) == (6, 6, 0)
        assert sum(second.pinned.histogram) == 6
        assert (counters.instances["one"].requests, counters.instances["two"].requests) == (seen["1.0.0"], seen["2.0.0"] + 7)


async def test_errors_are_server_errors_and_only_successes_have_a_latency(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        for status in (200, 201, 204, 302, 400, 404, 429, 500, 503):
            assert (await world.get(f"/status/{status}")).status_code == status
        counts = (await world.counters()).generation(1).new
        assert (counts.routed, counts.answered, counts.errors, sum(counts.histogram)) == (9, 9, 2, 4)
        assert (await world.counters()).instances["one"].errors == 2


async def test_an_answer_that_breaks_off_is_an_error_of_the_generation_that_had_it(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        answer = await world.http.post(f"{world.router.url}/{AGENT}/drop", content=b"once")
        assert (answer.status_code, answer.headers["x-served-by"]) == (502, f"{AGENT}@-/router")
        counters = await world.counters()
        assert (counters.generation(1).new.routed, counters.generation(1).new.errors, counters.unserved) == (1, 1, 0)
        assert counters.instances["one"].errors > 0


async def test_a_client_that_goes_away_is_no_error_of_the_agent(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        with pytest.raises(httpx.ReadTimeout):
            await world.get("/hang", timeout=0.2)

        async def gone() -> bool:
            return (await world.router.observe(AGENT)).in_flight == {"one": 0}

        await until(gone)
        counts = (await world.counters()).generation(1).new
        assert (counts.routed, counts.errors) == (1, 0)
        assert (await world.counters()).instances["one"].errors == 0


@pytest.mark.parametrize("slow_ms", [20, 150, 400])
async def test_the_latency_is_the_time_until_the_answer_begins(tmp_path: Path, slow_ms: int) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        for _ in range(5):
            await world.get(f"/slow/{slow_ms}")
        histogram = (await world.counters()).generation(1).new.histogram
        assert latency.above(histogram, slow_ms * 0.9) == 5
        assert sum(histogram) == 5


async def test_an_instance_is_counted_from_its_own_beginning(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        for path in ("/who", "/status/500"):
            await world.get(path)
        await world.router.apply(routing(generation(1, "1.0.0", two.backend())))
        await world.get("/who")
        counters = await world.counters()
        assert {name: (c.requests, c.errors) for name, c in counters.instances.items()} == {"two": (1, 0)}
        assert counters.generation(1).total.answered == 3


async def test_counts_outlive_their_generation_for_a_while_and_are_never_given_to_another(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        for number in range(1, 9):
            await world.router.apply(routing(generation(number, f"1.0.{number}", one.backend())))
            for _ in range(number):
                await world.get("/who")
        counters = await world.counters()
        assert {n: c.total.routed for n, c in counters.generations.items()} == {n: n for n in range(3, 9)}


async def test_a_new_agent_in_an_old_ones_slot_starts_at_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        await world.get("/who")
        await world.router.remove(AGENT)
        assert (await world.get("/who")).status_code == 404
        await world.router.apply(routing(generation(1, "1.0.0"), agent="Other"))
        counters = await world.counters("Other")
        assert counters.generation(1).total.routed == 0
        assert counters.unserved == 0


async def test_an_unknown_agent_has_no_counts(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        counters = await world.counters("Nobody")
        assert (counters.generations, counters.instances) == ({}, {})


async def test_one_reading_serves_agents_that_ask_together(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        metrics, moments = world.metrics, []

        async def ask() -> None:
            moments.append((await metrics.counters(AGENT)).at)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert len(set(moments)) == 1


async def test_work_in_flight_is_counted_by_instance(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend())))
        async with world.http.stream("GET", f"{world.router.url}/{AGENT}/sse/2") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: one 0"
            assert (await world.router.observe(AGENT)).in_flight == {"one": 1, "two": 0}
            assert (await world.counters()).instances["one"].in_flight == 1
