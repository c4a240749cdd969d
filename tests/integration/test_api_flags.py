"""Feature flags over the OpenFeature Remote Evaluation Protocol, read with plain requests and with OpenFeature's own client."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from anyio import to_thread
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from agent_servicing.web.app import PREFIX
from agent_servicing.web.server import uvicorn_config
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio

FLAGS = """
[config.defaults.servicing.flags]
new-ranking = true
greeting = "hello"
share = 0.25
attempts = 3
limits = { tokens = 1000 }
colour = { value = "blue", variants = { blue = "#00f", green = "#0f0" } }
broken = { value = "red", variants = { blue = "#00f" } }
"""
ALL, ONE = "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/new-ranking"
CONTEXT = {"context": {"agent": AGENT, "targetingKey": "user-7"}}


@pytest.fixture
async def world(api_world: ApiWorld) -> AsyncIterator[ApiWorld]:
    """With an agent whose configuration has flags."""
    async with api_world.client(api_world.admin_token) as client:
        added = await client.post(f"{PREFIX}/agents", json={"manifest": MANIFEST + FLAGS, "version": "1.2.5"})
        assert added.status_code == 201, added.text
        await api_world.until(client, added.json()["upgrade_id"], "completed")
        yield api_world


def instance_token(world: ApiWorld, number: int = 0) -> str:
    return world.runtime.token_of(AGENT, sorted(world.runtime.processes[AGENT])[number])


async def test_an_instance_reads_the_flags_of_its_own_agent(world: ApiWorld) -> None:
    async with world.client(instance_token(world)) as client:
        one = await client.post(ONE, json={"context": {"agent": "is not looked at"}})
        assert (one.status_code, one.json()) == (200, {"key": "new-ranking", "value": True, "reason": "STATIC", "variant": "default"})
        assert (await client.post(f"{ALL}/colour")).json() == {"key": "colour", "value": "#00f", "reason": "STATIC", "variant": "blue"}
        flags: list[dict[str, Any]] = (await client.post(ALL, json={})).json()["flags"]
        assert [flag["key"] for flag in flags] == ["attempts", "broken", "colour", "greeting", "limits", "new-ranking", "share"]
        assert flags[1]["errorCode"] == "PARSE_ERROR"
        assert (await client.get(f"{PREFIX}/agents/{AGENT}")).status_code == 401  # it opens nothing else


async def test_all_flags_are_sent_again_only_when_one_has_changed(world: ApiWorld) -> None:
    async with world.client(instance_token(world)) as client:
        first = await client.post(ALL, json={})
        again = await client.post(ALL, json={}, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        other = await client.post(ALL, json={}, headers={"If-None-Match": '"something-else"'})
        assert other.json() == first.json()


async def test_anybody_else_names_the_agent_in_the_context_or_in_a_header(world: ApiWorld) -> None:
    async with world.client(await world.token("viewer")) as client:
        assert (await client.post(ONE, json=CONTEXT)).json()["value"] is True
        assert (await client.post(ONE, headers={"X-Servicing-Agent": AGENT})).json()["value"] is True
        for refused in (await client.post(ONE), await client.post(ALL, json={"context": {"agent": "../x"}})):
            assert refused.status_code == 400
            assert (refused.json()["errorCode"], refused.json()["code"]) == ("INVALID_CONTEXT", "invalid_context")
            assert "X-Servicing-Agent" in refused.json()["errorDetails"]
        unknown = await client.post(ALL, headers={"X-Servicing-Agent": "Nobody"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_agent")
    async with world.client(await world.token("viewer", ["WowCache"])) as client:
        assert (await client.post(ONE, json=CONTEXT)).json()["code"] == "agent_out_of_reach"


async def test_what_cannot_be_evaluated_is_said_in_the_words_of_the_protocol(world: ApiWorld) -> None:
    async with world.client(instance_token(world)) as client:
        missing = await client.post(f"{ALL}/nothing", json={})
        assert missing.status_code == 404
        assert (missing.json()["errorCode"], missing.json()["key"]) == ("FLAG_NOT_FOUND", "nothing")
        broken = await client.post(f"{ALL}/broken", json={})
        assert (broken.status_code, broken.json()["errorCode"], broken.json()["code"]) == (400, "PARSE_ERROR", "unusable_flag")
        assert broken.json()["errorDetails"] == "The flag broken cannot be used: value must name one of its variants: blue."
        for content in (b"[]", b"{", b'{"context": []}'):
            answer = await client.post(ONE, content=content, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["errorCode"]) == (400, "PARSE_ERROR"), content


async def test_an_agent_without_flags_has_none(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        assert (await client.post(ALL, json=CONTEXT)).json() == {"flags": []}


@pytest.fixture
async def client(world: ApiWorld) -> AsyncIterator[OpenFeatureClient]:
    """OpenFeature's client with its OFREP provider, against a real socket."""
    server = uvicorn.Server(uvicorn_config(world.app, host="127.0.0.1", port=0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        with anyio.fail_after(30):
            while not server.started:
                await anyio.lowlevel.checkpoint()
        port = server.servers[0].sockets[0].getsockname()[1]
        token = instance_token(world)
        provider = OFREPProvider(f"http://127.0.0.1:{port}", headers_factory=lambda: {"Authorization": f"Bearer {token}"})
        api.set_provider(provider)
        yield api.get_client()
        provider.session.close()
        api.clear_providers()
        server.should_exit = True


async def test_openfeatures_own_client_reads_every_type_of_flag(client: OpenFeatureClient) -> None:
    def read() -> tuple[object, ...]:
        return (
            client.get_boolean_value("new-ranking", False),
            client.get_string_value("greeting", "", EvaluationContext("user-7", {"plan": "free"})),
            client.get_float_value("share", 0.0),
            client.get_integer_value("attempts", 0),
            client.get_object_value("limits", {}),
            client.get_string_details("colour", "").variant,
        )

    assert await to_thread.run_sync(read) == (True, "hello", 0.25, 3, {"tokens": 1000}, "blue")


async def test_openfeatures_own_client_falls_back_to_its_default_and_knows_why(client: OpenFeatureClient) -> None:
    missing = await to_thread.run_sync(client.get_boolean_details, "nothing", True)
    assert (missing.value, missing.error_code) == (True, "FLAG_NOT_FOUND")
    broken = await to_thread.run_sync(client.get_string_details, "broken", "grey")
    assert (broken.value, broken.error_code) == ("grey", "PARSE_ERROR")
    wrong = await to_thread.run_sync(client.get_boolean_details, "greeting", False)
    assert (wrong.value, wrong.error_code) == (False, "TYPE_MISMATCH")
