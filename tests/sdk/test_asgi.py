"""The SDK in front of an application: the server's paths, counting, conversations, and goodbyes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from servicing_sdk import Servicing
from servicing_sdk.surroundings import Surroundings
from servicing_sdk.work import GOODBYE
from tests.sdk.fake_server import TOKEN, message, text_of
from tests.sdk.serving import served

OWN = {"Authorization": f"Bearer {TOKEN}"}
PREFIX = "/.well-known/servicing"


def made(folder: Path) -> Servicing:
    (folder / "config.json").write_text(text_of(model="small"))
    return Servicing(around=Surroundings(token=TOKEN, revision="cfg-0", file=folder / "config.json"), state_writes=2, state_reads=[1, 2])


def add_raw_streams(app: FastAPI, servicing: Servicing) -> None:
    """Events without a word to the SDK."""

    async def raw(end: bytes) -> AsyncIterator[bytes]:
        yield json.dumps(servicing.work.load()).encode().join((b"data: ", end))
        servicing.drain(0.0)
        await asyncio.sleep(0.2 if end == b"\n" else 3600)
        yield b"data: more\n\n"
        yield b"data: never\n\n"

    @app.get("/raw")
    async def raw_events() -> StreamingResponse:
        return StreamingResponse(raw(b"\n\n"), media_type="text/event-stream; charset=utf-8")

    @app.get("/raw-in-pieces")
    async def raw_events_in_pieces() -> StreamingResponse:
        return StreamingResponse(raw(b"\n"), media_type="text/event-stream")

    @app.get("/raw-compressed")
    async def raw_events_compressed() -> StreamingResponse:
        return StreamingResponse(raw(b"\n"), media_type="text/event-stream", headers={"Content-Encoding": "identity"})


def application(servicing: Servicing) -> FastAPI:
    app = FastAPI(lifespan=servicing.lifespan)
    servicing.mount(app)

    @app.get("/model")
    async def model() -> dict[str, Any]:
        return {"model": servicing.config["model"], "load": servicing.work.load()}

    async def ticks() -> AsyncIterator[bytes]:
        for number in range(1_000_000):
            yield f"data: {number}\n\n".encode()
            if number == 3:
                servicing.drain(0.0)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(servicing.sse(ticks()), media_type="text/event-stream")

    add_raw_streams(app, servicing)

    @app.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json(servicing.work.load())
        while True:
            await socket.receive_text()

    return app


@pytest.fixture
def servicing(tmp_path: Path) -> Servicing:
    return made(tmp_path)


@pytest.fixture
def client(servicing: Servicing) -> Iterator[httpx.Client]:
    with served(application(servicing)) as client:
        yield client


def test_only_the_instances_own_token_opens_the_servers_paths(client: httpx.Client) -> None:
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Basic another"}):
        assert client.post(f"{PREFIX}/config/commit", json=message("cfg-1"), headers=headers).status_code == 401
    assert client.get(f"{PREFIX}/ready").json() == {"state": "ready", "reason": ""}
    assert client.get(f"{PREFIX}/no-such-thing", headers=OWN).status_code == 404


def test_a_server_without_a_token_is_not_obeyed() -> None:
    with served(application(Servicing(around=Surroundings()))) as client:
        assert client.get(f"{PREFIX}/info", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_change_over_http_is_prepared_and_committed_twice_with_one_effect(client: httpx.Client) -> None:
    said = message("cfg-1", model="large")
    assert client.post(f"{PREFIX}/config/prepare", json=said, headers=OWN).json() == {"revision": "cfg-1", "hash": said["hash"]}
    assert client.get("/model").json()["model"] == "small"
    for _ in range(2):
        answer = client.post(f"{PREFIX}/config/commit", json=said, headers=OWN)
        assert answer.json() == {"revision": "cfg-1", "hash": said["hash"], "pending": []}
    assert client.get("/model").json()["model"] == "large"
    info = client.get(f"{PREFIX}/info", headers=OWN).json()
    assert info["config"]["applied"] == {"revision": "cfg-1", "hash": said["hash"]}
    assert info["state_schema"] == {"writes": 2, "reads": [1, 2]}


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"revision": "cfg-1", "document": "{"}'])
def test_a_request_that_cannot_be_read_is_refused(client: httpx.Client, body: str) -> None:
    assert client.post(f"{PREFIX}/config/commit", content=body, headers=OWN).status_code == 422
    assert client.get("/model").json()["model"] == "small"


def test_a_conversation_named_by_a_header_keeps_its_values(client: httpx.Client) -> None:
    mine = {"X-Conversation-Id": "mine"}
    assert client.get("/model", headers=mine).json() == {
        "model": "small",
        "load": {"active_requests": 1, "active_streams": 0, "open_conversations": 1},
    }
    said = message("cfg-1", apply={"model": "next-conversation"}, model="large")
    pending = client.post(f"{PREFIX}/config/commit", json=said, headers=OWN).json()["pending"]
    assert pending == [{"path": "model", "scope": "next-conversation"}]
    assert client.get("/model", headers=mine).json()["model"] == "small"
    assert client.get("/model", headers={"X-Conversation-Id": "another"}).json()["model"] == "large"


def test_a_stream_of_events_says_goodbye_when_its_time_is_up(client: httpx.Client, servicing: Servicing) -> None:
    told = client.get("/stream").text
    assert told.startswith("data: 0\n\n")
    assert told.endswith("event: servicing-reconnect\nretry: 500\ndata: {}\n\n")
    assert servicing.work.load()["active_streams"] == 0


LOAD = b'data: {"active_requests": 1, "active_streams": 1, "open_conversations": 0}\n'


def test_events_that_an_agent_streams_by_itself_are_counted_and_end_with_a_goodbye_however_long_they_are_silent(
    client: httpx.Client, servicing: Servicing
) -> None:
    assert client.get("/raw").content == LOAD + b"\n" + GOODBYE
    deadline = time.monotonic() + 20
    while any(servicing.work.load().values()) and time.monotonic() < deadline:
        client.get("/model")
    assert servicing.work.report()["state"] == "drained", "the agent's own code was ended, although it would have slept for an hour"


def test_a_goodbye_waits_for_the_end_of_an_event_that_comes_in_pieces(client: httpx.Client) -> None:
    assert client.get("/raw-in-pieces").content == LOAD + b"data: more\n\n" + GOODBYE
    assert client.get("/model").status_code == 200, "the instance serves on"


def test_an_answer_that_is_encoded_is_no_business_of_ours(client: httpx.Client) -> None:
    told = client.get("/raw-compressed").content
    assert told.endswith(b"data: more\n\ndata: never\n\n")
    assert b'"active_streams": 0' in told


def test_a_websocket_is_counted_as_a_stream_and_closed_with_1012(client: httpx.Client, servicing: Servicing) -> None:
    with connect(str(client.base_url.join("/talk")).replace("http", "ws"), proxy=None) as talking:
        assert json.loads(talking.recv(timeout=20)) == {"active_requests": 0, "active_streams": 1, "open_conversations": 0}
        assert client.post(f"{PREFIX}/drain", json={"deadline_seconds": 0}, headers=OWN).json()["draining"] is True
        with pytest.raises(ConnectionClosed) as closed:
            talking.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert client.get(f"{PREFIX}/ready").status_code == 503
    assert client.delete(f"{PREFIX}/drain", headers=OWN).json()["draining"] is False
    assert client.get(f"{PREFIX}/ready").status_code == 200


def test_state_goes_out_and_comes_in_as_lines(client: httpx.Client, servicing: Servicing) -> None:
    kept = [{"id": "1", "schema": 2, "value": "a"}]
    servicing.state.export(lambda: iter(kept))
    taken: list[dict[str, Any]] = []
    servicing.state.import_(taken.append)
    lines = client.get(f"{PREFIX}/state/export", headers=OWN).text
    answer = client.post(f"{PREFIX}/state/import", content=lines + "[]\nnonsense\n", headers=OWN).json()
    assert taken == kept
    assert answer["imported"] == 1
    assert [refused["line"] for refused in answer["refused"]] == [2, 3]


def test_a_plain_asgi_application_without_a_lifespan_starts_and_ends_with_the_sdk(servicing: Servicing) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": servicing.config["model"].encode()})

    with served(servicing.mount(plain)) as client:
        assert client.get("/").text == "small"
        assert client.get(f"{PREFIX}/ready").json()["state"] == "ready"
    assert servicing.work.draining
