"""Upgrades, verbs and rollbacks over HTTP, carried out by the real engine."""

from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, UPGRADE, ApiWorld

pytestmark = pytest.mark.anyio

HERE = f"{PREFIX}/agents/{AGENT}"


async def begun(world: ApiWorld, client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """An upgrade from 1.2.5 to 1.3.0 whose traffic is split."""
    await world.add(client)
    slow = {"blue_green": {"steps": [50, 100], "monitor_seconds": 600}, **changes}
    upgrade = await world.upgrade(client, **slow)
    for _ in range(100):
        view = (await client.get(f"{HERE}/upgrades/{upgrade['upgrade_id']}")).json()
        if view["current_stage"] == "monitor_metrics_50":
            return dict(view)
        await world.turn()
    raise AssertionError(view)


async def test_an_upgrade_is_accepted_and_followed_stage_by_stage_to_its_end(api_world: ApiWorld) -> None:
    async with api_world.client(await api_world.token("operator")) as client:
        await api_world.add(client)
        accepted = await api_world.upgrade(client)
        assert accepted["upgrade_id"].startswith("upg-")
        assert accepted["status"] == "queued"
        assert accepted["scheduled_at"] is None
        assert accepted["estimated_duration_minutes"] > 0
        assert (accepted["operator"], accepted["reason"], accepted["queue_position"]) == ("operator-", "faster", 1)
        done = await api_world.until(client, accepted["upgrade_id"], "completed")
        assert [(s["stage"], s["status"]) for s in done["stages"]] == [
            ("deploy_green", "completed"),
            ("health_check_green", "completed"),
            ("route_traffic_50", "completed"),
            ("monitor_metrics_50", "completed"),
            ("route_traffic_100", "completed"),
            ("decommission_blue", "completed"),
        ]
        assert all(s["duration_seconds"] >= 0 and s["completed_at"].endswith("Z") for s in done["stages"])
        assert done["metrics"]["green"]["traffic_percent"] == 100
        assert done["impact"]["downtime_seconds"] == 0
        assert done["duration_seconds"] > 0
        listed = (await client.get(f"{HERE}/upgrades", params={"limit": 1})).json()
        assert [u["upgrade_id"] for u in listed["upgrades"]] == [accepted["upgrade_id"]]
        older = (await client.get(f"{HERE}/upgrades", params={"limit": 1, "cursor": listed["next_cursor"]})).json()
        assert [u["kind"] for u in older["upgrades"]] == ["install"]
        assert older["next_cursor"] is None


async def test_both_versions_are_measured_while_traffic_is_split(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        view = await begun(api_world, client)
        for _ in range(12):
            await api_world.turn()
        view = (await client.get(f"{HERE}/upgrades/{view['upgrade_id']}")).json()
        assert view["status"] == "in_progress"
        blue, green = view["metrics"]["blue"], view["metrics"]["green"]
        assert (blue["version"], green["version"]) == ("1.2.5", "1.3.0")
        assert (blue["traffic_percent"], green["traffic_percent"]) == (50, 50)
        for side in (blue, green):
            assert side["error_rate"] == 0
            assert side["avg_latency_ms"] == pytest.approx(10, rel=0.2)
            assert side["throughput"] > 0
            assert side["requests"] > 0
        running = next(s for s in view["stages"] if s["stage"] == view["current_stage"])
        assert (running["status"], running["completed_at"], running["duration_seconds"]) == ("in_progress", None, None)
        assert view["judgement"]["verdict"] in {"passing", "no_data", "inconclusive"}


async def test_a_dry_run_answers_with_the_plan_and_writes_nothing(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        await api_world.upgrade(client)
        before = await api_world.services.events.last_seq()
        answer = await client.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.4.0", "dry_run": True})
        assert answer.status_code == 200
        plan = answer.json()
        assert (plan["dry_run"], plan["agent_id"], plan["to_version"], plan["strategy"]) == (True, AGENT, "1.4.0", "blue-green")
        assert plan["stages"][0]["stage"] == "deploy_green"
        assert plan["estimated_duration_minutes"] > 0
        assert await api_world.services.events.last_seq() == before
        refused = (await client.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.2.4", "dry_run": True})).json()
        assert refused["refusals"]


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [
        ({"target_version": "9.9.9"}, {404}),
        ({"target_version": "1.2.5"}, {409, 422}),
        ({"target_version": "1.2.4"}, {409, 422}),
        ({"target_version": "not-a-version"}, {404, 422}),
        ({"strategy": "big-bang"}, {422}),
        ({"blue_green": {"steps": [50, 25, 100]}}, {422}),
        ({"blue_green": {"steps": [25, 50]}}, {422}),
        ({"bake_seconds": 5, "bake_until": "2026-01-02T00:00:00Z"}, {422}),
        ({"schedule": "2020-01-01T00:00:00Z"}, {422}),
    ],
)
async def test_an_upgrade_that_makes_no_sense_is_refused(api_world: ApiWorld, changes: dict[str, Any], statuses: set[int]) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.source.names.append("1.3.0")
        await client.post(f"{HERE}/versions/refresh")
        answer = await client.post(f"{HERE}/upgrade", json={**UPGRADE, **changes})
        assert answer.status_code in statuses, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [u["kind"] for u in (await client.get(f"{HERE}/upgrades")).json()["upgrades"]] == ["install"]


async def test_numbers_that_contradict_each_other_are_named_as_the_body_names_them(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        body = {**UPGRADE, "blue_green": {"steps": [50, 25, 100]}}
        refused = (await client.post(f"{HERE}/upgrade", json=body)).json()
        assert [error["path"] for error in refused["errors"]] == ["blue_green.steps"]
        plan = (await client.post(f"{HERE}/upgrade", json={**body, "dry_run": True})).json()
        assert "blue_green.steps" in [refusal["field"] for refusal in plan["refusals"]]


async def test_an_upgrade_can_be_scheduled_and_cancelled_before_it_begins(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        accepted = await api_world.upgrade(client, schedule="2026-01-02T03:00:00+01:00")
        assert (accepted["status"], accepted["scheduled_at"]) == ("scheduled", "2026-01-02T02:00:00Z")
        cancelled = await client.post(f"{HERE}/upgrades/{accepted['upgrade_id']}/cancel", json={"reason": "not today"})
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")


async def test_a_second_upgrade_waits_its_turn_and_says_so_or_is_refused_naming_the_first(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        first = await begun(api_world, client)
        refused = await client.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.4.0", "when_busy": "reject"})
        assert refused.status_code == 409
        assert first["upgrade_id"] in refused.text
        waiting = (await client.post(f"{HERE}/upgrade", json={**UPGRADE, "target_version": "1.4.0"})).json()
        assert (waiting["status"], waiting["queue_position"]) == ("queued", 1)
        assert (await client.get(HERE)).json()["queue"] == [first["upgrade_id"], waiting["upgrade_id"]]


async def test_a_deployment_is_paused_resumed_promoted_and_finished(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        upgrade = await begun(api_world, client)
        path = f"{HERE}/upgrades/{upgrade['upgrade_id']}"
        assert (await client.post(f"{path}/pause", json={"reason": "lunch"})).status_code == 202
        paused = await api_world.until(client, upgrade["upgrade_id"], "paused")
        assert paused["paused_at"]
        assert (await client.post(f"{path}/resume")).status_code == 202
        await api_world.until(client, upgrade["upgrade_id"], "in_progress")
        assert (await client.post(f"{path}/promote", json={"full": True})).status_code == 202
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        late = await client.post(f"{path}/pause")
        assert (late.status_code, late.json()["code"]) == (409, "wrong_state")
        assert late.json()["current"]["status"] == "completed"


async def test_cancelling_one_under_way_takes_the_traffic_back(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        upgrade = await begun(api_world, client)
        await client.post(f"{HERE}/upgrades/{upgrade['upgrade_id']}/cancel", json={"reason": "second thoughts"})
        ended = await api_world.until(client, upgrade["upgrade_id"], "rolled_back", "cancelled")
        assert ended["rollback"]["auto_triggered"] is False
        assert ended["rollback"]["operator"] == "admin"
        assert ended["metrics"]["green"]["traffic_percent"] == 0
        assert (await client.get(HERE)).json()["current_version"] == "1.2.5"


async def test_a_verb_on_a_state_the_caller_did_not_see_is_409_with_the_current_view(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        upgrade = await begun(api_world, client)
        path = f"{HERE}/upgrades/{upgrade['upgrade_id']}"
        for body, code in (({"if_version": 0}, "version_mismatch"), ({"if_state": "paused"}, "state_mismatch")):
            answer = await client.post(f"{path}/pause", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, code)
            assert answer.json()["current"]["upgrade_id"] == upgrade["upgrade_id"]
            assert answer.json()["current"]["revision"] == upgrade["revision"]
        fitting = {"if_version": upgrade["revision"], "if_state": "in_progress"}
        assert (await client.post(f"{path}/pause", json=fitting)).status_code == 202


async def test_a_failing_version_is_taken_back_and_the_numbers_are_shown(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        api_world.runtime.behaviour("1.3.0").error_share = 0.3
        await api_world.add(client)
        upgrade = await api_world.upgrade(client, auto_rollback={"enabled": True, "error_rate_threshold": 5.0, "min_requests": 100})
        ended = await api_world.until(client, upgrade["upgrade_id"], "rolled_back")
        cause = ended["rollback"]
        assert (cause["auto_triggered"], cause["metric"], cause["threshold"]) == (True, "error_rate", 5.0)
        assert cause["value"] > 5
        assert cause["requests"] > 0
        assert cause["window_seconds"] > 0
        assert "Error rate threshold exceeded" in cause["reason"]
        assert ended["auto_rollback"]["min_requests"] == 100
        assert ended["impact"]["candidate_errors"] > 0
        assert ended["impact"]["downtime_seconds"] == 0


async def test_the_figures_of_a_deployment_are_kept_up_to_what_decided_it_and_beyond_its_end(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        api_world.runtime.behaviour("1.3.0").error_share = 0.3
        await api_world.add(client)
        upgrade = await api_world.upgrade(client, auto_rollback={"enabled": True, "error_rate_threshold": 5.0, "min_requests": 100})
        path = f"{PREFIX}/agents/{AGENT}/upgrades/{upgrade['upgrade_id']}/figures"
        running = (await client.get(path)).json()
        assert running["decided_at"] is None
        ended = await api_world.until(client, upgrade["upgrade_id"], "rolled_back")
        kept = (await client.get(path)).json()
        assert kept["decided_at"] == ended["rollback"]["triggered_at"]
        assert kept["decided"]["green"]["error_rate"] == pytest.approx(ended["rollback"]["value"], abs=0.1)
        assert kept["decided"]["blue"]["error_rate"] == 0
        assert kept["decided"]["at"] == kept["decided_at"], "the verdict came with a block"
        assert [point["at"] for point in kept["points"]] == sorted(point["at"] for point in kept["points"])
        assert any(point["green"]["requests"] and point["blue"]["throughput"] for point in kept["points"])
        await api_world.turn()
        assert (await client.get(path)).json() == kept
        assert (await client.get(path.replace(upgrade["upgrade_id"], "upg-0"))).json()["code"] == "unknown_deployment"


async def test_the_blocks_of_an_analysis_are_read_page_by_page(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        upgrade = await api_world.upgrade(client)
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        path = f"{PREFIX}/agents/{AGENT}/upgrades/{upgrade['upgrade_id']}/analysis"
        whole = (await client.get(path)).json()
        first = (await client.get(path, params={"limit": 2})).json()
        rest = (await client.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [b["number"] for b in (*first["blocks"], *rest["blocks"])] == [b["number"] for b in whole["blocks"][:4]]
        assert (await client.get(path, params={"limit": "two"})).status_code == 422


async def test_a_rollback_goes_to_the_previous_version_under_an_id_of_its_own(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        upgrade = await api_world.upgrade(client)
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        answer = await client.post(f"{HERE}/rollback", json={"reason": "Performance regression detected"})
        assert answer.status_code == 202
        view = answer.json()
        assert view["rollback_id"].startswith("rbk-")
        assert (view["from_version"], view["to_version"]) == ("1.3.0", "1.2.5")
        assert view["estimated_duration_minutes"] > 0
        assert answer.headers["Location"] == f"{HERE}/upgrades/{view['rollback_id']}"
        done = await api_world.until(client, view["rollback_id"], "completed")
        assert done["kind"] == "rollback"
        assert (await client.get(HERE)).json()["current_version"] == "1.2.5"


async def test_a_rollback_to_nowhere_names_the_points_there_are(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        none = await client.post(f"{HERE}/rollback", json={"reason": "r"})
        assert (none.status_code, none.json()["code"]) == (409, "no_rollback_point")
        upgrade = await api_world.upgrade(client)
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        for version, status in (("7.0.0", 404), ("1.4.0", 409)):
            answer = await client.post(f"{HERE}/rollback", json={"reason": "r", "target_version": version})
            assert answer.status_code == status
            assert "1.2.5" in answer.text
        assert (await client.post(f"{HERE}/rollback", json={"target_version": "1.2.5"})).status_code == 422


async def test_a_request_repeated_under_its_key_gets_the_same_answer_and_acts_once(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.source.names.append("1.3.0")
        await client.post(f"{HERE}/versions/refresh")
        request = {"json": UPGRADE, "headers": {"Idempotency-Key": "deploy-4711"}}
        first = await client.post(f"{HERE}/upgrade", **request)
        await api_world.turn()
        again = await client.post(f"{HERE}/upgrade", **request)
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.content == again.content
        assert (first.headers["Idempotency-Replayed"], again.headers["Idempotency-Replayed"]) == ("false", "true")
        assert again.headers["Content-Type"] == "application/json"
        other = await client.post(f"{HERE}/upgrade", json={**UPGRADE, "reason": "other"}, headers=request["headers"])
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
        elsewhere = await client.post(f"{HERE}/rollback", **request)
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "idempotency_mismatch")
        assert [u["kind"] for u in (await client.get(f"{HERE}/upgrades")).json()["upgrades"]] == ["upgrade", "install"]


async def test_keys_belong_to_a_token(api_world: ApiWorld) -> None:
    headers = {"Idempotency-Key": "mine"}
    async with api_world.client(api_world.admin_token) as admin, api_world.client(await api_world.token("operator")) as operator:
        await api_world.add(admin)
        for client, count in ((admin, 3), (operator, 4)):
            answer = await client.post(f"{HERE}/scale", json={"instances": count}, headers=headers)
            assert (answer.status_code, answer.json()["instances"]) == (202, count)


async def test_a_refused_request_may_be_corrected_under_the_same_key(api_world: ApiWorld) -> None:
    headers = {"Idempotency-Key": "k"}
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        assert (await client.post(f"{HERE}/scale", json={"instances": "3"}, headers=headers)).status_code == 422
        assert (await client.post(f"{HERE}/scale", json={"instances": 3}, headers=headers)).status_code == 202
        for key in ("", "x" * 256, "ü"):
            answer = await client.post(f"{HERE}/scale", json={"instances": 3}, headers={b"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
            assert (answer.status_code, answer.json()["code"]) == (422, "bad_idempotency_key")


async def test_many_at_once_under_one_key_act_once(api_world: ApiWorld) -> None:
    answers: list[httpx.Response] = []
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        api_world.source.names.append("1.3.0")
        await client.post(f"{HERE}/versions/refresh")

        async def ask() -> None:
            answers.append(await client.post(f"{HERE}/upgrade", json=UPGRADE, headers={"Idempotency-Key": "race"}))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ask)
        assert {a.status_code for a in answers} <= {202, 409}
        assert len({a.json()["upgrade_id"] for a in answers if a.status_code == 202}) == 1
        assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"idempotency_running"}
        assert [u["kind"] for u in (await client.get(f"{HERE}/upgrades")).json()["upgrades"]] == ["upgrade", "install"]


async def test_a_canary_takes_its_own_conditions_and_tells_its_stages(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        canary = {"percent": 10, "monitor_seconds": 5, "promote_if": {"error_rate": 1}, "rollback_if": {"error_rate": 3, "latency_ms": 300}}
        view = await api_world.upgrade(client, strategy="canary", canary=canary, on_inconclusive="promote")
        assert view["auto_rollback"]["error_rate_threshold"] == 3
        assert view["auto_rollback"]["latency_threshold_ms"] == 300
        done = await api_world.until(client, view["upgrade_id"], "completed")
        assert [s["stage"] for s in done["stages"]] == [
            "deploy_canary",
            "health_check_canary",
            "route_traffic_10",
            "monitor_metrics_10",
            "promote_batch_1_of_1",
            "decommission_baseline",
        ]


@pytest.mark.parametrize("size", [1, "50%"])
async def test_a_rolling_update_takes_a_number_or_a_part_of_the_instances(api_world: ApiWorld, size: int | str) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        view = await api_world.upgrade(client, strategy="rolling", rolling={"batch_size": size, "pause_seconds": 0})
        done = await api_world.until(client, view["upgrade_id"], "completed")
        assert [s["stage"] for s in done["stages"]][2:4] == ["replace_batch_1_of_2", "replace_batch_2_of_2"]


@pytest.mark.parametrize(
    ("strategy", "options", "path"),
    [
        ("canary", {"canary": {"percent": 0}}, "canary.percent"),
        ("canary", {"canary": {"percent": 100}}, "canary.percent"),
        ("rolling", {"rolling": {"batch_size": 0}}, "rolling.batch_size"),
        ("rolling", {"rolling": {"batch_size": "many"}}, "rolling.batch_size"),
        ("rolling", {"rolling": {"batch_size": "120%"}}, "rolling.batch_size"),
        ("canary", {"canary": {"promote_if": {"error_rate": 7}}}, "auto_rollback.promote_error_rate"),
        ("canary", {"canary": {"promote_if": {"latency_ms": 400}, "rollback_if": {"latency_ms": 300}}}, "auto_rollback.promote_latency_ms"),
        ("blue-green", {"confirm_until": "2026-01-01T06:00:00Z", "confirm_seconds": 5}, "confirm_until"),
        ("blue-green", {"control_percent": 80}, "control_percent"),
        ("blue-green", {"confirm_until": "2025-12-31T06:00:00Z"}, "confirm_until"),
        ("blue-green", {"schedule": "2026-01-02T06:00:00Z", "bake_until": "2026-01-02T05:00:00Z"}, "bake_until"),
        ("blue-green", {"auto_rollback": {"latency_quantile": 2}}, "auto_rollback.latency_quantile"),
    ],
)
async def test_impossible_or_contradicting_options_are_refused_by_their_path(
    api_world: ApiWorld, strategy: str, options: dict[str, Any], path: str
) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        body = {**UPGRADE, "strategy": strategy, **options}
        answer = await client.post(f"{HERE}/upgrade", json=body)
        assert answer.status_code == 422
        assert any(path in error["path"] for error in answer.json()["errors"]), answer.json()


async def test_the_plan_says_what_a_strategy_means_for_this_agent(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        body = {**UPGRADE, "strategy": "canary", "dry_run": True}
        plan = (await client.post(f"{HERE}/upgrade", json=body)).json()
        assert plan["stages"][0]["sentence"] == "Install 1.3.0 and start 1 of it beside 1.2.5."
        assert any("rounded up to 1" in warning for warning in plan["warnings"])
        rolling = (await client.post(f"{HERE}/upgrade", json={**UPGRADE, "strategy": "rolling", "dry_run": True})).json()
        assert any("no pause between batches" in warning for warning in rolling["warnings"])


async def test_an_override_needs_a_reason_and_is_on_record(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        view = await begun(api_world, client)
        path = f"{HERE}/upgrades/{view['upgrade_id']}/override"
        assert (await client.post(path, json={})).status_code == 422
        assert (await client.post(path, json={"reason": "known bug in the metrics"})).status_code == 202
        await api_world.turn()
        shown = (await client.get(f"{HERE}/upgrades/{view['upgrade_id']}")).json()
        assert shown["overridden_by"] == shown["operator"]
        audit = (await client.get(f"{PREFIX}/audit", params={"type": "analysis_overridden"})).json()["events"]
        assert audit[0]["reason"] == "known bug in the metrics"
