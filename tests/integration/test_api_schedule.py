"""Freezes, windows, the stopped line and the limit over HTTP, kept by the real engine."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from agent_servicing.testing.clock import START
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

HERE = f"{PREFIX}/agents/{AGENT}"
RULES = f"{PREFIX}/schedule/rules"
NIGHTS = {
    "kind": "window",
    "name": "nights",
    "cron": "0 22 * * *",
    "duration_seconds": 8 * 3600,
    "time_zone": "Europe/Berlin",
    "reason": "least traffic",
}


def freeze(hours: float = 2, **changes: Any) -> dict[str, Any]:
    ends = (START + timedelta(hours=hours)).isoformat()
    return {"kind": "freeze", "name": "holidays", "starts_at": START.isoformat(), "ends_at": ends, "reason": "nobody is in", **changes}


async def add_rule(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(RULES, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def turns(world: ApiWorld, count: int = 5) -> None:
    for _ in range(count):
        await world.turn()


async def show(client: httpx.AsyncClient, upgrade: dict[str, Any]) -> dict[str, Any]:
    return dict((await client.get(f"{PREFIX}/agents/{upgrade['agent_id']}/upgrades/{upgrade['upgrade_id']}")).json())


async def audit(client: httpx.AsyncClient, kind: str) -> list[dict[str, Any]]:
    return list((await client.get(f"{PREFIX}/audit", params={"type": kind})).json()["events"])


async def test_a_freeze_is_made_shown_kept_and_removed_and_the_audit_has_it_before_and_after(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        rule = await add_rule(client, freeze())
        assert rule["rule_id"].startswith("frz-")
        assert (rule["active"], rule["over"], rule["warnings"], rule["operator"]) == (True, False, [], "admin")
        assert datetime.fromisoformat(rule["until"]) == START + timedelta(hours=2)
        upgrade = await api_world.upgrade(client)
        await turns(api_world)
        view = await show(client, upgrade)
        assert view["status"] == "queued"
        assert view["message"] == "freeze 'holidays' until 2026-01-01 02:00 UTC: nobody is in"
        shown = (await client.get(f"{PREFIX}/schedule")).json()
        assert [r["rule_id"] for r in shown["rules"]] == [rule["rule_id"]]
        assert shown["limit"] == {"max_concurrent_deployments": 10, "default": 10, "is_default": True, "under_way": 0, "waiting": 1}
        left = (await client.delete(f"{RULES}/{rule['rule_id']}", params={"reason": "a mistake"})).json()
        assert left["rules"] == []
        assert (await api_world.until(client, upgrade["upgrade_id"], "completed"))["status"] == "completed"
        (added,), (removed,) = await audit(client, "freeze_added"), await audit(client, "freeze_removed")
        assert (added["before"], added["after"]["name"], added["reason"]) == (None, "holidays", "nobody is in")
        assert (removed["before"]["rule_id"], removed["after"], removed["reason"]) == (rule["rule_id"], None, "a mistake")
        assert (await client.get(f"{PREFIX}/audit/verify")).json()["valid"]


async def test_outside_a_window_an_upgrade_waits_until_it_opens_and_the_plan_says_so(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.clock.advance(10 * 3600)
        rule = await add_rule(client, NIGHTS)
        assert (rule["active"], rule["next_start"]) == (False, "2026-01-01T21:00:00Z")
        upgrade = await api_world.upgrade(client)
        await turns(api_world)
        assert (await show(client, upgrade))["message"] == "outside the maintenance window; 'nights' opens 2026-01-01 21:00 UTC"
        plan = (await client.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.4.0", "dry_run": True})).json()
        assert plan["expected_start"] == "2026-01-01T21:00:00Z"
        assert "It waits until 2026-01-01 21:00 UTC" in plan["warnings"][0]
        api_world.clock.advance(11 * 3600)
        done = await api_world.until(client, upgrade["upgrade_id"], "completed")
        assert done["started_at"] >= "2026-01-01T21:00:00Z"


async def test_rollbacks_and_restarts_during_a_freeze(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        first = await api_world.upgrade(client)
        await api_world.until(client, first["upgrade_id"], "completed")
        await add_rule(client, freeze(48))
        restart = (await client.post(f"{HERE}/restart", json={"reason": "certificate"})).json()
        await turns(api_world)
        assert (await show(client, restart))["message"].startswith("freeze")
        back = (await client.post(f"{HERE}/rollback", json={"reason": "odd answers"})).json()
        assert (await api_world.until(client, back["upgrade_id"], "completed"))["to_version"] == "1.2.5"
        assert (await show(client, restart))["status"] == "queued"
        await client.post(f"{HERE}/upgrades/{restart['upgrade_id']}/cancel", json={})
        urgent = {"reason": "certificate", "override_freeze": True}
        async with api_world.client(await api_world.token("operator")) as operator:
            assert (await operator.post(f"{HERE}/restart", json=urgent)).json()["code"] == "role_too_low"
        done = (await client.post(f"{HERE}/restart", json=urgent)).json()
        assert (await api_world.until(client, done["upgrade_id"], "completed"))["override_freeze"] is True


async def test_an_admin_may_pass_a_freeze_and_the_audit_says_so(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client, api_world.client(await api_world.token("operator")) as operator:
        await api_world.add(client)
        await add_rule(client, freeze())
        await client.post(f"{PREFIX}/schedule/stop", json={"reason": "incident"})
        api_world.source.names.append("1.3.0")
        await client.post(f"{HERE}/versions/refresh")
        body = {**UPGRADE, "override_freeze": True}
        refused = await operator.post(f"{HERE}/upgrade", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
        plan = (await operator.post(f"{HERE}/upgrade", json={**body, "dry_run": True})).json()
        assert [r["code"] for r in plan["refusals"]] == ["role_too_low"]
        warned = (await client.post(f"{HERE}/upgrade", json={**body, "dry_run": True})).json()
        assert "although it may not otherwise" in warned["warnings"][0]
        urgent = (await client.post(f"{HERE}/upgrade", json=body)).json()
        assert urgent["override_freeze"] is True
        assert (await api_world.until(client, urgent["upgrade_id"], "completed"))["to_version"] == "1.3.0"
        assert [e["override_freeze"] for e in await audit(client, "upgrade_requested")] == [True]


async def test_the_line_is_stopped_by_an_operator_and_resumed_by_them_or_an_admin(api_world: ApiWorld) -> None:
    async with (
        api_world.client(api_world.admin_token) as client,
        api_world.client(await api_world.token("operator", name="ada")) as ada,
        api_world.client(await api_world.token("operator", name="grace")) as grace,
    ):
        await api_world.add(client)
        stop, resume = f"{PREFIX}/schedule/stop", f"{PREFIX}/schedule/resume"
        assert (await ada.post(resume)).json()["code"] == "line_not_stopped"
        assert (await ada.post(stop, json={"reason": " "})).status_code == 422
        assert (await ada.post(stop, json={"reason": "incident 7"})).json()["operator"] == "ada"
        again = (await grace.post(stop, json={"reason": "me too"})).json()
        assert (again["code"], again["stopped"]["operator"]) == ("line_stopped", "ada")
        upgrade = await api_world.upgrade(client)
        await turns(api_world)
        assert (await show(client, upgrade))["message"].endswith("UTC: incident 7")
        refused = await grace.post(resume)
        assert (refused.status_code, refused.json()["code"]) == (403, "stopped_by_another")
        assert (await ada.post(resume, json={"reason": "over"})).json()["stopped"] is None
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        await ada.post(stop, json={"reason": "incident 8"})
        assert (await client.post(resume)).json()["stopped"] is None
        assert [(e["operator"], e["before"]["reason"]) for e in await audit(client, "line_resumed")] == [
            ("admin", "incident 8"),
            ("ada", "incident 7"),
        ]


async def test_stopping_the_line_leaves_alone_what_runs_unless_asked_to_pause_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        upgrade = await api_world.upgrade(client, blue_green={"steps": [50, 100], "monitor_seconds": 600})
        await api_world.until(client, upgrade["upgrade_id"], "in_progress")
        await client.post(f"{PREFIX}/schedule/stop", json={"reason": "incident"})
        await turns(api_world)
        assert (await show(client, upgrade))["status"] == "in_progress"
        await client.post(f"{PREFIX}/schedule/resume")
        stopped = (await client.post(f"{PREFIX}/schedule/stop", json={"reason": "worse", "pause_running": True})).json()
        assert stopped["paused"] == [upgrade["upgrade_id"]]
        await turns(api_world)
        assert (await show(client, upgrade))["status"] == "paused"
        await client.post(f"{PREFIX}/schedule/resume")
        await turns(api_world)
        assert (await show(client, upgrade))["status"] == "paused", "each is resumed by itself"
        (asked,) = await audit(client, "pause_requested")
        assert asked["reason"] == "the line was stopped: worse"


async def test_no_more_deployments_than_the_limit_are_under_way_over_all_agents(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        second = await client.post(f"{PREFIX}/agents", json={"manifest": MANIFEST.replace(AGENT, "WowCache"), "version": "1.2.5"})
        await api_world.until(client, second.json()["upgrade_id"], "completed", agent="WowCache")
        limit = await client.put(f"{PREFIX}/schedule/limit", json={"max_concurrent_deployments": 1, "reason": "small machine"})
        assert limit.json()["max_concurrent_deployments"] == 1
        first = await api_world.upgrade(client)
        await client.post(f"{PREFIX}/agents/WowCache/versions/refresh")
        other = (await client.post(f"{PREFIX}/agents/WowCache/upgrade", json=UPGRADE)).json()
        await turns(api_world, 2)
        (waits,) = [view for view in (await show(client, first), await show(client, other)) if view["status"] == "queued"]
        assert waits["message"] == "waits for a free place: 1 of 1 deployments are under way"
        queue = (await client.get(f"{PREFIX}/agents/{waits['agent_id']}/queue")).json()
        assert (queue["places"], queue["holder"]) == ({"limit": 1, "under_way": 1}, None)
        for _ in range(200):
            await api_world.turn()
            states = [(await show(client, each))["status"] for each in (first, other)]
            assert states != ["in_progress", "in_progress"]
            if states == ["completed", "completed"]:
                break
        assert states == ["completed", "completed"]
        back = await client.put(f"{PREFIX}/schedule/limit", json={"max_concurrent_deployments": None})
        assert (back.json()["max_concurrent_deployments"], back.json()["is_default"]) == (10, True)
        assert [(e["before"], e["after"]) for e in await audit(client, "concurrency_limit_changed")] == [(1, None), (None, 1)]


async def test_a_missed_start_is_cancelled_and_told_to_the_live_view(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        start = (api_world.clock.now() + timedelta(minutes=5)).isoformat()
        upgrade = await api_world.upgrade(client, schedule=start, start_grace_seconds=60)
        assert (upgrade["status"], upgrade["start_grace_seconds"], upgrade["queue_position"]) == ("scheduled", 60, None)
        api_world.clock.advance(3600)
        view = await api_world.until(client, upgrade["upgrade_id"], "cancelled")
        assert view["message"].startswith("missed: it was to start 2026-01-01 00:0")
        seen = await api_world.services.events.since(0, deployment=upgrade["upgrade_id"])
        assert "schedule_missed" in [each.event.type for each in seen]
        assert len(await audit(client, "schedule_missed")) == 1


async def test_what_is_planned_is_listed_with_what_stands_against_it(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        noon = START + timedelta(hours=12)
        first = await api_world.upgrade(client, schedule=noon.isoformat())
        second = await api_world.upgrade(client, target_version="1.4.0", schedule=(noon + timedelta(minutes=1)).isoformat())
        await add_rule(client, NIGHTS)
        found = (await client.get(f"{PREFIX}/schedule/upcoming", params={"days": 2})).json()
        planned = {d["upgrade_id"]: d for d in found["deployments"]}
        assert {d["expected_start"] for d in planned.values()} == {"2026-01-01T21:00:00Z"}
        mine = planned[first["upgrade_id"]]["conflicts"]
        assert "outside the maintenance window" in mine[0]
        assert second["upgrade_id"] in mine[1]
        assert [s["starts_at"] for s in found["spans"]] == ["2025-12-31T21:00:00Z", "2026-01-01T21:00:00Z", "2026-01-02T21:00:00Z"]
        assert (await client.get(f"{PREFIX}/schedule/upcoming", params={"days": 0})).status_code == 422


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"cron": "0 25 * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"time_zone": "Europe/Berln"}, "time_zone"),
        ({"duration_seconds": 0}, "duration_seconds"),
        ({"duration_seconds": None}, "duration_seconds"),
        ({"cron": None, "duration_seconds": None}, "starts_at"),
        ({"starts_at": "2026-01-02T00:00:00Z"}, "cron"),
        ({"kind": "pause"}, "kind"),
        ({"reason": ""}, "reason"),
        ({"ends_at": "2026-01-02T00:00:00"}, "ends_at"),
    ],
)
async def test_a_rule_that_cannot_be_names_the_field_and_changes_nothing(api_world: ApiWorld, changes: dict[str, Any], path: str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        answer = await client.post(RULES, json={**NIGHTS, **changes})
        assert answer.status_code == 422, answer.text
        assert path in [error["path"] for error in answer.json()["errors"]]
        assert (await client.get(f"{PREFIX}/schedule")).json()["rules"] == []


async def test_a_rule_for_an_unknown_agent_and_an_unknown_rule_are_not_found(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        unknown = (await client.post(RULES, json=freeze(agents=["Nobody"]))).json()
        assert (unknown["code"], unknown["hint"]) == ("unknown_agent", f"Known agents: {AGENT}.")
        assert (await client.delete(f"{RULES}/frz-none")).json()["code"] == "unknown_rule"


async def test_a_rule_that_leaves_no_opening_is_made_with_a_warning(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        always = {"kind": "freeze", "name": "never", "cron": "0 0 * * *", "duration_seconds": 86400, "reason": "frozen"}
        (warning,) = (await add_rule(client, always))["warnings"]
        assert warning.startswith(f"{AGENT} has no opening any more")


async def test_roles_and_reach_are_kept(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        mine = await add_rule(client, freeze(agents=[AGENT]))
        for role, method, path, body, status in (
            ("viewer", "GET", "/schedule", None, 200),
            ("viewer", "POST", "/schedule/stop", {"reason": "x"}, 403),
            ("operator", "POST", "/schedule/rules", freeze(), 403),
            ("operator", "DELETE", f"/schedule/rules/{mine['rule_id']}", None, 403),
            ("operator", "PUT", "/schedule/limit", {"max_concurrent_deployments": 1}, 403),
        ):
            async with api_world.client(await api_world.token(role)) as other:
                answer = await other.request(method, f"{PREFIX}{path}", json=body)
                assert answer.status_code == status, (role, path, answer.text)
        async with api_world.client(await api_world.token("admin", ["Other"])) as narrow:
            assert (await narrow.get(f"{PREFIX}/schedule")).json()["rules"] == []
            for method, path, body in (
                ("POST", "/schedule/stop", {"reason": "x"}),
                ("POST", "/schedule/rules", freeze()),
                ("POST", "/schedule/rules", freeze(agents=[AGENT])),
                ("DELETE", f"/schedule/rules/{mine['rule_id']}", None),
                ("PUT", "/schedule/limit", {"max_concurrent_deployments": 1}),
            ):
                assert (await narrow.request(method, f"{PREFIX}{path}", json=body)).status_code == 403, path
