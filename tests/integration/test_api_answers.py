"""Answers that are given again for a moment: to the same caller only, and never after anything was written."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent_servicing.services.generations import WorkView
from agent_servicing.web.answers import ANSWER_BYTES_MAX, BYTES_MAX, KEPT_SECONDS, PATHS, AnswersMiddleware
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio

INSTANCES = f"{PREFIX}/agents/{AGENT}/instances"


class Watched:
    """The service that is asked, counting how often it is."""

    def __init__(self, world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks, work = 0, world.services.generations.work

        async def counted(agent: str) -> WorkView:
            self.looks += 1
            return await work(agent)

        monkeypatch.setattr(world.services.generations, "work", counted)


@pytest.fixture
async def admin(api_world: ApiWorld) -> AsyncIterator[httpx.AsyncClient]:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        yield client


async def test_the_same_question_within_a_second_is_answered_once(
    api_world: ApiWorld, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(api_world, monkeypatch)
    answers = [await admin.get(INSTANCES) for _ in range(3)]
    assert watched.looks == 1
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3, "each has what belongs to its own request"
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}
    assert (await admin.head(INSTANCES)).content == b""
    assert (await admin.get(INSTANCES, params={"more": "1"})).text == answers[0].text
    assert watched.looks == 2, "another address is another question"
    api_world.clock.advance(KEPT_SECONDS)
    await admin.get(INSTANCES)
    assert watched.looks == 3


async def test_whoever_wrote_finds_it_in_the_next_answer(api_world: ApiWorld, admin: httpx.AsyncClient) -> None:
    for number in (3, 4, 5):
        before = (await admin.get(f"{PREFIX}/agents/{AGENT}")).json()
        assert (await admin.post(f"{PREFIX}/agents/{AGENT}/scale", json={"instances": number})).status_code == 202
        for _ in range(3):
            await api_world.turn()
        after = (await admin.get(f"{PREFIX}/agents/{AGENT}")).json()
        assert (before["health"]["desired"], after["health"]["desired"]) == (number - 1, number)


async def test_nobody_gets_what_was_answered_to_somebody_else(api_world: ApiWorld, admin: httpx.AsyncClient) -> None:
    assert (await admin.get(f"{PREFIX}/agents")).json()["total"] == 1
    stranger = await api_world.token("viewer", ["Another"])
    await admin.get(INSTANCES)
    async with api_world.client(stranger) as client:
        assert (await client.get(f"{PREFIX}/agents")).json()["total"] == 0
        assert (await client.get(INSTANCES)).status_code == 403
    async with api_world.client(None) as client:
        assert (await client.get(INSTANCES)).status_code == 401


async def test_an_error_is_not_kept(api_world: ApiWorld, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(agent: str) -> None:
        raise RuntimeError(agent)

    with monkeypatch.context() as broken:
        broken.setattr(api_world.services.generations, "work", gone)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(api_world.app, raise_app_exceptions=False), base_url="http://server", headers=admin.headers
        ) as client:
            assert (await client.get(INSTANCES)).status_code == 500
    assert (await admin.get(INSTANCES)).status_code == 200


async def test_however_many_questions_there_are_the_answers_fit(api_world: ApiWorld) -> None:
    asked: list[bytes] = []

    async def long_answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["query_string"])
        await Response(bytes(ANSWER_BYTES_MAX + (scope["query_string"] == b"longer")))(scope, receive, send)

    middleware = AnswersMiddleware(long_answer, api_world.app.state.context)
    caller = SimpleNamespace(token_id="somebody")

    async def ask(query: str) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await middleware({**scope, "state": {"caller": caller}}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            assert len((await client.get(f"{INSTANCES}?{query}")).content) >= ANSWER_BYTES_MAX

    fitting = BYTES_MAX // ANSWER_BYTES_MAX
    for _ in range(2):
        for number in range(fitting):
            await ask(f"n={number}")
    assert len(asked) == fitting, "as many as fit are kept"
    await ask("one-more")
    await ask("n=0")
    assert asked[fitting:] == [b"one-more", b"n=0"], "one more, and those before are forgotten"
    for _ in range(2):
        await ask("longer")
    assert asked.count(b"longer") == 2, "what is too long is never kept"


@pytest.mark.parametrize(
    "path", ["audit/export", "agents/A/logs", "agents/A/metrics", "session", "me", "agents/A/config/secrets", "agents/A/link"]
)
def test_what_is_long_personal_or_from_elsewhere_is_asked_anew(path: str) -> None:
    assert not PATHS.fullmatch(f"{PREFIX}/{path}")
