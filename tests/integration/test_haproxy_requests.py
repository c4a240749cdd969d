"""Which agent, which version, which answer: single requests through the real data plane."""

import json
from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.router.haproxy_rules import error_pages
from agent_servicing.core.errors import PermanentError
from agent_servicing.core.manifest import ConversationKey
from tests.integration.haproxy_world import AGENT, generation, open_world, routing

pytestmark = pytest.mark.anyio


async def test_a_request_reaches_its_agent_without_the_prefix(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.2.5", one.backend())))
        for path, seen in {"/a/b?c=d": "/a/b?c=d", "": "/", "/": "/", "?x=1": "/?x=1", "//a//b": "//a//b", "/a%2Fb": "/a%2Fb"}.items():
            answer = await world.get(path)
            assert answer.json()["path"] == seen
            assert answer.headers["x-served-by"] == f"{AGENT}@1.2.5/one"
            assert answer.json()["headers"]["x-forwarded-prefix"] == f"/{AGENT}"
            assert answer.json()["headers"]["x-forwarded-proto"] == "http"
            assert answer.json()["headers"]["x-forwarded-for"] == "127.0.0.1"


async def test_a_host_name_reaches_its_agent_whatever_its_case_and_keeps_the_path(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.2.5", one.backend())))
        headers = {"Host": "wowMEMORY.agents.example:8800", "X-Forwarded-Prefix": "/forged"}
        answer = await world.http.get(f"{world.router.url}/{AGENT}/a", headers=headers)
        assert answer.json()["path"] == f"/{AGENT}/a"
        assert "x-forwarded-prefix" not in answer.json()["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/servicing/config/commit",
        "/.well-known/servicing",
        "/.WELL-known/Servicing/info",
        "/%2ewell-known/servicing/info",
        "/.well-known%2fservicing/info",
        "/.well-known//servicing/info",
        "/.well-known/./servicing/info",
        "//.well-known/servicing/info",
        "/a/../.well-known/servicing/info",
        "/%252ewell-known/servicing/info",
    ],
)
async def test_what_is_between_an_instance_and_its_server_is_not_reachable_from_outside(tmp_path: Path, path: str) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.2.5", one.backend())))
        assert (await world.raw(f"/{AGENT}{path}")).startswith("HTTP/1.1 404")
        assert (await world.raw(path, host=f"{AGENT.lower()}.agents.example")).startswith("HTTP/1.1 404")
        assert (await world.get("/.well-known/acme")).status_code == 200


async def test_an_unknown_agent_gets_404_and_a_path_has_one_spelling(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.router.apply(routing(generation(1, "1.0.0")))
        for agent in ("Nobody", AGENT.lower(), "", "%0d%0aX-Evil: 1"):
            answer = await world.get("/x", agent)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-served-by"] == "-@-/router"
            assert answer.json()["status"] == 404
            assert "x-evil" not in answer.headers


async def test_an_agent_with_nothing_to_serve_says_so_to_programs_and_people(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.router.apply(routing(generation(1, "1.0.0")))
        answer = await world.get("/x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["x-served-by"] == f"{AGENT}@-/router"
        assert answer.json()["title"] == "The agent has nothing to serve this request"
        page = await world.get("/x", headers={"Accept": "text/html,*/*"})
        assert (page.status_code, page.headers["retry-after"]) == (503, "2")
        assert "<h1>The agent has nothing to serve this request</h1>" in page.text
        counters = await world.counters()
        assert counters.unserved == 2


async def test_an_instance_that_refuses_connections_is_told_from_an_agent_with_none(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        one.kill()
        answer = await world.get("/x")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("key", "request_of"),
    [
        (ConversationKey(kind="header", name="X-Conversation-Id"), {"headers": {"x-conversation-id": "c7, with a comma"}}),
        (ConversationKey(kind="header", name="X-Session.Id"), {"headers": {"x-session.id": "c7"}}),
        (ConversationKey(kind="cookie", name="session"), {"headers": {"Cookie": "a=b; session=c7"}}),
        (ConversationKey(kind="query", name="conversation_id"), {"params": {"a": "b", "conversation_id": "c7"}}),
    ],
    ids=str,
)
async def test_a_conversation_is_recognised_by_any_kind_of_key(tmp_path: Path, key: ConversationKey, request_of: dict[str, object]) -> None:
    async with open_world(tmp_path) as world:
        one, two = await world.fleet("one", "two")
        generations = generation(1, "1.0.0", one.backend()), generation(2, "2.0.0", two.backend())
        await world.router.apply(routing(*generations, key=key, candidate=2, share=0.0))
        assert (await world.get("/who", **request_of)).json()["instance"] == "one"
        await world.router.apply(routing(*generations, key=key, candidate=2, share=100.0))
        assert (await world.get("/who", **request_of)).json()["instance"] == "one"
        assert (await world.get("/who")).json()["instance"] == "two"


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (["servicing_session=secret"], None),
        (["a=b; servicing_session=secret; c=d"], "a=b; c=d"),
        (["__Host-servicing_session=secret; a=b"], "a=b"),
        (["a=b;servicing_oidc =secret"], "a=b"),
        (["servicing_session=secret; servicing_session=secret; a=b=c"], "a=b=c"),
        (["a=b; servicing_session=secret", "SERVICING_session=secret; c=d"], "a=b | c=d"),
        (["a=b; =servicing_session=secret"], "a=b"),
        (['a="x, y"; my_servicing_session=mine; b=servicing_session'], 'a="x, y"; my_servicing_session=mine; b=servicing_session'),
        (["servicing_theme=dark; servicing_session=secret"], "servicing_theme=dark"),
    ],
)
async def test_the_servers_own_cookies_never_reach_an_agent_and_others_do(tmp_path: Path, sent: list[str], seen: str | None) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.2.5", one.backend())))
        answer = await world.get("/a", headers=[("Cookie", value) for value in sent])
        assert answer.json()["headers"].get("cookie") == seen
        assert "secret" not in answer.text


async def test_an_agent_sets_its_cookies_and_never_the_servers(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.2.5", one.backend())))
        given = "a=b; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "x=servicing_session; Path=/x"
        forged = "servicing_session=planted; Path=/", "__Host-servicing_session=planted; Secure", "=servicing_session=planted"
        answer = await world.get("/a", headers={"x-set-cookies": "|".join((given[0], *forged, given[1]))})
        assert answer.headers.get_list("set-cookie") == list(given)


async def test_a_stream_is_passed_on_event_by_event(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        async with world.http.stream("GET", f"{world.router.url}/{AGENT}/sse/3") as stream:
            lines = stream.aiter_lines()
            for number in range(3):
                # The agent sends the next event only when it is told to, so nothing can have been held back.
                assert await anext(lines) == f"data: one {number}"
                assert await anext(lines) == ""
                await world.get("/next")


async def test_an_upgraded_connection_is_passed_on_in_both_directions(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        await world.router.apply(routing(generation(1, "1.0.0", one.backend())))
        async with await anyio.connect_tcp("127.0.0.1", world.router.port) as stream:
            await stream.send(f"GET /{AGENT}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n".encode())
            head = await stream.receive()
            assert head.startswith(b"HTTP/1.1 101")
            for word in (b"hello", b"again"):
                await stream.send(word)
                assert await stream.receive() == word


async def test_names_that_would_be_commands_are_refused_by_name(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        one = await world.agent("one")
        for bad in ("1.0.0;shutdown", "1.0 0", "a|b", ""):
            with pytest.raises(PermanentError, match="cannot be used as a name"):
                await world.router.apply(routing(generation(1, bad, one.backend())))
        assert (await world.router.observe(AGENT)).routing is None


def test_the_problem_documents_are_json() -> None:
    for line in error_pages():
        assert json.loads(line.split("'")[1])["status"] in (400, 408, 500, 502, 503, 504)
