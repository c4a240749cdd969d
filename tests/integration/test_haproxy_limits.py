"""Rate limits and request timeouts as clients of the real data plane meet them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.haproxy_reading import read_map
from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.routing import RateLimit
from tests.integration.haproxy_world import AGENT, World, generation, kill, open_world, routing, until, worker_of

pytestmark = pytest.mark.anyio

TWO_AT_ONCE = RateLimit(requests_per_second=0.01, burst=2)
"""The third one would have to wait for a hundred seconds, so that no slow machine changes what a test sees."""


async def statuses(world: World, count: int) -> list[int]:
    return [(await world.get("/x")).status_code for _ in range(count)]


async def test_requests_beyond_the_limit_get_429_with_the_time_to_wait(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), rate_limit=TWO_AT_ONCE))
        assert await statuses(world, 2) == [200, 200]
        refused = await world.get("/x")
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert refused.headers["x-served-by"] == f"{AGENT}@-/router"
        assert (refused.json()["status"], refused.json()["title"]) == (429, "Too many requests")
        page = await world.get("/x", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert (await world.get("/count")).status_code == 429, "nothing of it reaches the agent"


async def test_the_limit_fills_again_with_time(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        limit = RateLimit(requests_per_second=2.0, burst=1)
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), rate_limit=limit))
        began = world.clock.monotonic()
        passed = 0
        while passed < 4:
            passed += (await world.get("/x")).status_code == 200
        assert world.clock.monotonic() - began >= 1.45, "four requests of two a second take three times half a second"


async def test_a_limit_is_set_changed_and_taken_away_while_requests_come_and_haproxy_is_not_reloaded(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        free = routing(generation(1, "1.0.0", one.backend()))
        await world.router.apply(free)
        worker = worker_of(world.router.pid or 0)
        assert Counter(await statuses(world, 10)) == {200: 10}
        await world.router.apply(replace(free, rate_limit=TWO_AT_ONCE))
        assert Counter(await statuses(world, 10)) == {200: 2, 429: 8}
        await world.router.apply(replace(free, rate_limit=RateLimit(requests_per_second=1000.0, burst=10)))
        assert await statuses(world, 1) == [200], "who was ahead by the old limit is not by the new one"
        await world.router.apply(free)
        assert Counter(await statuses(world, 10)) == {200: 10}
        assert worker_of(world.router.pid or 0) == worker


async def test_one_agents_limit_is_not_anothers(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, other = await world.fleet("one", "other")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), rate_limit=TWO_AT_ONCE))
        await world.router.apply(routing(generation(1, "1.0.0", other.backend()), agent="WowCache", rate_limit=TWO_AT_ONCE))
        assert await statuses(world, 3) == [200, 200, 429]
        assert [(await world.get("/x", "WowCache")).status_code for _ in range(3)] == [200, 200, 429]


async def test_the_limit_is_shared_by_all_generations_and_what_is_refused_is_counted_for_none(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        both = (generation(1, "1.0.0", one.backend()), generation(2, "1.1.0", two.backend()))
        limit = RateLimit(requests_per_second=0.1, burst=20)
        await world.router.apply(routing(*both, candidate=2, share=50.0, rate_limit=limit))
        assert Counter(await statuses(world, 50)) == {200: 20, 429: 30}
        counters = await world.counters()
        totals = [counters.generation(number).total for number in (1, 2)]
        assert sum(t.routed for t in totals) == sum(t.answered for t in totals) == 20
        assert [t.errors for t in totals] == [0, 0]
        assert (counters.limited, counters.unserved) == (30, 0)


REQUEST = f"GET /{AGENT}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def flood(world: World, requests: int) -> Counter[bytes]:
    """The statuses of so many requests over one connection, sent without waiting for answers, a hundred at a time."""
    seen: Counter[bytes] = Counter()
    stream = await anyio.connect_tcp("127.0.0.1", world.router.port)
    async with stream:
        while seen.total() < requests:
            await stream.send(REQUEST * 100)
            text, answers = b"", 0
            while answers < 100 or not text.endswith(b"}"):
                text += await stream.receive()
                answers = text.count(b"HTTP/1.1 ")
            seen.update(line[:3] for line in text.split(b"HTTP/1.1 ")[1:])
    return seen


async def test_the_rate_is_kept_while_several_clients_send_as_fast_as_they_can(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        limit = RateLimit(requests_per_second=200.0, burst=50)
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), rate_limit=limit))
        found: list[Counter[bytes]] = []

        async def client() -> None:
            found.append(await flood(world, 3000))

        began = world.clock.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(client)
        most = 50 + 200 * (world.clock.monotonic() - began)
        passed = sum(seen[b"200"] for seen in found)
        assert sum(seen.total() for seen in found) == 24_000
        assert 50 <= passed <= 1.05 * most + 8, "threads that look in the same microsecond may share a place, now and then"


async def test_an_answer_that_does_not_begin_in_time_is_504_and_counted_as_an_error(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), request_timeout_seconds=0.2))
        began = world.clock.monotonic()
        for method in ("GET", "POST"):
            late = await world.http.request(method, f"{world.router.url}/{AGENT}/hang")
            assert (late.status_code, late.headers["content-type"]) == (504, "application/problem+json")
            assert late.json()["status"] == 504
            assert late.headers["x-served-by"] == f"{AGENT}@-/router"
        assert 0.4 <= world.clock.monotonic() - began < 15
        assert (await world.get("/slow/20")).status_code == 200
        assert (await world.get("/x")).status_code == 200
        counts = (await world.counters()).generation(1).total
        assert (counts.routed, counts.answered, counts.errors) == (4, 4, 2)


async def test_an_instance_that_breaks_off_is_told_at_once_and_not_when_the_time_is_over(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), request_timeout_seconds=3600.0))
        assert (await world.http.post(f"{world.router.url}/{AGENT}/drop")).status_code == 502
        assert "ALERT" not in (world.settings.data_dir / "router" / "haproxy.log").read_text()


async def test_a_stream_lives_longer_than_the_timeout(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), request_timeout_seconds=0.2))
        async with world.http.stream("GET", f"{world.router.url}/{AGENT}/sse/2") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: one 0"
            assert (await world.get("/hang")).status_code == 504, "which took as long as the timeout"
            await world.get("/next")
            rest = [line async for line in lines if line]
        assert rest == ["data: one 1"]


async def test_a_websocket_lives_longer_than_the_timeout(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend()), request_timeout_seconds=0.2))
        stream = await anyio.connect_tcp("127.0.0.1", world.router.port)
        async with stream:
            await stream.send(f"GET /{AGENT}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n".encode())
            assert b" 101 " in await stream.receive()
            assert (await world.get("/hang")).status_code == 504, "which took as long as the timeout"
            await stream.send(b"still here")
            assert await stream.receive() == b"still here"


async def test_limits_are_kept_when_haproxy_is_killed_and_when_the_server_is_started_anew(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        wanted = routing(generation(1, "1.0.0", one.backend()), rate_limit=TWO_AT_ONCE, request_timeout_seconds=0.2)
        await world.router.apply(wanted)
        async with HaproxyRouter.open(world.settings, SystemClock()) as again:
            assert (await again.observe(AGENT)).routing == wanted
        master = world.router.pid or 0
        worker = worker_of(master)
        kill(master)
        kill(worker)

        async def back() -> bool:
            return world.router.pid not in (None, master)

        await until(back)
        assert (await world.router.observe(AGENT)).routing == wanted
        assert (await world.get("/hang")).status_code == 504
        assert await statuses(world, 2) == [200, 429], "the bucket began full, and one request was the one before"


async def test_a_limit_that_somebody_changed_behind_our_back_is_seen_and_set_right(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        wanted = routing(generation(1, "1.0.0", one.backend()), rate_limit=TWO_AT_ONCE, request_timeout_seconds=20.0)
        await world.router.apply(wanted)
        (text,) = await world.router.link.ask("show map agents.map")
        row = read_map(text)[AGENT]
        await world.router.link.order(f"set map agents.map {AGENT} {row.rpartition('|')[0].rpartition('|')[0]}|20000:0:50.0|")
        seen = (await world.router.observe(AGENT)).routing
        assert seen == replace(wanted, rate_limit=RateLimit(requests_per_second=50.0, burst=1), request_timeout_seconds=None)
        await world.router.apply(wanted)
        assert (await world.router.observe(AGENT)).routing == wanted
