"""Limits that upgrades take when their request names none: who sets them, what is refused, what a deployment records."""

from typing import Any

import httpx
import pytest

from agent_servicing.web.app import PREFIX
from tests.integration.access_world import told
from tests.integration.api_world import AGENT, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

ALL, OWN = f"{PREFIX}/settings/thresholds", f"{PREFIX}/agents/{AGENT}/thresholds"


async def put(client: httpx.AsyncClient, path: str, thresholds: dict[str, Any], **more: Any) -> Any:
    answer = await client.put(path, json={"thresholds": thresholds, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def planned(client: httpx.AsyncClient, **changes: Any) -> Any:
    answer = await client.post(f"{PREFIX}/agents/{AGENT}/upgrade", json={**UPGRADE, "dry_run": True, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_while_nothing_is_set_an_upgrade_takes_what_it_always_took(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        assert (await client.get(ALL)).json()["all"] == {}
        limits = (await api_world.upgrade(client))["auto_rollback"]
    wanted = {"error_rate_threshold": 5.0, "latency_threshold_ms": None, "promote_error_rate": 2.0, "promote_latency_ms": None}
    assert limits == {**wanted, "enabled": True, "latency_quantile": 0.95, "min_requests": 50}


async def test_an_upgrade_takes_the_agents_own_before_those_for_all_and_what_it_says_before_both(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        shown = await put(client, ALL, {"error_rate_threshold": 3, "latency_threshold_ms": 400, "min_requests": 80})
        assert shown["all"] == {"error_rate_threshold": 3, "latency_threshold_ms": 400, "min_requests": 80}
        own = await put(client, OWN, {"latency_threshold_ms": 300})
        assert own["in_force"]["latency_threshold_ms"] == {"value": 300, "origin": "agent"}
        assert own["in_force"]["promote_latency_ms"] == {"value": 150, "origin": "derived"}
        plan = await planned(client, auto_rollback={"error_rate_threshold": 1})
        limits = plan["auto_rollback"]
        assert [limits[name] for name in ("error_rate_threshold", "latency_threshold_ms", "min_requests")] == [1, 300, 80]
        assert "bad_value" not in [refusal["code"] for refusal in plan["refusals"]]
        assert {name: each["origin"] for name, each in plan["thresholds"].items()} == {
            "error_rate_threshold": "request",
            "promote_error_rate": "derived",
            "latency_threshold_ms": "agent",
            "promote_latency_ms": "derived",
            "min_requests": "all",
        }
        off = (await planned(client, auto_rollback={"latency_threshold_ms": None}))["auto_rollback"]
        assert (off["latency_threshold_ms"], off["error_rate_threshold"]) == (None, 3), "null is no limit, left out is the default"
        canary = await planned(client, strategy="canary", canary={"rollback_if": {"latency_ms": 250}, "promote_if": {"error_rate": 0.5}})
        assert [canary["auto_rollback"][name] for name in ("latency_threshold_ms", "promote_error_rate")] == [250, 0.5]


async def test_a_deployment_keeps_the_limits_that_were_in_force_when_it_was_asked_for(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await put(client, ALL, {"error_rate_threshold": 3})
        upgrade = await api_world.upgrade(client)
        await put(client, ALL, {"error_rate_threshold": 1})
        ended = await api_world.until(client, upgrade["upgrade_id"], "completed")
    assert (upgrade["auto_rollback"]["error_rate_threshold"], ended["auto_rollback"]["error_rate_threshold"]) == (3, 3)


async def test_a_change_is_told_with_before_and_after_and_who_said_why(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await put(client, ALL, {"error_rate_threshold": 3})
        await put(client, OWN, {"latency_threshold_ms": None}, reason="batch work")
        assert (await client.get(ALL)).json()["agents"] == {AGENT: {"latency_threshold_ms": None}}
        await put(client, OWN, {})
        assert (await client.get(ALL)).json()["agents"] == {}
    entries = [(e["agent_id"], e["before"], e["after"], e["operator"], e["reason"]) for e in await told(api_world, "thresholds_changed")]
    assert entries == [
        (None, {}, {"error_rate_threshold": 3.0}, "admin", ""),
        (AGENT, {}, {"latency_threshold_ms": None}, "admin", "batch work"),
        (AGENT, {"latency_threshold_ms": None}, {}, "admin", ""),
    ]


async def test_what_contradicts_itself_or_what_an_agent_has_of_its_own_is_refused(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        for thresholds in ({"error_rate_threshold": 2, "promote_error_rate": 3}, {"promote_error_rate": 6}):
            refused = await client.put(ALL, json={"thresholds": thresholds})
            assert (refused.status_code, refused.json()["code"]) == (422, "bad_value")
            assert refused.json()["errors"][0]["path"] == "thresholds.promote_error_rate"
        for thresholds in ({"error_rate_threshold": 0}, {"min_requests": 0}, {"error_rate": 5}):
            assert (await client.put(ALL, json={"thresholds": thresholds})).status_code == 422
        await put(client, OWN, {"promote_error_rate": 4})
        refused = await client.put(ALL, json={"thresholds": {"error_rate_threshold": 3}})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith(f"With what {AGENT} has of its own, ")
        assert (await client.get(ALL)).json()["all"] == {}
        assert (await client.put(f"{PREFIX}/agents/Nobody/thresholds", json={"thresholds": {}})).json()["code"] == "unknown_agent"


async def test_everybody_within_reach_reads_them_and_admins_change_them(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await put(client, OWN, {"min_requests": 20})
    body = {"thresholds": {"min_requests": 10}}
    async with api_world.client(await api_world.token("operator")) as operator:
        assert (await operator.get(OWN)).json()["own"] == {"min_requests": 20}
        assert [(await operator.put(path, json=body)).json()["code"] for path in (ALL, OWN)] == ["role_too_low"] * 2
    async with api_world.client(await api_world.token("admin", ["Other"])) as elsewhere:
        assert (await elsewhere.get(ALL)).json()["agents"] == {}
        assert [(await elsewhere.put(path, json=body)).json()["code"] for path in (ALL, OWN)] == ["agent_out_of_reach"] * 2


async def test_thresholds_go_with_their_agent(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await put(client, OWN, {"min_requests": 20})
        await client.delete(f"{PREFIX}/agents/{AGENT}", params={"reason": "gone"})
        for _ in range(100):
            await api_world.turn()
            if (await client.get(f"{PREFIX}/agents/{AGENT}")).status_code == 404:
                break
        assert (await client.get(ALL)).json()["agents"] == {}
