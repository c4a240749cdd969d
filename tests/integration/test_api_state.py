"""State over HTTP: what is kept, copies of it, and who may do what."""

from pathlib import Path

import anyio
import pytest

from agent_servicing.adapters.system import SystemClock
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio

PATH = f"{PREFIX}/agents/{AGENT}/state"
KEEPS = f'{MANIFEST}\n[state]\ndirectory = "state"\nwrites = 2\n'


def keep(world: ApiWorld, text: str) -> None:
    folder = world.app.state.context.settings.data_dir / "agents" / AGENT / "state"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes").write_text(text)


async def test_a_snapshot_is_taken_listed_rehearsed_and_removed_and_the_audit_has_it_all(api_world: ApiWorld) -> None:
    api_world.source.manifest_text = KEEPS
    keep(api_world, "remember")
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        begun = await client.post(f"{PATH}/snapshots", json={"reason": "before the import"})
        assert begun.status_code == 202, begun.text
        name = begun.json()["snapshot"]
        with anyio.fail_after(60):
            while not (shown := (await client.get(PATH)).json())["snapshots"]:
                await SystemClock().sleep(0.01)
        (copy,) = shown["snapshots"]
        assert (shown["directory"], shown["schema"], shown["version"]) == ("state", 2, "1.2.5")
        assert (copy["snapshot"], copy["files"], copy["pinned"], copy["rehearsal"]) == (name, 1, True, None)
        tried = await client.post(f"{PATH}/snapshots/{name}/rehearse")
        assert (tried.status_code, tried.json()["rehearsal"]["passed"]) == (200, True)
        folder = Path((await client.post(f"{PATH}/snapshots/{name}/unpack")).json()["folder"])
        assert (folder / "notes").read_text() == "remember"
        again = await client.post(f"{PATH}/snapshots/{name}/unpack")
        assert (again.status_code, again.json()["code"]) == (409, "not_unpacked")
        assert (await client.delete(f"{PATH}/snapshots/{name}")).status_code == 204
        gone = await client.post(f"{PATH}/snapshots/{name}/rehearse")
        assert (gone.status_code, gone.json()["code"]) == (404, "unknown_snapshot")
        audit = (await client.get(f"{PREFIX}/audit", params={"limit": 4})).json()["events"]
        assert [event["type"] for event in audit] == ["snapshot_removed", "snapshot_unpacked", "snapshot_rehearsed", "snapshot_requested"]


async def test_an_upgrade_begins_with_a_copy_that_is_listed_under_its_name(api_world: ApiWorld) -> None:
    api_world.source.manifest_text = KEEPS
    keep(api_world, "remember")
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        name = (await api_world.upgrade(client))["upgrade_id"]
        with anyio.fail_after(60):
            while not (shown := (await client.get(PATH)).json())["snapshots"]:
                await api_world.turn()
        assert (shown["snapshots"][0]["snapshot"], shown["snapshots"][0]["version"]) == (name, "1.2.5")
        done = await api_world.until(client, name, "completed")
        assert (done["stages"][0]["stage"], done["stages"][0]["status"]) == ("snapshot_state", "completed")
        ways = (await client.get(PATH)).json()["ways_back"]
        assert [(way["version"], way["door"]) for way in ways] == [("1.2.5", "two_way")]


async def test_an_agent_without_state_has_nothing_to_copy(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        refused = await client.post(f"{PATH}/snapshots", json={"reason": "x"})
        assert (refused.status_code, refused.json()["code"]) == (409, "no_state")
        shown = (await client.get(PATH)).json()
        assert (shown["directory"], shown["snapshots"]) == (None, [])


async def test_a_viewer_looks_and_does_nothing(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
    async with api_world.client(await api_world.token("viewer")) as client:
        assert (await client.get(PATH)).status_code == 200
        assert (await client.post(f"{PATH}/snapshots", json={"reason": "x"})).status_code == 403
        assert (await client.delete(f"{PATH}/snapshots/x")).status_code == 403
