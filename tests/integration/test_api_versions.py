"""Versions over the API: the list with its advice, deprecating, withdrawing and restoring."""

import pytest

from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, ApiWorld

pytestmark = pytest.mark.anyio
VERSIONS = f"{PREFIX}/agents/{AGENT}/versions"


async def test_a_version_is_withdrawn_refused_and_restored(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        await api_world.add(client)
        api_world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
        await client.post(f"{VERSIONS}/refresh")
        listed = (await client.get(VERSIONS)).json()
        assert listed["recommended"]["version"] == "1.3.0"
        assert listed["newest"] == {"patch": None, "minor": "1.3.0", "major": None}
        marked = await client.post(f"{VERSIONS}/1.3.0/withdraw", json={"reason": "loses memories"})
        assert marked.status_code == 200, marked.text
        assert (marked.json()["standing"], marked.json()["running"], marked.json()["cancelled"]) == ("withdrawn", False, [])
        refused = await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={"target_version": "1.3.0", "reason": "try"})
        assert (refused.status_code, refused.json()["code"]) == (409, "version_withdrawn")
        listed = (await client.get(VERSIONS)).json()
        assert (listed["available_versions"], listed["recommended"]) == ([], None)
        assert listed["versions"][0]["standing_reason"] == "loses memories"
        agent = (await client.get(f"{PREFIX}/agents/{AGENT}")).json()
        assert (agent["update_available"], agent["update_urgency"], agent["current_standing"]) == (False, None, "available")
        assert (await client.post(f"{VERSIONS}/1.3.0/restore", json={"reason": "false alarm"})).json()["standing"] == "available"
        again = await client.post(f"{VERSIONS}/1.3.0/restore", json={"reason": "false alarm"})
        assert (again.status_code, again.json()["code"]) == (409, "standing_unchanged")


async def test_a_withdrawn_rollback_point_needs_the_override(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        done = await api_world.upgrade(client)
        await api_world.until(client, done["upgrade_id"], "completed")
        await client.post(f"{VERSIONS}/1.2.5/withdraw", json={"reason": "leaks"})
        body = {"target_version": "1.2.5", "reason": "all is on fire"}
        refused = await client.post(f"{PREFIX}/agents/{AGENT}/rollback", json=body)
        assert (refused.status_code, refused.json()["code"], refused.json()["rollback_points"]) == (409, "version_withdrawn", [])
        back = await client.post(f"{PREFIX}/agents/{AGENT}/rollback", json={**body, "override_withdrawn": True})
        assert back.status_code == 202, back.text
        await api_world.until(client, back.json()["upgrade_id"], "completed")
        assert (await client.get(f"{PREFIX}/fleet")).json()["withdrawn_running"] == 1


@pytest.mark.parametrize(
    ("version", "body", "status", "code"),
    [
        ("9.9.9", {"reason": "x"}, 404, "unknown_version"),
        ("latest", {"reason": "x"}, 422, "invalid"),
        ("1.2.5", {"reason": " "}, 422, "invalid_request"),
        ("1.2.5", {}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_marked_is_refused(api_world: ApiWorld, version: str, body: dict, status: int, code: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        answer = await client.post(f"{VERSIONS}/{version}/withdraw", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
