"""HAProxy outlives the server, comes back when it is killed, and grows when it must."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from agent_servicing.adapters.router.haproxy import HaproxyRouter
from agent_servicing.adapters.router.haproxy_process import PID_FILE, claimed, free_port, is_free
from agent_servicing.adapters.router.haproxy_state import PREVIOUS, STATE
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import Routing
from tests.integration.haproxy_world import AGENT, KEY, World, generation, kill, open_world, routing, settings_in, until, worker_of

pytestmark = pytest.mark.anyio
CONVERSATIONS = [f"conversation-{number}" for number in range(200)]


async def split_with_pins(world: World) -> tuple[Routing, list[str]]:
    """Two versions at a share other than the one at which the conversations began."""
    one, two = await world.fleet("one", "two")
    generations = generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend())
    await world.router.apply(routing(*generations, candidate=2, share=50.0))
    pins = await world.crowd(CONVERSATIONS)
    wanted = routing(*generations, candidate=2, share=90.0)
    await world.router.apply(wanted)
    return wanted, pins


async def touched(world: World) -> dict[int, int]:
    counters = await world.counters()
    return {number: counters.generation(number).total.conversations for number in (1, 2)}


async def pins_are_on_disk(world: World) -> bool:
    saved = world.settings.data_dir / "router" / "saved-pins.map"
    return len(saved.read_text().splitlines()) >= len(CONVERSATIONS)


async def test_conversations_are_counted_for_each_generation_and_still_are_after_a_restart(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        wanted, pins = await split_with_pins(world)
        other = await world.agent("three")
        # The same number of another agent: its conversations are not ours.
        await world.router.apply(routing(generation(1, "1.0.0", other.backend()), agent="Other"))
        await world.get("/", "Other", headers={KEY.name: "conversation-1"})
        counted = {1: sum(pin.startswith("1.0.0") for pin in pins), 2: sum(pin.startswith("2.0.0") for pin in pins)}
        assert sum(counted.values()) == len(CONVERSATIONS)
        assert await world.router.conversations(AGENT) == counted
        assert await world.router.conversations("Other") == {1: 1}
        assert await world.router.conversations("Nobody") is None
        await until(lambda: pins_are_on_disk(world))
        pid = world.router.pid or 0
        kill(pid)
        # A worker answers for a moment longer than its master lives.
        await until(lambda: another_master(world, pid))
        await until(lambda: tried(lambda: answered(world)))
        assert await world.router.conversations(AGENT) == counted, "those that were silent since are known, too"
        await world.crowd(CONVERSATIONS)
        assert await touched(world) == {1: 0, 2: 0}, "who comes back after the restart comes to nobody new"
        await world.router.apply(replace(wanted, stable=2, candidate=None, share=0.0, redirects={1: 2}))
        assert await world.router.conversations(AGENT) == counted, "they move at their next request"
        assert {pin[:5] for pin in await world.crowd(CONVERSATIONS)} == {"2.0.0"}
        assert await world.router.conversations(AGENT) == {1: 0, 2: len(CONVERSATIONS)}
        assert await touched(world) == {1: 0, 2: counted[1]}


async def test_two_servers_on_any_free_port_never_share_a_data_plane(tmp_path: Path) -> None:
    async with open_world(tmp_path / "a") as one, open_world(tmp_path / "b") as two:
        assert one.router.port != two.router.port
        assert one.router.pid != two.router.pid
        answering = await one.agent("one")
        await one.router.apply(routing(generation(1, "1.0.0", answering.backend())))
        assert (await two.router.observe(AGENT)).routing is None
        assert (await two.get("/")).status_code == 404
        await two.router.shutdown()
        assert (await one.get("/")).status_code == 200


async def test_any_free_port_is_another_one_when_somebody_has_taken_the_one_it_had(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        had, settings = world.router.port, world.settings
    async with open_world(tmp_path) as world:
        assert world.router.port == had, "kept, for those who know it"
    async with open_world(tmp_path / "other", router_port=had) as other:
        async with HaproxyRouter.open(settings, other.clock) as back:
            assert back.port != had
            assert back.pid != other.router.pid
        await HaproxyRouter.stop(settings, other.clock)
        with pytest.raises(PermanentError, match=rf"cannot listen on 127\.0\.0\.1:{had}: .* by haproxy"):
            async with HaproxyRouter.open(settings.model_copy(update={"router_port": had}), other.clock):
                pass


async def test_while_haproxy_is_started_on_a_port_nobody_else_can_be() -> None:
    port = free_port("127.0.0.1")
    with claimed("127.0.0.1", port):
        assert not is_free("127.0.0.1", port), "a second server that looks now"
        with pytest.raises(PermanentError), claimed("127.0.0.1", port):
            pass
        with socket.socket() as haproxy:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                haproxy.setsockopt(socket.SOL_SOCKET, option, 1)
            haproxy.bind(("127.0.0.1", port))
            haproxy.listen()
    assert is_free("127.0.0.1", port)


@pytest.mark.parametrize("victim", ["worker", "master"])
async def test_a_killed_haproxy_comes_back_with_its_routing_and_its_pins(tmp_path: Path, victim: str) -> None:
    async with open_world(tmp_path) as world:
        wanted, pins = await split_with_pins(world)
        await until(lambda: pins_are_on_disk(world))
        before = await world.router.observe(AGENT)
        pid = world.router.pid
        assert pid is not None
        kill(worker_of(pid) if victim == "worker" else pid)
        await until(lambda: another_master(world, pid))
        after = await world.router.observe(AGENT)
        assert after.routing == wanted
        assert after.epoch != before.epoch
        assert await world.crowd(CONVERSATIONS) == pins
        kill(worker_of(world.router.pid or 0))
        await until(lambda: tried(lambda: answered(world)))
        assert await world.crowd(CONVERSATIONS) == pins


async def test_a_haproxy_that_no_pid_file_names_is_ended_all_the_same(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (world.settings.data_dir / "router" / PID_FILE).unlink()
        await world.router.shutdown()
        assert is_free("127.0.0.1", world.router.port)


async def another_master(world: World, pid: int) -> bool:
    return world.router.alive and world.router.pid != pid


async def answered(world: World) -> bool:
    return world.router.alive and (await world.served_by()) != "-/router"


async def test_the_next_server_adopts_what_runs(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        wanted, pins = await split_with_pins(world)
        before, counters, pid = await world.router.observe(AGENT), await world.counters(), world.router.pid
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            assert (second.pid, second.port) == (pid, world.router.port)
            assert await second.observe(AGENT) == before
            await second.apply(wanted)
            assert await second.observe(AGENT) == before
        assert await world.crowd(CONVERSATIONS) == pins
        assert (await world.counters()).generation(1).pinned.routed > counters.generation(1).pinned.routed


@pytest.mark.parametrize("damage", ["", '{"format": 1, "agen', "[]"])
async def test_what_runs_is_adopted_even_when_the_files_are_lost(tmp_path: Path, damage: str) -> None:
    async with open_world(tmp_path) as world:
        wanted, _ = await split_with_pins(world)
        for name in (STATE, PREVIOUS):
            (world.settings.data_dir / "router" / name).write_text(damage)
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            assert (await second.observe(AGENT)).routing == wanted


async def test_a_stopped_haproxy_starts_again_with_everything(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        wanted, _ = await split_with_pins(world)
        port, epoch = world.router.port, (await world.router.observe(AGENT)).epoch
        assert await world.router.shutdown()
        assert not world.router.alive
        assert not await HaproxyRouter.stop(world.settings, world.clock)
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            view = await second.observe(AGENT)
            assert (second.port, view.routing) == (port, wanted)
            assert view.epoch != epoch


async def test_a_damaged_state_falls_back_to_its_predecessor_and_two_damaged_ones_are_refused(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        first = routing(generation(1, "1.0.0", one.backend()))
        await world.router.apply(first)
        await world.router.apply(routing(generation(1, "1.0.0", one.backend("drain"))))
        await world.router.shutdown()
        folder = world.settings.data_dir / "router"
        (folder / STATE).write_text('{"form')
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            assert (await second.observe(AGENT)).routing == first
            await second.shutdown()
        for name in (STATE, PREVIOUS):
            (folder / name).write_text('{"form')
        with pytest.raises(PermanentError, match="cannot be read"):
            async with HaproxyRouter.open(world.settings, world.clock):
                raise AssertionError("an empty data plane would serve nobody")


async def test_more_agents_than_slots_keep_all_of_them_and_their_streams(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        names = [f"agent-{number}" for number in range(5)]
        first = routing(generation(1, "1.0.0", one.backend()), agent=names[0])
        await world.router.apply(first)
        master = world.router.pid
        async with world.http.stream("GET", f"{world.router.url}/{names[0]}/sse/2") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "data: one 0"
            for name in names[1:]:
                await world.router.apply(routing(generation(1, "1.0.0", one.backend()), agent=name))
            assert world.router.pid == master
            # What the worker from before the reload still does is seen, too.
            await until(lambda: in_flight_is(world, names[0], 1))
            await world.get("/next", names[0])
            assert [line async for line in lines if line] == ["data: one 1"]
        await until(lambda: in_flight_is(world, names[0], 0))
        for name in names:
            assert await world.served_by(agent=name) == "1.0.0/one"
        assert (await world.router.observe(names[0])).routing == first


async def in_flight_is(world: World, agent: str, count: int) -> bool:
    return (await world.router.observe(agent)).in_flight == {"one": count}


async def test_more_instances_than_slots_are_all_served_and_pins_survive(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        _, pins = await split_with_pins(world)
        fleet = [*world.agents, *await world.fleet("a", "b", "c", "d")]
        wide = routing(
            generation(1, "1.0.0", *(agent.backend() for agent in fleet)),
            generation(2, "2.0.0", fleet[1].backend()),
            candidate=2,
            share=90.0,
        )
        await world.router.apply(wide)
        assert (await world.router.observe(AGENT)).routing == wide
        assert await world.crowd(CONVERSATIONS) == pins


async def test_a_new_name_of_a_conversation_key_is_learnt_and_kept(tmp_path: Path) -> None:
    key = ConversationKey(kind="header", name="X-Thread")
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        generations = generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend())
        for share in (0.0, 100.0):
            await world.router.apply(routing(*generations, key=key, candidate=2, share=share))
            assert (await world.get("/who", headers={"X-Thread": "t"})).json()["instance"] == "one"
        await world.router.apply(routing(*generations, key=KEY, candidate=2, share=100.0))
        assert (await world.router.observe(AGENT)).routing == routing(*generations, key=KEY, candidate=2, share=100.0)
        pid = world.router.pid
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            assert second.pid == pid


async def test_a_long_data_directory_with_spaces_works(tmp_path: Path) -> None:
    folder = tmp_path / "a data directory with spaces, 100% of it; and 'quotes'" / ("long" * 30)
    async with open_world(folder) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        assert await world.served_by() == "1.0.0/one"
        async with HaproxyRouter.open(world.settings, world.clock) as second:
            assert second.pid == world.router.pid


async def test_a_port_of_another_program_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_in(tmp_path).model_copy(update={"router_port": port})
        async with open_world(tmp_path / "other") as world:
            with pytest.raises(PermanentError, match=rf"127.0.0.1:{port}.*--router-port"):
                async with HaproxyRouter.open(settings, world.clock):
                    raise AssertionError("it must not share the port")


async def test_two_data_directories_never_share_a_port(tmp_path: Path) -> None:
    async with open_world(tmp_path / "one") as world:
        settings = settings_in(tmp_path / "two").model_copy(update={"router_port": world.router.port})
        with pytest.raises(PermanentError, match=str(world.router.port)):
            async with HaproxyRouter.open(settings, world.clock):
                raise AssertionError("it must not share the port")


async def test_another_port_is_taken_over_while_running(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        async with HaproxyRouter.open(world.settings.model_copy(update={"router_port": port}), world.clock) as second:
            assert (second.port, second.pid) == (port, world.router.pid)
            answer = await world.http.get(f"{second.url}/{AGENT}/who")
            assert answer.json()["instance"] == "one"


async def test_a_missing_or_wrong_binary_is_told_by_name(tmp_path: Path) -> None:
    async with open_world(tmp_path / "other") as world:
        settings = settings_in(tmp_path, haproxy="/no/such/haproxy")
        with pytest.raises(PermanentError, match="/no/such/haproxy"):
            async with HaproxyRouter.open(settings, world.clock):
                raise AssertionError("there is nothing to run")


async def test_a_reload_by_hand_is_noticed_and_made_good(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        wanted, _ = await split_with_pins(world)
        epoch = (await world.router.observe(AGENT)).epoch
        await world.router.link.ask_master("reload", seconds=10)

        async def restored() -> bool:
            view = await world.router.observe(AGENT)
            return view.epoch != epoch and view.routing == wanted

        await until(lambda: tried(restored))
        with anyio.fail_after(10):
            assert await world.served_by()


async def tried(condition: Callable[[], Awaitable[bool]]) -> bool:
    """False while HAProxy does not answer."""
    try:
        return await condition()
    except (TemporaryError, httpx.HTTPError, KeyError):
        return False
