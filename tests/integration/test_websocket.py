"""The WebSocket on a real server: who gets in, snapshot and stream, resumption, bad messages, slow and vanished clients."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agent_servicing.core.events import Event
from agent_servicing.web import live
from agent_servicing.web.app import PREFIX
from agent_servicing.web.limits import LIVE_HEARTBEAT_SECONDS, LIVE_MESSAGE_BYTES_MAX, LIVE_SUBSCRIPTIONS_MAX
from agent_servicing.web.server import uvicorn_config
from tests.integration.access_world import a_browser, a_user
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 120
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Client:
    """Talks JSON over one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE_SECONDS):
            return dict(json.loads(await self.socket.recv()))

    async def ask(self, **message: Any) -> dict[str, Any]:
        await self.say(**message)
        return await self.hear()

    async def until(self, event: str) -> list[dict[str, Any]]:
        """Everything heard up to and with the first of this kind."""
        heard = [await self.hear()]
        while heard[-1]["event"] != event:
            heard.append(await self.hear())
        return heard

    async def closed(self) -> int | None:
        """The code the server closed with."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


@pytest.fixture
async def address(api_world: ApiWorld) -> AsyncIterator[str]:
    """A real server over the world, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(api_world.app, host="127.0.0.1", port=0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        with anyio.fail_after(PATIENCE_SECONDS):
            while not server.started:
                await anyio.lowlevel.checkpoint()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}{live.PATH}"
        server.should_exit = True


@asynccontextmanager
async def connected(address: str, token: str | None, *, headers: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Client]:
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(address, additional_headers=shown | (headers or {}), proxy=None, **options) as socket:
        yield Client(socket)


async def fleet(world: ApiWorld) -> None:
    """One agent that serves."""
    async with world.client(world.admin_token) as client:
        await world.add(client)


def something(number: int = 0, *, agent: str = AGENT, deployment: str | None = None) -> Event:
    return Event(type="instance_ready", at=NOON, agent=agent, deployment=deployment, data={"number": number})


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_nobody_gets_in_without_a_valid_token(address: str, token: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(address, token):
            pass
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert json.loads(response.body or b"{}")["code"] == "unauthenticated"


async def test_a_browser_offers_its_token_as_a_sub_protocol_and_the_token_is_not_sent_back(api_world: ApiWorld, address: str) -> None:
    offers = [live.PROTOCOL, live.TOKEN_PROTOCOL + api_world.admin_token]
    async with connected(address, None, subprotocols=offers) as client:
        assert client.socket.subprotocol == live.PROTOCOL
        assert (await client.ask(action="ping"))["event"] == "pong"
    with pytest.raises(InvalidStatus):
        async with connected(address, None, subprotocols=[live.PROTOCOL, live.TOKEN_PROTOCOL + "wrong"]):
            pass
    with pytest.raises(InvalidStatus):  # a token in the address would end up in logs
        async with connected(f"{address}?token={api_world.admin_token}", None):
            pass


async def test_a_deployment_is_followed_from_its_snapshot_to_its_end_in_order(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    async with api_world.client(api_world.admin_token) as http, connected(address, await api_world.token("viewer")) as client:
        upgrade = await api_world.upgrade(http)
        first = await client.ask(action="subscribe", upgrade_id=upgrade["upgrade_id"])
        assert (first["event"], first["upgrade_id"], first["agent_id"]) == ("snapshot", upgrade["upgrade_id"], AGENT)
        assert first["upgrade"].keys() == upgrade.keys()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api_world.until, http, upgrade["upgrade_id"], "completed")
            heard = await client.until("upgrade")
        seqs = [first["seq"], *(message["seq"] for message in heard)]
        assert seqs == sorted(set(seqs))
        assert {message["upgrade_id"] for message in heard} == {upgrade["upgrade_id"]}
        assert {message["agent_id"] for message in heard} == {AGENT}
        assert all(message["at"].endswith("Z") for message in heard)
        kinds = [message["event"] for message in heard]
        assert {"stage_started", "stage_completed", "traffic_shifted", "metrics_update", "completed"} <= set(kinds)
        done = next(m for m in heard if m["event"] == "stage_completed" and m["stage"] == "route_traffic_50")
        assert done["status"] == "completed"
        assert done["duration_seconds"] >= 0
        measured = [m["metrics"] for m in heard if m["event"] == "metrics_update"]
        assert all(m.keys() == {"blue", "green"} and {"error_rate", "p95_latency_ms", "throughput"} <= m["green"].keys() for m in measured)


async def test_an_automatic_rollback_is_told_with_its_reason(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    api_world.runtime.behaviour("1.3.0").error_share = 0.3
    async with api_world.client(api_world.admin_token) as http, connected(address, api_world.admin_token) as client:
        upgrade = await api_world.upgrade(http)
        await client.ask(action="subscribe", upgrade_id=upgrade["upgrade_id"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api_world.until, http, upgrade["upgrade_id"], "rolled_back")
            heard = await client.until("rollback_completed")
        cause = next(m for m in heard if m["event"] == "rollback_triggered")
        assert cause["auto_triggered"] is True
        assert "Error rate threshold exceeded" in cause["reason"]
        assert cause["upgrade_id"] == upgrade["upgrade_id"]


async def test_resuming_loses_and_repeats_nothing(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    heard: list[int] = []
    told = 0
    since: dict[str, int] = {}
    for _ in range(5):
        async with connected(address, api_world.admin_token) as client:
            first = await client.ask(action="subscribe", agent_id=AGENT, **since)
            assert first["seq"] == since.get("since", first["seq"])
            since = {"since": first["seq"]}
            await api_world.tell(*(something(told + n) for n in range(300)))
            told += 300
            for _ in range(250):
                message = await client.hear()
                assert message["seq"] > since["since"]
                since = {"since": message["seq"]}
                heard.append(message["number"])
            client.socket.transport.abort()  # gone in the middle of the stream
        await api_world.tell(*(something(told + n) for n in range(100)))  # while nobody listens
        told += 100
    async with connected(address, api_world.admin_token) as client:
        await client.ask(action="subscribe", agent_id=AGENT, **since)
        while len(heard) < told:
            heard.append((await client.hear())["number"])
    assert heard == list(range(told))


async def test_nothing_is_lost_or_repeated_while_events_and_subscriptions_race(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    total = 200

    async def write() -> None:
        for number in range(total):
            await api_world.tell(something(number))
        await api_world.tell(Event(type="end", at=NOON, agent=AGENT))

    async def listen() -> None:
        async with connected(address, api_world.admin_token) as client:
            first = await client.ask(action="subscribe")
            begin = await api_world.services.events.since(0, limit=5000)
            known = [stored.event.data["number"] for stored in begin if "number" in stored.event.data and stored.seq <= first["seq"]]
            heard = [m["number"] for m in await client.until("end") if "number" in m]
            assert known + heard == list(range(total))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(10):
            tasks.start_soon(listen)


async def test_several_subscriptions_get_each_event_once_and_one_can_be_given_up(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    async with connected(address, api_world.admin_token) as client:
        assert (await client.ask(action="subscribe"))["agents"][0]["agent_id"] == AGENT
        assert (await client.ask(action="subscribe", agent_id=AGENT))["agent"]["agent_id"] == AGENT
        await api_world.tell(something(1), something(2, agent="Other"))
        assert [(await client.hear())["number"] for _ in range(2)] == [1, 2]
        gone = await client.ask(action="unsubscribe")
        assert (gone["event"], gone["was_subscribed"]) == ("unsubscribed", True)
        assert not (await client.ask(action="unsubscribe"))["was_subscribed"]
        await api_world.tell(something(3, agent="Other"), something(4))
        assert (await client.hear())["number"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '"ping"',
        "null",
        "{}",
        '{"action": "shout"}',
        '{"action": "ping", "loud": true}',
        '{"action": "subscribe", "since": -1}',
        '{"action": "subscribe", "since": "5"}',
        '{"action": "subscribe", "since": 99999999999}',
        '{"action": "subscribe", "since": 1e400}',
        '{"action": "subscribe", "upgrade_id": 5}',
        '{"action": "subscribe", "upgrade_id": "upg-nobody"}',
        '{"action": "subscribe", "agent_id": "Nobody"}',
        '{"action": "subscribe", "agent_id": "\\ud800"}',
        "[" * 4000,
        " " * (LIVE_MESSAGE_BYTES_MAX + 1),
        b"\x00\xff",
    ],
)
async def test_a_bad_message_gets_an_error_and_the_connection_stays(api_world: ApiWorld, address: str, text: str | bytes) -> None:
    async with connected(address, api_world.admin_token) as client:
        await client.socket.send(text)
        answer = await client.hear()
        assert answer["event"] == "error"
        assert answer["code"]
        assert answer["detail"]
        assert (await client.ask(action="ping"))["event"] == "pong"


async def test_a_message_without_end_closes_the_connection(api_world: ApiWorld, address: str) -> None:
    async with connected(address, api_world.admin_token) as client:
        await client.socket.send(" " * 1_000_000)
        assert await client.closed() == 1009


async def test_a_connection_holds_a_bounded_number_of_subscriptions(api_world: ApiWorld, address: str) -> None:
    agents = [f"Agent{number}" for number in range(LIVE_SUBSCRIPTIONS_MAX)]
    async with api_world.client(api_world.admin_token) as http, connected(address, api_world.admin_token) as client:
        for agent in agents:
            assert (await http.post(f"{PREFIX}/agents", json={"manifest": MANIFEST.replace(AGENT, agent)})).status_code == 201
            assert (await client.ask(action="subscribe", agent_id=agent))["event"] == "snapshot"
        assert (await client.ask(action="subscribe"))["code"] == "too_many_subscriptions"
        assert (await client.ask(action="subscribe", agent_id=agents[0]))["event"] == "snapshot"


async def test_who_or_what_a_deployment_waits_for_is_in_the_snapshot_and_in_what_follows(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("operator")) as other:
        await admin.put(f"{PREFIX}/agents/{AGENT}/approval", json={"required": True, "reason": "customers' memories"})
        async with connected(address, await api_world.token("viewer")) as client:
            await client.ask(action="subscribe", agent_id=AGENT)
            upgrade = (await api_world.upgrade(admin))["upgrade_id"]
            assert (await client.until("approval_wanted"))[-1]["waiting_for"] == "approval"
            first = await client.ask(action="subscribe", upgrade_id=upgrade)
            assert first["upgrade"]["waiting_for"] == "approval"
            await admin.post(f"{PREFIX}/schedule/stop", json={"reason": "incident"})
            await other.post(f"{PREFIX}/agents/{AGENT}/upgrades/{upgrade}/approve", json={"reason": "read it"})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(some_turns, api_world)
                held = (await client.until("held"))[-1]
            assert (held["upgrade_id"], held["waiting_for"], "incident" in held["reason"]) == (upgrade, "line", True)
            await client.say(action="subscribe", agent_id=AGENT, since=held["seq"])
            agent = (await client.until("snapshot"))[-1]
            assert [each["waiting_for"] for each in agent["upgrades"]] == ["line"]
            await admin.post(f"{PREFIX}/schedule/resume", json={"reason": "over"})
            await api_world.until(admin, upgrade, "in_progress")
            assert (await client.until("started"))[-1]["upgrade_id"] == upgrade


async def some_turns(world: ApiWorld) -> None:
    for _ in range(20):
        await world.turn()


async def test_a_token_for_some_agents_hears_of_no_other(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    async with connected(address, await api_world.token("viewer", ["WowCache"])) as client:
        assert (await client.ask(action="subscribe", agent_id=AGENT))["code"] == "agent_out_of_reach"
        first = await client.ask(action="subscribe")
        assert (first["agents"], first["upgrades"]) == ([], [])
        await api_world.tell(something(1), something(2, agent="WowCache"), Event(type="system", at=NOON))
        await api_world.tell(something(3), something(4, agent="WowCache"))
        assert [(await client.hear())["number"] for _ in range(2)] == [2, 4]


async def test_a_revoked_token_ends_its_open_connections(api_world: ApiWorld, address: str) -> None:
    token = await api_world.token("viewer")
    async with connected(address, token) as client:
        assert (await client.ask(action="ping"))["event"] == "pong"
        (entry,) = [t for t in await api_world.services.access.list_tokens() if t.name == "viewer-"]
        await api_world.services.access.revoke_token(entry.token_id, actor="test")
        api_world.clock.advance(LIVE_HEARTBEAT_SECONDS)
        assert await client.closed() == live.POLICY_VIOLATION


async def test_a_silent_connection_gives_signs_of_life(api_world: ApiWorld, address: str) -> None:
    async with connected(address, api_world.admin_token) as client:
        assert (await client.ask(action="ping"))["event"] == "pong"
        api_world.clock.advance(LIVE_HEARTBEAT_SECONDS)
        assert (await client.hear())["event"] == "heartbeat"


async def test_an_event_arrives_although_its_hint_was_lost(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    async with connected(address, api_world.admin_token) as client:
        await client.ask(action="subscribe")

        async def deaf(topic: str) -> None:
            return None

        api_world.bus.publish = deaf  # type: ignore[method-assign]
        await api_world.tell(something(1))
        assert (await client.hear())["number"] == 1


async def test_a_client_that_does_not_read_holds_nobody_else_up(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    bulky = {"text": "x" * 20_000}
    async with connected(address, api_world.admin_token, max_queue=1) as slow, connected(address, api_world.admin_token) as quick:
        assert (await slow.ask(action="subscribe"))["event"] == "snapshot"
        assert (await quick.ask(action="subscribe"))["event"] == "snapshot"
        for first in range(0, 400, 20):
            news = (Event(type="bulk", at=NOON, agent=AGENT, data={**bulky, "number": first + n}) for n in range(20))
            await api_world.tell(*news)
        heard = [(await quick.hear())["number"] for _ in range(400)]
        assert heard == list(range(400))
        # What the slow one has not read waits in the log, not in our memory: it still gets all of it, in order.
        assert [(await slow.hear())["number"] for _ in range(400)] == heard


async def test_vanished_clients_leave_nothing_open(api_world: ApiWorld, address: str) -> None:
    await fleet(api_world)
    for _ in range(20):
        async with connected(address, api_world.admin_token) as client:
            await client.ask(action="subscribe")
            client.socket.transport.abort()
    with anyio.fail_after(PATIENCE_SECONDS):
        while api_world.app.state.live.open:
            await anyio.lowlevel.checkpoint()


async def test_a_signed_in_browser_opens_it_from_our_own_page_only(api_world: ApiWorld, address: str) -> None:
    user = await a_user(api_world, "ada")
    host = address.removeprefix("ws://").partition("/")[0]
    async with a_browser(api_world) as browser:
        await browser.sign_in("ada")
        cookie = {"Cookie": f"servicing_session={browser.cookie}"}
        for origin in ("http://evil.example", f"https://{host}", "http://127.0.0.1:8800", "null", None):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(address, None, headers=cookie | ({"Origin": origin} if origin else {})):
                    pass
            assert refused.value.response.status_code == 403, origin
            assert b"foreign_origin" in (refused.value.response.body or b"")
        async with connected(address, None, headers=cookie | {"Origin": f"http://{host}"}) as client:
            assert (await client.ask(action="subscribe"))["event"] == "snapshot"
            await api_world.services.users.disable(user.user_id, actor="test")
            api_world.clock.advance(LIVE_HEARTBEAT_SECONDS)
            assert await client.closed() == live.POLICY_VIOLATION
