"""State over HTTP: what is kept, copies of it, and who may do what."""

import json
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
        folder = Path((await client.post(f"{PATH}/snapshots/{name}/unpack", params={"reason": "to look"})).json()["folder"])
        assert (folder / "notes").read_text() == "remember"
        again = await client.post(f"{PATH}/snapshots/{name}/unpack")
        assert (again.status_code, again.json()["code"]) == (409, "not_unpacked")
        assert (await client.delete(f"{PATH}/snapshots/{name}", params={"reason": "looked"})).status_code == 204
        gone = await client.post(f"{PATH}/snapshots/{name}/rehearse")
        assert (gone.status_code, gone.json()["code"]) == (404, "unknown_snapshot")
        audit = (await client.get(f"{PREFIX}/audit", params={"limit": 4})).json()["events"]
        assert [event["type"] for event in audit] == ["snapshot_removed", "snapshot_unpacked", "snapshot_rehearsed", "snapshot_requested"]
        assert [event["reason"] for event in audit] == ["looked", "to look", "", "before the import"]


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


async def test_a_rollback_says_in_numbers_what_becomes_of_the_state_and_puts_the_snapshot_back(api_world: ApiWorld) -> None:
    api_world.source.manifest_text = KEEPS
    keep(api_world, "remember")
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        upgrade = (await api_world.upgrade(client))["upgrade_id"]
        await api_world.until(client, upgrade, "completed")
        keep(api_world, "written since")
        url = f"{PREFIX}/agents/{AGENT}/rollback"
        plan = await client.post(url, json={"dry_run": True, "state": "restore"})
        assert plan.status_code == 200, plan.text
        assert (plan.json()["written"]["records"], plan.json()["snapshot"], plan.json()["choice_needed"]) == (1, upgrade, False)
        assert [(c["state"], c["kept"], c["set_aside"]) for c in plan.json()["choices"]] == [("keep", 1, 0), ("restore", 0, 1)]
        assert plan.json()["stages"][0]["stage"] == "restore_state"
        asked = await client.post(url, json={"state": "restore", "reason": "it forgets"})
        assert asked.status_code == 202, asked.text
        done = await api_world.until(client, asked.json()["upgrade_id"], "completed")
        assert done["stages"][-1]["stage"] == "set_state_aside"
        shown = (await client.get(PATH)).json()
        (aside,) = shown["set_aside"]
        assert (shown["epoch"], aside["epoch"], aside["kept"], aside["set_aside"], aside["complete"]) == (1, 0, 0, 1, True)
        exported = await client.get(f"{PATH}/set-aside/0/records")
        assert exported.headers["content-type"].startswith("application/x-ndjson")
        assert [json.loads(line)["value"] for line in exported.text.splitlines()] == ["written since"]
        refused = await client.post(f"{PATH}/set-aside/0/offer")
        assert (refused.status_code, refused.json()["code"]) == (409, "nobody_takes_in")
        assert (await client.get(f"{PATH}/set-aside/7/records")).json()["code"] == "unknown_set_aside"
        gone = await client.request("DELETE", f"{PATH}/set-aside/0", json={"reason": "seen"})
        assert gone.status_code == 204
        assert (await client.get(PATH)).json()["set_aside"] == []
        audit = (await client.get(f"{PREFIX}/audit", params={"limit": 100})).json()["events"]
        assert {"set_aside_exported", "set_aside_discarded", "rollback_requested"} <= {event["type"] for event in audit}
    folder = api_world.app.state.context.settings.data_dir / "agents" / AGENT
    assert ((folder / "state" / "notes").read_text(), (folder / "state@1" / "notes").read_text()) == ("written since", "remember")


async def test_a_snapshot_that_cannot_be_used_is_refused_with_the_reason(api_world: ApiWorld) -> None:
    api_world.source.manifest_text = KEEPS
    keep(api_world, "remember")
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        url = f"{PREFIX}/agents/{AGENT}/rollback"
        for body, status, code in (
            ({"target_version": "1.2.5", "state": "restore"}, 409, "no_snapshot"),
            ({"target_version": "1.2.5", "state": "restore", "snapshot": "upg-nowhere"}, 404, "unknown_snapshot"),
            ({"target_version": "1.2.5", "state": "keep", "snapshot": "upg-nowhere"}, 422, "snapshot_without_restore"),
            ({"target_version": "1.2.5"}, 409, "not_a_rollback_point"),
        ):
            answer = await client.post(url, json={"reason": "x", **body})
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        missing = await client.post(url, json={"target_version": "1.2.5", "state": "restore"})
        assert (missing.status_code, missing.json()["code"]) == (422, "reason_missing")


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
