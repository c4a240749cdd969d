"""No request is lost when instances drain, leave or are killed, and none is done twice."""

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from tests.integration.haproxy_world import AGENT, Agent, World, generation, open_world, routing, until

pytestmark = pytest.mark.anyio


class Load:
    """Requests sent by a few clients until told to stop; `answers` are (status, who), exceptions are kept as status 0."""

    def __init__(self, world: World, *, method: str = "GET") -> None:
        self.answers: list[tuple[int, str]] = []
        self._world, self._method, self._going = world, method, True

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            while self._going:
                try:
                    answer = await client.request(self._method, f"{self._world.router.url}/{AGENT}/slow/2")
                    self.answers.append((answer.status_code, answer.headers["x-served-by"]))
                except httpx.HTTPError as error:
                    self.answers.append((0, repr(error)))

    def stop(self) -> None:
        self._going = False

    async def reach(self, count: int) -> None:
        """Until that many more answers came."""
        goal = len(self.answers) + count

        async def reached() -> bool:
            return len(self.answers) >= goal

        await until(reached)

    @property
    def lost(self) -> list[tuple[int, str]]:
        return [answer for answer in self.answers if answer[0] != 200]


async def test_a_killed_instance_costs_no_get(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        fleet = await world.fleet("a", "b", "c")
        await world.router.apply(routing(generation(1, "1.0.0", *(agent.backend() for agent in fleet))))
        load = Load(world)
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(load.run)
            await load.reach(150)
            fleet[0].kill()
            await load.reach(150)
            fleet[1].kill()
            await load.reach(150)
            load.stop()
        assert load.lost == []
        assert {who for _, who in load.answers[-20:]} == {f"{AGENT}@1.0.0/c"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_whole_change_of_version_costs_no_request(tmp_path: Path, method: str) -> None:
    async with open_world(tmp_path) as world:
        old, new = await world.fleet("old", "new")
        first, second = generation(1, "1.0.0", old.backend()), generation(2, "2.0.0", new.backend())
        load = Load(world, method=method)
        await world.router.apply(routing(first))
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(load.run)
            for share in (25.0, 50.0, 100.0):
                await load.reach(60)
                await world.router.apply(routing(first, second, candidate=2, share=share))
            await load.reach(60)
            await world.router.apply(routing(generation(1, "1.0.0", old.backend("drain")), second, stable=2))
            await until(lambda: idle(world, "old"))
            await world.router.apply(routing(second, stable=2))
            old.kill()
            await load.reach(60)
            load.stop()
        assert load.lost == []


async def idle(world: World, instance: str) -> bool:
    return (await world.router.observe(AGENT)).in_flight[instance] == 0


async def test_draining_keeps_what_is_under_way_and_takes_nothing_new(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        old, new = await world.fleet("old", "new")
        await world.router.apply(routing(generation(1, "1.0.0", old.backend())))
        async with world.http.stream("GET", f"{world.router.url}/{AGENT}/sse/3") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: old 0"
            await world.router.apply(routing(generation(1, "1.0.0", old.backend("drain"), new.backend())))
            assert {await world.served_by() for _ in range(10)} == {"1.0.0/new"}
            assert not await idle(world, "old")
            await world.router.apply(routing(generation(1, "1.0.0", new.backend())))
            # Taken out altogether it still finishes, and is still seen to be busy.
            assert not await idle(world, "old")
            await step(old)
            await step(old)
            assert [line async for line in lines if line] == ["data: old 1", "data: old 2"]

        async def gone() -> bool:
            return (await world.router.observe(AGENT)).in_flight == {"new": 0}

        await until(gone)


async def step(agent: Agent) -> None:
    """Let the agent send its next event; asked directly, since the data plane would send this elsewhere."""
    async with httpx.AsyncClient() as direct:
        await direct.get(f"http://127.0.0.1:{agent.port}/next")


async def test_a_busy_server_slot_is_not_given_to_another_instance(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        old, new = await world.fleet("old", "new")
        await world.router.apply(routing(generation(1, "1.0.0", old.backend())))
        async with world.http.stream("GET", f"{world.router.url}/{AGENT}/sse/2") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: old 0"
            await world.router.apply(routing(generation(1, "1.0.0")))
            await world.router.apply(routing(generation(1, "1.0.0", new.backend())))
            view = await world.router.observe(AGENT)
            assert view.in_flight == {"new": 0, "old": 1}
            await step(old)
            assert [line async for line in lines if line] == ["data: old 1"]


async def test_a_post_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        fleet = await world.fleet("a", "b")
        await world.router.apply(routing(generation(1, "1.0.0", *(agent.backend() for agent in fleet))))
        answer = await world.http.post(f"{world.router.url}/{AGENT}/drop", content=b"pay 10")
        assert answer.status_code == 502
        assert sum([await seen(agent) for agent in fleet]) == 1


async def test_a_get_is_tried_elsewhere_and_gives_up_in_the_end(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        fleet = await world.fleet("a", "b")
        await world.router.apply(routing(generation(1, "1.0.0", *(agent.backend() for agent in fleet))))
        assert (await world.get("/drop")).status_code == 502
        assert 1 < sum([await seen(agent) for agent in fleet]) <= 4
        assert min([await seen(agent) for agent in fleet]) > 0


async def seen(agent: Agent) -> int:
    async with httpx.AsyncClient() as direct:
        return int((await direct.get(f"http://127.0.0.1:{agent.port}/count")).text)


async def test_a_post_finds_the_instance_that_accepts_connections(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        fleet = await world.fleet("a", "b")
        await world.router.apply(routing(generation(1, "1.0.0", *(agent.backend() for agent in fleet))))
        fleet[0].kill()
        for _ in range(10):
            answer = await world.http.post(f"{world.router.url}/{AGENT}/who", content=b"x")
            assert (answer.status_code, answer.json()["instance"]) == (200, "b")


async def test_an_instance_that_comes_back_on_its_port_is_used_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        wanted = routing(generation(1, "1.0.0", one.backend()))
        await world.router.apply(wanted)
        one.kill()
        assert (await world.get("/who")).status_code == 503
        await world.router.apply(replace(wanted, generations=(generation(1, "1.0.0", replace(one.backend(), port=two.port)),)))
        assert (await world.get("/who")).json()["instance"] == "two"
