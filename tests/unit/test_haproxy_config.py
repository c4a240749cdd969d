"""HAProxy's configuration, its maps and the book of slots, without HAProxy but for one check of the syntax."""

import ipaddress
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent_servicing.adapters import haproxy_reading
from agent_servicing.adapters.haproxy_rows import AGENTS, LABELS, PINS, UNKNOWN_LATENCY, Plan, Server, check, decode, encode
from agent_servicing.adapters.router import haproxy_config, haproxy_state
from agent_servicing.adapters.router.haproxy_book import GENERATIONS_COUNTED, Book, counters_of, place, without
from agent_servicing.adapters.router.haproxy_changes import changes
from agent_servicing.adapters.router.haproxy_config import Structure, digest, latency_map, render, structure_from_text, structure_to_text
from agent_servicing.adapters.router.haproxy_cookies import NAMES, cookie_script
from agent_servicing.adapters.router.haproxy_limits import timeout_script
from agent_servicing.adapters.router.haproxy_process import find_binary
from agent_servicing.core import latency
from agent_servicing.core.config.enforced import BURST_SECONDS_MAX
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConversationKey
from agent_servicing.core.routing import Backend, GenerationRoute, RateLimit, Routing
from agent_servicing.manifest.schema import SECONDS_MAX
from agent_servicing.web import cookies
from agent_servicing.web.routes import oidc

SMALL = Structure(host="127.0.0.1", port=8800, agent_slots=2, instance_slots=4)
BOOK = Book(structure=SMALL)


def route(number: int, *instances: str, state: str = "ready") -> GenerationRoute:
    backends = tuple(Backend(instance=n, host="127.0.0.1", port=9000 + i, state=state) for i, n in enumerate(instances))  # type: ignore[arg-type]
    return GenerationRoute(generation=number, version=f"1.0.{number}", backends=backends)


def agent(*routes: GenerationRoute, name: str = "Wow", **fields: object) -> Routing:
    return Routing(agent=name, generations=routes, **fields)  # type: ignore[arg-type]


def as_if_carried_out(plan: Plan) -> dict[str, dict[int, Server]]:
    servers: dict[str, dict[int, Server]] = {}
    for generation in plan.routing.generations:
        numbers = plan.places[generation.generation].servers
        servers[plan.backend(generation.generation)] = {
            numbers[b.instance]: Server(host=b.host, port=b.port, state=b.state) for b in generation.backends
        }
    return servers


def test_haproxy_accepts_the_configuration_without_a_warning(tmp_path: Path) -> None:
    keys = (*SMALL.keys, ConversationKey(kind="cookie", name="session"), ConversationKey(kind="query", name="conversation_id"))
    text = render(replace(SMALL, keys=keys, host="::1"), {"s00g1": {2: "127.0.0.1:9001", 3: "[::1]:9002"}})
    (tmp_path / haproxy_config.CONFIG).write_text(text)
    (tmp_path / haproxy_config.LATENCY).write_text(latency_map())
    (tmp_path / haproxy_config.TIMEOUT).write_text(timeout_script())
    (tmp_path / haproxy_config.COOKIES).write_text(cookie_script())
    for name in (*haproxy_reading.MAPS, haproxy_config.SAVED_PINS):
        (tmp_path / name).write_text("")
    done = subprocess.run([find_binary(None), "-c", "-f", haproxy_config.CONFIG], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [cookies.NAME, cookies.SECURE_NAME, oidc.COOKIE])
def test_every_cookie_that_the_api_sets_is_kept_from_agents(name: str) -> None:
    assert name.removeprefix("__Host-") in NAMES


def test_the_digest_is_of_the_structure_and_not_of_the_members() -> None:
    busy = render(SMALL, {"s00g0": {1: "127.0.0.1:9001"}})
    assert digest(SMALL) in busy
    assert "server s00g0i1 127.0.0.1:9001\n" in busy
    assert "server-template s00g0i 2-4 127.0.0.1:1 disabled\n" in busy
    assert digest(replace(SMALL, instance_slots=5)) != digest(SMALL)
    assert digest(replace(SMALL, keys=())) != digest(SMALL)


def test_a_structure_survives_being_written_down() -> None:
    assert structure_from_text(structure_to_text(SMALL)) == SMALL


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_every_latency_falls_into_its_bucket(microseconds: int) -> None:
    bucket = look_up(microseconds)
    edges = [round(edge * 1000) for edge in latency.EDGES_MS]
    assert bucket == next((i for i, edge in enumerate(edges) if microseconds <= edge), latency.BUCKETS - 1)


def test_the_edges_themselves_belong_to_the_lower_bucket_and_a_clock_set_back_to_none() -> None:
    for bucket, edge in enumerate(latency.EDGES_MS):
        assert look_up(round(edge * 1000)) == bucket
        assert look_up(round(edge * 1000) + 1) == bucket + 1
    assert look_up(-5 % 2**32) == UNKNOWN_LATENCY


NETWORKS = [(ipaddress.ip_network(prefix), int(bucket)) for prefix, bucket in (line.split() for line in latency_map().splitlines())]


def look_up(number: int) -> int:
    address = ipaddress.ip_address(number)
    (found,) = [bucket for network, bucket in NETWORKS if address in network]
    return found


def test_a_plan_is_read_back_from_its_rows() -> None:
    wanted = agent(route(3, "b", "a"), route(7, "c", state="drain"), stable=3, candidate=7, share=12.5, redirects={2: 3})
    plan = place(BOOK, wanted, {}).agents["Wow"]
    assert decode("Wow", encode(plan), as_if_carried_out(plan)) == plan


def test_rows_say_where_pins_lead() -> None:
    plan = place(BOOK, agent(route(1, "a"), route(2, "b"), stable=2, redirects={1: 2, 9: 5}), {}).agents["Wow"]
    assert encode(plan)[PINS] == {"00.2": "s00g1:6:2", "00.1>": "2", "00.3": "s00g1:6:2", "00.9>": "5"}
    assert encode(plan)[AGENTS]["Wow"].startswith("0|s00g1:6:2||")


def test_a_ring_of_redirects_comes_to_an_end() -> None:
    plan = place(BOOK, agent(route(1, "a"), route(2, "b"), stable=2, redirects={1: 2, 2: 1}), {}).agents["Wow"]
    assert set(encode(plan)[PINS]) == {"00.2", "00.3", "00.1>", "00.2>"}


def test_an_instance_keeps_its_server_and_a_busy_server_is_left_alone() -> None:
    book = place(BOOK, agent(route(1, "a", "b")), {})
    busy = {"s00g0": {1: Server(host="127.0.0.1", port=1, state="maint", in_flight=1), 2: Server(host="127.0.0.1", port=2, state="ready")}}
    book = place(book, agent(route(1, "b", "c")), busy)
    assert book.agents["Wow"].places[1].servers == {"b": 2, "c": 3}


def test_a_server_used_before_gives_its_counts_as_the_beginning() -> None:
    used = {"s00g0": {1: Server(host="127.0.0.1", port=1, state="maint", requests=9, errors=2)}}
    plan = place(BOOK, agent(route(1, "a")), used).agents["Wow"]
    assert encode(plan)[LABELS]["s00g0"] == "1|1.0.1|2|1:9:2"


def test_a_new_generation_takes_a_column_where_nobody_waits() -> None:
    book = place(BOOK, agent(route(1, "a"), route(2, "b")), {})
    working = {"s00g0": {1: Server(host="127.0.0.1", port=1, state="maint", in_flight=3)}}
    book = place(book, agent(route(2, "b"), route(3, "c")), working)
    assert {n: p.column for n, p in book.agents["Wow"].places.items()} == {2: 1, 3: 2}
    book = place(book, agent(route(2, "b"), route(3, "c"), route(4, "d")), working)
    assert book.agents["Wow"].places[4].column == 0


def test_counters_are_never_used_again() -> None:
    book, seen = BOOK, set()
    for number in range(1, 20):
        book = place(book, agent(route(number, f"g{number}")), {})
        tally = book.agents["Wow"].places[number].tally
        assert tally not in seen
        seen.add(tally)
    assert len(book.agents["Wow"].tallies) == GENERATIONS_COUNTED
    book = place(without(book, "Wow"), agent(route(1, "a")), {})
    assert not counters_of(book.agents["Wow"]) & seen


def test_the_structure_grows_when_it_must_and_within_bounds() -> None:
    book = BOOK
    for number in range(3):
        book = place(book, agent(route(1, "a"), name=f"agent-{number}"), {})
    assert book.structure.agent_slots == 4
    book = place(book, agent(route(1, *(f"i{n}" for n in range(9))), name="agent-0"), {})
    assert book.structure.instance_slots == 9
    key = ConversationKey(kind="cookie", name="session")
    assert place(book, agent(route(1, "a"), conversation_key=key), {}).structure.keys[-1] == key
    with pytest.raises(PermanentError, match="at most 256 instances"):
        place(book, agent(route(1, *(f"i{n}" for n in range(300)))), {})


def test_a_freed_slot_is_the_next_to_be_given() -> None:
    book = place(place(BOOK, agent(name="one"), {}), agent(name="two"), {})
    assert without(book, "one").slot_of("three") == 0
    assert book.slot_of("two") == 1


def test_newcomers_are_reachable_before_traffic_shifts_and_leavers_go_after() -> None:
    old = place(BOOK, agent(route(1, "a"), stable=1), {})
    new = place(old, agent(route(2, "b"), stable=2), as_if_carried_out(old.agents["Wow"])).agents["Wow"]
    orders = changes(new, encode(old.agents["Wow"]), as_if_carried_out(old.agents["Wow"]))
    ready = next(i for i, order in enumerate(orders) if order.endswith("state ready"))
    shift = next(i for i, order in enumerate(orders) if order.startswith(f"set map {AGENTS}"))
    leave = next(i for i, order in enumerate(orders) if order == "set server s00g0/s00g0i1 state maint")
    assert ready < shift < leave


def test_nothing_is_ordered_when_everything_is_as_it_should_be() -> None:
    plan = place(BOOK, agent(route(1, "a", "b"), route(2, "c", state="drain"), stable=1), {}).agents["Wow"]
    assert changes(plan, encode(plan), as_if_carried_out(plan)) == []


def test_a_shift_is_one_order() -> None:
    book = place(BOOK, agent(route(1, "a"), route(2, "b"), stable=1, candidate=2, share=10.0), {})
    before = book.agents["Wow"]
    after = place(book, replace(before.routing, share=50.0), {}).agents["Wow"]
    assert len(changes(after, encode(before), as_if_carried_out(before))) == 1


@pytest.mark.parametrize(
    ("routing", "complaint"),
    [
        (agent(name="a b"), "cannot be used as a name"),
        (agent(name="a;b"), "cannot be used as a name"),
        (agent(route(1, "a|b")), "cannot be used as a name"),
        (agent(route(1), route(1)), "different generations"),
        (agent(*(route(n) for n in range(4))), "at most 3"),
        (agent(route(1), stable=2), "generation 2 takes traffic"),
        (agent(route(1), share=101.0), "not a percentage"),
        (
            agent(GenerationRoute(generation=1, version="1.0.0", backends=(Backend(instance="a", host="localhost", port=1),))),
            "not an IP address",
        ),
    ],
    ids=str,
)
def test_a_routing_that_cannot_be_carried_out_is_refused(routing: Routing, complaint: str) -> None:
    with pytest.raises(PermanentError, match=complaint):
        check(routing)


def test_the_state_file_brings_back_the_book(tmp_path: Path) -> None:
    wanted = agent(route(3, "b", "a"), route(7, "c", state="drain"), stable=3, candidate=7, share=12.5, redirects={2: 3})
    book = place(BOOK, replace(wanted, conversation_key=SMALL.keys[0]), {})
    haproxy_state.save(tmp_path, book)
    assert haproxy_state.load(tmp_path) == book
    assert haproxy_state.load(tmp_path / "empty") is None


def test_a_full_generation_replaces_an_instance_without_growing() -> None:
    book = place(BOOK, agent(route(1, "a", "b", "c", "d")), {})
    book = place(book, agent(route(1, "b", "c", "d", "e")), as_if_carried_out(book.agents["Wow"]))
    assert book.structure == SMALL
    assert book.agents["Wow"].places[1].servers["e"] == 1


@pytest.mark.parametrize(
    "limits",
    [
        {"rate_limit": RateLimit(requests_per_second=0.0, burst=1)},
        {"rate_limit": RateLimit(requests_per_second=5.0, burst=0)},
        {"rate_limit": RateLimit(requests_per_second=0.01, burst=12)},
        {"request_timeout_seconds": 0.0},
        {"request_timeout_seconds": 100_000.0},
    ],
)
def test_limits_that_cannot_be_enforced_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(PermanentError):
        check(agent(route(1, "a"), **limits))


@given(rate=st.floats(min_value=0.01, max_value=10_000), burst=st.integers(min_value=1, max_value=100_000))
def test_every_rate_that_is_allowed_is_read_back_as_it_was_written(rate: float, burst: int) -> None:
    assume(burst <= rate * BURST_SECONDS_MAX)
    wanted = agent(route(1, "a"), rate_limit=RateLimit(requests_per_second=rate, burst=burst))
    check(wanted)
    plan = place(BOOK, wanted, {}).agents["Wow"]
    found = decode("Wow", encode(plan), as_if_carried_out(plan))
    assert found is not None
    assert found.routing == wanted


def test_a_state_file_from_before_there_were_limits_is_read(tmp_path: Path) -> None:
    book = place(BOOK, agent(route(1, "a"), stable=1), {})
    haproxy_state.save(tmp_path, book)
    content = json.loads((tmp_path / haproxy_state.STATE).read_text())
    for plan in content["agents"].values():
        del plan["rate_limit"], plan["request_timeout_seconds"]
    (tmp_path / haproxy_state.STATE).write_text(json.dumps(content))
    assert haproxy_state.load(tmp_path) == book


def test_no_manifest_can_give_a_stream_more_time_than_a_worker_from_before_a_reload_has() -> None:
    assert haproxy_config.HARD_STOP_SECONDS >= SECONDS_MAX
    assert f"  hard-stop-after {haproxy_config.HARD_STOP_SECONDS}s" in render(SMALL, {}).splitlines()


def test_nothing_in_the_configuration_ends_the_streams_of_a_server_that_drains_or_fails_a_check() -> None:
    text = render(SMALL, {})
    assert not [word for word in ("shutdown-sessions", "shutdown-backup-sessions", "mworker-max-reloads") if word in text]
