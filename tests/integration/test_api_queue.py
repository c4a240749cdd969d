"""One agent's queue and lock over HTTP: who comes next, who may change that, and what a lock keeps others from."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from agent_servicing.testing.clock import START
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

HERE = f"{PREFIX}/agents/{AGENT}"
SLOW = {"blue_green": {"steps": [50, 100], "monitor_seconds": 600}}


async def audit(client: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    return list((await client.get(f"{PREFIX}/audit", params={"type": kind})).json()["events"])


async def running(world: ApiWorld, client: httpx.AsyncClient) -> dict[str, Any]:
    """An upgrade to 1.3.0 under way."""
    await world.add(client)
    upgrade = await world.upgrade(client, **SLOW)
    world.source.names += ["1.5.0", "1.6.0"]
    await client.post(f"{HERE}/versions/refresh")
    return await world.until(client, upgrade["upgrade_id"], "in_progress")


async def ask(client: httpx.AsyncClient, version: str, **changes: Any) -> httpx.Response:
    return await client.post(f"{HERE}/upgrade", json={**UPGRADE, **SLOW, "target_version": version, **changes})


async def order(client: httpx.AsyncClient) -> list[str]:
    return [d["to_version"] for d in (await client.get(f"{HERE}/queue")).json()["queue"]]


async def test_the_queue_names_its_holder_and_shows_everybody_their_place(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        first = await running(api_world, client)
        for version in ("1.4.0", "1.5.0"):
            await ask(client, version)
        at = (api_world.clock.now() + timedelta(hours=5)).isoformat()
        await ask(client, "1.6.0", schedule=at)
        view = (await client.get(f"{HERE}/queue")).json()
        assert (view["holder"]["upgrade_id"], view["holder"]["operator"], view["holder"]["reason"]) == (
            first["upgrade_id"],
            "admin",
            "faster",
        )
        assert [(d["to_version"], d["queue_position"]) for d in view["queue"]] == [("1.4.0", 1), ("1.5.0", 2)]
        assert [(d["to_version"], d["queue_position"]) for d in view["scheduled"]] == [("1.6.0", None)]
        assert (view["lock"], view["gate"]) == (None, {"open": True, "reason": "", "until": None})
        back = (await client.post(f"{HERE}/rollback", json={"reason": "odd"})).json()
        assert back["queue_position"] == 1
        assert (await order(client)) == ["1.2.5", "1.4.0", "1.5.0"]
        assert (await client.get(f"{HERE}")).json()["queue"][0] == first["upgrade_id"]


async def test_a_place_in_the_queue_is_changed_and_the_engine_keeps_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        first = await running(api_world, client)
        waiting = [(await ask(client, version)).json() for version in ("1.4.0", "1.5.0", "1.6.0")]
        move = f"{HERE}/upgrades/{waiting[2]['upgrade_id']}/move"
        moved = (await client.post(move, json={"position": 1, "reason": "the fix first", "if_state": "queued", "if_version": 0})).json()
        assert (moved["queue_position"], moved["revision"]) == (1, 1)
        assert await order(client) == ["1.6.0", "1.4.0", "1.5.0"]
        stale = (await client.post(move, json={"position": 3, "if_version": 0})).json()
        assert (stale["code"], stale["current"]["revision"]) == ("version_mismatch", 1)
        for position in (0, 4, 99):
            assert (await client.post(move, json={"position": position})).status_code == 422
        (entry,) = await audit(client, "queue_moved")
        assert (entry["from_position"], entry["to_position"], entry["reason"]) == (3, 1, "the fix first")
        assert entry["after"][0] == waiting[2]["upgrade_id"]
        running_one = await client.post(f"{HERE}/upgrades/{first['upgrade_id']}/move", json={"position": 1})
        assert running_one.json()["code"] == "wrong_state"
        withdrawn = await client.post(f"{HERE}/upgrades/{waiting[0]['upgrade_id']}/cancel", json={})
        assert withdrawn.json()["status"] == "cancelled"
        assert await order(client) == ["1.6.0", "1.5.0"]
        await client.post(f"{HERE}/upgrades/{first['upgrade_id']}/cancel", json={})
        await api_world.until(client, waiting[2]["upgrade_id"], "in_progress")


async def test_a_waiting_start_is_put_off_and_brought_forward(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        at = api_world.clock.now() + timedelta(hours=1)
        upgrade = await api_world.upgrade(client, schedule=at.isoformat())
        path = f"{HERE}/upgrades/{upgrade['upgrade_id']}/reschedule"
        later = (await client.post(path, json={"schedule": (at + timedelta(days=1)).isoformat(), "start_grace_seconds": 5})).json()
        assert datetime.fromisoformat(later["scheduled_at"]) == at + timedelta(days=1)
        assert (later["status"], later["start_grace_seconds"]) == ("scheduled", 5)
        for body, code in (
            ({"schedule": (START - timedelta(days=1)).isoformat()}, "schedule_in_past"),
            ({"schedule": (START + timedelta(days=500)).isoformat()}, "bad_value"),
            ({"schedule": "tomorrow"}, "invalid_request"),
            ({}, "invalid_request"),
        ):
            answer = await client.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert (await client.post(path, json={"schedule": None, "if_state": "queued"})).json()["code"] == "state_mismatch"
        now = (await client.post(path, json={"schedule": None, "reason": "quiet already"})).json()
        assert (now["status"], now["scheduled_at"], now["queue_position"]) == ("queued", None, 1)
        await api_world.until(client, upgrade["upgrade_id"], "in_progress")
        assert (await client.post(path, json={"schedule": None})).json()["code"] == "wrong_state"
        entry = (await audit(client, "rescheduled"))[0]
        assert (entry["before"]["start_grace_seconds"], entry["after"]["scheduled_at"], entry["reason"]) == (5, None, "quiet already")


async def test_a_lock_keeps_others_from_everything_but_the_safe_side(api_world: ApiWorld) -> None:
    async with (
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(await api_world.token("operator", name="grace")) as grace,
        api_world.client(api_world.admin_token) as admin,
    ):
        first = await running(api_world, admin)
        waiting = (await ask(grace, "1.4.0")).json()
        lock = (await ada.post(f"{HERE}/lock", json={"reason": "by hand", "expires_in_seconds": 600})).json()
        assert (lock["holder"], lock["reason"]) == ("ada", "by hand")
        verbs = f"{HERE}/upgrades/{first['upgrade_id']}"
        queued = f"{HERE}/upgrades/{waiting['upgrade_id']}"
        for client, method, path, body in (
            (grace, "POST", f"{HERE}/upgrade", {**UPGRADE, "target_version": "1.5.0"}),
            (admin, "POST", f"{HERE}/upgrade", {**UPGRADE, "target_version": "1.5.0", "when_busy": "take_over"}),
            (grace, "POST", f"{HERE}/restart", {"reason": "x"}),
            (grace, "POST", f"{HERE}/scale", {"instances": 3}),
            (admin, "DELETE", HERE, None),
            (grace, "POST", f"{verbs}/promote", {}),
            (grace, "POST", f"{queued}/move", {"position": 1}),
            (grace, "POST", f"{queued}/reschedule", {"schedule": None}),
            (grace, "POST", f"{HERE}/lock", {"reason": "mine"}),
        ):
            answer = await client.request(method, path, json=body)
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (409, "agent_locked"), (path, problem)
            assert "locked by ada since 2026-01-01 00:0" in problem["detail"]
            assert problem["detail"].endswith("by hand.")
            assert "Rollbacks pass" in problem["hint"]
        dry = (await grace.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.5.0", "dry_run": True})).json()
        assert [r["code"] for r in dry["refusals"]] == ["agent_locked"]
        assert (await grace.post(f"{verbs}/pause", json={})).status_code == 202
        assert (await ada.post(f"{verbs}/promote", json={})).status_code == 202
        assert (await grace.post(f"{verbs}/cancel", json={})).status_code == 202
        await api_world.until(admin, first["upgrade_id"], "rolled_back", "cancelled")
        for _ in range(5):
            await api_world.turn()
        held = (await grace.get(queued)).json()
        assert held["status"] == "queued"
        assert "is locked by ada" in held["message"]
        assert (await ada.delete(f"{HERE}/lock")).json()["holder"] == "ada"
        await api_world.until(admin, waiting["upgrade_id"], "in_progress")


async def test_a_rollback_passes_a_lock(api_world: ApiWorld) -> None:
    async with (
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(await api_world.token("operator", name="grace")) as grace,
    ):
        await running(api_world, ada)
        await ada.post(f"{HERE}/lock", json={"reason": "by hand"})
        back = (await grace.post(f"{HERE}/rollback", json={"reason": "odd answers"})).json()
        await api_world.until(grace, back["upgrade_id"], "completed")


async def test_a_lock_is_taken_over_in_one_act_by_an_admin_from_whom_it_was_seen_to_be_of(api_world: ApiWorld) -> None:
    async with (
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(await api_world.token("operator", name="grace")) as grace,
        api_world.client(api_world.admin_token) as admin,
    ):
        await api_world.add(admin)
        path = f"{HERE}/lock"
        held = (await ada.post(path, json={"reason": "by hand"})).json()
        api_world.clock.advance(60)
        refused = await grace.post(path, json={"reason": "mine", "take_over_from": "ada"})
        assert (refused.status_code, refused.json()["code"]) == (403, "lock_of_another")
        another = await admin.post(path, json={"reason": "incident", "take_over_from": "grace"})
        assert (another.status_code, another.json()["code"], another.json()["lock"]["holder"]) == (409, "agent_locked", "ada")
        assert (await ada.get(path)).json()["lock"]["holder"] == "ada", "what was refused has changed nothing"
        taken = (await admin.post(path, json={"reason": "incident", "take_over_from": "ada"})).json()
        assert (taken["holder"], taken["reason"]) == ("admin", "incident")
        assert taken["since"] > held["since"]
        (entry,) = await audit(admin, "lock_taken_over")
        assert (entry["operator"], entry["former_holder"], entry["before"]["holder"], entry["after"]["holder"]) == (
            "admin",
            "ada",
            "ada",
            "admin",
        )
        renewed = (await admin.post(path, json={"reason": "still", "take_over_from": "ada"})).json()
        assert renewed["since"] == taken["since"], "one's own is renewed"
        await admin.delete(path)
        assert (await ada.post(path, json={"reason": "back", "take_over_from": "admin"})).json()["holder"] == "ada", (
            "nobody's is simply taken"
        )


async def test_a_lock_is_renewed_ends_by_itself_and_is_taken_over_by_an_admin_only(api_world: ApiWorld) -> None:
    async with (
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(await api_world.token("operator", name="grace")) as grace,
        api_world.client(api_world.admin_token) as admin,
    ):
        await api_world.add(admin)
        path = f"{HERE}/lock"
        assert (await ada.get(path)).json() == {"agent_id": AGENT, "lock": None}
        assert (await ada.delete(path)).json()["code"] == "not_locked"
        assert (await ada.post(path, json={"reason": "x", "expires_in_seconds": 5})).status_code == 422
        first = (await ada.post(path, json={"reason": "one"})).json()
        taken = datetime.fromisoformat(first["since"])
        assert datetime.fromisoformat(first["expires_at"]) == taken + timedelta(hours=4)
        api_world.clock.advance(60)
        renewed = (await ada.post(path, json={"reason": "two", "expires_in_seconds": 120})).json()
        assert (renewed["since"], renewed["reason"]) == (first["since"], "two")
        refused = await grace.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "lock_of_another")
        assert (await admin.delete(path, params={"reason": "ada is on holiday"})).json()["holder"] == "ada"
        (entry,) = await audit(admin, "lock_taken_over")
        assert (entry["operator"], entry["former_holder"], entry["reason"]) == ("admin", "ada", "ada is on holiday")
        await grace.post(path, json={"reason": "three", "expires_in_seconds": 60})
        api_world.clock.advance(61)
        assert (await ada.get(path)).json()["lock"] is None
        assert (await ada.post(path, json={"reason": "four"})).status_code == 200
        kinds = {e["type"] for e in (await admin.get(f"{HERE}/audit")).json()["events"]}
        assert kinds >= {"lock_taken", "lock_renewed", "lock_taken_over"}


async def test_an_admin_takes_an_agent_over_and_comes_next(api_world: ApiWorld) -> None:
    async with (
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(api_world.admin_token) as admin,
    ):
        first = await running(api_world, ada)
        await ask(ada, "1.4.0")
        denied = await ask(ada, "1.5.0", when_busy="take_over")
        assert (denied.status_code, denied.json()["code"]) == (403, "role_too_low")
        later = await ask(admin, "1.5.0", when_busy="take_over", schedule=(START + timedelta(days=1)).isoformat())
        assert later.status_code == 422
        mine = (await ask(admin, "1.5.0", when_busy="take_over", reason="security")).json()
        assert mine["queue_position"] == 1
        gone = await api_world.until(admin, first["upgrade_id"], "rolled_back", "cancelled")
        assert gone["rollback"]["reason"].startswith(f"cancelled by admin: taken over for {mine['upgrade_id']}: security")
        await api_world.until(admin, mine["upgrade_id"], "in_progress")
        (entry,) = await audit(admin, "taken_over")
        assert (entry["upgrade_id"], entry["former_holder"], entry["for_deployment"]) == (first["upgrade_id"], "ada", mine["upgrade_id"])
        assert entry["cancelled"] is True


async def test_a_rollback_is_never_taken_over(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await api_world.until(client, (await api_world.upgrade(client))["upgrade_id"], "completed")
        back = (await client.post(f"{HERE}/rollback", json={"reason": "odd answers"})).json()
        await api_world.until(client, back["upgrade_id"], "in_progress")
        refused = await ask(client, "1.4.0", when_busy="take_over")
        assert (refused.status_code, refused.json()["code"]) == (409, "agent_busy")


async def test_what_is_asked_of_an_agent_can_depend_on_how_it_was_seen(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await api_world.until(client, (await api_world.upgrade(client))["upgrade_id"], "completed")
        seen = {"if_version": "1.2.5"}
        for method, path, body in (
            ("POST", f"{HERE}/upgrade", {**UPGRADE, "target_version": "1.4.0", **seen}),
            ("POST", f"{HERE}/rollback", {"reason": "odd", **seen}),
            ("POST", f"{HERE}/restart", {"reason": "x", **seen}),
            ("POST", f"{HERE}/scale", {"instances": 3, **seen}),
            ("DELETE", f"{HERE}?if_version=1.2.5", None),
            ("POST", f"{HERE}/scale", {"instances": 3, "if_state": "removing"}),
        ):
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 409, (path, answer.text)
            assert answer.json()["code"] in ("version_mismatch", "state_mismatch")
            if "upgrade" not in path:
                assert answer.json()["current"] == {"agent_id": AGENT, "status": "active", "current_version": "1.3.0"}
        assert (await client.post(f"{HERE}/scale", json={"instances": 3, "if_version": "1.3.0", "if_state": "active"})).status_code == 202
        back = {"reason": "odd answers", "if_version": "1.3.0"}
        done = await client.post(f"{HERE}/rollback", json=back)
        await api_world.until(client, done.json()["upgrade_id"], "completed")
        assert (await client.post(f"{HERE}/rollback", json=back)).json()["code"] == "version_mismatch", "asked twice, gone back once"
