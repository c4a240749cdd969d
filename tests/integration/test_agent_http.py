"""Health checks against real sockets: what counts as healthy, and what is said when it is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener

from agent_servicing.adapters.agent_http import PROBE_TIMEOUT_SECONDS, HttpAgentClient
from agent_servicing.adapters.system import SystemClock
from agent_servicing.core.manifest import Health, Manifest, Run, Source
from agent_servicing.core.model import Probe, Process
from tests.integration import process_world as world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(anyio_backend: str) -> AsyncIterator[HttpAgentClient]:
    async with HttpAgentClient(clock=SystemClock()) as opened:
        yield opened


async def probe(client: HttpAgentClient, port: int, path: str | None) -> Probe:
    manifest = Manifest(agent="A", source=Source(kind="path", location=""), run=Run(), health=Health(path=path))
    process = Process(instance="g1-1-0", generation=1, version="1.0.0", alive=True, host="127.0.0.1", port=port)
    return await client.probe(manifest, process)


def port_of(listener: MultiListener[SocketStream]) -> int:
    return listener.extra(SocketAttribute.local_port)


@asynccontextmanager
async def answering(data: bytes | None) -> AsyncIterator[int]:
    """The port of a server that reads a request and sends `data`, or nothing at all when it is None."""

    async def handle(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            if data is None:
                await anyio.sleep_forever()
            else:
                await stream.send(data)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield port_of(listener)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/healthz", ""),
        ("healthz", ""),
        ("/missing", "GET /missing answered 404"),
        ("/broken", "GET /broken answered 500"),
        ("/moved", "GET /moved answered 302 (redirects are not followed)"),
        (None, ""),
    ],
)
async def test_a_serving_agent_is_judged_by_its_health_path(client: HttpAgentClient, tmp_path: Path, path: str | None, detail: str) -> None:
    async with world.open_runtime(tmp_path) as runtime:
        process = await world.started(runtime, world.release(command=world.SERVES))
        await world.printed(runtime, "listening")
        seen = await probe(client, process.port, path)
        await runtime.stop_everything()
    assert (seen.instance, seen.healthy, seen.detail) == ("g1-1-0", not detail, detail)


@pytest.mark.parametrize("path", ["/healthz", None])
async def test_a_port_without_listener_is_unhealthy(client: HttpAgentClient, path: str | None) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = port_of(listener)
    assert (await probe(client, port, path)).detail == f"nothing answers on port {port}"


async def test_an_agent_that_does_not_answer_in_time_is_unhealthy(client: HttpAgentClient) -> None:
    async with answering(None) as port:
        with anyio.fail_after(PROBE_TIMEOUT_SECONDS + 10):
            seen = await probe(client, port, "/healthz")
    assert seen.detail == "GET /healthz got no answer within 2 s"


@pytest.mark.parametrize("data", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 99999 What\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_an_answer_that_is_no_http_is_unhealthy_and_no_exception(client: HttpAgentClient, data: bytes) -> None:
    async with answering(data) as port:
        seen = await probe(client, port, "/healthz")
    assert not seen.healthy
    assert seen.detail.startswith("GET /healthz failed: ")


async def test_an_endless_body_is_not_read(client: HttpAgentClient) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx") as port:
        assert (await probe(client, port, "/healthz")).healthy


async def test_a_path_that_no_request_can_carry_is_unhealthy_and_no_exception(client: HttpAgentClient) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert not (await probe(client, port, "/a b\r\nX: y")).healthy


@pytest.mark.parametrize(
    ("path", "body", "healthy"),
    [
        ("/.well-known/servicing/ready", '{"state": "draining", "reason": ""}', True),
        ("/.well-known/servicing/ready", '{"state": "drained"}', True),
        ("/.well-known/servicing/ready", '{"state": "unavailable", "reason": "the model is loading"}', False),
        ("/.well-known/servicing/ready", "[]", False),
        ("/.well-known/servicing/ready", "no", False),
        ("/.well-known/servicing/ready", " " * 5000 + '{"state": "draining"}', False),
        ("/healthz", '{"state": "draining"}', False),
    ],
)
async def test_an_agent_that_was_told_to_come_to_an_end_is_not_ready_but_well(
    client: HttpAgentClient, path: str, body: str, *, healthy: bool
) -> None:
    answer = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    async with answering(answer) as port:
        assert (await probe(client, port, path)).healthy is healthy
