"""Many agents: lists that are searched, ordered and paged, all deployments in one, and an index that is never behind what is stored."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.services.fleet_index import FleetIndex
from agent_servicing.web.app import PREFIX
from tests.integration.access_world import a_browser, a_user
from tests.integration.api_world import AGENT, MANIFEST, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

NAMES = ("Ant", "Bee", "Cat", "Dog", "Eel")


async def take_on(world: ApiWorld, client: httpx.AsyncClient, names: Sequence[str]) -> None:
    """Serving agents at 1.2.4, of which 1.2.5 is an update."""
    for name in names:
        text = MANIFEST.replace(AGENT, name).replace("Remembers", f"An animal called {name.upper()}")
        added = await client.post(f"{PREFIX}/agents", json={"manifest": text, "version": "1.2.4"})
        assert added.status_code == 201, added.text
        await world.until(client, added.json()["upgrade_id"], "completed", agent=name)


async def the_list(client: httpx.AsyncClient, **query: Any) -> tuple[list[str], dict[str, Any]]:
    answer = await client.get(f"{PREFIX}/agents", params=query)
    assert answer.status_code == 200, answer.text
    return [agent["agent_id"] for agent in answer.json()["agents"]], answer.json()


async def in_need(client: httpx.AsyncClient) -> dict[str, list[str]]:
    """Who needs somebody, and why."""
    return {agent["agent_id"]: agent["attention"] for agent in (await the_list(client, attention=True))[1]["agents"]}


async def an_upgrade(client: httpx.AsyncClient, agent: str, **changes: Any) -> str:
    answer = await client.post(f"{PREFIX}/agents/{agent}/upgrade", json={**UPGRADE, "target_version": "1.2.5", **changes})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["upgrade_id"])


async def test_agents_are_searched_ordered_and_paged(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await take_on(api_world, client, NAMES)
        names, answer = await the_list(client, limit=2)
        assert (names, answer["total"], answer["next_cursor"]) == (["Ant", "Bee"], 5, "Bee")
        assert (await the_list(client, limit=2, cursor="Bee"))[0] == ["Cat", "Dog"]
        assert (await the_list(client, limit=2, cursor="Dog"))[1]["next_cursor"] is None
        assert (await the_list(client, q="called DO"))[0] == ["Dog"]
        assert (await the_list(client, q="called do cat"))[1]["total"] == 0
        assert (await the_list(client, descending=True, limit=2))[0] == ["Eel", "Dog"]
        assert (await the_list(client, sort="deployed", limit=1))[0] == ["Eel"]
        await api_world.until(client, await an_upgrade(client, "Cat"), "completed", agent="Cat")
        assert (await the_list(client, sort="update"))[0] == ["Ant", "Bee", "Dog", "Eel", "Cat"]
        marked = await client.post(f"{PREFIX}/agents/Dog/versions/1.2.4/withdraw", json={"reason": "loses memories"})
        assert marked.status_code == 200, marked.text
        assert await in_need(client) == {"Dog": ["withdrawn"]}
        assert (await the_list(client, sort="update", limit=1))[0] == ["Dog"]
        api_world.runtime.behaviour("1.3.0").crashes = True
        api_world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
        await client.post(f"{PREFIX}/agents/Bee/versions/refresh")
        await api_world.until(client, await an_upgrade(client, "Bee", target_version="1.3.0"), "rolled_back", "failed", agent="Bee")
        assert await in_need(client) == {"Bee": ["went_wrong"], "Dog": ["withdrawn"]}
        begun = await an_upgrade(client, "Ant", blue_green={"steps": [50, 100], "monitor_seconds": 600})
        await api_world.until(client, begun, "in_progress", agent="Ant")
        await client.post(f"{PREFIX}/agents/Ant/rollback", json={"reason": "a person decided"})
        await api_world.until(client, begun, "cancelled", agent="Ant")
        assert "Ant" not in await in_need(client)
        api_world.clock.advance(24 * 3600 + 1)
        assert await in_need(client) == {"Dog": ["withdrawn"]}
        assert (await the_list(client, health="healthy", q="dog"))[0] == ["Dog"]
        assert (await the_list(client, health="down"))[0] == []
        assert (await client.get(f"{PREFIX}/fleet/names")).json() == {"agents": list(NAMES), "complete": True}
        refused = await client.get(f"{PREFIX}/agents", params={"sort": "beauty"})
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "query.sort")


async def test_all_deployments_come_in_one_list_by_state_and_agent(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await take_on(api_world, client, NAMES[:3])
        await client.put(f"{PREFIX}/agents/Bee/approval", json={"required": True, "reason": "two look at it"})
        running = await an_upgrade(client, "Ant", blue_green={"steps": [50, 100], "monitor_seconds": 600})
        wanted = await an_upgrade(client, "Bee", schedule="2026-06-01T02:00:00Z")
        later = await an_upgrade(client, "Cat", schedule="2026-06-01T02:00:00Z")
        await api_world.until(client, running, "in_progress", agent="Ant")

        async def listed(**query: Any) -> tuple[list[str], dict[str, Any]]:
            answer = (await client.get(f"{PREFIX}/deployments", params=query)).json()
            return [each["upgrade_id"] for each in answer["upgrades"]], answer

        every, answer = await listed()
        assert (len(every), every[:3]) == (6, [later, wanted, running])
        assert answer["counts"] == {"open": 3, "upcoming": 1, "waiting": 1, "running": 1}
        assert answer["upgrades"][2]["metrics"]["green"]["version"] == "1.2.5"
        assert (await listed(state="upcoming"))[0] == [later]
        assert (await listed(state="waiting"))[0] == [wanted]
        assert (await listed(state="running"))[0] == [running]
        assert (await listed(state="open"))[0] == [later, wanted, running]
        over, answer = await listed(state="over", limit=2)
        assert len(over) == 2
        assert (await listed(state="over", limit=2, cursor=answer["next_cursor"]))[0] == [every[-1]]
        of_bee, answer = await listed(agent="Bee")
        assert (of_bee[0], len(of_bee), answer["counts"]["open"]) == (wanted, 2, 1)


async def test_what_a_token_or_a_person_does_not_reach_is_in_no_list(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await take_on(api_world, client, NAMES[:3])
    await a_user(api_world, "ada", "viewer", agents=frozenset({"Ant"}), grants={"Cat": "operator"})
    async with a_browser(api_world) as ada:
        await ada.sign_in("ada")
        assert (await ada.get("fleet/names")).json()["agents"] == ["Ant", "Cat"]
        assert {each["agent_id"] for each in (await ada.get("deployments")).json()["upgrades"]} == {"Ant", "Cat"}
        assert (await ada.get("deployments")).json()["counts"]["open"] == 0
    token = await api_world.token("viewer", ["Bee"])
    async with api_world.client(token) as client:
        names, answer = await the_list(client)
        assert (names, answer["total"]) == (["Bee"], 1)
        assert (await client.get(f"{PREFIX}/fleet/names")).json()["agents"] == ["Bee"]
        deployments = (await client.get(f"{PREFIX}/deployments")).json()
        assert {each["agent_id"] for each in deployments["upgrades"]} == {"Bee"}
        assert (await client.get(f"{PREFIX}/deployments", params={"agent": "Cat"})).status_code == 403


async def test_lists_are_never_behind_what_is_stored(api_world: ApiWorld) -> None:
    """After every act and every turn the index that was kept says what a new one reads."""

    async def same() -> None:
        kept, read = await api_world.services.fleet.views(), await FleetIndex(api_world.database).views()
        assert kept == read

    async with api_world.client(api_world.admin_token) as client:

        async def act(method: str, place: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            answer = await client.request(method, f"{PREFIX}/agents{place}", json=body)
            assert answer.is_success, answer.text
            await same()
            return dict(answer.json()) if answer.content else {}

        async def until(upgrade: str, status: str) -> None:
            for _ in range(300):
                if (await client.get(f"{PREFIX}/agents/{AGENT}/upgrades/{upgrade}")).json()["status"] == status:
                    return
                await api_world.turn()
                await same()
            raise AssertionError(upgrade)

        for _ in range(2):  # the second time under a name that was there before
            added = await act("POST", "", {"manifest": MANIFEST, "version": "1.2.4"})
            await until(added["upgrade_id"], "completed")
            api_world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
            await act("POST", f"/{AGENT}/versions/refresh")
            await act("POST", f"/{AGENT}/versions/1.2.4/withdraw", {"reason": "loses memories"})
            await act("POST", f"/{AGENT}/versions/1.2.4/restore", {"reason": "it does not"})
            upgrade = await act("POST", f"/{AGENT}/upgrade", {**UPGRADE, "target_version": "1.2.5"})
            waiting = await act("POST", f"/{AGENT}/upgrade", {**UPGRADE, "schedule": "2026-06-01T02:00:00Z"})
            await act("POST", f"/{AGENT}/upgrades/{waiting['upgrade_id']}/cancel")
            await until(upgrade["upgrade_id"], "completed")
            await act("POST", f"/{AGENT}/scale", {"instances": 3})
            api_world.source.names = ["1.2.4", "1.2.5"]
            await act("POST", f"/{AGENT}/versions/refresh")
            back = await act("POST", f"/{AGENT}/rollback", {"reason": "slower"})
            await until(back["upgrade_id"], "completed")
            await act("DELETE", f"/{AGENT}?reason=over")
            for _ in range(60):
                await api_world.turn()
                await same()
            assert await api_world.services.fleet.views() == {}


async def test_many_that_ask_at_once_share_a_look_and_none_gets_an_older_one(api_world: ApiWorld) -> None:
    looks = 0

    class Counted:
        """The database, counting who reads it."""

        mark = None

        @asynccontextmanager
        async def read(self) -> AsyncIterator[AsyncConnection]:
            nonlocal looks
            looks += 1
            async with api_world.database.read() as connection:
                yield connection

    index = FleetIndex(Counted())  # type: ignore[arg-type]
    async with api_world.client(api_world.admin_token) as client:
        await take_on(api_world, client, NAMES[:2])
        seen: list[int] = []

        async def ask() -> None:
            seen.append(len(await index.views()))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask)
        assert seen == [2] * 20
        assert looks <= 2
        await take_on(api_world, client, NAMES[2:3])
        assert list(await index.views()) == list(NAMES[:3])
