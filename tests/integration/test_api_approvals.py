"""Upgrades of chosen agents wait for a second person; rollbacks wait for nobody."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_servicing.web.app import PREFIX
from tests.integration.access_world import a_browser, a_user, told
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld, open_world

pytestmark = pytest.mark.anyio

BASE = f"{PREFIX}/agents/{AGENT}"


async def guarded(world: ApiWorld) -> dict[str, Any]:
    """An agent that wants a second person, and an upgrade of it that the admin token asked for."""
    async with world.client(world.admin_token) as admin:
        await world.add(admin)
        rule = await admin.put(f"{BASE}/approval", json={"required": True, "reason": "customers' memories"})
        assert (rule.status_code, rule.json()["set_by"]) == (200, "admin")
        return await world.upgrade(admin)


async def test_an_upgrade_begins_only_once_somebody_else_has_approved_it(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    place = f"{BASE}/upgrades/{upgrade['upgrade_id']}"
    await a_user(api_world, "ada", "operator")
    async with api_world.client(api_world.admin_token) as admin, a_browser(api_world) as ada:
        for _ in range(20):
            await api_world.turn()
        waiting = (await admin.get(place)).json()
        assert (waiting["status"], waiting["approval_wanted"], waiting["approved_by"]) == ("queued", True, None)
        assert waiting["message"] == "waits for the approval of somebody other than admin"
        assert (waiting["waiting_for"], waiting["approve_by"]) == ("approval", None)
        own = await admin.post(f"{place}/approve")
        assert (own.status_code, own.json()["code"]) == (403, "own_request")
        await ada.sign_in("ada")
        approved = await ada.send("POST", f"agents/{AGENT}/upgrades/{upgrade['upgrade_id']}/approve", {"reason": "read it"})
        assert (approved.status_code, approved.json()["approved_by"]) == (200, "ada")
        twice = await ada.send("POST", f"agents/{AGENT}/upgrades/{upgrade['upgrade_id']}/approve")
        assert (twice.status_code, twice.json()["code"]) == (409, "no_approval_wanted")
        assert twice.json()["detail"].endswith("was approved by ada.")
        done = await api_world.until(admin, upgrade["upgrade_id"], "completed")
        assert done["waiting_for"] is None
        again = await ada.send("POST", f"agents/{AGENT}/upgrades/{upgrade['upgrade_id']}/approve")
        assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    (entry,) = await told(api_world, "approved")
    assert (entry["operator"], entry["requested_by"], entry["reason"]) == ("ada", "admin", "read it")


async def test_what_is_rejected_is_withdrawn(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    async with api_world.client(await api_world.token("operator")) as operator:
        rejected = await operator.post(f"{BASE}/upgrades/{upgrade['upgrade_id']}/reject", json={"reason": "not now"})
        assert rejected.status_code == 200, rejected.text
        await api_world.until(operator, upgrade["upgrade_id"], "cancelled")
        assert (await operator.get(BASE)).json()["current_version"] == "1.2.5"
        late = await operator.post(f"{BASE}/upgrades/{upgrade['upgrade_id']}/approve")
        assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
        assert "is cancelled; it does not wait any more" in late.json()["detail"]
    assert [entry["reason"] for entry in await told(api_world, "rejected")] == ["not now"]


async def notices(world: ApiWorld, kind: str) -> list[dict[str, Any]]:
    async with world.client(world.admin_token) as admin:
        await world.services.telling.notifications.follow()
        found = (await admin.get(f"{PREFIX}/notifications")).json()["notifications"]
    return [one for one in found if one["kind"] == kind]


async def test_whoever_may_approve_is_told_once_and_how(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    for _ in range(20):
        await api_world.turn()
    (notice,) = await notices(api_world, "approval_wanted")
    assert (notice["upgrade_id"], notice["severity"]) == (upgrade["upgrade_id"], "warning")
    assert notice["title"] == f"{AGENT}: approval wanted for v1.3.0"
    assert f"Asked by admin. faster. Approve it with: servicing approve {upgrade['upgrade_id']}." == notice["message"]
    assert upgrade["waiting_for"] == "approval"


async def test_what_nobody_approves_in_time_is_cancelled_and_told(tmp_path: Path) -> None:
    async with open_world(tmp_path, approval_deadline_seconds=600) as world:
        upgrade = await guarded(world)
        place = f"{BASE}/upgrades/{upgrade['upgrade_id']}"
        assert upgrade["approve_by"] is not None
        async with world.client(world.admin_token) as admin, world.client(await world.token("operator")) as operator:
            await world.turn()
            world.clock.advance(timedelta(seconds=600).total_seconds())
            late = await operator.post(f"{place}/approve")
            assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
            assert "was to be approved until" in late.json()["detail"]
            ended = await world.until(admin, upgrade["upgrade_id"], "cancelled")
            assert (ended["waiting_for"], ended["message"][:37]) == (None, "nobody other than admin approved it u")
            assert (await admin.get(BASE)).json()["current_version"] == "1.2.5"
        (notice,) = await notices(world, "deployment_cancelled")
        assert "nobody other than admin approved it until" in notice["message"]


@pytest.mark.parametrize(("own", "seconds"), [("120", 120), ("0", None), (None, 600)])
async def test_the_version_that_serves_says_how_long_an_upgrade_waits_before_the_server_does(
    tmp_path: Path, own: str | None, seconds: float | None
) -> None:
    async with open_world(tmp_path, approval_deadline_seconds=600) as world:
        world.source.manifest_text = MANIFEST + (f"\n[upgrade]\napproval_deadline_seconds = {own}\n" if own else "")
        upgrade = await guarded(world)
        asked, until = (datetime.fromisoformat(upgrade[name]) if upgrade[name] else None for name in ("requested_at", "approve_by"))
        assert (until - asked if until and asked else None) == (timedelta(seconds=seconds) if seconds else None)


async def test_what_is_approved_in_time_is_not_cancelled_afterwards(tmp_path: Path) -> None:
    async with open_world(tmp_path, approval_deadline_seconds=600) as world:
        upgrade = await guarded(world)
        async with world.client(world.admin_token) as admin, world.client(await world.token("operator")) as operator:
            await operator.post(f"{BASE}/upgrades/{upgrade['upgrade_id']}/approve")
            world.clock.advance(601)
            await world.until(admin, upgrade["upgrade_id"], "completed")


async def test_the_staging_gate_is_asked_again_when_what_waited_is_to_begin(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    gate = f"{BASE}/staging/gate"
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("operator")) as operator:
        assert (await admin.put(gate, json={"required": True, "reason": "nothing untried"})).status_code == 200
        await operator.post(f"{BASE}/upgrades/{upgrade['upgrade_id']}/approve")
        for _ in range(20):
            await api_world.turn()
        waiting = (await admin.get(f"{BASE}/upgrades/{upgrade['upgrade_id']}")).json()
        assert (waiting["status"], waiting["waiting_for"]) == ("queued", "staging")
        assert "1.3.0 has none that has ended" in waiting["message"]
        await admin.put(gate, json={"required": False, "reason": "it burns"})
        await api_world.until(admin, upgrade["upgrade_id"], "completed")


async def test_in_an_emergency_an_admin_overrides_and_says_why(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    place = f"{BASE}/upgrades/{upgrade['upgrade_id']}/approve"
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("operator")) as operator:
        assert (await operator.post(place, json={"override": True, "reason": "x"})).json()["code"] == "role_too_low"
        assert (await admin.post(place, json={"override": True})).json()["code"] == "reason_missing"
        assert (await admin.post(place, json={"override": True, "reason": "everything burns"})).status_code == 200
        await api_world.until(admin, upgrade["upgrade_id"], "completed")
    assert [entry["reason"] for entry in await told(api_world, "approval_overridden")] == ["everything burns"]


async def test_a_rollback_waits_for_nobody_and_a_hot_patch_is_refused(api_world: ApiWorld) -> None:
    upgrade = await guarded(api_world)
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("operator")) as operator:
        await operator.post(f"{BASE}/upgrades/{upgrade['upgrade_id']}/approve")
        await api_world.until(admin, upgrade["upgrade_id"], "completed")
        back = await admin.post(f"{BASE}/rollback", json={"reason": "odd answers"})
        assert (back.status_code, back.json()["approval_wanted"]) == (202, False)
        await api_world.until(admin, back.json()["upgrade_id"], "completed")
        patch = await admin.patch(f"{BASE}/config", json={"config_updates": {"timeout_seconds": 60}, "reason": "slow"})
        assert (patch.status_code, patch.json()["code"]) == (409, "approval_required")


async def test_without_the_rule_nothing_wants_approval(api_world: ApiWorld) -> None:
    await guarded(api_world)
    async with api_world.client(api_world.admin_token) as admin:
        assert (await admin.put(f"{BASE}/approval", json={"required": False})).json()["required"] is False
        assert (await admin.get(f"{BASE}/approval")).json()["set_by"] is None
        again = await admin.post(f"{BASE}/upgrade", json={"target_version": "1.4.0", "reason": "newer"})
        assert (again.status_code, again.json()["approval_wanted"]) == (202, False)
        none = await admin.post(f"{BASE}/upgrades/{again.json()['upgrade_id']}/approve")
        assert (none.status_code, none.json()["code"]) == (409, "no_approval_wanted")
        await api_world.until(admin, again.json()["upgrade_id"], "completed")
    assert [entry["required"] for entry in await told(api_world, "approval_set")] == [True, False]
