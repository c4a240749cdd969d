"""How the network is met, over real sockets: whose Host and whose forwarding headers count, connections that say nothing, headers of every answer."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
import uvicorn
from anyio import to_thread
from fastapi import FastAPI, Request
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agent_servicing.adapters.system import SystemClock
from agent_servicing.settings import Settings, listed
from agent_servicing.web.app import PREFIX
from agent_servicing.web.server import Edge, uvicorn_config
from tests.integration.api_world import ApiWorld

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def served(app: FastAPI, met: Edge | None = None) -> AsyncIterator[int]:
    """The port of the application, served as the product serves it."""
    server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0, edge=met))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            while not server.started:
                await SystemClock().sleep(0.01)
            yield listener.getsockname()[1]
            server.should_exit = True


OURS = (
    "127.0.0.1",
    "127.0.0.1:8700",
    "localhost:8700",
    "LOCALHOST",
    "[::1]:8700",
    "10.1.2.3",
    "servicing.example.org",
    "a.b.example.net:1",
)
FOREIGN = (
    "evil.example.com",
    "127.0.0.1.evil.example.com",
    "example.net",
    "localhost.evil.com",
    "",
    "[::1",
    "2130706433x",
    "servicing.example.org.evil.com",
)


async def test_a_host_that_is_not_ours_is_refused_before_anything_else_whoever_asks(api_world: ApiWorld) -> None:
    met = Edge(allowed_hosts=("servicing.example.org", "*.example.net"))
    async with served(api_world.app, met) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for host in OURS:
            answer = await client.get("/healthz", headers={"Host": host})
            assert answer.status_code == 200, host
        for host in FOREIGN:
            answer = await client.get(f"{PREFIX}/me", headers={"Host": host, "Authorization": f"Bearer {api_world.admin_token}"})
            assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed"), host
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        headers = {"Authorization": f"Bearer {api_world.admin_token}"}
        with socket.create_connection(("127.0.0.1", port)) as there, pytest.raises(InvalidStatus) as caught:
            async with connect("ws://evil.example.com/ws/agent-upgrades", additional_headers=headers, proxy=None, sock=there):
                pass
        assert caught.value.response.status_code == 421


def asked(app: FastAPI) -> None:
    @app.get("/assets/asked")
    async def shown(request: Request) -> dict[str, str]:
        return {"scheme": request.url.scheme, "client": request.client.host if request.client else ""}


@pytest.mark.parametrize(("proxies", "believed"), [((), False), (("10.0.0.0/8",), False), (("127.0.0.0/8",), True)])
async def test_forwarding_headers_count_from_trusted_proxies_only(proxies: tuple[str, ...], believed: bool) -> None:
    app = FastAPI()
    asked(app)
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    async with served(app, Edge(trusted_proxies=proxies)) as port, httpx.AsyncClient() as client:
        found = (await client.get(f"http://127.0.0.1:{port}/assets/asked", headers=forged)).json()
    assert found == ({"scheme": "https", "client": "192.0.2.7"} if believed else {"scheme": "http", "client": "127.0.0.1"})


async def test_a_connection_that_never_finishes_its_headers_is_cut_and_a_working_one_is_not(
    api_world: ApiWorld,
) -> None:
    async with served(api_world.app, Edge(head_seconds=0.5)) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
                slow.sendall(said)
                assert await to_thread.run_sync(slow.recv, 100) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as again:
            again.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (await to_thread.run_sync(again.recv, 10_000)).startswith(b"HTTP/1.1 200")
            again.sendall(b"GET /healthz HT")
            rest = b""
            while piece := await to_thread.run_sync(again.recv, 10_000):
                rest += piece
            assert b"HTTP/1.1 2" not in rest
        headers = {"Authorization": f"Bearer {api_world.admin_token}"}
        async with connect(f"ws://127.0.0.1:{port}/ws/agent-upgrades", additional_headers=headers, proxy=None) as live:
            # A WebSocket that is silent for longer than headers may take stays.
            with anyio.move_on_after(1.5):
                await live.recv()
            await live.send('{"action": "ping"}')
            assert "pong" in str(await live.recv())
        assert (await client.get("/healthz")).status_code == 200


async def test_every_answer_says_how_it_may_be_used_and_over_tls_that_it_stays_so(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        for path in ("/", "/docs", "/healthz", "/openapi.json", f"{PREFIX}/me", f"{PREFIX}/nothing", "/assets/docs/docs.js", "/metrics"):
            answer = await client.get(path)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy, path
            assert "frame-ancestors 'none'" in policy, path
            assert "unsafe-eval" not in policy, path
            assert "script-src 'self' 'unsafe" not in policy, path
            wanted = {
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
            }
            assert {name: answer.headers[name] for name in wanted} == wanted, path
            assert "Strict-Transport-Security" not in answer.headers
            assert "Server" not in answer.headers
        secure = await client.get("https://server/healthz")
        assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_settings_of_the_edge_are_checked_at_the_start() -> None:
    assert listed(" a.example.org , ,*.b.example.org") == ("a.example.org", "*.b.example.org")
    assert Settings(trusted_proxies="10.0.0.0/8, ::1", allowed_hosts="a.example.org,*.b.example.org").tls_cert is None
    for wrong, words in (
        ({"trusted_proxies": "10.0.0.1/8"}, "host bits"),
        ({"trusted_proxies": "*"}, "does not appear to be"),
        ({"allowed_hosts": "https://a.example.org"}, "no host name"),
        ({"allowed_hosts": "*"}, "no host name"),
        ({"tls_cert": "a.pem"}, "belong together"),
    ):
        with pytest.raises(ValueError, match=words):
            Settings(**wrong)
