"""The SDK in front of an application: what the server may ask, who may not, and what is counted."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from servicing_sdk import Servicing
from servicing_sdk.documents import parse
from servicing_sdk.surroundings import Surroundings

pytestmark = pytest.mark.anyio

TOKEN = "t0ken"
HERE = "/.well-known/servicing"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def servicing() -> Servicing:
    made = Servicing(around=Surroundings(token=TOKEN, version="1.0.0"), state_writes=3, state_reads=[2, 3])
    made.work.state = "ready"
    return made


@pytest.fixture
async def client(servicing: Servicing) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(servicing.asgi(hello))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://agent", headers=headers) as client:
        yield client


def body(revision: str, **values: Any) -> dict[str, Any]:
    document = json.dumps(values)
    return {"revision": revision, "hash": parse("", document).hash, "document": document, "values": values}


async def test_everything_else_is_the_applications(client: httpx.AsyncClient) -> None:
    assert (await client.get("/anything")).text == "hello"


@pytest.mark.parametrize("path", ["info", "drain"])
async def test_without_the_instances_token_nothing_is_told(client: httpx.AsyncClient, path: str) -> None:
    for authorization in ("", "Bearer ", "Bearer other"):
        assert (await client.get(f"{HERE}/{path}", headers={"Authorization": authorization})).status_code == 401
    assert (await client.post(f"{HERE}/config/commit", json=body("x"), headers={"Authorization": ""})).status_code == 401


async def test_an_agent_without_a_token_of_its_own_lets_nobody_in() -> None:
    transport = httpx.ASGITransport(Servicing(around=Surroundings()).asgi(hello))
    async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
        assert (await client.get(f"{HERE}/info", headers={"Authorization": "Bearer "})).status_code == 401


async def test_a_configuration_is_prepared_and_committed(client: httpx.AsyncClient, servicing: Servicing) -> None:
    given = body("cfg-1-p1", timeout_seconds=60)
    assert (await client.post(f"{HERE}/config/prepare", json=given)).json() == {"revision": "cfg-1-p1", "hash": given["hash"]}
    assert servicing.config == {}
    assert (await client.post(f"{HERE}/config/commit", json=given)).json()["hash"] == given["hash"]
    assert servicing.config == {"timeout_seconds": 60}
    info = (await client.get(f"{HERE}/info")).json()
    assert info["config"]["applied"] == {"revision": "cfg-1-p1", "hash": given["hash"]}
    assert (info["state_schema"], info["contract"]) == ({"writes": 3, "reads": [2, 3]}, "1")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"revision": "x"}'])
async def test_a_request_that_cannot_be_read_is_422(client: httpx.AsyncClient, content: bytes) -> None:
    assert (await client.post(f"{HERE}/config/prepare", content=content)).status_code == 422


async def test_a_drain_makes_it_unready_and_can_be_taken_back(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{HERE}/ready")).status_code == 200
    assert (await client.post(f"{HERE}/drain", json={"deadline_seconds": 5})).json()["draining"] is True
    assert (await client.get(f"{HERE}/ready")).status_code == 503
    await client.delete(f"{HERE}/drain")
    assert (await client.get(f"{HERE}/ready")).status_code == 200


async def test_requests_streams_and_conversations_are_counted(servicing: Servicing) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async with servicing.stream():
            inside.set()
            await go_on.wait()
        await hello(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(servicing.asgi(slow)), base_url="http://agent") as client:
        request = asyncio.ensure_future(client.get("/", headers={"X-Conversation-Id": "one"}))
        await inside.wait()
        assert servicing.work.load() == {"active_requests": 1, "active_streams": 1, "open_conversations": 1}
        go_on.set()
        await request
    assert servicing.work.load() == {"active_requests": 0, "active_streams": 0, "open_conversations": 0}


async def test_a_stream_says_goodbye_when_its_time_is_up(servicing: Servicing) -> None:
    async def for_ever() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        servicing.work.drain(0.0)
        await asyncio.Event().wait()

    assert [chunk async for chunk in servicing.sse(for_ever())] == [b"data: 1\n\n", b"event: servicing-reconnect\nretry: 500\ndata: {}\n\n"]


async def test_a_stream_that_ends_by_itself_needs_no_goodbye(servicing: Servicing) -> None:
    async def short() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"

    servicing.work.drain(60.0)
    assert [chunk async for chunk in servicing.sse(short())] == [b"data: 1\n\n"]


async def test_state_is_exported_and_taken_in_record_by_record(client: httpx.AsyncClient, servicing: Servicing) -> None:
    kept: list[Any] = []

    @servicing.state.export
    def export() -> Any:
        yield {"id": "1", "schema": 3, "value": "tea"}

    @servicing.state.import_
    def take(record: dict[str, Any]) -> None:
        if record["schema"] > 3:
            raise ValueError("too new")
        kept.append(record["value"])

    assert (await client.get(f"{HERE}/state/export")).text == '{"id": "1", "schema": 3, "value": "tea"}\n'
    lines = '{"id": "2", "schema": 2, "value": "milk"}\n{"id": "3", "schema": 4, "value": "?"}\n[]\n'
    answer = (await client.post(f"{HERE}/state/import", content=lines)).json()
    assert (answer["imported"], [refused["line"] for refused in answer["refused"]], kept) == (1, [2, 3], ["milk"])
