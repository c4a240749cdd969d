"""A new value of a secret brought to the agents that use it: by hot patches of their own, each named with what became of it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent_servicing.testing.channel import Manners
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld
from tests.integration.test_api_config import CONFIG, HERE, ask, installed, patch

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/secrets"
OTHER = "WowCache"


@pytest.fixture
async def client(api_world: ApiWorld) -> AsyncIterator[httpx.AsyncClient]:
    async with api_world.client(api_world.admin_token) as client:
        yield client


async def rotated(client: httpx.AsyncClient, name: str = "shared", value: str = "the second value") -> None:
    assert (await client.put(f"{PATH}/{name}", json={"value": value})).status_code == 200


async def applied(world: ApiWorld, client: httpx.AsyncClient, name: str = "shared", **body: Any) -> list[dict[str, Any]]:
    answer = await ask(world, client.post(f"{PATH}/{name}/apply", json=body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == name
    return list(answer.json()["deliveries"])


async def using_it(world: ApiWorld, client: httpx.AsyncClient) -> None:
    """An agent whose configuration refers to version 1."""
    await installed(world, client)
    assert (await client.put(f"{PATH}/shared", json={"value": "the first value"})).status_code == 200
    assert (await patch(world, client, {"api_key": {"$secret": "shared"}})).status_code == 200


async def test_a_new_version_waits_until_it_is_applied_and_then_every_instance_has_it(
    api_world: ApiWorld, client: httpx.AsyncClient
) -> None:
    await using_it(api_world, client)
    await rotated(client)
    (shown,) = (await client.get(PATH)).json()["secrets"]
    assert (shown["version"], [use["version"] for use in shown["used_by"]]) == (2, [1])
    (delivery,) = await applied(api_world, client, reason="the old one leaked")
    assert delivery == {"agent_id": AGENT, "status": "applied", "config_version": "cfg-1.2.5-p2", "reason": "", "code": None}
    held = [document.values["api_key"] for document in api_world.channel.applied.values()]
    assert held == [{"$secret": "shared", "version": 2}] * 2
    newest = (await client.get(f"{HERE}/config/revisions")).json()["revisions"][0]
    assert (newest["reason"], newest["operator"]) == ("the old one leaked", "admin")
    assert (await applied(api_world, client))[0]["status"] == "current"


async def test_references_of_places_and_temporary_values_follow_too(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await using_it(api_world, client)
    assert (await patch(api_world, client, {"api_key": {"$secret": "shared"}}, places=[2])).status_code == 200
    assert (await patch(api_world, client, {"api_key": {"$secret": "shared"}}, expires_seconds=3600)).status_code == 200
    await rotated(client)
    assert (await applied(api_world, client))[0]["status"] == "applied"
    uses = (await client.get(PATH)).json()["secrets"][0]["used_by"]
    assert {use["version"] for use in uses if use["in_force"]} == {2}


async def test_an_agent_that_refuses_the_value_keeps_what_it_has(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await using_it(api_world, client)
    await rotated(client)
    api_world.channel.manners["1.2.5"] = Manners(accepts=False)
    (delivery,) = await applied(api_world, client)
    assert (delivery["status"], delivery["code"]) == ("failed", "config_refused")
    await api_world.services.telling.notifications.follow()
    (told,) = (await client.get(f"{PREFIX}/notifications", params={"kind": "secret_not_delivered"})).json()["notifications"]
    assert told["title"] == f"{AGENT} did not get the newest version of the secret shared"
    held = [document.values["api_key"] for document in api_world.channel.applied.values()]
    assert held == [{"$secret": "shared", "version": 1}] * 2
    del api_world.channel.manners["1.2.5"]
    assert (await applied(api_world, client))[0]["status"] == "applied"


async def test_who_is_locked_is_named_and_the_others_get_it(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await using_it(api_world, client)
    api_world.source.manifest_text = (MANIFEST + CONFIG % "sdk").replace(AGENT, OTHER)
    answer = await client.post(f"{PREFIX}/agents", json={"manifest": api_world.source.manifest_text, "version": "1.2.5"})
    assert answer.status_code == 201, answer.text
    await api_world.until(client, answer.json()["upgrade_id"], "completed", agent=OTHER)
    change = {"config_updates": {"api_key": {"$secret": "shared"}}, "reason": "a test"}
    assert (await ask(api_world, client.patch(f"{PREFIX}/agents/{OTHER}/config", json=change))).status_code == 200
    async with api_world.client(await api_world.token("operator", name="nina")) as nina:
        assert (await nina.post(f"{HERE}/lock", json={"reason": "mine for now"})).status_code < 300
    await rotated(client)
    cache, memory = await applied(api_world, client)
    assert (cache["agent_id"], cache["status"]) == (OTHER, "applied")
    assert (memory["agent_id"], memory["status"], memory["code"]) == (AGENT, "failed", "agent_locked")
    assert "nina" in memory["reason"]


async def test_an_agent_that_reads_at_its_start_is_restarted_only_when_that_is_asked_for(
    api_world: ApiWorld, client: httpx.AsyncClient
) -> None:
    await installed(api_world, client, reload="restart")
    await client.put(f"{PATH}/shared", json={"value": "the first value"})
    change = {"config_updates": {"api_key": {"$secret": "shared"}}, "reason": "a test"}
    await api_world.until(client, (await client.patch(f"{HERE}/config", json=change)).json()["upgrade_id"], "completed")
    await rotated(client)
    assert (await applied(api_world, client))[0]["status"] == "needs_restart"
    (delivery,) = await applied(api_world, client, restart=True)
    assert (delivery["status"], delivery["reason"]) == ("applying", "restarting")
    newest = (await client.get(f"{HERE}/config/revisions")).json()["revisions"][0]
    await api_world.until(client, newest["upgrade_id"], "completed")
    assert (await applied(api_world, client))[0]["status"] == "current"


@pytest.mark.parametrize("version", ["", ", version = 1"], ids=["the newest", "a version"])
async def test_a_version_that_refers_to_it_itself(api_world: ApiWorld, client: httpx.AsyncClient, version: str) -> None:
    """Nothing the agent's operators set is in the way, so there is nothing to patch."""
    await client.put(f"{PATH}/shared", json={"value": "the first value"})
    api_world.source.manifest_text = MANIFEST + f'[config.defaults]\napi_key = {{ "$secret" = "shared"{version} }}\n'
    await api_world.add(client)
    assert (await applied(api_world, client))[0]["status"] == "current"
    api_world.clock.advance(1)
    await rotated(client)
    (delivery,) = await applied(api_world, client)
    if version:
        assert delivery["status"] == "pinned"
        assert "1.2.5 itself names version 1" in delivery["reason"]
        return
    assert delivery["status"] == "needs_restart"
    (delivery,) = await applied(api_world, client, restart=True)
    restart = delivery["reason"].removeprefix("restarted by ")
    await api_world.until(client, restart, "completed")
    assert (await applied(api_world, client, restart=True))[0]["status"] == "current"


async def test_who_may_not_set_a_secret_may_not_apply_it(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await using_it(api_world, client)
    async with api_world.client(await api_world.token("operator", [AGENT])) as operator:
        refused = await operator.post(f"{PATH}/shared/apply", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
    missing = await client.post(f"{PATH}/nobody/knows/apply", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_secret")


async def test_a_secret_that_nothing_uses_goes_nowhere(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await rotated(client)
    assert await applied(api_world, client) == []
