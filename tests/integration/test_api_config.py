"""Configurations over HTTP, with the real services, store and engine: patches, refusals, history, rollback, secrets, restarts."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from agent_servicing.core.resources import Resources
from agent_servicing.core.routing import RateLimit
from agent_servicing.testing.channel import Manners
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import AGENT, MANIFEST, ApiWorld

pytestmark = pytest.mark.anyio

HERE = f"{PREFIX}/agents/{AGENT}"
CONFIG = """
[config]
schema = "config.schema.json"
defaults = { max_context_size_gb = 10, timeout_seconds = 30 }
reload = "%s"
"""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "max_context_size_gb": {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
        "timeout_seconds": {"type": "number", "minimum": 1, "maximum": 300},
        "workers": {"type": "integer", "minimum": 1, "default": 4, "x-servicing-apply": "restart"},
        "model": {"type": "string", "x-servicing-apply": "next-conversation"},
        "api_key": {"type": "string", "minLength": 8, "x-servicing-secret": True},
        "limits": {"type": "object", "properties": {"most": {"type": "integer"}}, "additionalProperties": False},
    },
}
KEY = "a-key-that-nobody-may-see"


@pytest.fixture
async def client(api_world: ApiWorld) -> AsyncIterator[httpx.AsyncClient]:
    async with api_world.client(api_world.admin_token) as client:
        yield client


async def installed(world: ApiWorld, client: httpx.AsyncClient, *, reload: str = "sdk", **schemas: dict[str, Any]) -> None:
    """The agent with a configuration, serving 1.2.5."""
    world.source.manifest_text = MANIFEST + CONFIG % reload
    names = ("1.2.4", "1.2.5", "1.3.0", "1.4.0")
    world.source.schemas = {name: json.dumps(schemas.get("v" + name.replace(".", ""), SCHEMA)) for name in names}
    await world.add(client)


async def ask(world: ApiWorld, request: Any) -> httpx.Response:
    """Send it, and let the engine work until it is answered."""
    answers: list[httpx.Response] = []

    async def send() -> None:
        answers.append(await request)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while not answers:
            await world.turn()
            await anyio.lowlevel.checkpoint()
    return answers[0]


async def patch(world: ApiWorld, client: httpx.AsyncClient, updates: dict[str, Any], **more: Any) -> httpx.Response:
    return await ask(world, client.patch(f"{HERE}/config", json={"config_updates": updates, "reason": "a test", **more}))


async def values(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.get(f"{HERE}/config")).json()["config"])


async def test_a_patch_answers_with_the_new_revision_and_every_instance(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    answer = await patch(api_world, client, {"max_context_size_gb": 5, "timeout_seconds": 60})
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert view["config_version"] == "cfg-1.2.5-p1"
    assert (view["agent_reloaded"], view["downtime_seconds"], view["by"]) == (True, 0, "hot_patch")
    assert view["applied_at"] is not None
    assert view["config_changes"] == {"max_context_size_gb": {"old": 10, "new": 5}, "timeout_seconds": {"old": 30, "new": 60}}
    assert [(i["result"], i["status"]) for i in view["instances"]] == [("applied", "in_sync")] * 2
    assert await values(client) == {"max_context_size_gb": 5, "timeout_seconds": 60, "workers": 4}
    (entry,) = (await client.get(f"{HERE}/audit", params={"type": "config_patch"})).json()["events"]
    assert (entry["status"], entry["operator"], entry["reason"], entry["downtime_seconds"]) == ("success", "admin", "a test", 0)
    assert entry["config_changes"] == view["config_changes"]


async def test_every_problem_is_named_with_its_path_and_nothing_is_applied(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    updates = {"timeout_seconds": "soon", "limits": {"most": 1.5, "least": 2}, "timout_seconds": 1, "log_level": "DEBUG"}
    answer = await patch(api_world, client, updates)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_config"
    found = {error["path"]: error["message"] for error in problem["errors"]}
    assert found["timeout_seconds"] == '"soon" is not of type "number"'
    assert set(found) == {"timeout_seconds", "limits.most", "limits.least", "timout_seconds", "log_level"}
    assert "did you mean timeout_seconds?" in found["timout_seconds"]
    assert "servicing.log_level" in found["log_level"]
    assert (await client.get(f"{HERE}/config/revisions")).json()["revisions"] == []
    assert api_world.channel.asked == []


LIMITS = {"rate_limit": {"requests_per_second": 5, "burst": 10}, "request_timeout_seconds": 1.5}


async def test_limits_of_the_router_are_applied_without_asking_any_instance_and_a_rollback_takes_them_back(
    api_world: ApiWorld, client: httpx.AsyncClient
) -> None:
    await installed(api_world, client)
    api_world.channel.manners["g1-2-2"] = Manners(accepts=None)  # a hanging one does not matter
    answer = await patch(api_world, client, {"servicing": LIMITS}, profile="safe")
    assert answer.status_code == 200
    done = answer.json()
    assert (done["status"], done["by"], done["agent_reloaded"]) == ("applied", "hot_patch", False)
    assert done["applied_by"] == {
        "servicing.rate_limit.burst": "router",
        "servicing.rate_limit.requests_per_second": "router",
        "servicing.request_timeout_seconds": "router",
    }
    assert any("enforced by the router" in warning for warning in done["warnings"])
    assert api_world.channel.asked == []
    routing = api_world.metrics.router.routings[AGENT]
    assert (routing.rate_limit, routing.request_timeout_seconds) == (RateLimit(requests_per_second=5.0, burst=10), 1.5)
    shown = (await client.get(f"{HERE}/config")).json()
    assert LIMITS.keys() <= shown["reserved_schema"]["properties"].keys()
    keys = {k["key"]: k for k in shown["keys"]}
    assert (keys["servicing.rate_limit"]["value"], keys["servicing.rate_limit"]["layer"]) == (LIMITS["rate_limit"], "agent")
    assert (keys["servicing.rate_limit"]["applied_by"], keys["timeout_seconds"]["applied_by"]) == ("router", "agent")
    back = await ask(api_world, client.post(f"{HERE}/config/rollback", json={"reason": "a test"}))
    assert (back.status_code, back.json()["status"]) == (200, "applied")
    routing = api_world.metrics.router.routings[AGENT]
    assert (routing.rate_limit, routing.request_timeout_seconds) == (None, None)


async def test_together_with_a_value_that_takes_a_restart_the_limits_come_with_it_and_each_key_says_by_whom(
    api_world: ApiWorld, client: httpx.AsyncClient
) -> None:
    await installed(api_world, client, reload="restart")
    answer = await patch(api_world, client, {"timeout_seconds": 60, "servicing": {"request_timeout_seconds": 2}}, dry_run=True)
    assert (answer.json()["by"], answer.json()["applied_by"]) == (
        "rolling_restart",
        {"timeout_seconds": "restart", "servicing.request_timeout_seconds": "router"},
    )
    answer = await patch(api_world, client, {"servicing": {"request_timeout_seconds": 2}})
    assert (answer.json()["by"], answer.json()["status"]) == ("hot_patch", "applied")


async def test_a_limit_of_memory_is_set_by_the_runtime_and_said_to_be(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client, reload="restart")
    answer = await patch(api_world, client, {"servicing": {"resources": {"memory_mb": 256}}}, profile="instant")
    done = answer.json()
    assert (done["status"], done["by"], done["applied_by"]) == ("applied", "hot_patch", {"servicing.resources.memory_mb": "runtime"})
    assert {each["result"] for each in done["instances"]} == {"applied"}
    processes = api_world.runtime.processes[AGENT].values()
    assert {p.resources for p in processes if p.alive} == {Resources(memory_mb=256)}
    answer = await patch(api_world, client, {"servicing": {"resources": {"memory_mb": 1.5, "gpu": 1}}})
    assert {e["path"] for e in answer.json()["errors"]} == {"servicing.resources.memory_mb", "servicing.resources.gpu"}


async def test_a_limit_that_this_runtime_cannot_set_is_refused_and_not_just_kept(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    answer = await patch(api_world, client, {"servicing": {"resources": {"cpu": 0.5, "memory_mb": 256}}})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_value")
    message = "cannot be limited by the runtime of this server, with or without a restart; `servicing doctor` tells why"
    assert answer.json()["errors"] == [{"path": "servicing.resources.cpu", "message": message}]


async def test_a_dry_run_says_who_would_enforce_what(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    answer = await patch(api_world, client, {"timeout_seconds": 60, "servicing": {"request_timeout_seconds": 2}}, dry_run=True)
    assert answer.json()["applied_by"] == {"timeout_seconds": "agent", "servicing.request_timeout_seconds": "router"}
    assert api_world.metrics.router.routings[AGENT].request_timeout_seconds is None


async def test_wrong_limits_are_refused_all_at_once_with_their_paths(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    wrong = {"rate_limit": {"requests_per_second": "many", "burst": 0, "per": "minute"}, "request_timeout_seconds": -1}
    answer = await patch(api_world, client, {"timeout_seconds": "soon", "servicing": wrong})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_config")
    assert {error["path"] for error in answer.json()["errors"]} == {
        "timeout_seconds",
        "servicing.rate_limit.requests_per_second",
        "servicing.rate_limit.burst",
        "servicing.rate_limit.per",
        "servicing.request_timeout_seconds",
    }
    answer = await patch(api_world, client, {"servicing": {"rate_limit": {"burst": 5}}})
    assert [error["path"] for error in answer.json()["errors"]] == ["servicing.rate_limit.requests_per_second"]
    answer = await patch(api_world, client, {"servicing": {"rate_limit": {"requests_per_second": 0.01, "burst": 11}}})
    assert answer.json()["errors"] == [
        {
            "path": "servicing.rate_limit.burst",
            "message": "11 is more than comes back within 1000 s at this rate; at most 10",
        }
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"config_updates": {"servicing": {"request_timeout_seconds": 2}}, "places": [1]}, "bad_value"),
        ({"config_updates": {}}, "empty_patch"),
        ({"config_updates": {"model": "x" * 300_000}}, "patch_too_large"),
        ({"config_updates": {"servicing": {"log_level": "LOUD"}}}, "invalid_config"),
        ({"config_updates": {"api_key": {"$secret": "nobody/knows"}}}, "unknown_secret"),
        ({"config_updates": {"timeout_seconds": 5}, "expires_seconds": 60, "places": [1]}, "bad_value"),
    ],
)
async def test_what_cannot_be_a_change_is_refused(api_world: ApiWorld, client: httpx.AsyncClient, body: dict[str, Any], code: str) -> None:
    await installed(api_world, client)
    answer = await ask(api_world, client.patch(f"{HERE}/config", json={"reason": "a test", **body}))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_one_refusing_instance_is_a_conflict_with_its_reason(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    api_world.channel.manners["g1-2-2"] = Manners(accepts=False)
    answer = await patch(api_world, client, {"timeout_seconds": 60})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_refused")
    assert answer.json()["current"]["instances"]["g1-2-2"]["problems"] == [{"path": "", "message": "the agent's own check says no"}]
    assert (await values(client))["timeout_seconds"] == 30
    (revision,) = (await client.get(f"{HERE}/config/revisions")).json()["revisions"]
    assert (revision["config_version"], revision["status"]) == ("cfg-1.2.5-p1", "refused")
    del api_world.channel.manners["g1-2-2"]
    assert (await patch(api_world, client, {"timeout_seconds": 60})).json()["config_version"] == "cfg-1.2.5-p2"


async def test_what_was_taken_back_is_a_conflict_that_says_why(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    api_world.channel.manners["g1-1-1"] = Manners(lies=True)
    answer = await patch(api_world, client, {"timeout_seconds": 60})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_reverted")
    assert "acknowledged another document" in answer.json()["detail"]
    assert (await values(client))["timeout_seconds"] == 30


async def test_who_saw_another_configuration_gets_the_difference(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    await patch(api_world, client, {"timeout_seconds": 60})
    answer = await patch(api_world, client, {"timeout_seconds": 90}, if_version="cfg-1.2.5-p0")
    assert (answer.status_code, answer.json()["code"]) == (409, "config_changed")
    assert answer.json()["current"] == {"config_version": "cfg-1.2.5-p1", "changes": {"timeout_seconds": {"old": 30, "new": 60}}}
    assert (await patch(api_world, client, {"timeout_seconds": 90}, if_version="cfg-1.2.5-p1")).status_code == 200


async def test_of_two_patches_at_once_the_second_is_told_of_the_first(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    api_world.channel.manners["1.2.5"] = Manners(seconds=1.5)
    body = {"config_updates": {"timeout_seconds": 60}, "reason": "first"}
    answers: list[httpx.Response] = []

    async def first() -> None:
        answers.append(await client.patch(f"{HERE}/config", json=body))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        while not (await client.get(f"{HERE}/config/revisions")).json()["revisions"]:
            await anyio.lowlevel.checkpoint()
        second = await client.patch(f"{HERE}/config", json={**body, "reason": "second"})
        while not answers:
            await api_world.turn()
            await anyio.lowlevel.checkpoint()
    assert (second.status_code, second.json()["code"]) == (409, "config_busy")
    assert "cfg-1.2.5-p1 by admin" in second.json()["detail"]
    assert answers[0].status_code == 200


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    narrower = {**SCHEMA, "properties": {**SCHEMA["properties"], "timeout_seconds": {"type": "number", "maximum": 45}}}
    await installed(api_world, client, v124=narrower)
    answer = await patch(api_world, client, {"timeout_seconds": 60, "model": "large"}, dry_run=True)
    view = answer.json()
    assert (answer.status_code, view["status"], view["by"]) == (200, "planned", "hot_patch")
    assert any("model takes effect in conversations that begin from now on" in warning for warning in view["warnings"])
    assert (await client.post(f"{HERE}/config/validate", json={"config_updates": {"timeout_seconds": 60}})).json()["status"] == "planned"
    assert (await client.get(f"{HERE}/config/revisions")).json()["revisions"] == []
    assert api_world.channel.asked == []


async def test_a_rollback_point_that_could_not_use_it_is_named(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    narrower = {**SCHEMA, "properties": {**SCHEMA["properties"], "timeout_seconds": {"type": "number", "maximum": 45}}}
    await installed(api_world, client, v125=narrower)
    upgrade = await api_world.upgrade(client, blue_green={"steps": [100], "monitor_seconds": 0})
    await api_world.until(client, upgrade["upgrade_id"], "completed")
    await api_world.clock.sleep(0)
    for _ in range(400):
        generations = {i["version"] for i in (await client.get(f"{HERE}/instances")).json()["instances"] if i["status"] != "draining"}
        if generations == {"1.3.0"}:
            break
        api_world.clock.advance(30)
        await api_world.turn()
    answer = await patch(api_world, client, {"timeout_seconds": 60})
    assert answer.status_code == 200, answer.text
    assert any("1.2.5, a rollback point, could not use it (timeout_seconds" in warning for warning in answer.json()["warnings"])


async def test_the_configuration_rolls_back_to_the_revision_before_and_to_any_other(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    for seconds in (60, 90):
        assert (await patch(api_world, client, {"timeout_seconds": seconds})).status_code == 200
    back = await ask(api_world, client.post(f"{HERE}/config/rollback", json={"reason": "too long"}))
    assert (back.status_code, back.json()["config_version"]) == (200, "cfg-1.2.5-p3")
    assert (await values(client))["timeout_seconds"] == 60
    back = await ask(api_world, client.post(f"{HERE}/config/rollback", json={"reason": "as it came", "config_version": "cfg-1.2.5-p0"}))
    assert (await values(client))["timeout_seconds"] == 30
    revisions = (await client.get(f"{HERE}/config/revisions")).json()["revisions"]
    assert [(r["config_version"], r["restored_from"]) for r in revisions][:2] == [
        ("cfg-1.2.5-p4", "cfg-1.2.5-p0"),
        ("cfg-1.2.5-p3", "cfg-1.2.5-p1"),
    ]
    missing = await client.post(f"{HERE}/config/rollback", json={"reason": "x", "config_version": "cfg-9"})
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_revision")


async def test_null_leaves_a_key_to_the_version_again(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    await patch(api_world, client, {"timeout_seconds": 60, "limits": {"most": 3}})
    view = (await patch(api_world, client, {"timeout_seconds": None, "limits": {"most": None}})).json()
    assert view["status"] == "applied"
    assert await values(client) == {"max_context_size_gb": 10, "timeout_seconds": 30, "workers": 4}


async def test_a_value_that_is_there_already_makes_no_revision(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    answer = await patch(api_world, client, {"timeout_seconds": 30})
    assert (answer.status_code, answer.json()["status"]) == (200, "unchanged")


async def test_a_secret_key_is_stored_as_a_reference_and_never_shown(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    short = await patch(api_world, client, {"api_key": "hush"})
    assert short.status_code == 422
    assert "hush" not in short.text
    answer = await patch(api_world, client, {"api_key": KEY})
    assert answer.status_code == 200, answer.text
    assert api_world.channel.applied["g1-1-1"].values["api_key"] == {"$secret": "WowMemory/api_key", "version": 1}
    for path in (f"{HERE}/config", f"{HERE}/config/revisions", f"{HERE}/audit", f"{PREFIX}/audit/export?format=json", f"{PREFIX}/secrets"):
        assert KEY not in (await client.get(path)).text
    shown = next(k for k in (await client.get(f"{HERE}/config")).json()["keys"] if k["key"] == "api_key")
    assert (shown["secret"], shown["value"]) == (True, "secret WowMemory/api_key (version 1)")
    assert (await patch(api_world, client, {"api_key": KEY})).json()["status"] == "unchanged"


async def test_a_key_that_is_read_at_the_start_gets_a_rolling_restart(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    planned = (await patch(api_world, client, {"workers": 8}, dry_run=True)).json()
    assert planned["by"] == "rolling_restart"
    assert any("workers is read at the start only" in warning for warning in planned["warnings"])
    answer = await client.patch(f"{HERE}/config", json={"config_updates": {"workers": 8}, "reason": "more load"})
    view = answer.json()
    assert (answer.status_code, view["status"], view["agent_reloaded"]) == (202, "restarting", False)
    busy = await client.patch(f"{HERE}/config", json={"config_updates": {"timeout_seconds": 8}, "reason": "meanwhile"})
    assert (busy.status_code, busy.json()["code"]) == (409, "config_busy")
    await api_world.until(client, view["upgrade_id"], "completed")
    assert (await values(client))["workers"] == 8
    (revision,) = (await client.get(f"{HERE}/config/revisions")).json()["revisions"]
    assert (revision["status"], revision["upgrade_id"]) == ("applied", view["upgrade_id"])
    started = [json.loads(text)["workers"] for name, (_, text) in api_world.runtime.configs.items() if name.startswith("g2-")]
    assert started == [8, 8]


async def test_an_agent_that_only_reads_at_its_start_is_restarted_for_every_change(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client, reload="restart")
    answer = await client.patch(f"{HERE}/config", json={"config_updates": {"timeout_seconds": 60}, "reason": "slow disk"})
    assert answer.status_code == 202
    assert any("reads its configuration only when it starts" in warning for warning in answer.json()["warnings"])
    await api_world.until(client, answer.json()["upgrade_id"], "completed")
    view = (await client.get(f"{HERE}/config")).json()
    assert view["config"]["timeout_seconds"] == 60
    assert {i["status"] for i in view["instances"] if i["instance"].startswith("g2-")} == {"at_start"}


async def test_a_restart_that_fails_leaves_the_old_configuration(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client, reload="restart")
    answer = await client.patch(f"{HERE}/config", json={"config_updates": {"timeout_seconds": 60}, "reason": "slow disk"})
    api_world.runtime.behaviour("1.2.5").crashes = True
    await api_world.until(client, answer.json()["upgrade_id"], "rolled_back")
    assert (await values(client))["timeout_seconds"] == 30
    (revision,) = (await client.get(f"{HERE}/config/revisions")).json()["revisions"]
    assert revision["status"] == "reverted"


async def test_an_upgrade_that_could_not_use_the_configuration_is_refused(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    without = {**SCHEMA, "properties": {k: v for k, v in SCHEMA["properties"].items() if k != "limits"}}
    await installed(api_world, client, v130=without)
    await patch(api_world, client, {"limits": {"most": 3}})
    api_world.source.names = ["1.2.4", "1.2.5", "1.3.0"]
    await client.post(f"{HERE}/versions/refresh")
    answer = await client.post(f"{HERE}/upgrade", json={"target_version": "1.3.0", "reason": "newer", "strategy": "blue-green"})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_incompatible")
    assert "limits is no key" in answer.json()["detail"]


async def test_a_rollback_of_the_version_restores_the_configuration_it_had(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    await patch(api_world, client, {"timeout_seconds": 60})
    upgrade = await api_world.upgrade(client, blue_green={"steps": [100], "monitor_seconds": 0})
    await api_world.until(client, upgrade["upgrade_id"], "completed")
    assert (await patch(api_world, client, {"timeout_seconds": 90})).json()["config_version"] == "cfg-1.3.0-p1"
    back = await client.post(f"{HERE}/rollback", json={"reason": "worse"})
    await api_world.until(client, back.json()["upgrade_id"], "completed")
    view = (await client.get(f"{HERE}/config")).json()
    assert (view["version"], view["config_version"], view["config"]["timeout_seconds"]) == ("1.2.5", "cfg-1.2.5-p1", 60)


async def test_a_schema_that_is_none_says_so(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client, v125={"type": "objct"})
    answer = await patch(api_world, client, {"timeout_seconds": 60})
    assert (answer.status_code, answer.json()["code"]) == (422, "schema_invalid")


async def test_without_a_schema_only_the_agent_itself_can_refuse(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    api_world.source.manifest_text = MANIFEST + CONFIG.replace('schema = "config.schema.json"', "") % "sdk"
    await api_world.add(client)
    answer = await patch(api_world, client, {"anything": 1})
    assert answer.status_code == 200, answer.text
    assert answer.json()["warnings"] == ["1.2.5 has no configuration schema: only the agent itself can say whether the values are right."]
    assert (await values(client))["anything"] == 1


async def test_a_viewer_reads_and_checks_but_does_not_patch(api_world: ApiWorld, client: httpx.AsyncClient) -> None:
    await installed(api_world, client)
    async with api_world.client(await api_world.token("viewer")) as viewer:
        assert (await viewer.get(f"{HERE}/config")).status_code == 200
        assert (await viewer.post(f"{HERE}/config/validate", json={"config_updates": {"timeout_seconds": 60}})).status_code == 200
        answer = await viewer.patch(f"{HERE}/config", json={"config_updates": {"timeout_seconds": 60}, "reason": "x"})
        assert answer.status_code == 403
